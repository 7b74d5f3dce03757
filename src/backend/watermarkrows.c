/*
 * watermarkrows.c: backup_watermark_rows(): watermarks that the repository has.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "backend/agent.h"
#include "backend/ask.h"
#include "backend/epoch.h"
#include "backend/notes.h"

#define NAME_MAX_BYTES 60

PG_FUNCTION_INFO_V1(omb_backup_watermark_rows);

static void
put_row(ReturnSetInfo *rsinfo, const omb_fields *fields)
{
	Datum values[5];
	bool nulls[5] = { 0 };
	int64_t time = 0;

	(void) omb_fields_get_i64(fields, "time", &time);
	values[0] = CStringGetTextDatum(omb_agent_text(fields, "name"));
	values[1] = TimestampTzGetDatum(time - OMB_EPOCH_DIFFERENCE);
	values[2] = DirectFunctionCall1(
		pg_lsn_in, CStringGetDatum(omb_agent_text(fields, "lsn")));
	values[3] = Int64GetDatum((int64) omb_agent_u64(fields, "timeline"));
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
				put_row(rsinfo, &fields);
		}
	}
	PG_FINALLY();
	{
		omb_agent_stop();
	}
	PG_END_TRY();
	return (Datum) 0;
}
