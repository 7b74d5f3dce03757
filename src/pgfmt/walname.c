/*
 * walname.c: names of the files in pg_wal.
 */
#include "pgfmt/walname.h"

#include <stdio.h>
#include <string.h>

/* Exactly eight upper-case hex digits. */
static bool
parse_digits(const char *p, uint32_t *value)
{
	int i;

	*value = 0;
	for (i = 0; i < 8; i++)
	{
		uint32_t digit;

		if (p[i] >= '0' && p[i] <= '9')
			digit = (uint32_t) (p[i] - '0');
		else if (p[i] >= 'A' && p[i] <= 'F')
			digit = (uint32_t) (p[i] - 'A' + 10);
		else
			return false;
		*value = *value << 4 | digit;
	}
	return true;
}

omb_wal_kind
omb_wal_name_parse(const char *name, omb_wal_name *out)
{
	size_t len = strlen(name);
	uint32_t offset;

	memset(out, 0, sizeof(*out));
	out->kind = OMB_WAL_OTHER;
	if (len < 8 || !parse_digits(name, &out->timeline))
		return out->kind;
	if (strcmp(name + 8, ".history") == 0)
		return out->kind = OMB_WAL_HISTORY;
	if (len < 24 || !parse_digits(name + 8, &out->log) ||
		!parse_digits(name + 16, &out->seg))
		return out->kind;
	if (len == 24)
		out->kind = OMB_WAL_SEGMENT;
	else if (strcmp(name + 24, ".partial") == 0)
		out->kind = OMB_WAL_PARTIAL;
	else if (len == 40 && name[24] == '.' &&
			 parse_digits(name + 25, &offset) &&
			 strcmp(name + 33, ".backup") == 0)
		out->kind = OMB_WAL_BACKUP_HISTORY;
	return out->kind;
}

uint64_t
omb_wal_segno(const omb_wal_name *name, uint64_t segment_size)
{
	return (uint64_t) name->log * (UINT64_C(0x100000000) / segment_size) +
		   name->seg;
}

void
omb_wal_name_format(uint32_t timeline, uint64_t segno, uint64_t segment_size,
					char out[OMB_WAL_NAME_TEXT])
{
	uint64_t in_log = UINT64_C(0x100000000) / segment_size;

	(void) snprintf(out, OMB_WAL_NAME_TEXT, "%08X%08X%08X", timeline,
					(uint32_t) (segno / in_log), (uint32_t) (segno % in_log));
}

uint64_t
omb_wal_segno_at(uint64_t lsn, uint64_t segment_size)
{
	return lsn / segment_size;
}

uint64_t
omb_wal_segno_before(uint64_t lsn, uint64_t segment_size)
{
	return lsn == 0 ? 0 : (lsn - 1) / segment_size;
}

bool
omb_wal_segment_size_valid(uint64_t segment_size)
{
	return segment_size >= 1024 * 1024 && segment_size <= 1024 * 1024 * 1024 &&
		   (segment_size & (segment_size - 1)) == 0;
}
