/*
 * watermark.c: the worker that measures watermarks.
 *
 * It lives for a moment, in omsupply_backup.database. Each query of
 * backup_watermark that is due runs in a transaction of its own that is read
 * only and short, as the role that the row names, and gives up at once rather
 * than to wait for a lock: the application must not notice. The result becomes
 * a note for the repository (backend/notes.c) and then, without its rows, the
 * last value in backup_watermark_state, which the next query gets as $1. A
 * failure is a text in that table and nothing else.
 *
 * A server that has nothing to do must not fill the archive with WAL of ours.
 * So when each was measured is in shared memory, and the table is written only
 * for what is new, or once a day. The same value is noted again now and then,
 * which needs no WAL, to tell how long it was so.
 *
 * The table can be read by those who monitor: of a watermark with "secret" in
 * its name it has a hash.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "backend/notes.h"
#include "backend/scheduler.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/watermark.h"
#include "backend/worker.h"

#define QUERY_TIMEOUT_MS 2000
#define LOCK_TIMEOUT "100ms"

/* The program takes no longer one either: repo/watermark.h. */
#define VALUE_MAX (256 * 1024)

/* The same value is noted again after it, and written to the table. */
#define NOTE_AGAIN_MS (15 * 60 * 1000)
#define WRITE_AGAIN_MS (24 * 60 * 60 * 1000)

/* The same: repo/watermark.c. */
#define SECRET "secret"

/* Looks at the table when nothing is due, or it could not be read. */
#define POLL_MS (5 * 60 * 1000)

/* One that is due. */
typedef struct Watermark
{
	char *name;
	char *query;
	char *run_as;
	char *last;		  /* JSON, or NULL */
	char *last_error; /* or NULL */
	bool is_stale;	  /* the table is to be written anyway */
} Watermark;

static MemoryContext work_context;
static char *schema;

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
	MemoryContextSwitchTo(work_context);
}

/* ---- when they were measured ---- */

/* The lock is held; NULL when there are too many. */
static OmbWatermarkTimes *
times_of(const char *name)
{
	OmbWatermarkTimes *unused = NULL;
	int i;

	for (i = 0; i < OMB_WATERMARKS; i++)
	{
		OmbWatermarkTimes *times = &omb_shared->watermark[i];

		if (strcmp(times->name, name) == 0)
			return times;
		if (unused == NULL && times->name[0] == '\0')
			unused = times;
	}
	if (unused != NULL)
		strlcpy(unused->name, name, sizeof(unused->name));
	return unused;
}

/* All zeros, and false, when it is not known. */
static bool
get_times(const char *name, OmbWatermarkTimes *out)
{
	OmbWatermarkTimes *times;

	memset(out, 0, sizeof(*out));
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	times = times_of(name);
	if (times != NULL)
		*out = *times;
	LWLockRelease(omb_shared->lock);
	return times != NULL;
}

static void
set_times(const char *name, TimestampTz at, bool is_noted)
{
	OmbWatermarkTimes *times;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	times = times_of(name);
	if (times != NULL)
	{
		times->measured_at = at;
		if (is_noted)
			times->noted_at = at;
	}
	LWLockRelease(omb_shared->lock);
}

/* Is it so long ago, or in the future, as the clock was set back? */
static bool
is_over(TimestampTz since, TimestampTz now, int ms)
{
	return since > now || TimestampDifferenceExceeds(since, now, ms);
}

/* ---- which are due ---- */

static char *
column(int row, int number)
{
	char *value =
		SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);

	return value ? MemoryContextStrdup(work_context, value) : NULL;
}

/* Column n of a row as a time; 0 for NULL. */
static TimestampTz
time_column(int row, int number)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
								number, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* Milliseconds until a row is due; none from the future count. */
static double
wait_of(int row, TimestampTz written_at, TimestampTz now)
{
	char *interval = column(row, 5);
	OmbWatermarkTimes times;
	TimestampTz last;

	(void) get_times(column(row, 1), &times);
	last = Max(written_at, times.measured_at);
	if (last == 0 || last > now)
		return 0;
	return 1000.0 * strtod(interval, NULL) - (double) (now - last) / 1000.0;
}

/* Milliseconds until the next one is due; -1 when there is none. */
static long
read_due(List **due)
{
	TimestampTz now = GetCurrentTimestamp();
	long next = -1;
	int i;

	begin();
	schema = MemoryContextStrdup(work_context, omb_scheduler_schema());
	if (SPI_execute(psprintf("SELECT w.name, w.query, w.run_as, s.value, "
							 "pg_catalog.date_part('epoch', w.\"interval\"), "
							 "GREATEST(s.measured_at, s.failed_at), s.error "
							 "FROM %s.backup_watermark AS w "
							 "LEFT JOIN %s.backup_watermark_state AS s "
							 "ON s.name OPERATOR(pg_catalog.=) w.name "
							 "WHERE w.is_enabled ORDER BY w.name",
							 schema, schema),
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_watermark");
	for (i = 0; i < (int) SPI_processed; i++)
	{
		TimestampTz written_at = time_column(i, 6);
		double wait_ms = wait_of(i, written_at, now);

		if (wait_ms <= 0)
		{
			Watermark *w = MemoryContextAlloc(work_context, sizeof(*w));
			MemoryContext old = MemoryContextSwitchTo(work_context);

			w->name = column(i, 1);
			w->query = column(i, 2);
			w->run_as = column(i, 3);
			w->last = column(i, 4);
			w->last_error = column(i, 7);
			w->is_stale = is_over(written_at, now, WRITE_AGAIN_MS);
			*due = lappend(*due, w);
			MemoryContextSwitchTo(old);
		}
		else if (next < 0 || wait_ms < next)
			next = (long) Min(wait_ms, POLL_MS);
	}
	commit();
	return next;
}

/* ---- measuring one ---- */

/* Its one row as JSON, in work_context. */
static char *
run_query(const Watermark *w)
{
	Oid types[1] = { JSONBOID };
	Datum values[1];
	char nulls[1] = { w->last ? ' ' : 'n' };
	char *value;

	values[0] = w->last ?
					DirectFunctionCall1(jsonb_in, CStringGetDatum(w->last)) :
					(Datum) 0;
	if (SPI_execute_with_args(
			psprintf("SELECT pg_catalog.to_jsonb(w) FROM (%s\n) AS w",
					 w->query),
			1, types, values, nulls, true, 2) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("the query is no SELECT")));
	if (SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_CARDINALITY_VIOLATION),
						errmsg("the query returned %s instead of one row",
							   SPI_processed == 0 ? "no row" : "more")));
	value = column(0, 1);
	if (strlen(value) > VALUE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the result is longer than %d bytes", VALUE_MAX)));
	return value;
}

/* Never with more rights than the role of the row has. */
static char *
measure(const Watermark *w)
{
	char *value;
	Oid user;
	int context;

	begin();
	XactReadOnly = true;
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(get_role_oid(w->run_as, false),
						   SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	enable_timeout_after(STATEMENT_TIMEOUT, QUERY_TIMEOUT_MS);
	value = run_query(w);
	disable_timeout(STATEMENT_TIMEOUT, false);
	SetUserIdAndSecContext(user, context);
	commit();
	return value;
}

static void
write_note(const Watermark *w, const char *value, TimestampTz at)
{
	char stamp[OMB_STAMP_SIZE];
	StringInfoData note;

	omb_note_stamp(at, stamp);
	omb_note_begin(&note, "watermark");
	omb_note_put(&note, "stamp", stamp);
	omb_note_put(&note, "name", w->name);
	omb_note_put(&note, "database", omb_database);
	omb_note_put(&note, "value", value);
	omb_note_put_place(&note, at, GetXLogInsertRecPtr(),
					   GetWALInsertionTimeLine());
	omb_note_write(&note, stamp);
}

/* The value that comes next, or what went wrong. */
static void
write_state(const Watermark *w, const char *value, const char *error)
{
	Oid types[3] = { TEXTOID, TEXTOID, TEXTOID };
	Datum values[3];
	char nulls[3] = { ' ', value ? ' ' : 'n', error ? ' ' : 'n' };

	begin();
	values[0] = CStringGetTextDatum(w->name);
	values[1] = value ? CStringGetTextDatum(value) : (Datum) 0;
	values[2] = error ? CStringGetTextDatum(error) : (Datum) 0;
	if (SPI_execute_with_args(
			psprintf(
				"INSERT INTO %s.backup_watermark_state AS s "
				"(name, measured_at, value, failed_at, error) VALUES ($1, "
				"CASE WHEN $3 IS NULL THEN pg_catalog.now() END, "
				"$2::pg_catalog.jsonb, "
				"CASE WHEN $3 IS NOT NULL THEN pg_catalog.now() END, $3) "
				"ON CONFLICT (name) DO UPDATE SET "
				"measured_at = COALESCE(EXCLUDED.measured_at, s.measured_at), "
				"value = COALESCE(EXCLUDED.value, s.value), "
				"failed_at = EXCLUDED.failed_at, error = EXCLUDED.error",
				schema),
			3, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write table backup_watermark_state");
	commit();
}

/* Is a member of it true? */
static bool
is_true(Datum json, const char *member)
{
	char *wanted = psprintf("{\"%s\": true}", member);

	return DatumGetBool(DirectFunctionCall2(
		jsonb_contains, json,
		DirectFunctionCall1(jsonb_in, CStringGetDatum(wanted))));
}

/* What the table keeps of a value: no rows, and no secrets. */
static char *
kept_of(const Watermark *w, Datum json)
{
	if (strstr(w->name, SECRET) != NULL)
		return psprintf("{\"hash\": \"%016" INT64_MODIFIER "x\"}",
						DatumGetUInt64(DirectFunctionCall2(
							jsonb_hash_extended, json, Int64GetDatum(0))));
	return DatumGetCString(DirectFunctionCall1(
		jsonb_out,
		DirectFunctionCall2(jsonb_delete, json, CStringGetTextDatum("rows"))));
}

/* Note the value and write it to the table, as far as that is needed. */
static void
keep(const Watermark *w, const char *value, TimestampTz at)
{
	Datum json = DirectFunctionCall1(jsonb_in, CStringGetDatum(value));
	char *kept = kept_of(w, json);
	/* a query may know that a difference does not matter */
	bool is_new = w->last == NULL ||
				  (strcmp(w->last, kept) != 0 && !is_true(json, "is_same"));
	bool note = false;
	OmbWatermarkTimes times;
	bool is_known = get_times(w->name, &times);

	/* nothing to note: a journal without new rows */
	if (!is_true(json, "is_empty"))
		note = is_new || w->is_stale ||
			   is_over(times.noted_at, at, NOTE_AGAIN_MS);
	/* the note first: what is measured twice is in the journal twice */
	if (note)
		write_note(w, value, at);
	if (is_new || w->is_stale || w->last_error != NULL || !is_known)
		write_state(w, kept, NULL);
	set_times(w->name, at, note);
}

/* When it fails, the table tells. */
static void
measure_one(const Watermark *w)
{
	char *volatile value = NULL;
	char *volatile error = NULL;
	TimestampTz at = GetCurrentTimestamp();
	OmbWatermarkTimes times;

	PG_TRY();
	{
		value = measure(w);
	}
	PG_CATCH();
	{
		ErrorData *data;

		MemoryContextSwitchTo(work_context);
		data = CopyErrorData();
		FlushErrorState();
		HOLD_INTERRUPTS();
		disable_timeout(STATEMENT_TIMEOUT, false);
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(work_context);
		error = data->message;
	}
	PG_END_TRY();
	if (value != NULL)
	{
		keep(w, value, at);
		return;
	}
	if (w->last_error == NULL || strcmp(w->last_error, error) != 0 ||
		w->is_stale || !get_times(w->name, &times))
		write_state(w, NULL, error);
	set_times(w->name, at, false);
}

void
omb_watermark_main(Datum arg)
{
	uint64 number = (uint64) DatumGetInt64(arg);
	List *due = NIL;
	ListCell *cell;
	long next;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(omb_database, NULL, 0);
	omb_scheduler_prepare();
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	/* the end of a large table is read by its index, whatever is guessed */
	SetConfigOption("enable_seqscan", "off", PGC_SUSET, PGC_S_OVERRIDE);
	/* and costs that are made up call for no compiler */
	SetConfigOption("jit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	work_context =
		AllocSetContextCreate(TopMemoryContext, "omsupply_backup watermarks",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(work_context);
	(void) read_due(&due);
	foreach (cell, due)
		measure_one(lfirst(cell));
	if (due != NIL)
		omb_notes_wake(false);
	due = NIL;
	next = read_due(&due);
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->watermarks_done = number;
	omb_shared->watermarks_wait_ms = due != NIL ? 1000 :
									 next < 0	? POLL_MS :
												  next;
	LWLockRelease(omb_shared->lock);
	pgstat_report_stat(true);
}

/* ---- the launcher's part ---- */

static struct
{
	BackgroundWorkerHandle *worker;
	uint64 number;
	uint64 changes; /* of tables, that were seen */
	TimestampTz not_before;
} launcher;

long
omb_watermark_step(void)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64 changes, done, turns;
	long wait_ms;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	/* a turn of the scheduler tells that database and extension are there */
	turns = omb_shared->scheduler.done;
	changes = omb_shared->scheduler.changes;
	done = omb_shared->watermarks_done;
	wait_ms = omb_shared->watermarks_wait_ms;
	LWLockRelease(omb_shared->lock);
	switch (omb_look_at_worker(&launcher.worker))
	{
		case OMB_WORKER_NONE:
			break;
		case OMB_WORKER_RUNS:
			return POLL_MS;
		case OMB_WORKER_ENDED:
			launcher.not_before = TimestampTzPlusMilliseconds(
				now, done == launcher.number ? wait_ms : POLL_MS);
			break;
	}
	if (turns == 0 || omb_repository[0] == '\0')
		return POLL_MS;
	/* the clock may have been set back */
	launcher.not_before =
		Min(launcher.not_before, TimestampTzPlusMilliseconds(now, POLL_MS));
	if (launcher.not_before > now && launcher.changes == changes)
		return TimestampDifferenceMilliseconds(now, launcher.not_before) + 1;
	if (launcher.changes != changes)
	{
		/* who changed a table wants to see what it does; and names go */
		LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
		memset(omb_shared->watermark, 0, sizeof(omb_shared->watermark));
		LWLockRelease(omb_shared->lock);
	}
	launcher.changes = changes;
	(void) omb_start_worker("omb_watermark_main", "watermarks",
							++launcher.number, &launcher.worker);
	return POLL_MS;
}
