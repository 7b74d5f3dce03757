/*
 * lsn.c: log sequence numbers as text.
 */
#include "pgfmt/lsn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One to eight hex digits; NULL when they are not there. */
static const char *
parse_half(const char *p, uint32_t *value)
{
	char *end;
	size_t digits = strspn(p, "0123456789abcdefABCDEF");

	if (digits < 1 || digits > 8)
		return NULL;
	*value = (uint32_t) strtoul(p, &end, 16);
	return p + digits;
}

bool
omb_lsn_parse(const char *text, uint64_t *lsn)
{
	uint32_t high, low;
	const char *p = parse_half(text, &high);

	if (p == NULL || *p != '/' || (p = parse_half(p + 1, &low)) == NULL ||
		*p != '\0')
		return false;
	*lsn = (uint64_t) high << 32 | low;
	return true;
}

char *
omb_lsn_format(uint64_t lsn, char out[OMB_LSN_TEXT])
{
	(void) snprintf(out, OMB_LSN_TEXT, "%X/%X", (uint32_t) (lsn >> 32),
					(uint32_t) lsn);
	return out;
}
