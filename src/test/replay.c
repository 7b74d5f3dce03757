/*
 * replay.c: runs a fuzz target over files, and over mutations of each with a
 * fixed seed. Linked with one fuzz_*.c.
 */
#include "base/buffer.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUTATIONS 2000

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t state = 1;

static uint32_t
next_random(void)
{
	state = state * 1664525 + 1013904223;
	return state >> 8;
}

static void
run(const uint8_t *data, size_t size)
{
	/* memory of exactly that size, so that one byte too far is seen */
	uint8_t *copy = omb_malloc(size);

	memcpy(copy, data, size);
	(void) LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

int
main(int argc, char **argv)
{
	int i, m;

	for (i = 1; i < argc; i++)
	{
		omb_buf content = OMB_BUF_INIT;
		omb_error err = OMB_ERROR_INIT;

		if (omb_file_read(argv[i], 1 << 24, &content, &err) != OMB_OK)
		{
			printf("not ok - %s\n", err.message);
			return 1;
		}
		run(content.data, content.len);
		for (m = 0; m < MUTATIONS && content.len > 0; m++)
		{
			size_t at = next_random() % content.len;
			uint8_t saved = content.data[at];

			content.data[at] = (uint8_t) next_random();
			run(content.data, m % 4 == 0 ? at : content.len);
			if (m % 3 != 0)
				content.data[at] = saved;
		}
		omb_buf_free(&content);
		printf("ok %d - %s and %d mutations of it\n", i, argv[i], MUTATIONS);
	}
	printf("1..%d\n", argc - 1);
	return argc > 1 ? 0 : 1;
}
