/*
 * removeall.c: removing many objects where each takes a request of its own.
 */
#include "store/removeall.h"

#include <pthread.h>

typedef struct removing
{
	void *store;
	omb_remove_one remove;
	const char *const *name;
	size_t count;
	omb_store_removed removed;
	void *arg;
	pthread_mutex_t lock; /* for what follows, and calls of removed */
	size_t next;
	omb_error err; /* the first one; ends it */
} removing;

/* Take note of what became of one; r is locked. */
static void
note(removing *r, size_t i, omb_error *result)
{
	switch (result->status)
	{
		case OMB_OK:
		case OMB_NOT_FOUND:
			r->removed(i, NULL, r->arg);
			break;
		case OMB_REFUSED:
			r->removed(i, result, r->arg);
			break;
		default:
			if (r->err.status == OMB_OK)
				r->err = *result;
	}
}

static void *
run(void *arg)
{
	removing *r = arg;

	(void) pthread_mutex_lock(&r->lock);
	while (r->next < r->count && r->err.status == OMB_OK)
	{
		size_t i = r->next++;
		omb_error result = OMB_ERROR_INIT;

		(void) pthread_mutex_unlock(&r->lock);
		(void) r->remove(r->store, r->name[i], &result);
		(void) pthread_mutex_lock(&r->lock);
		note(r, i, &result);
	}
	(void) pthread_mutex_unlock(&r->lock);
	return NULL;
}

omb_status
omb_remove_all(void *store, omb_remove_one remove, size_t threads,
			   const char *const *name, size_t count,
			   omb_store_removed removed, void *arg, omb_error *err)
{
	removing r = { .store = store,
				   .remove = remove,
				   .name = name,
				   .count = count,
				   .removed = removed,
				   .arg = arg,
				   .err = OMB_ERROR_INIT };
	pthread_t thread[OMB_REMOVE_THREADS];
	size_t started = 0;

	(void) pthread_mutex_init(&r.lock, NULL);
	/* this one removes, too, so it works without any other */
	while (started + 1 < threads && started + 1 < count &&
		   pthread_create(&thread[started], NULL, run, &r) == 0)
		started++;
	(void) run(&r);
	while (started > 0)
		(void) pthread_join(thread[--started], NULL);
	(void) pthread_mutex_destroy(&r.lock);
	if (r.err.status != OMB_OK)
		*err = r.err;
	return err->status;
}
