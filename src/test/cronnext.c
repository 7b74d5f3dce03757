/*
 * cronnext.c: next runs of many schedules, for comparing with another
 * implementation (t/175_cron.pl). Reads lines "offset<TAB>after<TAB>schedule",
 * a zone's distance to UTC and an instant, both in seconds, and writes a line
 * for each: the next runs, fewer when there are no more, or "invalid".
 */
#include "base/cron.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RUNS 5

static int32_t
fixed_offset(int64_t instant, int64_t *until, void *arg)
{
	const int32_t *seconds = arg;

	*until = INT64_MAX;
	return *seconds;
}

int
main(void)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		omb_cron cron;
		omb_cron_error error;
		omb_cron_zone zone;
		int32_t seconds = 0;
		int64_t at = 0;
		int begin = 0;
		int i;

		line[strcspn(line, "\n")] = '\0';
		(void) sscanf(line, "%" SCNd32 "\t%" SCNd64 "\t%n", &seconds, &at,
					  &begin);
		zone.offset = fixed_offset;
		zone.arg = &seconds;
		if (begin == 0 || !omb_cron_parse(line + begin, &cron, &error))
		{
			printf("invalid\n");
			continue;
		}
		for (i = 0; i < RUNS && omb_cron_next(&cron, &zone, at, &at); i++)
			printf("%s%" PRId64, i > 0 ? " " : "", at);
		printf("\n");
	}
	return 0;
}
