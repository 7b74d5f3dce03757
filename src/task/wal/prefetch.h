/*
 * prefetch.h: a process that fetches WAL segments ahead into the spool.
 */
#ifndef OMB_TASK_PREFETCH_H
#define OMB_TASK_PREFETCH_H

#include "task/wal/walspool.h"

/*
 * Start fetching what follows a segment that was just asked for, in a process
 * of its own that ends by itself. The spool must be locked; the lock goes to
 * the new process when the caller closes the spool. Nothing happens when
 * there is nothing to fetch.
 */
extern void omb_prefetch_start(omb_repository *repo, omb_spool *spool,
							   const char *file, uint64_t segment_size,
							   int jobs);

#endif
