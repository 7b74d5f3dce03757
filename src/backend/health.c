/*
 * health.c: the SQL functions behind backup_status and backup_wal_status.
 *
 * They read shared memory and a directory of small files and start nothing.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "pgstat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/status.h"
#include "backend/text.h"

PG_FUNCTION_INFO_V1(omb_backup_status);
PG_FUNCTION_INFO_V1(omb_backup_wal_status);

#define COLUMNS_MAX 24

/* A row being made. */
typedef struct OmbRow
{
	int count;
	Datum value[COLUMNS_MAX];
	bool null[COLUMNS_MAX];
} OmbRow;

static void
put(OmbRow *row, bool is_null, Datum value)
{
	row->value[row->count] = value;
	row->null[row->count++] = is_null;
}

/* The empty text is null. */
static void
put_text(OmbRow *row, const char *text)
{
	put(row, text[0] == '\0', CStringGetTextDatum(omb_text_to_server(text)));
}

static void
put_time(OmbRow *row, TimestampTz time)
{
	put(row, time == 0, TimestampTzGetDatum(time));
}

static void
put_int64(OmbRow *row, bool is_null, int64 value)
{
	put(row, is_null, Int64GetDatum(value));
}

/* now - time */
static void
put_age(OmbRow *row, TimestampTz time, TimestampTz now)
{
	Interval *age = palloc0(sizeof(Interval));

	age->time = Max(now - time, 0);
	put(row, time == 0, IntervalPGetDatum(age));
}

static Datum
return_row(FunctionCallInfo fcinfo, OmbRow *row)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != row->count)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the library of omsupply_backup does not fit its SQL "
						"objects"),
				 errhint("Execute \"ALTER EXTENSION omsupply_backup UPDATE\" "
						 "and restart the server.")));
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), row->value, row->null));
}

static Datum
text_array(List *texts)
{
	Datum *value = palloc(sizeof(Datum) * Max(list_length(texts), 1));
	ListCell *cell;
	int n = 0;

	foreach (cell, texts)
		value[n++] = CStringGetTextDatum(omb_text_to_server(lfirst(cell)));
	return PointerGetDatum(
		construct_array(value, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* ---- what the archive has ---- */

/* The last segment known to be archived, and when. */
static void
last_archived(const OmbArchiver *archiver, char *file, TimestampTz *at)
{
	PgStat_ArchiverStats *stats = pgstat_fetch_stat_archiver();

	strlcpy(file, archiver->archived, OMB_STATUS_NAME);
	*at = archiver->archived_at;
	/* before this start of the server; what was given up counts there too */
	if (file[0] == '\0' && archiver->given_up == 0 &&
		archiver->failing_since == 0 &&
		IsXLogFileName(stats->last_archived_wal))
	{
		strlcpy(file, stats->last_archived_wal, OMB_STATUS_NAME);
		*at = stats->last_archived_timestamp;
	}
}

/* Where that segment ends; 0 when it is not known. */
static XLogRecPtr
archived_end(const char *file)
{
	TimeLineID timeline;
	XLogSegNo segno;
	XLogRecPtr end;

	if (!IsXLogFileName(file))
		return 0;
	XLogFromFileName(file, &timeline, &segno, wal_segment_size);
	XLogSegNoOffsetToRecPtr(segno + 1, 0, wal_segment_size, end);
	return end;
}

/*
 * Since when is there something that would be lost? 0 when all that matters
 * is archived. Nothing of the segment behind the last archived one is, so it is
 * the moment at which that one was archived.
 */
static TimestampTz
at_risk_since(const OmbArchiver *archiver, const OmbWaiting *waiting)
{
	char file[OMB_STATUS_NAME];
	TimestampTz at;

	if (RecoveryInProgress())
		return 0;
	last_archived(archiver, file, &at);
	if (at == 0)
		return waiting->oldest_at != 0 ? waiting->oldest_at : PgStartTime;
	if (waiting->files == 0 && GetLastImportantRecPtr() <= archived_end(file))
		return 0;
	return at;
}

/* ---- backup_status ---- */

Datum
omb_backup_status(PG_FUNCTION_ARGS)
{
	OmbSurvey *survey = palloc(sizeof(OmbSurvey));
	OmbArchiver *archiver = palloc(sizeof(OmbArchiver));
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz risk;
	OmbVerdict verdict;
	OmbWaiting waiting;
	OmbRow row = { 0 };
	bool readable;
	double days;

	omb_status_get(survey, archiver);
	omb_status_waiting(&waiting);
	omb_status_judge(&verdict);
	readable = survey->at != 0 && survey->problem_status[0] == '\0';
	risk = at_risk_since(archiver, &waiting);
	days = omb_status_days_until_full(survey);
	put_text(&row, omb_state_name(verdict.state));
	put(&row, false, text_array(verdict.reasons));
	put_text(&row, survey->last_id);
	put_time(&row, survey->last_stop_at);
	put_age(&row, survey->last_stop_at, now);
	put_time(&row, survey->window_from);
	put_time(&row, survey->window_to);
	put_age(&row, risk == 0 ? now : risk, now);
	put_int64(&row, false, waiting.files);
	put_int64(&row, false, waiting.bytes);
	put_time(&row, waiting.oldest_at);
	put_int64(&row, !readable, survey->repository_bytes);
	put_int64(&row, survey->repository_total == 0, survey->repository_free);
	put_int64(&row, !survey->growth_known, survey->growth_per_day);
	put(&row, days < 0, Float8GetDatum(days));
	put_time(&row, survey->at);
	return return_row(fcinfo, &row);
}

/* ---- backup_wal_status ---- */

Datum
omb_backup_wal_status(PG_FUNCTION_ARGS)
{
	OmbSurvey *survey = palloc(sizeof(OmbSurvey));
	OmbArchiver *archiver = palloc(sizeof(OmbArchiver));
	bool standby = RecoveryInProgress();
	char file[OMB_STATUS_NAME];
	char current[MAXFNAMELEN] = "";
	TimestampTz at;
	OmbWaiting waiting;
	OmbRow row = { 0 };
	XLogRecPtr lsn = 0;
	XLogRecPtr end;
	bool failing;

	omb_status_get(survey, archiver);
	omb_status_waiting(&waiting);
	last_archived(archiver, file, &at);
	end = archived_end(file);
	failing = archiver->failing_since != 0;
	if (!standby)
	{
		TimeLineID timeline;
		XLogSegNo segno;

		lsn = GetFlushRecPtr(&timeline);
		XLByteToSeg(lsn, segno, wal_segment_size);
		XLogFileName(current, timeline, segno, wal_segment_size);
	}
	put_text(&row, file);
	put_time(&row, at);
	put_time(&row, archiver->failing_since);
	put_int64(&row, false, failing ? archiver->failures : 0);
	put_text(&row, failing ? archiver->failed : "");
	put_text(&row, failing ? archiver->message : "");
	put_text(&row, failing ? archiver->hint : "");
	put_int64(&row, false, waiting.files);
	put_int64(&row, false, waiting.bytes);
	put_text(&row, waiting.oldest);
	put_time(&row, waiting.oldest_at);
	put_text(&row, current);
	put(&row, standby, LSNGetDatum(lsn));
	put_int64(&row, standby || end == 0, lsn > end ? (int64) (lsn - end) : 0);
	put_int64(&row, survey->at == 0, survey->gaps);
	put_text(&row, survey->gap_first);
	put_text(&row, survey->gap_last);
	put_int64(&row, false, archiver->given_up);
	return return_row(fcinfo, &row);
}
