/*
 * retention.h: units of retention plans, and deciding once more. Include it
 * after tap.h, in the one .c file of a test program only.
 */
#ifndef OMB_TEST_RETENTION_H
#define OMB_TEST_RETENTION_H

#include "task/retain/retain.h"

#include <stdlib.h>

#define SIZE (UINT64_C(16) * 1024 * 1024)
#define DAY (INT64_C(86400) * 1000000)
#define HOUR (DAY / 24)

/* Take away what was dropped and decide again. */
static void
decide_again(omb_retain_plan *plan)
{
	size_t i;
	size_t left = 0;

	for (i = 0; i < plan->count; i++)
	{
		omb_retain_backup *backup = &plan->backup[i];

		free(backup->reason);
		backup->reason = NULL;
		if (backup->keep)
		{
			backup->keep = false;
			backup->window = false;
			plan->backup[left++] = *backup;
		}
		else
			free(backup->pin);
	}
	plan->count = left;
	omb_retain_decide(plan);
}

#endif
