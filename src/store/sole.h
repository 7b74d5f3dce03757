/*
 * sole.h: the lock of a store that has none which ends with a process.
 *
 * A lock with others is nothing but a note in this process. One that is held
 * alone is refused, unless the caller says that it sees to it by other means
 * that no other process uses the store meanwhile (the mirror of a repository
 * does, by holding the repository's own lock); then it excludes the other
 * locks of this omb_store.
 */
#ifndef OMB_STORE_SOLE_H
#define OMB_STORE_SOLE_H

#include "store/store.h"

#include <pthread.h>

typedef struct omb_sole
{
	bool is_sole_user;
	pthread_mutex_t lock; /* for what follows */
	unsigned int shared;
	bool exclusive;
} omb_sole;

extern void omb_sole_init(omb_sole *sole, bool is_sole_user);
extern void omb_sole_destroy(omb_sole *sole);

/* As omb_store_lock. */
extern omb_status omb_sole_take(omb_sole *sole, omb_store *store,
								bool exclusive, omb_lock **lock,
								omb_error *err);
extern void omb_sole_give(omb_lock *lock);

#endif
