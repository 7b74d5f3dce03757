/*
 * pipeline.c: units of work done by several threads, results in order.
 *
 * The units form a ring. Four counters move round it, each at most depth
 * behind the one before: submitted >= started >= (done, one by one)
 * >= released. A unit's done flag tells the consumer that its turn has come.
 */
#include "base/pipeline.h"

#include "base/buffer.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct omb_pipeline
{
	pthread_mutex_t lock;
	pthread_cond_t changed_work; /* a unit to start, or the end */
	pthread_cond_t changed_done; /* the oldest unit done, or the end */
	pthread_cond_t changed_free; /* a unit released, or the end */
	int workers;
	pthread_t *thread;
	size_t depth;
	size_t unit_size;
	uint8_t *units;
	bool *done;
	uint64_t submitted;
	uint64_t started;
	uint64_t released;
	bool stopped;
	bool joined;
	omb_pipeline_work work;
	void *arg;
};

struct worker_start
{
	omb_pipeline *pipe;
	int number;
};

static void *
worker_main(void *arg)
{
	struct worker_start start = *(struct worker_start *) arg;
	omb_pipeline *pipe = start.pipe;

	free(arg);
	(void) pthread_mutex_lock(&pipe->lock);
	for (;;)
	{
		uint64_t turn;

		while (!pipe->stopped && pipe->started == pipe->submitted)
			(void) pthread_cond_wait(&pipe->changed_work, &pipe->lock);
		if (pipe->stopped)
			break;
		turn = pipe->started++;
		(void) pthread_mutex_unlock(&pipe->lock);
		pipe->work(omb_pipeline_unit(pipe, (size_t) (turn % pipe->depth)),
				   start.number, pipe->arg);
		(void) pthread_mutex_lock(&pipe->lock);
		pipe->done[turn % pipe->depth] = true;
		if (turn == pipe->released)
			(void) pthread_cond_broadcast(&pipe->changed_done);
	}
	(void) pthread_mutex_unlock(&pipe->lock);
	return NULL;
}

void
omb_pipeline_grow(omb_pipeline *pipe, int workers)
{
	if (workers > pipe->workers)
		pipe->thread =
			omb_realloc(pipe->thread, (size_t) workers * sizeof(pthread_t));
	while (pipe->workers < workers)
	{
		struct worker_start *start = omb_malloc(sizeof(*start));

		start->pipe = pipe;
		start->number = pipe->workers;
		if (pthread_create(&pipe->thread[pipe->workers], NULL, worker_main,
						   start) != 0)
		{
			free(start);
			break;
		}
		pipe->workers++;
	}
}

omb_pipeline *
omb_pipeline_new(int workers, size_t depth, size_t unit_size,
				 omb_pipeline_work work, void *arg)
{
	omb_pipeline *pipe = omb_calloc(1, sizeof(*pipe));

	(void) pthread_mutex_init(&pipe->lock, NULL);
	(void) pthread_cond_init(&pipe->changed_work, NULL);
	(void) pthread_cond_init(&pipe->changed_done, NULL);
	(void) pthread_cond_init(&pipe->changed_free, NULL);
	pipe->depth = depth;
	pipe->unit_size = unit_size;
	pipe->units = omb_calloc(depth, unit_size);
	pipe->done = omb_calloc(depth, sizeof(bool));
	pipe->work = work;
	pipe->arg = arg;
	omb_pipeline_grow(pipe, workers);
	/* one thread is enough; with none at all nothing can be done */
	if (pipe->workers == 0)
		abort();
	return pipe;
}

void *
omb_pipeline_unit(omb_pipeline *pipe, size_t i)
{
	return pipe->units + i * pipe->unit_size;
}

void *
omb_pipeline_slot(omb_pipeline *pipe, bool wait)
{
	void *unit = NULL;

	(void) pthread_mutex_lock(&pipe->lock);
	while (wait && !pipe->stopped &&
		   pipe->submitted - pipe->released == pipe->depth)
		(void) pthread_cond_wait(&pipe->changed_free, &pipe->lock);
	if (!pipe->stopped && pipe->submitted - pipe->released < pipe->depth)
		unit =
			omb_pipeline_unit(pipe, (size_t) (pipe->submitted % pipe->depth));
	(void) pthread_mutex_unlock(&pipe->lock);
	return unit;
}

void
omb_pipeline_submit(omb_pipeline *pipe)
{
	(void) pthread_mutex_lock(&pipe->lock);
	pipe->done[pipe->submitted % pipe->depth] = false;
	pipe->submitted++;
	(void) pthread_cond_signal(&pipe->changed_work);
	(void) pthread_mutex_unlock(&pipe->lock);
}

/* Whether the oldest unit is processed; the lock is held. */
static bool
oldest_done(const omb_pipeline *pipe)
{
	return pipe->released < pipe->submitted &&
		   pipe->done[pipe->released % pipe->depth];
}

void *
omb_pipeline_next(omb_pipeline *pipe, bool wait)
{
	void *unit = NULL;

	(void) pthread_mutex_lock(&pipe->lock);
	while (wait && !pipe->stopped && !oldest_done(pipe))
		(void) pthread_cond_wait(&pipe->changed_done, &pipe->lock);
	if (!pipe->stopped && oldest_done(pipe))
		unit =
			omb_pipeline_unit(pipe, (size_t) (pipe->released % pipe->depth));
	(void) pthread_mutex_unlock(&pipe->lock);
	return unit;
}

void
omb_pipeline_release(omb_pipeline *pipe)
{
	(void) pthread_mutex_lock(&pipe->lock);
	pipe->released++;
	(void) pthread_cond_signal(&pipe->changed_free);
	(void) pthread_mutex_unlock(&pipe->lock);
}

bool
omb_pipeline_busy(omb_pipeline *pipe)
{
	bool busy;

	(void) pthread_mutex_lock(&pipe->lock);
	busy = pipe->released < pipe->submitted;
	(void) pthread_mutex_unlock(&pipe->lock);
	return busy;
}

void
omb_pipeline_stop(omb_pipeline *pipe)
{
	int i;

	(void) pthread_mutex_lock(&pipe->lock);
	pipe->stopped = true;
	(void) pthread_cond_broadcast(&pipe->changed_work);
	(void) pthread_cond_broadcast(&pipe->changed_done);
	(void) pthread_cond_broadcast(&pipe->changed_free);
	(void) pthread_mutex_unlock(&pipe->lock);
	if (pipe->joined)
		return;
	pipe->joined = true;
	for (i = 0; i < pipe->workers; i++)
		(void) pthread_join(pipe->thread[i], NULL);
}

void
omb_pipeline_free(omb_pipeline *pipe)
{
	if (pipe == NULL)
		return;
	omb_pipeline_stop(pipe);
	(void) pthread_mutex_destroy(&pipe->lock);
	(void) pthread_cond_destroy(&pipe->changed_work);
	(void) pthread_cond_destroy(&pipe->changed_done);
	(void) pthread_cond_destroy(&pipe->changed_free);
	free(pipe->thread);
	free(pipe->units);
	free(pipe->done);
	free(pipe);
}
