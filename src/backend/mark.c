/*
 * mark.c: backup_mark(): an instant with a name that a restore can aim at.
 *
 * A mark is a restore point in the WAL whose name is its own, so that the same
 * name may be used twice, and a note for the repository. The caller's
 * transaction has nothing to do with it: a mark stays when that is rolled back.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "backend/checks.h"
#include "backend/notes.h"

/* The program takes no longer ones either: repo/point.h. */
#define NAME_MAX_BYTES 255
#define DETAIL_MAX 16384

PG_FUNCTION_INFO_V1(omb_backup_mark);

static void
check_name(const char *name)
{
	const char *p;

	if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the name of a mark must have 1 to %d bytes",
							   NAME_MAX_BYTES)));
	for (p = name; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the name of a mark must not contain "
								   "control characters")));
	}
}

Datum
omb_backup_mark(PG_FUNCTION_ARGS)
{
	char *name, *detail;
	char stamp[OMB_STAMP_SIZE];
	char point[5 + OMB_STAMP_SIZE];
	TimestampTz at = GetCurrentTimestamp();
	StringInfoData note;
	XLogRecPtr lsn;
	Datum values[2];
	bool nulls[2] = { 0 };
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("the name of a mark must not be null")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	detail = PG_ARGISNULL(1) ? "" :
							   DatumGetCString(DirectFunctionCall1(
								   jsonb_out, PG_GETARG_DATUM(1)));
	check_name(name);
	if (strlen(detail) > DETAIL_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the detail of a mark is too long (at most %d "
							   "bytes)",
							   DETAIL_MAX)));
	omb_check_version();
	omb_check_ready();
	omb_note_stamp(at, stamp);
	snprintf(point, sizeof(point), "mark %s", stamp);
	lsn = XLogRestorePoint(point);
	XLogFlush(lsn);
	omb_note_begin(&note, "point");
	omb_note_put(&note, "id", stamp);
	omb_note_put(&note, "name", name);
	omb_note_put(&note, "detail", detail);
	omb_note_put_place(&note, at, lsn, GetWALInsertionTimeLine());
	omb_note_write(&note, stamp);
	omb_notes_wake(true);
	if (PG_ARGISNULL(2) || PG_GETARG_BOOL(2))
		(void) RequestXLogSwitch(false);
	values[0] = LSNGetDatum(lsn);
	values[1] = CStringGetTextDatum(stamp);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
