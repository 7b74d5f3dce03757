/*
 * launcher.c: the process that starts jobs.
 *
 * It takes requests from shared memory and starts a worker for each. When a
 * schedule is due, a job ended or a schedule changed it starts the scheduler.
 * It is connected to no database, so that it never stands in the way of
 * dropping one, and holds no transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "backend/lowspace.h"
#include "backend/notes.h"
#include "backend/quarantine.h"
#include "backend/schedule.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/survey.h"
#include "backend/watermark.h"
#include "backend/worker.h"

/* Seconds until the server starts it again after it ended. */
#define RESTART_SECONDS 5

/* Seconds between looks at the tables when nothing else happens. */
#define POLL_SECONDS 300

/* Seconds until the scheduler is tried again; doubled up to the pause above. */
#define FIRST_PAUSE 5

/* Seconds to sleep at most: the clock may be set. */
#define SLEEP_SECONDS 60

static BackgroundWorkerHandle *worker = NULL;
static uint64 worker_serial = 0;

/* The scheduler, and when it may be started again. */
static struct
{
	BackgroundWorkerHandle *handle;
	uint64 number;
	uint64 changes; /* for which a pause was cut short */
	int pause;
	TimestampTz not_before;
	TimestampTz poll_at;
} scheduler;

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

/*
 * A backup waits until the scheduler has read what it needs from tables, and
 * was changed last. If that fails it does with what is known. The caller holds
 * the lock.
 */
static bool
must_wait(const OmbJob *job)
{
	return omb_shared->scheduler.changes !=
			   omb_shared->scheduler.changes_seen &&
		   scheduler.pause == 0 &&
		   (strcmp(job->job, "backup") == 0 || strcmp(job->job, "full") == 0 ||
			strcmp(job->job, "files") == 0);
}

/* Start a worker for the job that is asked for, if any. */
static void
start_requested(void)
{
	uint64 serial = 0;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	if (omb_shared->job.state == OMB_JOB_REQUESTED &&
		!must_wait(&omb_shared->job))
		serial = omb_shared->job.serial;
	LWLockRelease(omb_shared->lock);
	if (serial == 0 || serial == worker_serial)
		return;

	if (omb_start_worker("omb_job_main", "job", serial, &worker))
		worker_serial = serial;
	else
	{
		omb_shared_fail(serial, ERRCODE_INSUFFICIENT_RESOURCES,
						"could not start a worker for the job",
						"All background worker slots are taken.",
						"Increase \"max_worker_processes\".");
	}
}

/* A worker that ended without a word has failed its job. */
static void
check_worker(void)
{
	if (omb_look_at_worker(&worker) == OMB_WORKER_ENDED)
		omb_shared_fail(worker_serial, ERRCODE_SYSTEM_ERROR,
						"the worker of the job ended unexpectedly", NULL,
						"See the server log.");
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
						"the worker of the job ended unexpectedly", NULL,
						"See the server log.");
}

/* ---- the scheduler ---- */

/* Is there something to do for it? */
static bool
scheduler_needed(void)
{
	OmbSchedulerShared *shared = &omb_shared->scheduler;
	bool needed = omb_lowspace_due(omb_schedule_now());

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	needed = needed || shared->changes != shared->changes_seen ||
			 shared->first_run != shared->next_run ||
			 (shared->wake_at != 0 && shared->wake_at <= omb_schedule_now());
	/* what keeps it from working may be over */
	if (shared->changes != scheduler.changes)
	{
		scheduler.changes = shared->changes;
		scheduler.pause = 0;
		scheduler.not_before = 0;
	}
	LWLockRelease(omb_shared->lock);
	return needed || GetCurrentTimestamp() >= scheduler.poll_at;
}

/* It could not work: later again, after growing pauses. */
static void
scheduler_failed(void)
{
	scheduler.pause = scheduler.pause == 0 ?
						  FIRST_PAUSE :
						  Min(scheduler.pause * 2, POLL_SECONDS);
	scheduler.not_before = TimestampTzPlusMilliseconds(
		GetCurrentTimestamp(), scheduler.pause * 1000L);
}

/* Say why the schedules do not work, once. */
static void
scheduler_message(const char *message, const char *hint)
{
	bool is_new;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	is_new = omb_shared_message(message);
	LWLockRelease(omb_shared->lock);
	if (is_new)
		ereport(LOG, (errmsg("schedules of omsupply_backup do not work: %s",
							 message),
					  errhint("%s", hint)));
}

/* To connect to a database that is missing would be an error of the worker. */
static bool
database_exists(void)
{
	Relation databases;
	ScanKeyData key[1];
	SysScanDesc scan;
	bool found;

	StartTransactionCommand();
	databases = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key[0], Anum_pg_database_datname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(omb_database));
	/* without a database indexes cannot be opened at all times */
	scan = systable_beginscan(databases, InvalidOid, false, NULL, 1, key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(databases, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
	if (found)
		return true;
	scheduler_message(
		psprintf("database \"%s\" does not exist", omb_database),
		"Set \"omsupply_backup.database\" to the database in which the "
		"extension is installed, and reload the server.");
	omb_target_apply(NULL, 0);
	return false;
}

/* How did the last one end? False while it runs. */
static bool
scheduler_ended(void)
{
	OmbWorkerState state = omb_look_at_worker(&scheduler.handle);
	bool done;

	if (state != OMB_WORKER_ENDED)
		return state == OMB_WORKER_NONE;
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	done = omb_shared->scheduler.done == scheduler.number;
	LWLockRelease(omb_shared->lock);
	if (done)
	{
		scheduler.pause = 0;
		scheduler.not_before = 0;
	}
	else
		scheduler_failed();
	scheduler.poll_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													POLL_SECONDS * 1000L);
	return true;
}

/* Start the scheduler when it is time; returns milliseconds to sleep. */
static long
run_scheduler(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz farthest =
		TimestampTzPlusMilliseconds(now, POLL_SECONDS * 1000L);
	TimestampTz wake_at;
	long sleep = SLEEP_SECONDS * 1000L;

	/* the clock was set back */
	scheduler.not_before = Min(scheduler.not_before, farthest);
	scheduler.poll_at = Min(scheduler.poll_at, farthest);
	if (!scheduler_ended())
		return sleep;
	if (scheduler_needed())
	{
		if (scheduler.not_before > now)
			return Min(sleep, TimestampDifferenceMilliseconds(
								  now, scheduler.not_before) +
								  1);
		if (!database_exists())
			scheduler_failed();
		else if (!omb_start_worker("omb_scheduler_main", "scheduler",
								   ++scheduler.number, &scheduler.handle))
		{
			scheduler_message("all background worker slots are taken",
							  "Increase \"max_worker_processes\".");
			scheduler_failed();
		}
		if (scheduler.handle == NULL)
			return Min(sleep, scheduler.pause * 1000L);
		return sleep;
	}
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	wake_at = omb_shared->scheduler.wake_at;
	LWLockRelease(omb_shared->lock);
	if (wake_at != 0)
		sleep = Min(
			sleep,
			TimestampDifferenceMilliseconds(omb_schedule_now(), wake_at) + 1);
	return sleep;
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
	omb_shared->scheduler.changes++;
	scheduler.number = omb_shared->scheduler.done;
	LWLockRelease(omb_shared->lock);

	while (!ShutdownRequestPending)
	{
		long sleep;

		sleep = run_scheduler();
		start_requested();
		check_worker();
		check_orphan();
		omb_survey_step();
		sleep = omb_mirror_step(sleep);
		sleep = Min(sleep, omb_quarantine_step());
		sleep = Min(sleep, omb_notes_step());
		sleep = Min(sleep, omb_watermark_step());
		/* requests, the end of a worker and signals set the latch */
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 sleep, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			omb_scheduler_wake();
		}
	}
	/* with 0 the server would not start it again after pg_terminate_backend */
	proc_exit(1);
}
