/*
 * worker.h: dynamic workers of the launcher.
 */
#ifndef OMB_BACKEND_WORKER_H
#define OMB_BACKEND_WORKER_H

#include "postmaster/bgworker.h"

/*
 * Start "omsupply_backup <name>", which runs function of this library with arg
 * and is never restarted by the postmaster; the caller is told of its start and
 * end by its latch. *handle is NULL or that of a worker that has ended. False,
 * and *handle NULL, when there is no slot for a worker.
 */
extern bool omb_start_worker(const char *function, const char *name,
							 uint64 arg, BackgroundWorkerHandle **handle);

typedef enum OmbWorkerState
{
	OMB_WORKER_NONE,
	OMB_WORKER_RUNS,
	OMB_WORKER_ENDED /* since the last look */
} OmbWorkerState;

/* How is the worker? *handle becomes NULL when it has ended. */
extern OmbWorkerState omb_look_at_worker(BackgroundWorkerHandle **handle);

#endif
