/*
 * ask.c: short jobs of the program, and the SQL functions that are nothing else.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

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

PG_FUNCTION_INFO_V1(omb_backup_list);
PG_FUNCTION_INFO_V1(omb_backup_adopt);
PG_FUNCTION_INFO_V1(omb_backup_expire);
PG_FUNCTION_INFO_V1(omb_backup_pin);
PG_FUNCTION_INFO_V1(omb_backup_unpin);

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
