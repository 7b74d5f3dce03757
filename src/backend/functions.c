/*
 * functions.c: the SQL functions that ask the launcher for a backup, watch it and
 * stop it.
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
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "backend/checks.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/text.h"

PG_FUNCTION_INFO_V1(omb_backup_now);
PG_FUNCTION_INFO_V1(omb_backup_files);
PG_FUNCTION_INFO_V1(omb_backup_cancel);
PG_FUNCTION_INFO_V1(omb_backup_progress);

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
	omb_check_preloaded();
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
	omb_check_preloaded();
	PG_RETURN_BOOL(omb_shared_cancel());
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
