/*
 * removeall.h: removing many objects where each takes a request of its own.
 *
 * Several threads remove side by side, so that the time for an answer is not
 * waited for again and again. What a store's remove_many promises holds.
 */
#ifndef OMB_STORE_REMOVEALL_H
#define OMB_STORE_REMOVEALL_H

#include "store/store.h"

/* With 200 ms for each answer 10,000 objects take two minutes. */
#define OMB_REMOVE_THREADS 16

/* Remove one; OMB_NOT_FOUND is as good as gone. Called by several threads. */
typedef omb_status (*omb_remove_one)(void *store, const char *name,
									 omb_error *err);

/*
 * By so many threads, at most OMB_REMOVE_THREADS. removed is never called by two
 * of them at once.
 */
extern omb_status omb_remove_all(void *store, omb_remove_one remove,
								 size_t threads, const char *const *name,
								 size_t count, omb_store_removed removed,
								 void *arg, omb_error *err);

#endif
