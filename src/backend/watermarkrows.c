/*
 * watermarkrows.c: backup_marks() and backup_watermark_values(): what the
 * repository has of both.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "backend/agent.h"
#include "backend/ask.h"
#include "backend/epoch.h"
#include "backend/notes.h"

#define NAME_MAX_BYTES 60
/* Watermarks with this in their name: repo/watermark.c. */
#define SECRET "secret"

PG_FUNCTION_INFO_V1(omb_backup_mark_rows);
PG_FUNCTION_INFO_V1(omb_backup_watermark_rows);

static Datum
lsn_field(const omb_fields *fields)
{
	return DirectFunctionCall1(pg_lsn_in,
							   CStringGetDatum(omb_agent_text(fields, "lsn")));
}

static Datum
time_field(const omb_fields *fields)
{
	int64_t time = 0;

	(void) omb_fields_get_i64(fields, "time", &time);
	return TimestampTzGetDatum(time - OMB_EPOCH_DIFFERENCE);
}

static void
put_mark(ReturnSetInfo *rsinfo, const omb_fields *fields)
{
	Datum values[6];
	bool nulls[6] = { 0 };
	const char *detail = omb_agent_text(fields, "detail");

	values[0] = CStringGetTextDatum(omb_agent_text(fields, "name"));
	values[1] = CStringGetTextDatum(omb_agent_text(fields, "id"));
	values[2] = time_field(fields);
	values[3] = lsn_field(fields);
	values[4] = Int64GetDatum((int64) omb_agent_u64(fields, "timeline"));
	nulls[5] = detail[0] == '\0';
	values[5] = nulls[5] ?
					(Datum) 0 :
					DirectFunctionCall1(jsonb_in, CStringGetDatum(detail));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_watermark(ReturnSetInfo *rsinfo, const omb_fields *fields)
{
	Datum values[5];
	bool nulls[5] = { 0 };

	values[0] = CStringGetTextDatum(omb_agent_text(fields, "name"));
	values[1] = time_field(fields);
	values[2] = lsn_field(fields);
	values[3] = Int64GetDatum((int64) omb_agent_u64(fields, "timeline"));
	/* who may not read the tables may not read them here */
	nulls[4] = strstr(omb_agent_text(fields, "name"), SECRET) != NULL &&
			   !has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_DATA);
	values[4] = DirectFunctionCall1(
		jsonb_in, CStringGetDatum(omb_agent_text(fields, "value")));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static uint64
time_argument(FunctionCallInfo fcinfo, int n, uint64 otherwise)
{
	TimestampTz at;

	if (PG_ARGISNULL(n))
		return otherwise;
	at = PG_GETARG_TIMESTAMPTZ(n);
	if (at < -OMB_EPOCH_DIFFERENCE)
		return 0;
	return TIMESTAMP_IS_NOEND(at) ? otherwise :
									(uint64) (at + OMB_EPOCH_DIFFERENCE);
}

Datum
omb_backup_mark_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	omb_fields fields;

	InitMaterializedSRF(fcinfo, 0);
	PG_TRY();
	{
		omb_ask_begin("marks");
		(void) omb_agent_send();
		while (omb_ask_next(&fields))
		{
			if (strcmp(fields.verb, "mark") == 0)
				put_mark(rsinfo, &fields);
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
omb_backup_watermark_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char *name = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	omb_fields fields;

	if (strlen(name) > NAME_MAX_BYTES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the name of a watermark has at most %d bytes",
							   NAME_MAX_BYTES)));
	InitMaterializedSRF(fcinfo, 0);
	PG_TRY();
	{
		omb_ask_begin("watermarks");
		omb_agent_put("name", name);
		omb_agent_put_u64("from", time_argument(fcinfo, 1, 0));
		omb_agent_put_u64("to", time_argument(fcinfo, 2, PG_INT64_MAX));
		(void) omb_agent_send();
		while (omb_ask_next(&fields))
		{
			if (strcmp(fields.verb, "watermark") == 0)
				put_watermark(rsinfo, &fields);
		}
	}
	PG_FINALLY();
	{
		omb_agent_stop();
	}
	PG_END_TRY();
	return (Datum) 0;
}
