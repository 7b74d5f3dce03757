/*
 * throttle.c: a limit in bytes per second, shared by threads.
 *
 * Each caller books its bytes behind those of the others and sleeps until
 * its turn. Time that nobody used is lost, so there are no bursts. When the
 * rate changes, those who sleep book again.
 */
#include "task/mirror/throttle.h"

#include "base/buffer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)
/* A turn is never further away: times stay numbers that fit. */
#define TURN_MAX (UINT64_C(365) * 86400 * SECOND)

struct omb_throttle
{
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t rate;
	uint64_t changes;
	uint64_t booked; /* nanoseconds of the monotonic clock */
	uint64_t passed;
};

static uint64_t
now(void)
{
	struct timespec time;

	(void) clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t) time.tv_sec * SECOND + (uint64_t) time.tv_nsec;
}

omb_throttle *
omb_throttle_new(uint64_t bytes_per_second)
{
	omb_throttle *throttle = omb_calloc(1, sizeof(*throttle));
	pthread_condattr_t attributes;

	(void) pthread_mutex_init(&throttle->lock, NULL);
	(void) pthread_condattr_init(&attributes);
	(void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void) pthread_cond_init(&throttle->changed, &attributes);
	(void) pthread_condattr_destroy(&attributes);
	throttle->rate = bytes_per_second;
	return throttle;
}

/* Sleep until that time; false when the rate changed meanwhile. */
static bool
sleep_until(omb_throttle *throttle, uint64_t turn)
{
	uint64_t changes = throttle->changes;
	struct timespec time;

	time.tv_sec = (time_t) (turn / SECOND);
	time.tv_nsec = (long) (turn % SECOND);
	while (throttle->changes == changes && now() < turn)
		(void) pthread_cond_timedwait(&throttle->changed, &throttle->lock,
									  &time);
	return throttle->changes == changes;
}

/* Wait for the turn of so many bytes; false when the rate changed. */
static bool
take_turn(omb_throttle *throttle, uint64_t bytes)
{
	uint64_t start = now();
	uint64_t turn;
	double length;

	if (throttle->rate == 0)
		return true;
	if (throttle->rate == OMB_THROTTLE_STOP)
		return sleep_until(throttle, start + TURN_MAX);
	length = (double) bytes * (double) SECOND / (double) throttle->rate;
	if (throttle->booked < start)
		throttle->booked = start;
	turn = throttle->booked;
	throttle->booked +=
		length < (double) TURN_MAX ? (uint64_t) length : TURN_MAX;
	return sleep_until(throttle, turn);
}

void
omb_throttle_wait(omb_throttle *throttle, uint64_t bytes)
{
	(void) pthread_mutex_lock(&throttle->lock);
	while (!take_turn(throttle, bytes))
		;
	throttle->passed += bytes;
	(void) pthread_mutex_unlock(&throttle->lock);
}

void
omb_throttle_set(omb_throttle *throttle, uint64_t bytes_per_second)
{
	(void) pthread_mutex_lock(&throttle->lock);
	if (throttle->rate != bytes_per_second)
	{
		throttle->rate = bytes_per_second;
		throttle->changes++;
		throttle->booked = 0;
		(void) pthread_cond_broadcast(&throttle->changed);
	}
	(void) pthread_mutex_unlock(&throttle->lock);
}

uint64_t
omb_throttle_rate(omb_throttle *throttle)
{
	uint64_t rate;

	(void) pthread_mutex_lock(&throttle->lock);
	rate = throttle->rate;
	(void) pthread_mutex_unlock(&throttle->lock);
	return rate;
}

uint64_t
omb_throttle_passed(omb_throttle *throttle)
{
	uint64_t passed;

	(void) pthread_mutex_lock(&throttle->lock);
	passed = throttle->passed;
	(void) pthread_mutex_unlock(&throttle->lock);
	return passed;
}

void
omb_throttle_free(omb_throttle *throttle)
{
	if (throttle == NULL)
		return;
	(void) pthread_cond_destroy(&throttle->changed);
	(void) pthread_mutex_destroy(&throttle->lock);
	free(throttle);
}
