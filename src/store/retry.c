/*
 * retry.c: when to try again, and waiting for it.
 */
#include "store/retry.h"

#include "base/text.h"
#include "codec/crypto.h"

#include <inttypes.h>
#include <time.h>

/* How often a pause looks whether it is still wanted. */
#define SLICE 50

void
omb_retry_begin(omb_retry *retry, const omb_retry_policy *policy)
{
	retry->policy = policy;
	retry->tries = 0;
	retry->started = omb_time_steady();
}

uint64_t
omb_retry_pause(const omb_retry_policy *policy, uint32_t tries,
				uint64_t wanted, uint32_t draw)
{
	uint64_t pause = policy->first > 0 ? policy->first : 1;
	uint32_t i;

	for (i = 1; i < tries && pause < policy->longest; i++)
		pause *= 2;
	if (pause > policy->longest)
		pause = policy->longest;
	pause = pause - pause / 2 + (uint64_t) draw % (pause / 2 + 1);
	if (wanted > policy->longest)
		wanted = policy->longest;
	/* never before it was asked for, and not all at that instant */
	if (pause < wanted)
		pause = wanted + (uint64_t) draw % (wanted / 4 + 1);
	return pause;
}

bool
omb_retry_again(omb_retry *retry, uint64_t wanted, omb_error *err)
{
	const omb_retry_policy *policy = retry->policy;
	uint32_t draw;
	int64_t elapsed, end;
	uint64_t pause;

	if (err->status == OMB_CANCELLED)
		return false;
	retry->tries++;
	omb_random(&draw, sizeof(draw));
	pause = omb_retry_pause(policy, retry->tries, wanted, draw);
	elapsed = omb_time_steady() - retry->started;
	if (retry->tries >= policy->tries ||
		elapsed + (int64_t) pause * 1000 > (int64_t) policy->seconds * 1000000)
	{
		if (retry->tries > 1)
			omb_error_detail(err,
							 "Gave up after %" PRIu32 " attempts in %" PRId64
							 " seconds.",
							 retry->tries, elapsed / 1000000);
		return false;
	}
	end = omb_time_steady() + (int64_t) pause * 1000;
	while (omb_time_steady() < end)
	{
		int64_t left = (end - omb_time_steady()) / 1000 + 1;
		struct timespec slice = { 0, 0 };

		if (policy->cancelled != NULL && policy->cancelled(policy->arg))
		{
			(void) omb_error_set(err, OMB_CANCELLED, "stopped on request");
			return false;
		}
		if (left > SLICE)
			left = SLICE;
		slice.tv_nsec = (long) left * 1000000;
		(void) nanosleep(&slice, NULL);
	}
	omb_error_clear(err);
	return true;
}

bool
omb_retry_status(int http_status)
{
	switch (http_status)
	{
		case 408:
		case 429:
		case 500:
		case 502:
		case 503:
		case 504:
			return true;
		default:
			return false;
	}
}
