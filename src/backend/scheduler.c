/*
 * scheduler.c: the worker that reads the schedules and writes the history.
 *
 * It lives for a moment: the launcher, which has no database, starts it when
 * there is something to do. In one transaction it writes the jobs that ended
 * into backup_history, finds out what is due, notes that in
 * backup_schedule_state and puts the request for one job into shared memory.
 * Whatever stops it (no database, no extension, a table that is locked), the
 * launcher tries again later and nothing is lost.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "backend/checks.h"
#include "backend/fileset.h"
#include "backend/history.h"
#include "backend/lowspace.h"
#include "backend/schedule.h"
#include "backend/scheduler.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/standing.h"
#include "backend/status.h"
#include "backend/text.h"

typedef struct Turn
{
	char *schema;
	TimestampTz now;
	TimestampTz server_start;
	OmbStanding standing;
	OmbRun *runs; /* that wait to be written */
	uint64 first_run;
	int run_count;
	uint64 changes; /* that were seen */
	TimestampTz wake_at;
	OmbJobState job_state;
	char running[OMB_SCHEDULE_MAX]; /* schedule of the job in hand */
	bool unconfigured; /* something is due, there is no repository */
	OmbTargetConfig *targets;
	int target_count;
} Turn;

/* ---- the database ---- */

void
omb_scheduler_prepare(void)
{
	static const char *const settings[][2] = {
		/* nothing here may be caught in another schema */
		{ "search_path", "pg_catalog, pg_temp" },
		/* shorter than DROP DATABASE waits for others */
		{ "lock_timeout", "2s" },
		{ "statement_timeout", "0" },
		{ "default_transaction_read_only", "off" },
		{ "default_transaction_isolation", "read committed" },
		{ "session_replication_role", "origin" },
		/* a standby that is away must not hold up backups */
		{ "synchronous_commit", "local" },
	};
	int i;

	for (i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET,
						PGC_S_OVERRIDE);
}

char *
omb_scheduler_schema(void)
{
	char *schema;

	if (SPI_execute("SELECT n.nspname, e.extversion "
					"FROM pg_catalog.pg_extension AS e "
					"JOIN pg_catalog.pg_namespace AS n "
					"ON n.oid OPERATOR(pg_catalog.=) e.extnamespace "
					"WHERE e.extname OPERATOR(pg_catalog.=) "
					"'omsupply_backup'",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for the extension");
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"omsupply_backup\" is not installed in "
						"database \"%s\"",
						omb_database),
				 errhint("Execute \"CREATE EXTENSION omsupply_backup\" there, "
						 "or set \"omsupply_backup.database\".")));
	omb_check_sql_version(
		SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
	schema = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	return pstrdup(quote_identifier(schema));
}

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit(void)
{
	PopActiveSnapshot();
	(void) SPI_finish();
	CommitTransactionCommand();
}

/* ---- what waits in shared memory ---- */

/*
 * Before the snapshot is taken: what is committed after it then counts as not
 * seen, and is for the next turn.
 */
static void
read_changes(Turn *turn)
{
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	turn->changes = omb_shared->scheduler.changes;
	LWLockRelease(omb_shared->lock);
}

static void
read_shared(Turn *turn)
{
	OmbSchedulerShared *shared = &omb_shared->scheduler;
	uint64 lost;
	int i;

	turn->runs = MemoryContextAllocHuge(CurrentMemoryContext,
										OMB_RUNS * sizeof(OmbRun));
	/* runs and the job in hand at one instant: none falls between */
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	turn->first_run = shared->first_run;
	turn->run_count = (int) (shared->next_run - shared->first_run);
	for (i = 0; i < turn->run_count; i++)
		turn->runs[i] = shared->run[(shared->first_run + i) % OMB_RUNS];
	turn->job_state = omb_shared->job.state;
	if (turn->job_state != OMB_JOB_NONE)
		strlcpy(turn->running, omb_shared->job.schedule,
				sizeof(turn->running));
	lost = shared->runs_lost;
	shared->runs_lost = 0;
	LWLockRelease(omb_shared->lock);
	if (lost > 0)
		ereport(WARNING,
				(errmsg(UINT64_FORMAT " jobs are missing in the history of "
									  "backups",
						lost),
				 errdetail("They ended while the history could not be "
						   "written; the server log has them.")));
}

/* What was written need not wait any more. */
static void
forget_runs(const Turn *turn)
{
	OmbSchedulerShared *shared = &omb_shared->scheduler;
	uint64 done = turn->first_run + turn->run_count;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (shared->first_run < done)
		shared->first_run = done;
	LWLockRelease(omb_shared->lock);
}

/* A run of which nobody knows any more ended with the server. */
static void
find_lost(Turn *turn, OmbSchedule *s)
{
	OmbRun run;

	if (!s->is_running ||
		strcmp(turn->running, omb_text_from_server(s->name)) == 0)
		return;
	memset(&run, 0, sizeof(run));
	strlcpy(run.job, s->job, sizeof(run.job));
	strlcpy(run.cause, "schedule", sizeof(run.cause));
	omb_shared_text(run.schedule, sizeof(run.schedule),
					omb_text_from_server(s->name));
	omb_shared_text(run.label, sizeof(run.label),
					omb_text_from_server(s->label));
	run.started_at = s->started_at;
	run.ended_at = Max(s->started_at, omb_shared->scheduler.memory_start);
	run.sqlstate = ERRCODE_ADMIN_SHUTDOWN;
	strlcpy(run.message, "the server ended while the job ran",
			sizeof(run.message));
	omb_history_write(turn->schema, &run);
	omb_standing_end(&turn->standing, s->name, run.sqlstate);
}

/* ---- the request ---- */

/* The rules for the repository; without a row none is set. */
static void
read_rules(const Turn *turn, OmbJob *job)
{
	int i;

	for (i = 0; i < OMB_RULES; i++)
		job->rules[i] = -1;
	if (SPI_execute(psprintf("SELECT keep_last, keep_days, keep_weeks, "
							 "keep_months, keep_years, keep_wal_days, "
							 "minimum FROM %s.backup_retention "
							 "WHERE store OPERATOR(pg_catalog.=) 'local'",
							 turn->schema),
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_retention");
	for (i = 0; i < OMB_RULES && SPI_processed > 0; i++)
	{
		bool isnull;
		Datum value = SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, i + 1, &isnull);

		if (!isnull)
			job->rules[i] = DatumGetInt32(value);
	}
}

/* Ask for the job, unless somebody was faster. */
static bool
put_request(const Turn *turn, const OmbSchedule *s)
{
	OmbJob *job = palloc0(sizeof(OmbJob));
	bool backup = strcmp(s->job, "backup") == 0 || strcmp(s->job, "full") == 0;
	bool free;

	if (strcmp(s->job, "expire") == 0)
		read_rules(turn, job);
	job->state = OMB_JOB_REQUESTED;
	job->requested_at = GetCurrentTimestamp();
	strlcpy(job->job, s->job, sizeof(job->job));
	strlcpy(job->cause, s->due, sizeof(job->cause));
	strlcpy(job->kind, strcmp(s->job, "backup") == 0 ? "auto" : s->job,
			sizeof(job->kind));
	strlcpy(job->requested_by, "scheduler", sizeof(job->requested_by));
	strlcpy(job->phase, "requested", sizeof(job->phase));
	strlcpy(job->sample, s->sample, sizeof(job->sample));
	strlcpy(job->max_time, s->max_time, sizeof(job->max_time));
	omb_shared_text(job->schedule, sizeof(job->schedule),
					omb_text_from_server(s->name));
	if (backup)
		omb_shared_text(job->label, sizeof(job->label),
						omb_text_from_server(s->label));
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	free =
		omb_shared->job.state == OMB_JOB_NONE && omb_shared->launcher_pid != 0;
	if (free)
	{
		job->serial = ++omb_shared->last_serial;
		omb_shared->job = *job;
	}
	LWLockRelease(omb_shared->lock);
	return free;
}

/*
 * Ask for the removal of old backups when the repository lacks space. False
 * when that is not so, or no rule allows it.
 */
static bool
start_lowspace(Turn *turn)
{
	OmbSchedule nobody;
	OmbJob *job = palloc0(sizeof(OmbJob));
	bool allowed = false;
	int i;

	if (turn->job_state != OMB_JOB_NONE || !omb_lowspace_due(turn->now))
		return false;
	read_rules(turn, job);
	for (i = 0; i < OMB_RULES - 1; i++)
		allowed = allowed || job->rules[i] > 0;
	memset(&nobody, 0, sizeof(nobody));
	nobody.name = nobody.label = nobody.sample = nobody.max_time = "";
	nobody.job = "expire";
	nobody.due = "low space";
	if (allowed && !put_request(turn, &nobody))
		return false;
	omb_lowspace_asked(turn->now);
	if (allowed)
		ereport(LOG, (errmsg("removing old backups because the repository has "
							 "less than %d MB free",
							 omb_min_free)));
	return allowed;
}

/* For backup_status: nobody takes backups when no schedule does. */
static void
note_schedules(const Turn *turn)
{
	int count = omb_standing_backups(&turn->standing);

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->scheduler.schedules_known = true;
	omb_shared->scheduler.backup_schedules = count;
	LWLockRelease(omb_shared->lock);
}

static void
start_due(Turn *turn)
{
	OmbSchedule *s = omb_standing_choose(&turn->standing);

	if (s == NULL || turn->job_state != OMB_JOB_NONE)
		return;
	if (omb_repository[0] == '\0')
	{
		turn->unconfigured = true;
		return;
	}
	if (!put_request(turn, s))
		return;
	omb_standing_start(&turn->standing, s);
}

/* Targets outlive the transaction. */
static void
read_targets(Turn *turn)
{
	OmbTargetConfig *read;

	turn->target_count = omb_target_read(turn->schema, &read);
	turn->targets = MemoryContextAlloc(
		TopMemoryContext, (turn->target_count + 1) * sizeof(OmbTargetConfig));
	memcpy(turn->targets, read, turn->target_count * sizeof(OmbTargetConfig));
}

/* ---- one turn ---- */

static void
take_turn(Turn *turn)
{
	int i;

	turn->now = omb_schedule_now();
	turn->server_start = omb_shared->scheduler.server_start;
	read_changes(turn);
	begin();
	turn->schema = omb_scheduler_schema();
	read_shared(turn);
	omb_standing_read(&turn->standing, turn->schema, turn->now);
	for (i = 0; i < turn->run_count; i++)
	{
		omb_history_write(turn->schema, &turn->runs[i]);
		omb_standing_end(&turn->standing,
						 omb_text_to_server(turn->runs[i].schedule),
						 turn->runs[i].sqlstate);
	}
	for (i = 0; i < turn->standing.count; i++)
		find_lost(turn, &turn->standing.schedules[i]);
	omb_standing_find_due(&turn->standing, turn->server_start);
	/* before a job that is asked for can start */
	omb_file_sets_put(omb_file_sets_read(turn->schema));
	omb_history_trim(turn->schema, turn->now);
	omb_status_notify();
	note_schedules(turn);
	if (!start_lowspace(turn))
		start_due(turn);
	omb_standing_write(&turn->standing, turn->schema);
	turn->wake_at = omb_standing_wakeup(&turn->standing);
	read_targets(turn);
	/* a kill in between would write them twice */
	HOLD_INTERRUPTS();
	commit();
	forget_runs(turn);
	RESUME_INTERRUPTS();
}

/*
 * Log what is wrong when it is something else than the last time; NULL is
 * nothing.
 */
static void
note_message(const ErrorData *error)
{
	const char *text = error ? omb_text_from_server(error->message) : "";
	bool is_new;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	is_new = omb_shared_message(text);
	LWLockRelease(omb_shared->lock);
	if (is_new && error != NULL)
		ereport(LOG,
				(errmsg("schedules of omsupply_backup do not work: %s", text),
				 error->detail ? errdetail("%s", error->detail) : 0,
				 error->hint ? errhint("%s", error->hint) : 0));
}

static void
leave_failed(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	HOLD_INTERRUPTS();
	LWLockReleaseAll();
	AbortCurrentTransaction();
	note_message(error);
	/* with the extension its targets are gone */
	if (error->sqlerrcode == ERRCODE_UNDEFINED_OBJECT)
		omb_target_apply(NULL, 0);
	proc_exit(1);
}

void
omb_scheduler_main(Datum arg)
{
	uint64 number = (uint64) DatumGetInt64(arg);
	MemoryContext context;
	Turn turn;
	ErrorData unconfigured;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(omb_database, NULL, 0);
	omb_scheduler_prepare();
	context = AllocSetContextCreate(
		TopMemoryContext, "omsupply_backup scheduler", ALLOCSET_DEFAULT_SIZES);
	memset(&turn, 0, sizeof(turn));
	memset(&unconfigured, 0, sizeof(unconfigured));
	unconfigured.message =
		pstrdup("a job is due and \"omsupply_backup.repository\" is not set");
	PG_TRY();
	{
		take_turn(&turn);
	}
	PG_CATCH();
	{
		leave_failed(context);
	}
	PG_END_TRY();
	omb_target_apply(turn.targets, turn.target_count);
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->scheduler.done = number;
	omb_shared->scheduler.wake_at = turn.wake_at;
	omb_shared->scheduler.changes_seen = turn.changes;
	LWLockRelease(omb_shared->lock);
	note_message(turn.unconfigured ? &unconfigured : NULL);
	pgstat_report_stat(true);
	omb_wake(omb_shared->launcher_pid);
}

/* ---- checks ---- */

/* Rows of backup_check() that say "error". */
static uint64
count_errors(void)
{
	int column = SPI_fnumber(SPI_tuptable->tupdesc, "result");
	uint64 errors = 0;
	uint64 i;

	for (i = 0; column > 0 && i < SPI_processed; i++)
	{
		char *result =
			SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column);

		if (result != NULL && strcmp(result, "error") == 0)
			errors++;
	}
	return errors;
}

void
omb_scheduler_check(void)
{
	uint64 errors;

	omb_scheduler_prepare();
	begin();
	if (SPI_execute(psprintf("SELECT * FROM %s.backup_check()",
							 omb_scheduler_schema()),
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute backup_check()");
	errors = count_errors();
	commit();
	if (errors > 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("backup_check() found " UINT64_FORMAT " error%s",
						errors, errors == 1 ? "" : "s"),
				 errhint("Execute \"SELECT * FROM backup_check()\".")));
}
