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
#include "catalog/pg_type.h"
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
#include "backend/history.h"
#include "backend/schedule.h"
#include "backend/scheduler.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/status.h"

/* Pauses before a failed run is tried again, in minutes; the last repeats. */
static const int pauses[] = { 1, 5, 15, 60 };

/* A schedule that is enabled, with where it stands. */
typedef struct Schedule
{
	char *name;
	char *job;
	char *label;
	char *sample;
	char *max_time;
	char *definition;
	bool catch_up;
	omb_cron cron;
	pg_tz *zone;
	/* what the table backup_schedule_state holds */
	TimestampTz handled_until;
	bool is_running;
	TimestampTz started_at; /* 0: none */
	int failures;
	TimestampTz retry_at; /* 0: none */
	/* found now */
	TimestampTz next; /* 0: never */
	TimestampTz due_at;
	const char *due; /* cause of a run that is due, or NULL */
} Schedule;

typedef struct Turn
{
	char *schema;
	TimestampTz now;
	TimestampTz server_start;
	Schedule *schedules;
	int count;
	OmbRun *runs; /* that wait to be written */
	uint64 first_run;
	int run_count;
	uint64 changes; /* that were seen */
	TimestampTz wake_at;
	OmbJobState job_state;
	char running[OMB_SCHEDULE_MAX]; /* schedule of the job in hand */
	bool unconfigured; /* something is due, there is no repository */
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

static void
execute(const char *command, int count, Oid *types, Datum *values,
		const bool *is_null)
{
	char nulls[16];
	int i;

	for (i = 0; i < count; i++)
		nulls[i] = is_null[i] ? 'n' : ' ';
	if (SPI_execute_with_args(command, count, types, values, nulls, false, 0) <
		0)
		elog(ERROR, "could not execute \"%s\"", command);
}

/* ---- what waits in shared memory ---- */

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
	turn->changes = shared->changes;
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

/* ---- schedules ---- */

static char *
copy_column(int row, int column)
{
	char *value =
		SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value ? value : pstrdup("");
}

static TimestampTz
time_column(int row, int column)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
								column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* A row of the query below; false when it is of no use. */
static bool
read_row(int row, const Turn *turn, Schedule *s)
{
	omb_cron_error error;
	char *cron = copy_column(row, 3);
	char *zone = copy_column(row, 4);

	s->name = copy_column(row, 1);
	s->job = copy_column(row, 2);
	s->catch_up = copy_column(row, 5)[0] == 't';
	s->label = copy_column(row, 6);
	s->sample = copy_column(row, 7);
	s->max_time = copy_column(row, 8);
	s->definition = psprintf("%s, %s, %s", s->job, cron, zone);
	s->zone = omb_schedule_zone(zone);
	if (!omb_cron_parse(cron, &s->cron, &error) || s->zone == NULL ||
		!omb_schedule_job_known(s->job))
	{
		/* it was checked when it was set: a zone may be gone since */
		ereport(WARNING,
				(errmsg("schedule \"%s\" cannot run", s->name),
				 errdetail("Its job is \"%s\", its schedule is \"%s\", its "
						   "time zone is \"%s\".",
						   s->job, cron, zone)));
		return false;
	}
	if (strcmp(copy_column(row, 9), s->definition) != 0)
	{
		/* new, changed, or enabled just now: from now on */
		s->handled_until = turn->now;
		return true;
	}
	s->handled_until = time_column(row, 10);
	s->is_running = copy_column(row, 11)[0] == 't';
	s->started_at = time_column(row, 12);
	s->failures = atoi(copy_column(row, 13));
	s->retry_at = time_column(row, 14);
	return true;
}

static void
read_schedules(Turn *turn)
{
	int i;

	/* one scheduler at a time, should an old one still be there */
	execute(psprintf("LOCK TABLE %s.backup_schedule_state "
					 "IN SHARE ROW EXCLUSIVE MODE",
					 turn->schema),
			0, NULL, NULL, NULL);
	if (SPI_execute(
			psprintf(
				"SELECT s.name, s.job, s.cron, s.timezone, s.catch_up, "
				"s.label, s.options OPERATOR(pg_catalog.->>) 'sample', "
				"s.options OPERATOR(pg_catalog.->>) 'max_time', "
				"t.definition, t.handled_until, t.is_running, t.started_at, "
				"t.failures, t.retry_at "
				"FROM %s.backup_schedule AS s "
				"LEFT JOIN %s.backup_schedule_state AS t "
				"ON t.name OPERATOR(pg_catalog.=) s.name "
				"WHERE s.is_enabled ORDER BY s.name",
				turn->schema, turn->schema),
			true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_schedule");
	turn->schedules = palloc0((SPI_processed + 1) * sizeof(Schedule));
	for (i = 0; i < (int) SPI_processed; i++)
	{
		if (read_row(i, turn, &turn->schedules[turn->count]))
			turn->count++;
		else
			memset(&turn->schedules[turn->count], 0, sizeof(Schedule));
	}
}

/* The next regular run; 0 for never. */
static TimestampTz
next_regular(const Schedule *s)
{
	TimestampTz next;

	return omb_schedule_next(&s->cron, s->zone, s->handled_until, &next) ?
			   next :
			   0;
}

/* Try again after a pause, but not when the next regular run is nearer. */
static void
set_retry(Schedule *s, TimestampTz now)
{
	int pause = pauses[Min(s->failures, (int) lengthof(pauses) - 1)];
	TimestampTz next = next_regular(s);

	s->failures++;
	s->retry_at = now + pause * SECS_PER_MINUTE * USECS_PER_SEC;
	if (next != 0 && s->retry_at >= next)
		s->retry_at = 0;
}

/* A job ended that a schedule had asked for. */
static void
take_result(Turn *turn, const OmbRun *run)
{
	int i;

	for (i = 0; i < turn->count; i++)
	{
		Schedule *s = &turn->schedules[i];

		if (run->schedule[0] == '\0' || strcmp(s->name, run->schedule) != 0)
			continue;
		s->is_running = false;
		s->retry_at = 0;
		if (run->sqlstate == 0 || run->sqlstate == ERRCODE_QUERY_CANCELED)
			s->failures = 0;
		else
			set_retry(s, turn->now);
	}
}

/* A run of which nobody knows any more ended with the server. */
static void
find_lost(Turn *turn, Schedule *s)
{
	OmbRun run;

	if (!s->is_running || strcmp(turn->running, s->name) == 0)
		return;
	memset(&run, 0, sizeof(run));
	strlcpy(run.job, s->job, sizeof(run.job));
	strlcpy(run.cause, "schedule", sizeof(run.cause));
	omb_shared_text(run.schedule, sizeof(run.schedule), s->name);
	omb_shared_text(run.label, sizeof(run.label), s->label);
	run.started_at = s->started_at;
	run.ended_at = Max(s->started_at, omb_shared->scheduler.memory_start);
	run.sqlstate = ERRCODE_ADMIN_SHUTDOWN;
	strlcpy(run.message, "the server ended while the job ran",
			sizeof(run.message));
	omb_history_write(turn->schema, &run);
	take_result(turn, &run);
}

/* What is due, and when is the next run? */
static void
find_due(Turn *turn, Schedule *s)
{
	/* the clock was set back */
	if (s->handled_until > turn->now + SECS_PER_MINUTE * USECS_PER_SEC)
		s->handled_until = turn->now;
	if (s->retry_at > turn->now + SECS_PER_HOUR * USECS_PER_SEC)
		s->retry_at = turn->now;
	if (!s->catch_up && s->handled_until < turn->server_start)
		s->handled_until = turn->server_start - USECS_PER_SEC;
	s->next = next_regular(s);
	if (s->is_running)
		return;
	if (s->next != 0 && s->next <= turn->now)
	{
		s->due = s->next < turn->server_start ? "missed" : "schedule";
		s->due_at = s->next;
	}
	else if (s->retry_at != 0 && s->retry_at <= turn->now)
	{
		s->due = "retry";
		s->due_at = s->retry_at;
	}
}

/* The one that has waited longest; backups first. */
static Schedule *
choose(Turn *turn)
{
	Schedule *best = NULL;
	int i;

	for (i = 0; i < turn->count; i++)
	{
		Schedule *s = &turn->schedules[i];
		bool backup =
			strcmp(s->job, "backup") == 0 || strcmp(s->job, "full") == 0;
		bool best_backup = best != NULL && (strcmp(best->job, "backup") == 0 ||
											strcmp(best->job, "full") == 0);

		if (s->due == NULL)
			continue;
		if (best == NULL || (backup && !best_backup) ||
			(backup == best_backup && s->due_at < best->due_at))
			best = s;
	}
	return best;
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
put_request(const Turn *turn, const Schedule *s)
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
	omb_shared_text(job->schedule, sizeof(job->schedule), s->name);
	if (backup)
		omb_shared_text(job->label, sizeof(job->label), s->label);
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

static void
start_due(Turn *turn)
{
	Schedule *s = choose(turn);

	if (s == NULL || turn->job_state != OMB_JOB_NONE)
		return;
	if (omb_repository[0] == '\0')
	{
		turn->unconfigured = true;
		return;
	}
	if (!put_request(turn, s))
		return;
	s->is_running = true;
	s->started_at = GetCurrentTimestamp();
	s->retry_at = 0;
	if (strcmp(s->due, "retry") != 0)
	{
		/* all that were missed are made up by this one */
		s->handled_until = turn->now;
		s->failures = 0;
	}
	s->next = next_regular(s);
	s->due = NULL;
}

/* ---- where schedules stand ---- */

static void
write_state(const Turn *turn, const Schedule *s)
{
	Oid types[8] = { TEXTOID,		 TEXTOID, TIMESTAMPTZOID, BOOLOID,
					 TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID };
	Datum values[8];
	bool nulls[8] = { false };

	values[0] = CStringGetTextDatum(s->name);
	values[1] = CStringGetTextDatum(s->definition);
	values[2] = TimestampTzGetDatum(s->handled_until);
	values[3] = BoolGetDatum(s->is_running);
	values[4] = TimestampTzGetDatum(s->started_at);
	nulls[4] = s->started_at == 0;
	values[5] = Int32GetDatum(s->failures);
	values[6] = TimestampTzGetDatum(s->retry_at);
	nulls[6] = s->retry_at == 0;
	values[7] = TimestampTzGetDatum(s->next);
	nulls[7] = s->next == 0;
	execute(psprintf("INSERT INTO %s.backup_schedule_state AS t (name, "
					 "definition, handled_until, is_running, started_at, "
					 "failures, retry_at, next_run) "
					 "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
					 "ON CONFLICT (name) DO UPDATE SET definition = $2, "
					 "handled_until = $3, is_running = $4, started_at = $5, "
					 "failures = $6, retry_at = $7, next_run = $8 "
					 "WHERE ROW(t.definition, t.handled_until, t.is_running, "
					 "t.started_at, t.failures, t.retry_at, t.next_run) "
					 "IS DISTINCT FROM ROW($2, $3, $4, $5, $6, $7, $8)",
					 turn->schema),
			8, types, values, nulls);
}

static void
write_states(Turn *turn)
{
	int i;

	for (i = 0; i < turn->count; i++)
		write_state(turn, &turn->schedules[i]);
	execute(psprintf("DELETE FROM %s.backup_schedule_state AS t "
					 "WHERE NOT EXISTS (SELECT FROM %s.backup_schedule AS s "
					 "WHERE s.is_enabled "
					 "AND s.name OPERATOR(pg_catalog.=) t.name)",
					 turn->schema, turn->schema),
			0, NULL, NULL, NULL);
}

/* The earliest instant at which something is due; 0 for never. */
static TimestampTz
find_wakeup(const Turn *turn)
{
	TimestampTz earliest = 0;
	int i;

	for (i = 0; i < turn->count; i++)
	{
		const Schedule *s = &turn->schedules[i];
		TimestampTz at = s->next;

		/* what is due waits for the end of a job or for a setting */
		if (s->due != NULL || s->is_running)
			continue;
		if (s->retry_at != 0 && (at == 0 || s->retry_at < at))
			at = s->retry_at;
		if (at != 0 && (earliest == 0 || at < earliest))
			earliest = at;
	}
	return earliest;
}

/* ---- one turn ---- */

static void
take_turn(Turn *turn)
{
	int i;

	turn->now = omb_schedule_now();
	turn->server_start = omb_shared->scheduler.server_start;
	begin();
	turn->schema = omb_scheduler_schema();
	read_shared(turn);
	read_schedules(turn);
	for (i = 0; i < turn->run_count; i++)
	{
		omb_history_write(turn->schema, &turn->runs[i]);
		take_result(turn, &turn->runs[i]);
	}
	for (i = 0; i < turn->count; i++)
	{
		find_lost(turn, &turn->schedules[i]);
		find_due(turn, &turn->schedules[i]);
	}
	omb_history_trim(turn->schema, turn->now);
	omb_status_notify();
	start_due(turn);
	write_states(turn);
	turn->wake_at = find_wakeup(turn);
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
	const char *text = error ? error->message : "";
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
