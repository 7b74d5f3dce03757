/*
 * upgrade.c: SQL functions for applications and for people that set up:
 * backup_before_upgrade() and backup_confirm_recovery_code().
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "backend/agent.h"
#include "backend/ask.h"
#include "backend/shared.h"
#include "backend/status.h"
#include "backend/text.h"

PG_FUNCTION_INFO_V1(omb_backup_before_upgrade);
PG_FUNCTION_INFO_V1(omb_backup_confirm_recovery_code);

/* Right after the start of the server the first survey is under way. */
#define SURVEY_WAIT_MS 10000
#define POLL_MS 50

/* No backup is older. */
#define YEARS_MAX 1000

/* The program takes no longer one either. */
#define CODE_MAX 256

/* ---- backup_before_upgrade ---- */

/* What a restore point may be called: cut, and without control characters. */
static char *
point_name(const char *label)
{
	char *name = pstrdup(label[0] ? label : "before upgrade");
	char *p;

	/* the server's limit for names of restore points */
	name[pg_mbcliplen(name, strlen(name), MAXFNAMELEN - 1)] = '\0';
	for (p = name; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
	return name;
}

/* The last survey; waits a little for the first one. */
static void
await_survey(OmbSurvey *survey)
{
	OmbArchiver *archiver = palloc(sizeof(OmbArchiver));
	TimestampTz start = GetCurrentTimestamp();

	for (;;)
	{
		omb_status_get(survey, archiver);
		if (survey->at != 0 ||
			TimestampDifferenceExceeds(start, GetCurrentTimestamp(),
									   SURVEY_WAIT_MS))
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	pfree(archiver);
}

/* Is a backup due? In doubt it is. */
static bool
is_due(const Interval *max_age)
{
	OmbSurvey *survey = palloc(sizeof(OmbSurvey));
	int64 years = max_age->month / MONTHS_PER_YEAR + max_age->day / 365 +
				  max_age->time / (USECS_PER_DAY * 365);
	TimestampTz limit;

	await_survey(survey);
	if (survey->at == 0 || survey->backups == 0)
		return true;
	/* no sum that is out of range may stop the caller */
	if (years > YEARS_MAX || years < -YEARS_MAX)
		return years < 0;
	limit = DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_pl_interval, TimestampTzGetDatum(survey->last_stop_at),
		IntervalPGetDatum(max_age)));
	return limit < GetCurrentTimestamp();
}

Datum
omb_backup_before_upgrade(PG_FUNCTION_ARGS)
{
	char *label = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *unconfigured = omb_status_unconfigured();
	char *name = point_name(label);
	Datum values[3];
	bool nulls[3] = { 0 };
	bool started = false;
	TupleDesc desc;
	OmbJob busy;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (unconfigured != NULL)
	{
		/* the caller is about to start an application: it must go on */
		ereport(WARNING, (errmsg("there is no backup before the upgrade: %s",
								 unconfigured),
						  errhint("Execute \"SELECT * FROM backup_check()\" "
								  "for what to do.")));
		PG_RETURN_NULL();
	}
	values[0] = LSNGetDatum(XLogRestorePoint(name));
	values[1] = CStringGetTextDatum(name);
	if (!PG_ARGISNULL(1) && is_due(PG_GETARG_INTERVAL_P(1)))
	{
		started = omb_shared_ask(omb_text_from_server(name), "auto",
								 omb_text_from_server(
									 GetUserNameFromId(GetUserId(), false)),
								 &busy) != 0;
		if (!started && busy.state != OMB_JOB_NONE)
		{
			if (strcmp(busy.job, "backup") == 0 ||
				strcmp(busy.job, "full") == 0)
				ereport(NOTICE, (errmsg("a backup is already running")));
			else
				ereport(WARNING, (errmsg("could not start a backup: job "
										 "\"%s\" is running",
										 busy.job)));
		}
		else if (!started)
			ereport(WARNING,
					(errmsg("could not start a backup: the backup launcher "
							"is not running")));
	}
	values[2] = BoolGetDatum(started);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* ---- backup_confirm_recovery_code ---- */

Datum
omb_backup_confirm_recovery_code(PG_FUNCTION_ARGS)
{
	char *code = text_to_cstring(PG_GETARG_TEXT_PP(0));
	omb_fields fields;

	if (strlen(code) > CODE_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the recovery code is too long")));
	PG_TRY();
	{
		omb_ask_begin("confirm");
		omb_agent_put("code", code);
		(void) omb_agent_send();
		while (omb_ask_next(&fields))
			;
	}
	PG_FINALLY();
	{
		explicit_bzero(code, strlen(code));
		omb_agent_stop();
	}
	PG_END_TRY();
	omb_status_want_survey();
	PG_RETURN_BOOL(true);
}
