/*
 * fuzz_line.c: a line of the protocol, and small objects of text.
 */
#include "base/buffer.h"
#include "base/fields.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = omb_malloc(size + 1);
	omb_fields fields;
	uint64_t number;
	int64_t time;

	memcpy(text, data, size);
	if (omb_fields_parse_line(text, size, &fields))
	{
		(void) omb_fields_get_u64(&fields, "n", &number);
		(void) omb_fields_get_i64(&fields, "n", &time);
	}
	memcpy(text, data, size);
	(void) omb_fields_parse_text(text, size, &fields);
	free(text);
	return 0;
}
