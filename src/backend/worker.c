/*
 * worker.c: starting the dynamic workers of the launcher, and seeing them end.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "backend/worker.h"

bool
omb_start_worker(const char *function, const char *name, uint64 arg,
				 BackgroundWorkerHandle **handle)
{
	BackgroundWorker settings;

	memset(&settings, 0, sizeof(settings));
	settings.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	settings.bgw_start_time = BgWorkerStart_RecoveryFinished;
	settings.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(settings.bgw_library_name, "omsupply_backup",
			sizeof(settings.bgw_library_name));
	strlcpy(settings.bgw_function_name, function, BGW_MAXLEN);
	snprintf(settings.bgw_name, BGW_MAXLEN, "omsupply_backup %s", name);
	strlcpy(settings.bgw_type, settings.bgw_name, BGW_MAXLEN);
	settings.bgw_main_arg = Int64GetDatum((int64) arg);
	settings.bgw_notify_pid = MyProcPid;
	if (*handle != NULL)
		pfree(*handle);
	*handle = NULL;
	if (RegisterDynamicBackgroundWorker(&settings, handle))
		return true;
	*handle = NULL;
	return false;
}

OmbWorkerState
omb_look_at_worker(BackgroundWorkerHandle **handle)
{
	pid_t pid;

	if (*handle == NULL)
		return OMB_WORKER_NONE;
	if (GetBackgroundWorkerPid(*handle, &pid) != BGWH_STOPPED)
		return OMB_WORKER_RUNS;
	pfree(*handle);
	*handle = NULL;
	return OMB_WORKER_ENDED;
}
