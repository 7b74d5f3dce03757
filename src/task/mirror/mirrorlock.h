/*
 * mirrorlock.h: keeping what a target holds locked.
 *
 * Objects are locked when they are stored, for some days. What the target's
 * rules no longer keep is removed there, so all that is there is needed still:
 * now and then all of it is looked at, and locked anew (store/objectlock.h).
 * That is done in steps of some seconds; how far it got is kept in a file, with
 * when it was begun last.
 */
#ifndef OMB_TASK_MIRRORLOCK_H
#define OMB_TASK_MIRRORLOCK_H

#include "store/store.h"
#include "task/mirror/throttle.h"

typedef struct omb_mirror_lock_config
{
	omb_store *to;
	const char *path;		/* of that file; NULL: all is looked at at once */
	int jobs;				/* requests at once */
	omb_throttle *throttle; /* or NULL */
	size_t names;			/* at once in memory; 0: 20000 */
} omb_mirror_lock_config;

typedef struct omb_mirror_lock_result
{
	uint64_t looked_at; /* objects */
	uint64_t extended;	/* of these: they were locked anew */
	bool is_done;		/* nothing is left to do now */
} omb_mirror_lock_result;

typedef struct omb_mirror_locker omb_mirror_locker;

/* NULL when the target's objects are not locked by its URL. */
extern omb_mirror_locker *omb_mirror_locker_new(
	const omb_mirror_lock_config *config);
/* NULL is fine. */
extern void omb_mirror_locker_free(omb_mirror_locker *locker);

/*
 * Go on for at most so many seconds (0: to the end), when it is time for that.
 * A failure ends it; the next call goes on where it was.
 */
extern omb_status omb_mirror_locker_step(omb_mirror_locker *locker,
										 uint64_t seconds,
										 omb_mirror_lock_result *result,
										 omb_error *err);

#endif
