/*
 * schedule.c: the table backup_schedule: what may be in it, what happens when
 * it changes, and when its schedules run next.
 *
 * As with backup_retention a row that is inserted takes the place of one of
 * the same name, so that a dump can be restored over the rows that CREATE
 * EXTENSION makes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "backend/checks.h"
#include "backend/epoch.h"
#include "backend/schedule.h"
#include "backend/settings.h"
#include "backend/shared.h"

/* Runs to show at most. */
#define NEXT_MAX 1000

PG_FUNCTION_INFO_V1(omb_schedule_check);
PG_FUNCTION_INFO_V1(omb_schedule_changed);
PG_FUNCTION_INFO_V1(omb_backup_schedule_next);

static const char *const jobs[] = { "backup", "full",	"files",
									"expire", "verify", "check" };

/* ---- the calendar ---- */

bool
omb_schedule_job_known(const char *job)
{
	int i;

	for (i = 0; i < (int) lengthof(jobs); i++)
	{
		if (strcmp(job, jobs[i]) == 0)
			return true;
	}
	return false;
}

TimestampTz
omb_schedule_now(void)
{
	return GetCurrentTimestamp() +
		   (int64) omb_debug_clock_offset * USECS_PER_SEC;
}

pg_tz *
omb_schedule_zone(const char *name)
{
	pg_tz *zone = name[0] ? pg_tzset(name) : NULL;

	return zone != NULL && pg_tz_acceptable(zone) ? zone : NULL;
}

static int32_t
zone_offset(int64_t instant, int64_t *until, void *arg)
{
	pg_time_t from = instant;
	pg_time_t boundary = 0;
	long int before = 0;
	long int after = 0;
	int before_dst, after_dst;

	*until = INT64_MAX;
	if (pg_next_dst_boundary(&from, &before, &before_dst, &boundary, &after,
							 &after_dst, arg) > 0)
		*until = boundary;
	return (int32_t) before;
}

bool
omb_schedule_next(const omb_cron *cron, pg_tz *zone, TimestampTz after,
				  TimestampTz *next)
{
	omb_cron_zone callbacks;
	int64_t seconds = (after + OMB_EPOCH_DIFFERENCE) / USECS_PER_SEC;

	callbacks.offset = zone_offset;
	callbacks.arg = zone;
	if (!omb_cron_next(cron, &callbacks, seconds, &seconds))
		return false;
	*next = seconds * USECS_PER_SEC - OMB_EPOCH_DIFFERENCE;
	return true;
}

/* ---- what may be in a row ---- */

static void
check_cron(const char *text)
{
	omb_cron cron;
	omb_cron_error error;

	if (omb_cron_parse(text, &cron, &error))
	{
		TimestampTz next;

		if (omb_schedule_next(&cron, omb_schedule_zone("UTC"), 0, &next))
			return;
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("schedule \"%s\" never runs", text),
						errdetail("There is no such date.")));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid schedule \"%s\"", text),
			 errdetail("At position %d: %s.", error.position, error.reason),
			 errhint("The fields are minute, hour, day, month and "
					 "weekday, for example \"30 1 * * *\" for every "
					 "day at 1:30.")));
}

static void
check_job(const char *job)
{
	if (!omb_schedule_job_known(job))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown job \"%s\"", job),
						errhint("Jobs are \"backup\", \"full\", \"files\", "
								"\"expire\", \"verify\" and \"check\".")));
}

static void
check_zone(const char *name)
{
	if (omb_schedule_zone(name) == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown time zone \"%s\"", name),
						errhint("See the view \"pg_timezone_names\".")));
}

/* One name and value of the options. */
static void
check_option(const char *job, const char *name, const char *value)
{
	char *end;
	double number;

	if (strcmp(job, "verify") != 0 ||
		(strcmp(name, "sample") != 0 && strcmp(name, "max_time") != 0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("job \"%s\" has no option \"%s\"", job, name),
						errhint("Only \"verify\" has options: \"sample\", a "
								"percentage, and \"max_time\", seconds.")));
	number = strtod(value, &end);
	if (end == value || *end != '\0' || !(number > 0) ||
		number > (strcmp(name, "sample") == 0 ? 100 : 10000000) ||
		strlen(value) > 20)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
			 strcmp(name, "sample") == 0 ?
				 errdetail("It must be a percentage above 0 and at most "
						   "100.") :
				 errdetail("It must be a number of seconds above 0.")));
}

static void
check_options(const char *job, Datum options)
{
	Oid types[1] = { JSONBOID };
	uint64 i;

	if (SPI_execute_with_args(
			"SELECT key, value OPERATOR(pg_catalog.#>>) '{}' "
			"FROM pg_catalog.jsonb_each(CASE WHEN "
			"pg_catalog.jsonb_typeof($1) OPERATOR(pg_catalog.=) 'object' "
			"THEN $1 ELSE '{}' END)",
			1, types, &options, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the options of a schedule");
	for (i = 0; i < SPI_processed; i++)
	{
		char *value =
			SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);

		check_option(
			job, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1),
			value ? value : "");
	}
}

static char *
qualified_name(Relation relation)
{
	return quote_qualified_identifier(
		get_namespace_name(RelationGetNamespace(relation)),
		RelationGetRelationName(relation));
}

/* The text of a column of a new row; NULL is left to NOT NULL. */
static char *
column(HeapTuple row, TupleDesc desc, const char *name)
{
	return SPI_getvalue(row, desc, SPI_fnumber(desc, name));
}

static void
check_row(HeapTuple row, TupleDesc desc)
{
	char *job = column(row, desc, "job");
	char *cron = column(row, desc, "cron");
	char *zone = column(row, desc, "timezone");
	char *label = column(row, desc, "label");
	Datum options;
	bool isnull;

	if (job != NULL)
		check_job(job);
	if (cron != NULL)
		check_cron(cron);
	if (zone != NULL)
		check_zone(zone);
	if (label != NULL)
		omb_check_label(label);
	options = SPI_getbinval(row, desc, SPI_fnumber(desc, "options"), &isnull);
	if (!isnull && job != NULL)
		check_options(job, options);
}

Datum
omb_schedule_check(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc;
	HeapTuple row;
	bool insert;
	char *name;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is for a trigger before the insert "
						"or update of a row",
						"backup_schedule_check")));
	insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	row = insert ? trigger->tg_trigtuple : trigger->tg_newtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	check_row(row, desc);
	name = column(row, desc, "name");
	if (insert && name != NULL)
	{
		Oid types[1] = { TEXTOID };
		Datum values[1];

		values[0] = CStringGetTextDatum(name);
		if (SPI_execute_with_args(
				psprintf("DELETE FROM %s WHERE name OPERATOR(pg_catalog.=) "
						 "$1",
						 qualified_name(trigger->tg_relation)),
				1, types, values, NULL, false, 0) != SPI_OK_DELETE)
			elog(ERROR, "could not remove the old row of a schedule");
	}
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not disconnect from SPI");
	return PointerGetDatum(row);
}

/* ---- a change takes effect ---- */

static bool change_pending = false;

/* Only when it is committed can the scheduler see it. */
static void
tell_launcher(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && change_pending)
		omb_scheduler_wake();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		change_pending = false;
}

void
omb_schedule_note_change(void)
{
	static bool registered = false;

	if (omb_shared == NULL)
		return;
	if (!registered)
		RegisterXactCallback(tell_launcher, NULL);
	registered = true;
	change_pending = true;
}

Datum
omb_schedule_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" is for a trigger",
							   "backup_schedule_changed")));
	omb_schedule_note_change();
	return PointerGetDatum(NULL);
}

/* ---- backup_schedule_next ---- */

/* Schedule and zone of a row, in the current memory context. */
static void
read_schedule(Oid function, Datum name, omb_cron *cron, pg_tz **zone)
{
	Oid types[1] = { TEXTOID };
	char *schema = get_namespace_name(get_func_namespace(function));
	omb_cron_error error;
	TupleDesc desc;
	HeapTuple row;
	char *value;

	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args(
			psprintf("SELECT cron, timezone FROM %s.backup_schedule "
					 "WHERE name OPERATOR(pg_catalog.=) $1",
					 quote_identifier(schema)),
			1, types, &name, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_schedule");
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("schedule \"%s\" does not exist",
							   TextDatumGetCString(name))));
	desc = SPI_tuptable->tupdesc;
	row = SPI_tuptable->vals[0];
	value = SPI_getvalue(row, desc, 1);
	if (!omb_cron_parse(value, cron, &error))
		check_cron(value);
	value = SPI_getvalue(row, desc, 2);
	check_zone(value);
	*zone = omb_schedule_zone(value);
	(void) SPI_finish();
}

Datum
omb_backup_schedule_next(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int count = PG_GETARG_INT32(1);
	TimestampTz next = omb_schedule_now();
	omb_cron cron;
	pg_tz *zone;
	int i;

	if (count < 1 || count > NEXT_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the number of runs must be between 1 and %d",
							   NEXT_MAX)));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	read_schedule(fcinfo->flinfo->fn_oid, PG_GETARG_DATUM(0), &cron, &zone);
	for (i = 0; i < count && omb_schedule_next(&cron, zone, next, &next); i++)
	{
		Datum values[1];
		bool nulls[1] = { false };

		values[0] = TimestampTzGetDatum(next);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}
