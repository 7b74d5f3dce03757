/*
 * scratch.h: directories for a while. Each is locked by the process that made
 * it, so that what a killed one has left is known and removed by the next.
 */
#ifndef OMB_TASK_SCRATCH_H
#define OMB_TASK_SCRATCH_H

#include "base/error.h"

typedef struct omb_scratch
{
	char *path;
	int fd; /* holds the lock */
} omb_scratch;

/*
 * Make a directory below base, after removing those of processes that died.
 * base NULL is $TMPDIR, or /var/tmp.
 */
extern omb_status omb_scratch_make(const char *base, omb_scratch *scratch,
								   omb_error *err);
/* Remove it and all that is in it; free what scratch holds. */
extern omb_status omb_scratch_remove(omb_scratch *scratch, omb_error *err);

#endif
