/*
 * shared.c: the shared memory of the extension.
 */
#include "postgres.h"

#include <signal.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "backend/schedule.h"
#include "backend/shared.h"

#define NAME "omsupply_backup"

OmbShared *omb_shared = NULL;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static void
request(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(OmbShared)));
	RequestNamedLWLockTranche(NAME, 1);
}

static void
startup(void)
{
	bool found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	omb_shared = ShmemInitStruct(NAME, sizeof(OmbShared), &found);
	if (!found)
	{
		memset(omb_shared, 0, sizeof(OmbShared));
		omb_shared->lock = &GetNamedLWLockTranche(NAME)->lock;
		ConditionVariableInit(&omb_shared->changed);
		omb_shared->scheduler.server_start = omb_schedule_now();
		omb_shared->scheduler.memory_start = GetCurrentTimestamp();
		/* there may be some from before */
		omb_shared->notes_wanted = 1;
		omb_quarantine_read(&omb_shared->quarantine);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
omb_shared_request(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

void
omb_shared_text(char *to, size_t size, const char *from)
{
	int len = 0;

	if (from != NULL)
		len = pg_encoding_mbcliplen(PG_UTF8, from, strlen(from), size - 1);
	memcpy(to, from ? from : "", len);
	to[len] = '\0';
}

/* The caller holds the lock. */
static void
add_run(const OmbRun *run)
{
	OmbSchedulerShared *scheduler = &omb_shared->scheduler;

	if (scheduler->next_run - scheduler->first_run >= OMB_RUNS)
	{
		scheduler->first_run++;
		scheduler->runs_lost++;
	}
	scheduler->run[scheduler->next_run % OMB_RUNS] = *run;
	scheduler->next_run++;
}

void
omb_shared_add_run(const OmbRun *run)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	add_run(run);
	/* backup_expire(), which is no job of the launcher's */
	if (run->sqlstate == 0 && strcmp(run->job, "expire") == 0)
		omb_target_expire();
	LWLockRelease(omb_shared->lock);
	omb_wake(omb_shared->launcher_pid);
	omb_target_wake();
}

bool
omb_shared_message(const char *message)
{
	char *last = omb_shared->scheduler.message;
	size_t size = sizeof(omb_shared->scheduler.message);
	bool is_new = strncmp(last, message, size - 1) != 0;

	strlcpy(last, message, size);
	return is_new;
}

void
omb_scheduler_wake(void)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->scheduler.changes++;
	LWLockRelease(omb_shared->lock);
	omb_wake(omb_shared->launcher_pid);
}

/* A job that ended goes into the history. The caller holds the lock. */
static void
note_run(const OmbJob *job, const OmbResult *result)
{
	OmbRun run;

	memset(&run, 0, sizeof(run));
	strlcpy(run.job, job->job, sizeof(run.job));
	strlcpy(run.cause, job->cause, sizeof(run.cause));
	strlcpy(run.schedule, job->schedule, sizeof(run.schedule));
	strlcpy(run.requested_by, job->requested_by, sizeof(run.requested_by));
	strlcpy(run.label, job->label, sizeof(run.label));
	strlcpy(run.kind, job->kind, sizeof(run.kind));
	strlcpy(run.backup_id, job->backup_id, sizeof(run.backup_id));
	run.started_at = job->started_at ? job->started_at : job->requested_at;
	run.ended_at = GetCurrentTimestamp();
	run.sqlstate = result->ok ? 0 : result->sqlstate;
	run.has_numbers = result->ok;
	run.bytes_read = job->bytes_read;
	run.bytes_stored = job->bytes_stored;
	/* what was not read and not stored is in the repository from before */
	run.bytes_reused = job->bytes_total > job->bytes_read ?
						   job->bytes_total - job->bytes_read :
						   0;
	run.files = job->files_done;
	run.damaged_pages = job->damaged_pages;
	strlcpy(run.message, result->message, sizeof(run.message));
	strlcpy(run.detail, result->detail, sizeof(run.detail));
	strlcpy(run.hint, result->hint, sizeof(run.hint));
	if (result->ok && job->warning_count > 0)
		strlcpy(run.message, job->warning[0], sizeof(run.message));
	add_run(&run);
}

/* The caller holds the lock. */
static void
finish(uint64 serial, const OmbResult *result)
{
	OmbJob *job = &omb_shared->job;
	OmbResult *slot = &omb_shared->result[serial % OMB_RESULTS];

	/* whoever comes second, worker or launcher, changes nothing */
	if (job->state == OMB_JOB_NONE || job->serial != serial)
		return;
	*slot = *result;
	slot->serial = serial;
	strlcpy(slot->job, job->job, sizeof(slot->job));
	slot->warning_count = job->warning_count;
	memcpy(slot->warning, job->warning, sizeof(slot->warning));
	strlcpy(slot->backup_id, job->backup_id, sizeof(slot->backup_id));
	note_run(job, result);
	job->state = OMB_JOB_NONE;
	job->pid = 0;
	omb_shared->status.survey_wanted = true;
	if (result->ok && strcmp(slot->job, "expire") == 0)
		omb_target_expire();
	else if (result->ok)
		omb_target_work();
}

uint64
omb_shared_ask(const char *label, const char *kind, const char *requested_by,
			   OmbJob *busy)
{
	OmbJob *job = &omb_shared->job;
	TimestampTz now = GetCurrentTimestamp();
	uint64 serial = 0;
	pid_t launcher;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	launcher = omb_shared->launcher_pid;
	*busy = *job;
	if (launcher != 0 && job->state == OMB_JOB_NONE)
	{
		serial = ++omb_shared->last_serial;
		memset(job, 0, sizeof(*job));
		job->state = OMB_JOB_REQUESTED;
		job->serial = serial;
		job->requested_at = now;
		omb_shared_text(job->label, sizeof(job->label), label);
		strlcpy(job->kind, kind, sizeof(job->kind));
		strlcpy(job->job,
				strcmp(kind, "full") == 0 || strcmp(kind, "files") == 0 ?
					kind :
					"backup",
				sizeof(job->job));
		strlcpy(job->cause, "request", sizeof(job->cause));
		omb_shared_text(job->requested_by, sizeof(job->requested_by),
						requested_by);
		strlcpy(job->phase, "requested", sizeof(job->phase));
	}
	LWLockRelease(omb_shared->lock);
	omb_wake(launcher);
	return serial;
}

static void
fill_failure(OmbResult *result, int sqlstate, const char *message,
			 const char *detail, const char *hint)
{
	memset(result, 0, sizeof(*result));
	result->sqlstate = sqlstate;
	omb_shared_text(result->message, sizeof(result->message), message);
	omb_shared_text(result->detail, sizeof(result->detail), detail);
	omb_shared_text(result->hint, sizeof(result->hint), hint);
}

void
omb_shared_finish(uint64 serial, const OmbResult *result)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	finish(serial, result);
	LWLockRelease(omb_shared->lock);
	ConditionVariableBroadcast(&omb_shared->changed);
	omb_wake(omb_shared->launcher_pid);
	omb_target_wake();
}

void
omb_shared_fail(uint64 serial, int sqlstate, const char *message,
				const char *detail, const char *hint)
{
	OmbResult result;

	fill_failure(&result, sqlstate, message, detail, hint);
	omb_shared_finish(serial, &result);
}

const char *
omb_shared_canceled(void)
{
	const char *job = omb_shared->job.job;

	return strcmp(job, "backup") == 0 || strcmp(job, "full") == 0 ||
				   strcmp(job, "files") == 0 ?
			   "the backup was canceled on request" :
			   "the job was canceled on request";
}

/*
 * All under one lock: a worker that takes the job over in between would go on
 * with a backup that nobody knows of, and the process is still that of the job.
 */
bool
omb_shared_cancel(void)
{
	OmbJob *job = &omb_shared->job;
	OmbResult result;
	bool found;

	fill_failure(&result, ERRCODE_QUERY_CANCELED, omb_shared_canceled(), NULL,
				 NULL);
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	found = job->state != OMB_JOB_NONE;
	if (job->state == OMB_JOB_REQUESTED)
		finish(job->serial, &result);
	else if (job->state == OMB_JOB_RUNNING && job->pid != 0)
		(void) kill(job->pid, SIGINT);
	LWLockRelease(omb_shared->lock);
	ConditionVariableBroadcast(&omb_shared->changed);
	omb_wake(omb_shared->launcher_pid);
	return found;
}

void
omb_wake(pid_t pid)
{
	PGPROC *proc = pid ? BackendPidGetProc(pid) : NULL;

	if (proc != NULL)
		SetLatch(&proc->procLatch);
}
