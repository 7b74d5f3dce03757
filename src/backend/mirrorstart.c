/*
 * mirrorstart.c: the launcher's part in targets: a worker for each.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "backend/shared.h"
#include "backend/target.h"
#include "backend/worker.h"

/* Between two starts of one worker. */
#define PAUSE_MS (5 * 1000L)

static struct
{
	BackgroundWorkerHandle *handle[OMB_TARGETS];
	TimestampTz not_before[OMB_TARGETS];
	bool warned;
} launcher;

static bool
start_worker(int i)
{
	OmbTarget *target = &omb_shared->targets.target[i];

	if (omb_start_worker("omb_mirror_main", "mirror", (uint64) i,
						 &launcher.handle[i]))
		return true;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	target->state = OMB_TARGET_FAILING;
	if (target->failing_since == 0)
		target->failing_since = GetCurrentTimestamp();
	target->last_error_at = GetCurrentTimestamp();
	strlcpy(target->last_error, "all background worker slots are taken",
			sizeof(target->last_error));
	strlcpy(target->hint, "Increase \"max_worker_processes\".",
			sizeof(target->hint));
	LWLockRelease(omb_shared->lock);
	if (!launcher.warned)
		ereport(WARNING,
				(errmsg("could not start a worker to copy the repository to "
						"a target"),
				 errdetail("All background worker slots are taken."),
				 errhint("Increase \"max_worker_processes\".")));
	launcher.warned = true;
	return false;
}

/* A worker that ended, but not because its target is gone, is started again. */
long
omb_mirror_step(long sleep)
{
	TimestampTz now = GetCurrentTimestamp();
	int i;

	for (i = 0; i < OMB_TARGETS; i++)
	{
		bool used;
		pid_t pid;

		if (omb_look_at_worker(&launcher.handle[i]) == OMB_WORKER_RUNS)
			continue;
		LWLockAcquire(omb_shared->lock, LW_SHARED);
		used = omb_shared->targets.target[i].used;
		pid = omb_shared->targets.target[i].pid;
		LWLockRelease(omb_shared->lock);
		/* one of an earlier launcher may be at work */
		if (!used || (pid != 0 && BackendPidGetProc(pid) != NULL))
			continue;
		launcher.not_before[i] =
			Min(launcher.not_before[i],
				TimestampTzPlusMilliseconds(now, PAUSE_MS));
		if (now >= launcher.not_before[i])
		{
			launcher.not_before[i] =
				TimestampTzPlusMilliseconds(now, PAUSE_MS);
			if (start_worker(i))
				continue;
		}
		sleep = Min(
			sleep,
			TimestampDifferenceMilliseconds(now, launcher.not_before[i]) + 1);
	}
	return sleep;
}
