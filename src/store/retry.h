/*
 * retry.h: trying again what may pass, with pauses that grow and spread.
 *
 * The pause before try n + 1 lies between half of and the whole of first * 2^n,
 * at most longest, drawn at random so that many clients do not come back
 * together. A server that says when to come back is believed up to longest.
 */
#ifndef OMB_STORE_RETRY_H
#define OMB_STORE_RETRY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct omb_retry_policy
{
	uint32_t tries;	  /* the first one included; 0 counts as 1 */
	uint32_t first;	  /* milliseconds */
	uint32_t longest; /* milliseconds */
	uint32_t seconds; /* no pause reaches past so many after the start */
	bool (*cancelled)(void *arg); /* asked during pauses; NULL */
	void *arg;
} omb_retry_policy;

/* One thing that is tried. */
typedef struct omb_retry
{
	const omb_retry_policy *policy;
	uint32_t tries;	 /* failed so far */
	int64_t started; /* microseconds of a clock that is never set */
} omb_retry;

extern void omb_retry_begin(omb_retry *retry, const omb_retry_policy *policy);

/*
 * Another try failed with err. True after a pause, with err cleared: try
 * again. False: it was tried enough, and err says so in its detail, or became
 * OMB_CANCELLED. wanted is what the server asked for in milliseconds, or 0.
 */
extern bool omb_retry_again(omb_retry *retry, uint64_t wanted, omb_error *err);

/* The pause after so many failed tries; draw is random. */
extern uint64_t omb_retry_pause(const omb_retry_policy *policy, uint32_t tries,
								uint64_t wanted, uint32_t draw);

/* Is it an answer that another try may not get? */
extern bool omb_retry_status(int http_status);

#endif
