/*
 * throttle.c: a limit in bytes per second, shared by threads.
 *
 * Each caller books its bytes behind those of the others and sleeps until
 * its turn. Time that nobody used is lost, so there are no bursts.
 */
#include "task/throttle.h"

#include "base/buffer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct omb_throttle
{
	pthread_mutex_t lock;
	uint64_t rate;
	uint64_t booked; /* nanoseconds of the monotonic clock */
};

static uint64_t
now(void)
{
	struct timespec time;

	(void) clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t) time.tv_sec * 1000000000 + (uint64_t) time.tv_nsec;
}

omb_throttle *
omb_throttle_new(uint64_t bytes_per_second)
{
	omb_throttle *throttle = omb_calloc(1, sizeof(*throttle));

	(void) pthread_mutex_init(&throttle->lock, NULL);
	throttle->rate = bytes_per_second;
	return throttle;
}

void
omb_throttle_wait(omb_throttle *throttle, uint64_t bytes)
{
	uint64_t start, turn;
	struct timespec pause;

	if (throttle->rate == 0)
		return;
	(void) pthread_mutex_lock(&throttle->lock);
	start = now();
	if (throttle->booked < start)
		throttle->booked = start;
	turn = throttle->booked;
	throttle->booked +=
		(uint64_t) ((double) bytes * 1e9 / (double) throttle->rate);
	(void) pthread_mutex_unlock(&throttle->lock);
	pause.tv_sec = (time_t) ((turn - start) / 1000000000);
	pause.tv_nsec = (long) ((turn - start) % 1000000000);
	(void) nanosleep(&pause, NULL);
}

void
omb_throttle_free(omb_throttle *throttle)
{
	if (throttle == NULL)
		return;
	(void) pthread_mutex_destroy(&throttle->lock);
	free(throttle);
}
