/*
 * functions.c: the SQL functions.
 *
 * A request goes to the launcher through shared memory and never through a
 * table: the caller's transaction is still open and may be rolled back.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "backend/agent.h"
#include "backend/ask.h"
#include "backend/checks.h"
#include "backend/epoch.h"
#include "backend/lowspace.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/text.h"

#define RECEIVE_MS 1000L

/* Of a pin; the program has the same limit for reasons. */
#define PIN_TEXT_MAX 1000

PG_FUNCTION_INFO_V1(omb_backup_now);
PG_FUNCTION_INFO_V1(omb_backup_files);
PG_FUNCTION_INFO_V1(omb_backup_cancel);
PG_FUNCTION_INFO_V1(omb_backup_list);
PG_FUNCTION_INFO_V1(omb_backup_adopt);
PG_FUNCTION_INFO_V1(omb_backup_progress);
PG_FUNCTION_INFO_V1(omb_backup_expire);
PG_FUNCTION_INFO_V1(omb_backup_pin);
PG_FUNCTION_INFO_V1(omb_backup_unpin);

/* ---- checks ---- */

static void
check_preloaded(void)
{
	if (omb_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("omsupply_backup is not loaded at server start"),
				 errhint("Add \"omsupply_backup\" to "
						 "\"shared_preload_libraries\" and restart the "
						 "server.")));
}

void
omb_check_repository(void)
{
	if (omb_repository[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is not set", "omsupply_backup.repository"),
				 errhint("Make a repository with \"omsupply_backup init\", "
						 "set \"omsupply_backup.repository\" and "
						 "\"omsupply_backup.key_file\", and reload the "
						 "server.")));
}

/* Does the server archive WAL, and with us? */
static void
check_archiving(void)
{
	const char *library = GetConfigOption("archive_library", false, false);
	const char *name = library ? strrchr(library, '/') : NULL;

	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot take a backup during recovery")));
	if (!XLogIsNeeded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"wal_level\" is too low for a backup"),
				 errhint("Set \"wal_level\" to \"replica\" and restart the "
						 "server.")));
	if (!XLogArchivingActive())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"archive_mode\" is off"),
				 errdetail("A backup is useless without the WAL written "
						   "while it is taken."),
				 errhint("Set \"archive_mode\" to \"on\" and restart the "
						 "server.")));
	name = name ? name + 1 : library;
	if (name == NULL || strcmp(name, "omsupply_backup") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"archive_library\" is not \"omsupply_backup\""),
				 errhint("Set \"archive_library\" to \"omsupply_backup\" "
						 "and reload the server.")));
}

void
omb_check_ready(void)
{
	check_preloaded();
	check_archiving();
	omb_check_repository();
}

void
omb_check_label(const char *label)
{
	const char *p;

	if (strlen(label) >= OMB_LABEL_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("backup label is too long (at most %d bytes)",
							   OMB_LABEL_MAX - 1)));
	for (p = label; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("backup label must not contain control "
								   "characters")));
	}
}

static void
check_kind(const char *kind)
{
	if (strcmp(kind, "auto") == 0 || strcmp(kind, "full") == 0 ||
		strcmp(kind, "incremental") == 0)
		return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid kind of backup \"%s\"", kind),
					errhint("Use \"auto\", \"full\" or \"incremental\".")));
}

/* ---- backup_now ---- */

static bool
is_backup(const OmbJob *job)
{
	return strcmp(job->job, "backup") == 0 || strcmp(job->job, "full") == 0 ||
		   strcmp(job->job, "files") == 0;
}

/* Put the request; returns its serial number. */
static uint64
request_backup(const char *label, const char *kind)
{
	OmbJob busy;
	uint64 serial = omb_shared_ask(
		label, kind,
		omb_text_from_server(GetUserNameFromId(GetUserId(), false)), &busy);

	if (serial != 0)
		return serial;
	if (busy.state != OMB_JOB_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 is_backup(&busy) ? errmsg("a backup is already running") :
									errmsg("job \"%s\" is running", busy.job),
				 errdetail("It was requested by role \"%s\" at %s; its phase "
						   "is \"%s\".",
						   omb_text_to_server(busy.requested_by),
						   timestamptz_to_str(busy.requested_at), busy.phase),
				 errhint("See the view \"backup_progress\"; "
						 "\"backup_cancel()\" stops it.")));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the backup launcher is not running"),
					errhint("It starts again within seconds after it ended. "
							"If it does not, see the server log and "
							"\"max_worker_processes\".")));
	return 0;
}

/*
 * Has the job come as far as the caller waits for? Then *result is filled,
 * with serial 0 while the job still runs.
 */
static bool
job_arrived(uint64 serial, bool wait, OmbResult *result)
{
	OmbResult *slot = &omb_shared->result[serial % OMB_RESULTS];
	OmbJob *job = &omb_shared->job;
	bool arrived = false;

	memset(result, 0, sizeof(*result));
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	if (slot->serial == serial)
	{
		*result = *slot;
		arrived = true;
	}
	else if (job->serial != serial)
	{
		/* so many jobs later the result is gone */
		arrived = true;
		result->serial = serial;
		result->sqlstate = ERRCODE_SYSTEM_ERROR;
		strlcpy(result->message, "the result of the backup is not known",
				sizeof(result->message));
	}
	else if (!wait && job->backup_id[0] != '\0')
	{
		arrived = true;
		strlcpy(result->backup_id, job->backup_id, OMB_ID_MAX);
	}
	LWLockRelease(omb_shared->lock);
	return arrived;
}

static void
await_job(uint64 serial, bool wait, OmbResult *result)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		ConditionVariablePrepareToSleep(&omb_shared->changed);
		while (!job_arrived(serial, wait, result))
			ConditionVariableSleep(&omb_shared->changed, PG_WAIT_EXTENSION);
		ConditionVariableCancelSleep();
	}
	PG_CATCH();
	{
		/* the wait was interrupted, the backup is not */
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		ConditionVariableCancelSleep();
		if (error->detail == NULL)
			error->detail = pstrdup("The backup goes on.");
		if (error->hint == NULL)
			error->hint = pstrdup("To stop it, execute \"SELECT "
								  "backup_cancel()\".");
		ReThrowError(error);
	}
	PG_END_TRY();
}

static void
show_warnings(const OmbResult *result)
{
	int i;

	for (i = 0; i < Min(result->warning_count, OMB_WARNINGS); i++)
		ereport(WARNING,
				(errmsg("%s", omb_text_to_server(result->warning[i]))));
	if (result->warning_count > OMB_WARNINGS)
		ereport(WARNING, (errmsg("%d more warnings are in the server log",
								 result->warning_count - OMB_WARNINGS)));
}

/* Ask for a backup, wait for it, and return its id. */
static text *
take_backup(const char *label, const char *kind, bool wait)
{
	OmbResult *result = palloc(sizeof(OmbResult));

	await_job(request_backup(label, kind), wait, result);
	show_warnings(result);
	if (result->serial != 0 && !result->ok)
		ereport(ERROR,
				(errcode(result->sqlstate),
				 errmsg("%s", omb_text_to_server(result->message)),
				 result->detail[0] ?
					 errdetail("%s", omb_text_to_server(result->detail)) :
					 0,
				 result->hint[0] ?
					 errhint("%s", omb_text_to_server(result->hint)) :
					 0));
	return cstring_to_text(result->backup_id);
}

Datum
omb_backup_now(PG_FUNCTION_ARGS)
{
	char *label =
		PG_ARGISNULL(0) ?
			"" :
			omb_text_from_server(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char *kind =
		PG_ARGISNULL(1) ? "auto" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool wait = PG_ARGISNULL(2) ? true : PG_GETARG_BOOL(2);

	omb_check_label(label);
	omb_check_version();
	check_kind(kind);
	omb_check_ready();
	PG_RETURN_TEXT_P(take_backup(label, kind, wait));
}

Datum
omb_backup_files(PG_FUNCTION_ARGS)
{
	omb_check_version();
	check_preloaded();
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot take a backup during recovery")));
	omb_check_repository();
	PG_RETURN_TEXT_P(take_backup("", "files", PG_GETARG_BOOL(0)));
}

/* ---- backup_cancel ---- */

Datum
omb_backup_cancel(PG_FUNCTION_ARGS)
{
	check_preloaded();
	PG_RETURN_BOOL(omb_shared_cancel());
}

/* ---- functions that ask the program ---- */

void
omb_ask_begin(const char *type)
{
	omb_check_version();
	omb_check_repository();
	omb_agent_start();
	omb_agent_begin_job(type);
}

/* Start one that needs no more. */
static void
start_job(const char *type)
{
	omb_ask_begin(type);
	(void) omb_agent_send();
}

bool
omb_ask_next(omb_fields *fields)
{
	for (;;)
	{
		switch (omb_agent_receive(fields, RECEIVE_MS))
		{
			case OMB_AGENT_TIMEOUT:
				CHECK_FOR_INTERRUPTS();
				continue;
			case OMB_AGENT_DEAD:
				CHECK_FOR_INTERRUPTS();
				omb_agent_report_death(ERROR);
				break;
			case OMB_AGENT_LINE:
				break;
		}
		if (strcmp(fields->verb, "error") == 0)
			omb_agent_report(fields, ERROR, NULL, NULL);
		if (strcmp(fields->verb, "warning") == 0)
		{
			omb_agent_report(fields, WARNING, NULL, NULL);
			continue;
		}
		return strcmp(fields->verb, "done") != 0;
	}
}

static Datum
text_field(const omb_fields *fields, const char *name)
{
	return CStringGetTextDatum(
		omb_text_to_server(omb_agent_text(fields, name)));
}

static Datum
bigint_field(const omb_fields *fields, const char *name)
{
	return Int64GetDatum((int64) omb_agent_u64(fields, name));
}

static Datum
time_field(const omb_fields *fields, const char *name)
{
	int64_t value = 0;

	(void) omb_fields_get_i64(fields, name, &value);
	return TimestampTzGetDatum(value - OMB_EPOCH_DIFFERENCE);
}

static Datum
lsn_field(const omb_fields *fields, const char *name)
{
	return DirectFunctionCall1(pg_lsn_in,
							   CStringGetDatum(omb_agent_text(fields, name)));
}

Datum
omb_backup_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	omb_fields fields;

	InitMaterializedSRF(fcinfo, 0);
	PG_TRY();
	{
		start_job("list");
		while (omb_ask_next(&fields))
		{
			Datum values[12];
			bool nulls[12] = { 0 };

			values[0] = text_field(&fields, "id");
			values[1] = text_field(&fields, "label");
			values[2] = text_field(&fields, "kind");
			values[3] = time_field(&fields, "start_time");
			values[4] = time_field(&fields, "stop_time");
			values[5] = lsn_field(&fields, "start_lsn");
			values[6] = lsn_field(&fields, "stop_lsn");
			values[7] = bigint_field(&fields, "timeline");
			values[8] = bigint_field(&fields, "bytes");
			values[9] = bigint_field(&fields, "bytes_stored");
			values[10] = bigint_field(&fields, "files");
			values[11] = bigint_field(&fields, "damaged_pages");
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
								 nulls);
		}
	}
	PG_FINALLY();
	{
		omb_agent_stop();
	}
	PG_END_TRY();
	return (Datum) 0;
}

Datum
omb_backup_adopt(PG_FUNCTION_ARGS)
{
	omb_fields fields;
	text *volatile instance = NULL;

	PG_TRY();
	{
		start_job("adopt");
		if (omb_ask_next(&fields))
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("backup agent sent \"%.64s\" instead of \"%s\"",
							fields.verb, "done")));
		instance = cstring_to_text(omb_agent_text(&fields, "instance"));
	}
	PG_FINALLY();
	{
		omb_agent_stop();
	}
	PG_END_TRY();
	PG_RETURN_TEXT_P(instance);
}

/* ---- retention ---- */

/* A run of backup_expire() goes into the history as a scheduled one does. */
static void
note_expire(TimestampTz started_at, const ErrorData *error)
{
	OmbRun run;

	if (omb_shared == NULL)
		return;
	memset(&run, 0, sizeof(run));
	strlcpy(run.job, "expire", sizeof(run.job));
	strlcpy(run.cause, "request", sizeof(run.cause));
	omb_shared_text(
		run.requested_by, sizeof(run.requested_by),
		omb_text_from_server(GetUserNameFromId(GetUserId(), false)));
	run.started_at = started_at;
	run.ended_at = GetCurrentTimestamp();
	if (error != NULL)
	{
		run.sqlstate = error->sqlerrcode;
		omb_shared_text(run.message, sizeof(run.message),
						omb_text_from_server(error->message));
		omb_shared_text(run.detail, sizeof(run.detail),
						error->detail ? omb_text_from_server(error->detail) :
										NULL);
		omb_shared_text(run.hint, sizeof(run.hint),
						error->hint ? omb_text_from_server(error->hint) :
									  NULL);
	}
	omb_shared_add_run(&run);
}

static void
note_expire_failed(TimestampTz started_at, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	note_expire(started_at, CopyErrorData());
	MemoryContextSwitchTo(old);
}

Datum
omb_backup_expire(PG_FUNCTION_ARGS)
{
	static const char *const rules[] = { "keep_last",  "keep_days",
										 "keep_weeks", "keep_months",
										 "keep_years", "keep_wal_days",
										 "minimum" };
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool dry_run = PG_ARGISNULL(0) ? false : PG_GETARG_BOOL(0);
	TimestampTz started_at = GetCurrentTimestamp();
	MemoryContext context = CurrentMemoryContext;
	omb_fields fields;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	PG_TRY();
	{
		omb_ask_begin("expire");
		omb_agent_put_u64("dry_run", dry_run ? 1 : 0);
		omb_agent_put_u64("min_free", (uint64) omb_lowspace_limit());
		for (i = 0; i < (int) lengthof(rules); i++)
		{
			/* a rule that is NULL is not set */
			if (!PG_ARGISNULL(i + 1))
				omb_agent_put_u64(rules[i],
								  (uint64) Max(PG_GETARG_INT32(i + 1), 0));
		}
		(void) omb_agent_send();
		while (omb_ask_next(&fields))
		{
			Datum values[4];
			bool nulls[4] = { 0 };

			values[0] = text_field(&fields, "object");
			values[1] = text_field(&fields, "name");
			values[2] = text_field(&fields, "verdict");
			values[3] = text_field(&fields, "reason");
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
								 nulls);
		}
	}
	PG_CATCH();
	{
		omb_agent_stop();
		if (!dry_run)
			note_expire_failed(started_at, context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	omb_agent_stop();
	if (!dry_run)
		note_expire(started_at, NULL);
	return (Datum) 0;
}

static void
run_pin_job(const char *type, const char *id, const char *reason)
{
	omb_fields fields;

	/* a line of the protocol holds only so much */
	if (strlen(id) > PIN_TEXT_MAX || strlen(reason) > PIN_TEXT_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the %s is too long (at most %d bytes)",
							   strlen(id) > PIN_TEXT_MAX ? "id" : "reason",
							   PIN_TEXT_MAX)));
	PG_TRY();
	{
		omb_ask_begin(type);
		omb_agent_put("backup", id);
		omb_agent_put("reason", reason);
		(void) omb_agent_send();
		while (omb_ask_next(&fields))
			;
	}
	PG_FINALLY();
	{
		omb_agent_stop();
	}
	PG_END_TRY();
}

Datum
omb_backup_pin(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("the id of a backup must not be null")));
	run_pin_job("pin", text_to_cstring(PG_GETARG_TEXT_PP(0)),
				PG_ARGISNULL(1) ? "" :
								  omb_text_from_server(
									  text_to_cstring(PG_GETARG_TEXT_PP(1))));
	PG_RETURN_VOID();
}

Datum
omb_backup_unpin(PG_FUNCTION_ARGS)
{
	run_pin_job("unpin", text_to_cstring(PG_GETARG_TEXT_PP(0)), "");
	PG_RETURN_VOID();
}

/* ---- backup_progress ---- */

Datum
omb_backup_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[13];
	bool nulls[13] = { 0 };
	OmbJob job;

	InitMaterializedSRF(fcinfo, 0);
	if (omb_shared == NULL)
		return (Datum) 0;
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	job = omb_shared->job;
	LWLockRelease(omb_shared->lock);
	if (job.state == OMB_JOB_NONE)
		return (Datum) 0;
	values[0] = Int32GetDatum(job.pid);
	nulls[0] = job.pid == 0;
	values[1] = CStringGetTextDatum(job.backup_id);
	nulls[1] = job.backup_id[0] == '\0';
	values[2] = CStringGetTextDatum(omb_text_to_server(job.label));
	values[3] = CStringGetTextDatum(job.kind);
	values[4] = CStringGetTextDatum(job.phase);
	values[5] = CStringGetTextDatum(omb_text_to_server(job.requested_by));
	values[6] = TimestampTzGetDatum(job.started_at);
	nulls[6] = job.started_at == 0;
	values[7] = Int64GetDatum((int64) job.bytes_done);
	values[8] = Int64GetDatum((int64) job.bytes_total);
	nulls[8] = job.bytes_total == 0;
	values[9] = Int64GetDatum((int64) job.bytes_stored);
	values[10] = Int64GetDatum((int64) job.files_done);
	values[11] = Int64GetDatum((int64) job.files_total);
	nulls[11] = job.files_total == 0;
	values[12] = CStringGetTextDatum(job.waiting_for);
	nulls[12] = job.waiting_for[0] == '\0';
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}
