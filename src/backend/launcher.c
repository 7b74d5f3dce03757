/*
 * launcher.c: the process that starts jobs.
 *
 * It takes requests from shared memory and starts a worker for each. It is
 * connected to no database, so that it never stands in the way of dropping
 * one, and holds no transaction.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "backend/shared.h"
#include "backend/survey.h"

/* Seconds until the server starts it again after it ended. */
#define RESTART_SECONDS 5

static BackgroundWorkerHandle *worker = NULL;
static uint64 worker_serial = 0;

void
omb_launcher_register(void)
{
	BackgroundWorker launcher;

	memset(&launcher, 0, sizeof(launcher));
	launcher.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* a backup needs a server that writes WAL */
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = RESTART_SECONDS;
	strlcpy(launcher.bgw_library_name, "omsupply_backup",
			sizeof(launcher.bgw_library_name));
	strlcpy(launcher.bgw_function_name, "omb_launcher_main", BGW_MAXLEN);
	strlcpy(launcher.bgw_name, "omsupply_backup launcher", BGW_MAXLEN);
	strlcpy(launcher.bgw_type, "omsupply_backup launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&launcher);
}

static void
forget_launcher(int code, Datum arg)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (omb_shared->launcher_pid == MyProcPid)
		omb_shared->launcher_pid = 0;
	LWLockRelease(omb_shared->lock);
}

/* Start a worker for the job that is asked for, if any. */
static void
start_requested(void)
{
	BackgroundWorker job;
	uint64 serial = 0;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	if (omb_shared->job.state == OMB_JOB_REQUESTED)
		serial = omb_shared->job.serial;
	LWLockRelease(omb_shared->lock);
	if (serial == 0 || serial == worker_serial)
		return;

	memset(&job, 0, sizeof(job));
	job.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	job.bgw_start_time = BgWorkerStart_RecoveryFinished;
	job.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(job.bgw_library_name, "omsupply_backup",
			sizeof(job.bgw_library_name));
	strlcpy(job.bgw_function_name, "omb_job_main", BGW_MAXLEN);
	strlcpy(job.bgw_name, "omsupply_backup job", BGW_MAXLEN);
	strlcpy(job.bgw_type, "omsupply_backup job", BGW_MAXLEN);
	job.bgw_main_arg = Int64GetDatum((int64) serial);
	job.bgw_notify_pid = MyProcPid;
	if (worker != NULL)
		pfree(worker);
	worker = NULL;
	if (RegisterDynamicBackgroundWorker(&job, &worker))
		worker_serial = serial;
	else
	{
		worker = NULL;
		omb_shared_fail(serial, ERRCODE_INSUFFICIENT_RESOURCES,
						"could not start a worker for the backup",
						"All background worker slots are taken.",
						"Increase \"max_worker_processes\".");
	}
}

/* A worker that ended without a word has failed its job. */
static void
check_worker(void)
{
	pid_t pid;

	if (worker == NULL || GetBackgroundWorkerPid(worker, &pid) != BGWH_STOPPED)
		return;
	omb_shared_fail(worker_serial, ERRCODE_SYSTEM_ERROR,
					"the backup worker ended unexpectedly", NULL,
					"See the server log.");
	pfree(worker);
	worker = NULL;
}

/* A worker of an earlier launcher that is still at work keeps its job. */
static void
check_orphan(void)
{
	uint64 serial = 0;
	pid_t pid;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	pid = omb_shared->job.pid;
	if (worker == NULL && omb_shared->job.state == OMB_JOB_RUNNING)
		serial = omb_shared->job.serial;
	LWLockRelease(omb_shared->lock);
	if (serial != 0 && BackendPidGetProc(pid) == NULL)
		omb_shared_fail(serial, ERRCODE_SYSTEM_ERROR,
						"the backup worker ended unexpectedly", NULL,
						"See the server log.");
}

void
omb_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(forget_launcher, (Datum) 0);
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->launcher_pid = MyProcPid;
	LWLockRelease(omb_shared->lock);

	while (!ShutdownRequestPending)
	{
		start_requested();
		check_worker();
		check_orphan();
		omb_survey_step();
		/* requests, the end of a worker and signals set the latch */
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 60 * 1000L, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	/* with 0 the server would not start it again after pg_terminate_backend */
	proc_exit(1);
}
