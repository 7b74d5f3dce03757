/*
 * history.c: writes the table backup_history, and notifies of each end of a
 * job.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "backend/history.h"
#include "backend/text.h"

/* How long a run is kept, in days. */
#define KEEP_DAYS 400

/* Characters of a message in a notification, which holds 8000 bytes. */
#define NOTIFY_MESSAGE 1000

#define COLUMNS 18

typedef struct Row
{
	Oid types[COLUMNS];
	Datum values[COLUMNS];
	char nulls[COLUMNS];
	int count;
} Row;

static void
put(Row *row, Oid type, Datum value, bool isnull)
{
	Assert(row->count < COLUMNS);
	row->types[row->count] = type;
	row->values[row->count] = value;
	row->nulls[row->count] = isnull ? 'n' : ' ';
	row->count++;
}

/* A text; an empty one is NULL. */
static void
put_text(Row *row, const char *value)
{
	put(row, TEXTOID, CStringGetTextDatum(omb_text_to_server(value)),
		value[0] == '\0');
}

static void
put_number(Row *row, uint64 value, bool known)
{
	put(row, INT8OID, Int64GetDatum((int64) value), !known);
}

static const char *
state_of(const OmbRun *run)
{
	if (run->sqlstate == 0)
		return "done";
	return run->sqlstate == ERRCODE_QUERY_CANCELED ? "cancelled" : "failed";
}

static void
notify(const OmbRun *run)
{
	Row row;

	row.count = 0;
	put_text(&row, run->job);
	put_text(&row, state_of(run));
	put_text(&row, run->backup_id);
	put_text(&row, run->message);
	put(&row, TIMESTAMPTZOID, TimestampTzGetDatum(run->ended_at), false);
	put(&row, INT4OID, Int32GetDatum(NOTIFY_MESSAGE), false);
	if (SPI_execute_with_args(
			"SELECT pg_catalog.pg_notify('omsupply_backup', "
			"pg_catalog.json_build_object('event', 'job', 'job', $1, "
			"'state', $2, 'backup_id', $3, "
			"'message', pg_catalog.left($4, $6), 'at', $5)::pg_catalog.text)",
			row.count, row.types, row.values, row.nulls, false,
			0) != SPI_OK_SELECT)
		elog(ERROR, "could not notify of the end of a job");
}

void
omb_history_write(const char *schema, const OmbRun *run)
{
	bool known = run->has_numbers;
	Row row;

	row.count = 0;
	put_text(&row, run->job);
	put_text(&row, run->cause);
	put_text(&row, run->schedule);
	put_text(&row, run->requested_by);
	put_text(&row, run->label);
	put_text(&row, run->kind);
	put_text(&row, run->backup_id);
	put(&row, TIMESTAMPTZOID, TimestampTzGetDatum(run->started_at), false);
	put(&row, TIMESTAMPTZOID, TimestampTzGetDatum(run->ended_at), false);
	put_text(&row, state_of(run));
	put_number(&row, run->bytes_read, known);
	put_number(&row, run->bytes_stored, known);
	put_number(&row, run->bytes_reused, known);
	put_number(&row, run->files, known);
	put_number(&row, run->damaged_pages, known);
	put_text(&row, run->message);
	put_text(&row, run->detail);
	put_text(&row, run->hint);
	if (SPI_execute_with_args(
			psprintf("INSERT INTO %s.backup_history (job, cause, schedule, "
					 "requested_by, label, kind, backup_id, started_at, "
					 "ended_at, state, bytes_read, bytes_stored, "
					 "bytes_reused, files, damaged_pages, message, detail, "
					 "hint) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
					 "$11, $12, $13, $14, $15, $16, $17, $18)",
					 schema),
			row.count, row.types, row.values, row.nulls, false,
			0) != SPI_OK_INSERT)
		elog(ERROR, "could not write table backup_history");
	notify(run);
}

void
omb_history_trim(const char *schema, TimestampTz now)
{
	Row row;

	row.count = 0;
	put(&row, TIMESTAMPTZOID,
		TimestampTzGetDatum(now - KEEP_DAYS * USECS_PER_DAY), false);
	if (SPI_execute_with_args(
			psprintf("DELETE FROM %s.backup_history "
					 "WHERE ended_at OPERATOR(pg_catalog.<) $1",
					 schema),
			row.count, row.types, row.values, row.nulls, false,
			0) != SPI_OK_DELETE)
		elog(ERROR, "could not clean up table backup_history");
}
