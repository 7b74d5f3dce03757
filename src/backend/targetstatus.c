/*
 * targetstatus.c: how targets are: the view, the verdict, and who is told;
 * and backup_target_check().
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "backend/agent.h"
#include "backend/ask.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/target.h"
#include "backend/text.h"

PG_FUNCTION_INFO_V1(omb_backup_target_status);
PG_FUNCTION_INFO_V1(omb_backup_target_check);

static const char *
state_name(OmbTargetState state)
{
	static const char *const names[] = { "waiting", "ok", "failing",
										 "blocked" };

	return names[state];
}

int
omb_target_get(OmbTarget *targets)
{
	int count = 0;
	int i;

	if (omb_shared == NULL)
		return 0;
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	for (i = 0; i < OMB_TARGETS; i++)
	{
		if (omb_shared->targets.target[i].used)
			targets[count++] = omb_shared->targets.target[i];
	}
	LWLockRelease(omb_shared->lock);
	return count;
}

int64
omb_target_risk(const OmbTarget *target, TimestampTz now)
{
	TimestampTz archived_at;

	/* a time to come is from before the clock was set back, and tells nothing */
	if (target->current_at == 0 || target->current_at > now)
		return -1;
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	archived_at = omb_shared->status.archiver.archived_at;
	LWLockRelease(omb_shared->lock);
	/* what was archived since is not there */
	if (archived_at <= target->current_at)
		return 0;
	return Max(now - target->current_at, 0);
}

/* ---- the verdict ---- */

static void
judge_target(OmbVerdict *verdict, const OmbTarget *target, TimestampTz now)
{
	int64 risk = omb_target_risk(target, now);

	if (target->state == OMB_TARGET_FAILING ||
		target->state == OMB_TARGET_BLOCKED)
		omb_verdict_add(
			verdict, OMB_STATE_DEGRADED,
			psprintf("copying to target \"%s\" has been failing since %s: %s",
					 target->config.name,
					 timestamptz_to_str(target->failing_since),
					 target->last_error));
	if (risk < 0)
		risk = Max(now - target->since, 0);
	if (omb_max_target_lag > 0 && risk / USECS_PER_SEC > omb_max_target_lag)
		omb_verdict_add(verdict, OMB_STATE_DEGRADED,
						psprintf("target \"%s\" is behind by more than "
								 "\"omsupply_backup.max_target_lag\"",
								 target->config.name));
}

void
omb_target_judge(OmbVerdict *verdict)
{
	OmbTarget *targets = palloc(OMB_TARGETS * sizeof(OmbTarget));
	int count = omb_target_get(targets);
	TimestampTz now = GetCurrentTimestamp();
	int i;

	for (i = 0; i < count; i++)
		judge_target(verdict, &targets[i], now);
	pfree(targets);
}

void
omb_target_notify(void)
{
	OmbTargetsShared *shared = &omb_shared->targets;
	OmbTargetChange *change = palloc(sizeof(shared->change));
	int count, i;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	count = shared->change_count;
	memcpy(change, shared->change, sizeof(shared->change));
	shared->change_count = 0;
	LWLockRelease(omb_shared->lock);
	for (i = 0; i < count; i++)
	{
		StringInfoData json;

		initStringInfo(&json);
		appendStringInfoString(&json, "{\"event\": \"target\", \"target\": ");
		escape_json(&json, change[i].name);
		appendStringInfo(&json, ", \"from\": \"%s\", \"to\": \"%s\"",
						 state_name(change[i].from), state_name(change[i].to));
		appendStringInfoString(&json, ", \"message\": ");
		if (change[i].message[0] == '\0')
			appendStringInfoString(&json, "null");
		else
			escape_json(&json, change[i].message);
		appendStringInfoString(&json, ", \"at\": ");
		escape_json(&json, timestamptz_to_str(change[i].at));
		appendStringInfoChar(&json, '}');
		Async_Notify(OMB_CHANNEL, omb_text_to_server(json.data));
		pfree(json.data);
	}
	pfree(change);
}

/* ---- the view ---- */

static bool
find_target(const char *name, OmbTarget *found)
{
	OmbTarget *targets = palloc(OMB_TARGETS * sizeof(OmbTarget));
	int count = omb_target_get(targets);
	int i;

	for (i = 0; i < count && strcmp(targets[i].config.name, name) != 0; i++)
		;
	if (i < count)
		*found = targets[i];
	pfree(targets);
	return i < count;
}

static Interval *
interval_of(int64 microseconds)
{
	Interval *interval = palloc0(sizeof(Interval));

	interval->time = microseconds;
	return interval;
}

/* Columns 0 to 10 of the view without its name. */
static void
fill_row(const OmbTarget *t, Datum *values, bool *nulls)
{
	int64 risk = omb_target_risk(t, GetCurrentTimestamp());

	values[0] =
		CStringGetTextDatum(t->is_copying ? "copying" : state_name(t->state));
	values[1] = TimestampTzGetDatum(t->last_success_at);
	nulls[1] = t->last_success_at == 0;
	values[2] = CStringGetTextDatum(omb_text_to_server(t->last_error));
	nulls[2] = t->last_error[0] == '\0';
	values[3] = CStringGetTextDatum(omb_text_to_server(t->hint));
	nulls[3] = t->hint[0] == '\0';
	values[4] = TimestampTzGetDatum(t->last_error_at);
	nulls[4] = t->last_error_at == 0;
	values[5] = Int64GetDatum(t->objects_waiting);
	values[6] = Int64GetDatum(t->bytes_waiting);
	values[7] = CStringGetTextDatum(t->waiting_wal);
	nulls[7] = t->waiting_wal[0] == '\0';
	nulls[8] = risk < 0;
	values[8] = IntervalPGetDatum(interval_of(Max(risk, 0)));
	values[9] = Int64GetDatum(t->rate);
	nulls[9] = t->rate == 0;
	values[10] = Float8GetDatum(
		t->rate > 0 ? (double) t->bytes_waiting / (double) t->rate : 0);
	nulls[10] = t->bytes_waiting > 0 && t->rate == 0;
}

/* The state of an enabled target, also when it is not at work. */
Datum
omb_backup_target_status(PG_FUNCTION_ARGS)
{
	char *name = omb_text_from_server(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	OmbTarget *target = palloc(sizeof(OmbTarget));
	const char *reason = omb_status_unconfigured();
	Datum values[11] = { 0 };
	bool nulls[11];
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	if (find_target(name, target))
	{
		memset(nulls, false, sizeof(nulls));
		fill_row(target, values, nulls);
	}
	else
	{
		values[0] = CStringGetTextDatum(reason ? "blocked" : "waiting");
		nulls[0] = false;
		values[2] = CStringGetTextDatum(reason ? reason : "");
		nulls[2] = reason == NULL;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- backup_target_check ---- */

/* URL and credentials of a target, in the caller's memory context. */
static void
read_target(Oid function, Datum name, char **url, char **credentials)
{
	MemoryContext context = CurrentMemoryContext;
	Oid types[1] = { TEXTOID };
	char *schema = get_namespace_name(get_func_namespace(function));
	char *value;

	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args(
			psprintf("SELECT url, credentials FROM %s.backup_target "
					 "WHERE name OPERATOR(pg_catalog.=) $1",
					 quote_identifier(schema)),
			1, types, &name, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_target");
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("target \"%s\" does not exist",
							   TextDatumGetCString(name))));
	value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	*url = MemoryContextStrdup(context, value ? value : "");
	value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	*credentials = MemoryContextStrdup(context, value ? value : "");
	(void) SPI_finish();
}

Datum
omb_backup_target_check(PG_FUNCTION_ARGS)
{
	static const char *const names[] = { "operation", "result", "found",
										 "hint" };
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char *url, *credentials;
	omb_fields fields;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	read_target(fcinfo->flinfo->fn_oid, PG_GETARG_DATUM(0), &url,
				&credentials);
	PG_TRY();
	{
		omb_ask_begin("probe");
		omb_agent_put("url", omb_text_from_server(url));
		omb_agent_put("credentials", omb_text_from_server(credentials));
		(void) omb_agent_send();
		while (omb_ask_next(&fields))
		{
			Datum values[4];
			bool nulls[4] = { 0 };

			for (i = 0; i < 4; i++)
				values[i] = CStringGetTextDatum(
					omb_text_to_server(omb_agent_text(&fields, names[i])));
			nulls[3] = omb_agent_text(&fields, "hint")[0] == '\0';
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
