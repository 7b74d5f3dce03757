/*
 * test_cron.c: cron expressions, and their next runs across clock changes.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "base/cron.h"
#include "base/text.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define HOUR 3600
#define DAY 86400

/* ---- zones ---- */

typedef struct test_zone
{
	const char *name;
	int32_t standard;
	int32_t summer; /* the same: no changes */
	/* instants of one year, begin and end of summer time */
	int month_begin, day_begin, month_end, day_end;
	int32_t hour_begin, hour_end; /* UTC, may be negative */
} test_zone;

static const test_zone utc = { "UTC", 0, 0, 0, 0, 0, 0, 0, 0 };
/* as in Berlin, New York, Auckland and on Lord Howe, on fixed days */
static const test_zone north = { "north", HOUR, 2 * HOUR, 3,   29,
								 10,	  25,	HOUR,	  HOUR };
static const test_zone west = { "west", -5 * HOUR, -4 * HOUR, 3,	   8,
								11,		1,		   7 * HOUR,  6 * HOUR };
static const test_zone south = { "south", 12 * HOUR, 13 * HOUR,	 9,			27,
								 4,		  5,		 -10 * HOUR, -10 * HOUR };
static const test_zone half = {
	"half", 10 * HOUR + HOUR / 2, 11 * HOUR, 10, 4, 4,
	5,		-8 * HOUR - HOUR / 2, -9 * HOUR
};

static int64_t
utc_instant(int year, int month, int day, int32_t seconds)
{
	struct tm tm;

	memset(&tm, 0, sizeof(tm));
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	return (int64_t) timegm(&tm) + seconds;
}

static int
year_of(int64_t instant)
{
	time_t t = (time_t) instant;
	struct tm tm;

	(void) gmtime_r(&t, &tm);
	return tm.tm_year + 1900;
}

static int32_t
zone_offset(int64_t instant, int64_t *until, void *arg)
{
	const test_zone *z = arg;
	int64_t change[6];
	int32_t offset[6];
	int year = year_of(instant);
	int32_t now = z->standard;
	int i, n = 0;

	*until = INT64_MAX;
	if (z->standard == z->summer)
		return now;
	for (i = year - 1; i <= year + 1; i++)
	{
		int64_t begin =
			utc_instant(i, z->month_begin, z->day_begin, z->hour_begin);
		int64_t end = utc_instant(i, z->month_end, z->day_end, z->hour_end);
		bool first = begin < end;

		change[n] = first ? begin : end;
		offset[n++] = first ? z->summer : z->standard;
		change[n] = first ? end : begin;
		offset[n++] = first ? z->standard : z->summer;
	}
	for (i = 0; i < n; i++)
	{
		if (change[i] > instant)
		{
			*until = change[i];
			break;
		}
		now = offset[i];
	}
	return now;
}

static omb_cron_zone
make_zone(const test_zone *z)
{
	omb_cron_zone zone;

	zone.offset = zone_offset;
	zone.arg = omb_malloc(sizeof(*z));
	memcpy(zone.arg, z, sizeof(*z));
	return zone;
}

/* ---- what is refused ---- */

static void
mistakes_have_a_position(void)
{
	static const struct
	{
		const char *text;
		int position;
		const char *reason;
	} cases[] = {
		{ "", 1, "five fields" },
		{ "   ", 4, "five fields" },
		{ "* * * *", 8, "five fields" },
		{ "* * * * * *", 11, "nothing may follow" },
		{ "* * * * * root", 11, "nothing may follow" },
		{ "60 * * * *", 1, "a minute is" },
		{ "-1 * * * *", 1, "a minute is" },
		{ "5, * * * *", 3, "a minute is" },
		{ ",5 * * * *", 1, "a minute is" },
		{ "5,,6 * * * *", 3, "a minute is" },
		{ "x * * * *", 1, "a minute is" },
		{ "0 24 * * *", 3, "an hour is" },
		{ "0 1-24 * * *", 5, "an hour is" },
		{ "0 5-1 * * *", 3, "ends before" },
		{ "0 1- * * *", 5, "an hour is" },
		{ "0 * 0 * *", 5, "a day is" },
		{ "0 * 32 * *", 5, "a day is" },
		{ "0 * 1,2,33 * *", 9, "a day is" },
		{ "0 * * 0 *", 7, "a month is" },
		{ "0 * * 13 *", 7, "a month is" },
		{ "0 * * foo *", 7, "a month is" },
		{ "0 * * january *", 10, "unexpected character" },
		{ "0 * * ja *", 7, "a month is" },
		{ "0 * * mon *", 7, "a month is" },
		{ "0 * * * 8", 9, "a weekday is" },
		{ "0 * * * xyz", 9, "a weekday is" },
		{ "0 * * * jan", 9, "a weekday is" },
		{ "0 * * * mo", 9, "a weekday is" },
		{ "*/0 * * * *", 3, "at least 1" },
		{ "*/60 * * * *", 3, "larger than" },
		{ "*/90 * * * *", 3, "larger than" },
		{ "0 */24 * * *", 5, "larger than" },
		{ "*/ * * * *", 3, "a step is a number" },
		{ "*/x * * * *", 3, "a step is a number" },
		{ "*/-5 * * * *", 3, "a step is a number" },
		{ "5/10 * * * *", 2, "a step needs" },
		{ "5-10/2/2 * * * *", 7, "unexpected character" },
		{ "*5 * * * *", 2, "unexpected character" },
		{ "* *5 * * *", 4, "unexpected character" },
		{ "1.5 * * * *", 2, "unexpected character" },
		{ "1:30 * * * *", 2, "unexpected character" },
		{ "0;* * * *", 2, "unexpected character" },
		{ "99999999999999999999 * * * *", 1, "a minute is" },
		{ "0 0 * * 0-0-0", 12, "unexpected character" },
		{ "@", 1, "known words" },
		{ "@reboot", 1, "known words" },
		{ "  @dail", 3, "known words" },
		{ "@dailyx", 1, "known words" },
		{ "@daily 5", 1, "known words" },
	};
	omb_cron cron;
	omb_cron_error error;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		bool good = !omb_cron_parse(cases[i].text, &cron, &error);

		if (!ok(good && error.position == cases[i].position &&
					strstr(error.reason, cases[i].reason) != NULL,
				"refused: \"%s\"", cases[i].text) &&
			good)
			printf("# position %d: %s\n", error.position, error.reason);
	}
}

/* ---- single cases ---- */

static void
check_next(const test_zone *z, const char *text, const char *after,
		   const char *wanted)
{
	omb_cron_zone zone = make_zone(z);
	omb_cron cron;
	omb_cron_error error;
	int64_t from, next = 0;
	char got[OMB_TIME_TEXT] = "never";
	char name[200];

	(void) snprintf(name, sizeof(name), "%s, %s, after %s", text, z->name,
					after);
	if (!omb_cron_parse(text, &cron, &error) || !omb_time_parse(after, &from))
	{
		ok(false, "%s: not parsed", name);
		free(zone.arg);
		return;
	}
	if (omb_cron_next(&cron, &zone, from / 1000000, &next))
	{
		(void) omb_time_format(next * 1000000, got);
		got[16] = '\0';
	}
	is_text(got, wanted, name);
	free(zone.arg);
}

/* All instants are in UTC. */
static void
next_runs(void)
{
	static const char *const cases[][3] = {
		{ "* * * * *", "2026-11-21 08:30:00Z", "2026-11-21 08:31" },
		{ "* * * * *", "2026-11-21 08:30:59Z", "2026-11-21 08:31" },
		{ "30 1 * * *", "2026-11-21 01:29:59Z", "2026-11-21 01:30" },
		{ "30 1 * * *", "2026-11-21 01:30:00Z", "2026-11-22 01:30" },
		{ "30 1 * * *", "2026-12-31 01:30:00Z", "2027-01-01 01:30" },
		{ "*/15 * * * *", "2026-11-21 08:46:00Z", "2026-11-21 09:00" },
		{ "5-20/5 * * * *", "2026-11-21 08:11:00Z", "2026-11-21 08:15" },
		{ "5-20/5 * * * *", "2026-11-21 08:20:00Z", "2026-11-21 09:05" },
		{ "0 22,6 * * *", "2026-11-21 08:20:00Z", "2026-11-21 22:00" },
		{ "30 2 * * 0", "2026-11-21 08:20:00Z", "2026-11-22 02:30" },
		{ "30 2 * * 7", "2026-11-21 08:20:00Z", "2026-11-22 02:30" },
		{ "30 2 * * sun", "2026-11-22 02:30:00Z", "2026-11-29 02:30" },
		{ "30 2 * * SUN", "2026-11-22 02:30:00Z", "2026-11-29 02:30" },
		{ "0 5 * * sat", "2026-11-21 08:20:00Z", "2026-11-28 05:00" },
		{ "0 5 * * fri-sun", "2026-11-22 08:20:00Z", "2026-11-27 05:00" },
		{ "0 5 * * 5-7", "2026-11-21 08:20:00Z", "2026-11-22 05:00" },
		{ "0 5 * * mon-fri", "2026-11-20 08:20:00Z", "2026-11-23 05:00" },
		{ "0 5 * * mon-fri/2", "2026-11-23 08:20:00Z", "2026-11-25 05:00" },
		{ "0 0 13 * 5", "2026-11-06 08:20:00Z", "2026-11-13 00:00" },
		{ "0 0 13 * 5", "2026-11-13 08:20:00Z", "2026-11-20 00:00" },
		{ "0 0 */2 * 5", "2026-11-14 00:00:00Z", "2026-11-27 00:00" },
		{ "0 0 1 jan *", "2026-11-14 00:00:00Z", "2027-01-01 00:00" },
		{ "0 0 1 JAN,jul *", "2027-01-14 00:00:00Z", "2027-07-01 00:00" },
		{ "0 0 31 * *", "2026-08-31 00:00:00Z", "2026-10-31 00:00" },
		{ "0 0 29 2 *", "2026-08-31 00:00:00Z", "2028-02-29 00:00" },
		{ "0 0 29 2 *", "2096-03-01 00:00:00Z", "2104-02-29 00:00" },
		{ "0 0 29 2 */6", "2026-08-31 00:00:00Z", "2032-02-29 00:00" },
		{ "0 0 30 2 *", "2026-08-31 00:00:00Z", "never" },
		{ "0 0 31 4,6,9,11 *", "2026-08-31 00:00:00Z", "never" },
		{ "* * 31 2 *", "2026-08-31 00:00:00Z", "never" },
		{ "@hourly", "2026-11-21 08:20:00Z", "2026-11-21 09:00" },
		{ "@daily", "2026-11-21 08:20:00Z", "2026-11-22 00:00" },
		{ "@midnight", "2026-11-21 08:20:00Z", "2026-11-22 00:00" },
		{ "@weekly", "2026-11-21 08:20:00Z", "2026-11-22 00:00" },
		{ "@monthly", "2026-11-21 08:20:00Z", "2026-12-01 00:00" },
		{ "@yearly", "2026-11-21 08:20:00Z", "2027-01-01 00:00" },
		{ " @Annually ", "2026-11-21 08:20:00Z", "2027-01-01 00:00" },
		{ "  0\t0  1 1\t* ", "2026-11-21 08:20:00Z", "2027-01-01 00:00" },
		{ "59 23 31 12 *", "1969-06-01 00:00:00Z", "1969-12-31 23:59" },
		{ "0 0 1 3 *", "1900-02-01 00:00:00Z", "1900-03-01 00:00" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		check_next(&utc, cases[i][0], cases[i][1], cases[i][2]);
	}
}

static void
clock_changes(void)
{
	/* forward at 2:00 = 01:00 UTC on 29 March: the first instant after */
	check_next(&north, "30 2 * * *", "2026-03-28 12:00Z", "2026-03-29 01:00");
	check_next(&north, "30 2 * * *", "2026-03-29 01:00Z", "2026-03-30 00:30");
	check_next(&north, "0 2 * * *", "2026-03-28 12:00Z", "2026-03-29 01:00");
	check_next(&north, "59 2 * * *", "2026-03-28 12:00Z", "2026-03-29 01:00");
	check_next(&north, "0 3 * * *", "2026-03-28 12:00Z", "2026-03-29 01:00");
	check_next(&north, "30 1 * * *", "2026-03-28 12:00Z", "2026-03-29 00:30");
	/* all of that hour in one run */
	check_next(&north, "0,20,40 2 * * *", "2026-03-29 01:00Z",
			   "2026-03-30 00:00");
	check_next(&north, "*/20 2 * * *", "2026-03-29 00:59Z",
			   "2026-03-29 01:00");
	/* back from 3:00 to 2:00 = 01:00 UTC on 25 October: once */
	check_next(&north, "30 2 * * *", "2026-10-24 12:00Z", "2026-10-25 00:30");
	check_next(&north, "30 2 * * *", "2026-10-25 00:30Z", "2026-10-26 01:30");
	check_next(&north, "30 2 * * *", "2026-10-25 01:10Z", "2026-10-26 01:30");
	check_next(&north, "0 3 * * *", "2026-10-25 00:30Z", "2026-10-25 02:00");
	check_next(&north, "0 2 * * *", "2026-10-24 12:00Z", "2026-10-25 00:00");
	/* every so many minutes whatever happens */
	check_next(&north, "*/30 * * * *", "2026-03-29 00:30Z",
			   "2026-03-29 01:00");
	check_next(&north, "*/30 * * * *", "2026-10-25 00:30Z",
			   "2026-10-25 01:00");
	check_next(&north, "*/30 * * * *", "2026-10-25 01:00Z",
			   "2026-10-25 01:30");
	check_next(&north, "15 * * * *", "2026-10-25 00:15Z", "2026-10-25 01:15");
	check_next(&north, "15 * * * *", "2026-03-29 00:15Z", "2026-03-29 01:15");
	/* the other side of the world, and the year's end in summer */
	check_next(&south, "30 2 * * *", "2026-09-26 13:00Z", "2026-09-26 14:00");
	check_next(&south, "30 2 * * *", "2026-04-04 12:00Z", "2026-04-04 13:30");
	check_next(&south, "30 2 * * *", "2026-04-04 13:30Z", "2026-04-05 14:30");
	check_next(&south, "0 0 1 1 *", "2026-06-01 00:00Z", "2026-12-31 11:00");
	check_next(&west, "30 2 * * *", "2026-03-08 00:00Z", "2026-03-08 07:00");
	check_next(&west, "30 1 * * *", "2026-11-01 00:00Z", "2026-11-01 05:30");
	check_next(&west, "30 1 * * *", "2026-11-01 05:30Z", "2026-11-02 06:30");
	/* by half an hour: 2:00 to 2:30, and 2:00 to 1:30 */
	check_next(&half, "15 2 * * *", "2026-10-03 12:00Z", "2026-10-03 15:30");
	check_next(&half, "30 2 * * *", "2026-10-03 12:00Z", "2026-10-03 15:30");
	check_next(&half, "45 1 * * *", "2026-04-04 12:00Z", "2026-04-04 14:45");
	check_next(&half, "45 1 * * *", "2026-04-04 14:45Z", "2026-04-05 15:15");
	check_next(&half, "0 2 * * *", "2026-04-04 14:45Z", "2026-04-04 15:30");
}

/* ---- against a simple matcher, minute by minute ---- */

static uint64_t state;

static int
below(int n)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (int) ((state >> 33) % (uint64_t) n);
}

/* Does a value fit a field, by reading the field's text once more? */
static bool
text_fits(const char *text, int value, bool weekday)
{
	const char *p = text;

	for (;;)
	{
		char *end;
		long low = 0, high = 99, step = 1, v;

		if (*p == '*')
			p++;
		else
		{
			low = high = strtol(p, &end, 10);
			p = end;
			if (*p == '-')
			{
				high = strtol(p + 1, &end, 10);
				p = end;
			}
		}
		if (*p == '/')
		{
			step = strtol(p + 1, &end, 10);
			p = end;
		}
		/* days and months count steps of "*" from 1, which is in value */
		for (v = low; v <= high && v <= 99; v += step)
		{
			if (v == value || (weekday && v == 7 && high == 7 && value == 0))
				return true;
		}
		if (*p != ',')
			return false;
		p++;
	}
}

static bool
minute_fits(char field[5][64], int64_t civil)
{
	time_t t = (time_t) civil;
	struct tm tm;
	bool day, weekday;

	(void) gmtime_r(&t, &tm);
	if (!text_fits(field[0], tm.tm_min, false) ||
		!text_fits(field[1], tm.tm_hour, false))
		return false;
	/* "*" with a step begins at 1 */
	if (!text_fits(field[3], field[3][0] == '*' ? tm.tm_mon : tm.tm_mon + 1,
				   false))
		return false;
	day = text_fits(field[2], field[2][0] == '*' ? tm.tm_mday - 1 : tm.tm_mday,
					false);
	weekday = text_fits(field[4], tm.tm_wday, field[4][0] != '*');
	if (field[2][0] == '*' || field[4][0] == '*')
		return day && weekday;
	return day || weekday;
}

static void
random_field(char *out, int first, int last, int stars)
{
	int n, items = 1 + below(3);
	char *p = out;

	if (below(100) < stars)
	{
		(void) strcpy(out, "*");
		if (below(2))
			(void) sprintf(out, "*/%d", 1 + below(last - first));
		return;
	}
	for (n = 0; n < items; n++)
	{
		int low = first + below(last - first + 1);

		p += sprintf(p, "%s%d", n ? "," : "", low);
		if (below(2))
		{
			p += sprintf(p, "-%d", low + below(last - low + 1));
			if (below(2))
				p += sprintf(p, "/%d", 1 + below(last - first));
		}
	}
}

/*
 * The first run by stepping through all minutes: with "*" hours when the
 * clock shows a minute that fits, else when it has come to or over one for
 * the first time.
 */
static int64_t
slow_next(char field[5][64], const omb_cron_zone *zone, int64_t after,
		  int64_t limit)
{
	bool shown = field[1][0] == '*';
	int64_t t = after - after % 60;
	int64_t until, back;
	int64_t seen = INT64_MIN;

	/* the latest that was shown in the hours before */
	for (back = t - 4 * HOUR; back <= t; back += 60)
	{
		int64_t civil = back + zone->offset(back, &until, zone->arg);

		if (civil > seen)
			seen = civil;
	}
	for (t += 60; t < limit; t += 60)
	{
		int64_t civil = t + zone->offset(t, &until, zone->arg);

		if (shown && minute_fits(field, civil))
			return t;
		for (; !shown && seen < civil;)
		{
			seen += 60;
			if (minute_fits(field, seen))
				return t;
		}
	}
	return limit;
}

static void
random_schedules(void)
{
	static const test_zone *const zones[] = { &utc, &north, &west, &south,
											  &half };
	int round, bad = 0, found = 0;

	state = (uint64_t) time(NULL) * 65536 + (uint64_t) getpid();
	printf("# seed %" PRIu64 "\n", state);
	for (round = 0; round < 400 && bad < 5; round++)
	{
		const test_zone *z = zones[below(5)];
		omb_cron_zone zone = make_zone(z);
		char field[5][64];
		char text[400];
		omb_cron cron;
		omb_cron_error error;
		int64_t after, limit, wanted, next;

		random_field(field[0], 0, 59, 30);
		random_field(field[1], 0, 23, 40);
		random_field(field[2], 1, 31, 60);
		random_field(field[3], 1, 12, 60);
		random_field(field[4], 0, 7, 60);
		/* half of them right before a change */
		after = utc_instant(2026 + below(3), 1 + below(12), 1 + below(28),
							below(DAY));
		if (z != &utc && below(2))
		{
			int64_t until;

			(void) zone.offset(after, &until, zone.arg);
			after = until - below(2 * DAY) + below(3 * HOUR);
		}
		limit = after - after % 60 + 20 * DAY;
		(void) snprintf(text, sizeof(text), "%s %s %s %s %s", field[0],
						field[1], field[2], field[3], field[4]);
		if (!omb_cron_parse(text, &cron, &error))
		{
			/* a random step may be larger than the weekdays */
			printf("# \"%s\": %s at %d\n", text, error.reason, error.position);
			bad++;
			free(zone.arg);
			continue;
		}
		wanted = slow_next(field, &zone, after, limit);
		if (!omb_cron_next(&cron, &zone, after, &next) || next > limit)
			next = limit;
		if (next < limit)
			found++;
		if (next != wanted)
		{
			char a[OMB_TIME_TEXT], b[OMB_TIME_TEXT], c[OMB_TIME_TEXT];

			printf("# \"%s\" in %s after %s: %s instead of %s\n", text,
				   z->name, omb_time_format(after * 1000000, a),
				   omb_time_format(next * 1000000, b),
				   omb_time_format(wanted * 1000000, c));
			bad++;
		}
		free(zone.arg);
	}
	is_u64((uint64_t) bad, 0, "random schedules are as a simple matcher says");
	ok(found > 80, "of which %d run within 20 days", found);
}

/* A year of runs: neither one too many nor one too few. */
static void
a_year_of_runs(void)
{
	static const test_zone *const zones[] = { &utc, &north, &west, &south,
											  &half };
	static const struct
	{
		const char *text;
		int runs;
	} cases[] = { { "30 2 * * *", 365 },   { "0 2 * * *", 365 },
				  { "15 1 * * *", 365 },   { "45 1 * * *", 365 },
				  { "0 0 * * *", 365 },	   { "30 2 * * 0", 52 },
				  { "0 * * * *", 8760 },   { "*/30 * * * *", 17520 },
				  { "0 12 1 * *", 12 },	   { "0 12 31 * *", 7 },
				  { "0 9-17 * * *", 3285 } };
	size_t i, k;

	for (i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
	{
		omb_cron_zone zone = make_zone(zones[i]);

		for (k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
		{
			int64_t t = utc_instant(2026, 1, 1, 0) - zones[i]->summer - 1;
			int64_t end = utc_instant(2027, 1, 1, 0) - zones[i]->summer - 1;
			int runs = 0;
			int slack;
			omb_cron cron;
			omb_cron_error error;

			(void) omb_cron_parse(cases[k].text, &cron, &error);
			while (omb_cron_next(&cron, &zone, t, &t) && t <= end)
				runs++;
			/* the hours at both ends, and a change by half an hour, count */
			slack = cases[k].runs > 3000 && cases[k].runs != 3285 ? 3 : 1;
			if (zones[i] == &utc)
				slack = 0;
			ok(abs(runs - cases[k].runs) <= slack, "%s in %s runs %d times",
			   cases[k].text, zones[i]->name, runs);
		}
		free(zone.arg);
	}
}

int
main(void)
{
	mistakes_have_a_position();
	next_runs();
	clock_changes();
	random_schedules();
	a_year_of_runs();
	return tap_done();
}
