/*
 * fuzz_cron.c: a cron expression, and its next run.
 */
#include "base/buffer.h"
#include "base/cron.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A zone that changes by an hour every 180 days. */
static int32_t
zone_offset(int64_t instant, int64_t *until, void *arg)
{
	int64_t period = instant / (180 * 86400);

	*until = (period + 1) * 180 * 86400;
	return period % 2 ? 3600 : 7200;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_cron_zone zone = { zone_offset, NULL };
	char *text = omb_malloc(size + 1);
	omb_cron cron;
	omb_cron_error error = { 0, NULL };
	int64_t next;

	memcpy(text, data, size);
	text[size] = '\0';
	if (!omb_cron_parse(text, &cron, &error))
	{
		/* a mistake has a reason and a place inside the text or at its end */
		if (error.reason == NULL || error.position < 1 ||
			(size_t) error.position > strlen(text) + 1)
			abort();
	}
	else if (omb_cron_next(&cron, &zone, INT64_C(1790000000), &next) &&
			 next <= INT64_C(1790000000))
		abort();
	free(text);
	return 0;
}
