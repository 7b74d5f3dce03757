/*
 * sole.c: the lock of a store that has none which ends with a process.
 */
#include "store/sole.h"

#include <stdlib.h>

typedef struct sole_lock
{
	omb_lock base;
	omb_sole *sole;
	bool exclusive;
} sole_lock;

void
omb_sole_init(omb_sole *sole, bool is_sole_user)
{
	sole->is_sole_user = is_sole_user;
	sole->shared = 0;
	sole->exclusive = false;
	(void) pthread_mutex_init(&sole->lock, NULL);
}

void
omb_sole_destroy(omb_sole *sole)
{
	(void) pthread_mutex_destroy(&sole->lock);
}

omb_status
omb_sole_take(omb_sole *sole, omb_store *store, bool exclusive,
			  omb_lock **lock, omb_error *err)
{
	sole_lock *taken;
	bool busy;

	if (exclusive && !sole->is_sole_user)
	{
		(void) omb_error_set(err, OMB_REFUSED, "cannot lock \"%s\" alone",
							 store->location);
		omb_error_detail(err, "There is no lock, so it cannot be seen whether "
							  "somebody restores from it now.");
		omb_error_hint(err, "Remove old backups with the server whose "
							"repository is kept there.");
		return err->status;
	}
	(void) pthread_mutex_lock(&sole->lock);
	busy = sole->exclusive || (exclusive && sole->shared > 0);
	if (!busy && exclusive)
		sole->exclusive = true;
	else if (!busy)
		sole->shared++;
	(void) pthread_mutex_unlock(&sole->lock);
	if (busy)
		return omb_error_set(err, OMB_BUSY, "repository \"%s\" is in use",
							 store->location);
	taken = omb_calloc(1, sizeof(*taken));
	taken->base.store = store;
	taken->sole = sole;
	taken->exclusive = exclusive;
	*lock = &taken->base;
	return OMB_OK;
}

void
omb_sole_give(omb_lock *lock)
{
	sole_lock *taken = (sole_lock *) lock;

	(void) pthread_mutex_lock(&taken->sole->lock);
	if (taken->exclusive)
		taken->sole->exclusive = false;
	else
		taken->sole->shared--;
	(void) pthread_mutex_unlock(&taken->sole->lock);
	free(taken);
}
