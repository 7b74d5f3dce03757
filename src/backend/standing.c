/*
 * standing.c: where each enabled schedule stands: the table
 * backup_schedule_state.
 *
 * What the rules are is in src/README, section 4.2.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "backend/standing.h"

/* Pauses before a failed run is tried again, in minutes; the last repeats. */
static const int pauses[] = { 1, 5, 15, 60 };

static void
execute(const char *command, int count, Oid *types, Datum *values,
		const bool *is_null)
{
	char nulls[16];
	int i;

	for (i = 0; i < count; i++)
		nulls[i] = is_null[i] ? 'n' : ' ';
	if (SPI_execute_with_args(command, count, types, values, nulls, false, 0) <
		0)
		elog(ERROR, "could not execute \"%s\"", command);
}

/* ---- reading ---- */

static char *
copy_column(int row, int column)
{
	char *value =
		SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value ? value : pstrdup("");
}

static TimestampTz
time_column(int row, int column)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
								column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* A row of the query below; false when it is of no use. */
static bool
read_row(int row, const OmbStanding *standing, OmbSchedule *s)
{
	omb_cron_error error;
	char *cron = copy_column(row, 3);
	char *zone = copy_column(row, 4);

	s->name = copy_column(row, 1);
	s->job = copy_column(row, 2);
	s->catch_up = copy_column(row, 5)[0] == 't';
	s->label = copy_column(row, 6);
	s->sample = copy_column(row, 7);
	s->max_time = copy_column(row, 8);
	s->definition = psprintf("%s, %s, %s", s->job, cron, zone);
	s->zone = omb_schedule_zone(zone);
	if (!omb_cron_parse(cron, &s->cron, &error) || s->zone == NULL ||
		!omb_schedule_job_known(s->job))
	{
		/* it was checked when it was set: a zone may be gone since */
		ereport(WARNING,
				(errmsg("schedule \"%s\" cannot run", s->name),
				 errdetail("Its job is \"%s\", its schedule is \"%s\", its "
						   "time zone is \"%s\".",
						   s->job, cron, zone)));
		return false;
	}
	if (strcmp(copy_column(row, 9), s->definition) != 0)
	{
		/* new, changed, or enabled just now: from now on */
		s->handled_until = standing->now;
		return true;
	}
	s->handled_until = time_column(row, 10);
	s->is_running = copy_column(row, 11)[0] == 't';
	s->started_at = time_column(row, 12);
	s->failures = pg_strtoint32(copy_column(row, 13));
	s->retry_at = time_column(row, 14);
	return true;
}

void
omb_standing_read(OmbStanding *standing, const char *schema, TimestampTz now)
{
	int i;

	memset(standing, 0, sizeof(*standing));
	standing->now = now;
	/* one scheduler at a time, should an old one still be there */
	execute(psprintf("LOCK TABLE %s.backup_schedule_state "
					 "IN SHARE ROW EXCLUSIVE MODE",
					 schema),
			0, NULL, NULL, NULL);
	if (SPI_execute(
			psprintf(
				"SELECT s.name, s.job, s.cron, s.timezone, s.catch_up, "
				"s.label, s.options OPERATOR(pg_catalog.->>) 'sample', "
				"s.options OPERATOR(pg_catalog.->>) 'max_time', "
				"t.definition, t.handled_until, t.is_running, t.started_at, "
				"t.failures, t.retry_at "
				"FROM %s.backup_schedule AS s "
				"LEFT JOIN %s.backup_schedule_state AS t "
				"ON t.name OPERATOR(pg_catalog.=) s.name "
				"WHERE s.is_enabled ORDER BY s.name",
				schema, schema),
			true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_schedule");
	standing->schedules = palloc0((SPI_processed + 1) * sizeof(OmbSchedule));
	for (i = 0; i < (int) SPI_processed; i++)
	{
		if (read_row(i, standing, &standing->schedules[standing->count]))
			standing->count++;
		else
			memset(&standing->schedules[standing->count], 0,
				   sizeof(OmbSchedule));
	}
}

/* The next regular run; 0 for never. */
static TimestampTz
next_regular(const OmbSchedule *s)
{
	TimestampTz next;

	return omb_schedule_next(&s->cron, s->zone, s->handled_until, &next) ?
			   next :
			   0;
}

/* Try again after a pause, but not when the next regular run is nearer. */
static void
set_retry(OmbSchedule *s, TimestampTz now)
{
	int pause = pauses[Min(s->failures, (int) lengthof(pauses) - 1)];
	TimestampTz next = next_regular(s);

	s->failures++;
	s->retry_at = now + pause * SECS_PER_MINUTE * USECS_PER_SEC;
	if (next != 0 && s->retry_at >= next)
		s->retry_at = 0;
}

void
omb_standing_end(OmbStanding *standing, const char *name, int sqlstate)
{
	int i;

	for (i = 0; i < standing->count; i++)
	{
		OmbSchedule *s = &standing->schedules[i];

		if (strcmp(s->name, name) != 0)
			continue;
		s->is_running = false;
		s->retry_at = 0;
		if (sqlstate == 0 || sqlstate == ERRCODE_QUERY_CANCELED)
			s->failures = 0;
		else
			set_retry(s, standing->now);
	}
}

/* What is due, and when is the next run? */
static void
find_due(const OmbStanding *standing, OmbSchedule *s, TimestampTz server_start)
{
	/* the clock was set back */
	if (s->handled_until > standing->now + SECS_PER_MINUTE * USECS_PER_SEC)
		s->handled_until = standing->now;
	/* times before 2000, of a clock that was lost, are below 0 */
	if (s->retry_at != 0 &&
		s->retry_at > standing->now + SECS_PER_HOUR * USECS_PER_SEC)
		s->retry_at = standing->now;
	if (!s->catch_up && s->handled_until < server_start)
		s->handled_until = server_start - USECS_PER_SEC;
	s->next = next_regular(s);
	if (s->is_running)
		return;
	if (s->next != 0 && s->next <= standing->now)
	{
		s->due = s->next < server_start ? "missed" : "schedule";
		s->due_at = s->next;
	}
	else if (s->retry_at != 0 && s->retry_at <= standing->now)
	{
		s->due = "retry";
		s->due_at = s->retry_at;
	}
}

void
omb_standing_find_due(OmbStanding *standing, TimestampTz server_start)
{
	int i;

	for (i = 0; i < standing->count; i++)
		find_due(standing, &standing->schedules[i], server_start);
}

static bool
takes_backups(const OmbSchedule *s)
{
	return strcmp(s->job, "backup") == 0 || strcmp(s->job, "full") == 0;
}

int
omb_standing_backups(const OmbStanding *standing)
{
	int count = 0;
	int i;

	for (i = 0; i < standing->count; i++)
		count += takes_backups(&standing->schedules[i]) ? 1 : 0;
	return count;
}

/* The one that has waited longest; backups first. */
OmbSchedule *
omb_standing_choose(OmbStanding *standing)
{
	OmbSchedule *best = NULL;
	int i;

	for (i = 0; i < standing->count; i++)
	{
		OmbSchedule *s = &standing->schedules[i];
		bool backup = takes_backups(s);
		bool best_backup = best != NULL && takes_backups(best);

		if (s->due == NULL)
			continue;
		if (best == NULL || (backup && !best_backup) ||
			(backup == best_backup && s->due_at < best->due_at))
			best = s;
	}
	return best;
}

void
omb_standing_start(OmbStanding *standing, OmbSchedule *s)
{
	s->is_running = true;
	s->started_at = GetCurrentTimestamp();
	s->retry_at = 0;
	if (strcmp(s->due, "retry") != 0)
	{
		/* all that were missed are made up by this one */
		s->handled_until = standing->now;
		s->failures = 0;
	}
	s->next = next_regular(s);
	s->due = NULL;
}

/* ---- writing ---- */

static void
write_state(const char *schema, const OmbSchedule *s)
{
	Oid types[8] = { TEXTOID,		 TEXTOID, TIMESTAMPTZOID, BOOLOID,
					 TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID };
	Datum values[8];
	bool nulls[8] = { false };

	values[0] = CStringGetTextDatum(s->name);
	values[1] = CStringGetTextDatum(s->definition);
	values[2] = TimestampTzGetDatum(s->handled_until);
	values[3] = BoolGetDatum(s->is_running);
	values[4] = TimestampTzGetDatum(s->started_at);
	nulls[4] = s->started_at == 0;
	values[5] = Int32GetDatum(s->failures);
	values[6] = TimestampTzGetDatum(s->retry_at);
	nulls[6] = s->retry_at == 0;
	values[7] = TimestampTzGetDatum(s->next);
	nulls[7] = s->next == 0;
	execute(psprintf("INSERT INTO %s.backup_schedule_state AS t (name, "
					 "definition, handled_until, is_running, started_at, "
					 "failures, retry_at, next_run) "
					 "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
					 "ON CONFLICT (name) DO UPDATE SET definition = $2, "
					 "handled_until = $3, is_running = $4, started_at = $5, "
					 "failures = $6, retry_at = $7, next_run = $8 "
					 "WHERE ROW(t.definition, t.handled_until, t.is_running, "
					 "t.started_at, t.failures, t.retry_at, t.next_run) "
					 "IS DISTINCT FROM ROW($2, $3, $4, $5, $6, $7, $8)",
					 schema),
			8, types, values, nulls);
}

void
omb_standing_write(const OmbStanding *standing, const char *schema)
{
	int i;

	for (i = 0; i < standing->count; i++)
		write_state(schema, &standing->schedules[i]);
	execute(psprintf("DELETE FROM %s.backup_schedule_state AS t "
					 "WHERE NOT EXISTS (SELECT FROM %s.backup_schedule AS s "
					 "WHERE s.is_enabled "
					 "AND s.name OPERATOR(pg_catalog.=) t.name)",
					 schema, schema),
			0, NULL, NULL, NULL);
}

TimestampTz
omb_standing_wakeup(const OmbStanding *standing)
{
	TimestampTz earliest = 0;
	int i;

	for (i = 0; i < standing->count; i++)
	{
		const OmbSchedule *s = &standing->schedules[i];
		TimestampTz at = s->next;

		/* what is due waits for the end of a job or for a setting */
		if (s->due != NULL || s->is_running)
			continue;
		if (s->retry_at != 0 && (at == 0 || s->retry_at < at))
			at = s->retry_at;
		if (at != 0 && (earliest == 0 || at < earliest))
			earliest = at;
	}
	return earliest;
}
