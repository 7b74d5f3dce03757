/*
 * cron.c: when a schedule of five fields runs next.
 */
#include "base/cron.h"

#include <stddef.h>

#define DAY 86400

/* No schedule that runs at all pauses longer: 29 February on one weekday. */
#define YEARS_MAX 50

/* No zone is further away from UTC. */
#define OFFSET_MAX (26 * 3600)

typedef struct parser
{
	const char *text;
	const char *at;
	omb_cron_error *error;
} parser;

typedef struct field
{
	int first;
	int last;
	const char *names; /* three letters each, or NULL */
	int names_first;
	const char *range; /* in words */
} field;

static const field fields[] = {
	{ 0, 59, NULL, 0, "a minute is a number from 0 to 59" },
	{ 0, 23, NULL, 0, "an hour is a number from 0 to 23" },
	{ 1, 31, NULL, 0, "a day is a number from 1 to 31" },
	{ 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1,
	  "a month is a number from 1 to 12 or a name from jan to dec" },
	{ 0, 7, "sunmontuewedthufrisat", 0,
	  "a weekday is a number from 0 to 7 or a name from sun to sat" },
};

/* ---- parsing ---- */

static bool
fail(const parser *p, const char *at, const char *reason)
{
	p->error->position = (int) (at - p->text) + 1;
	p->error->reason = reason;
	return false;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits; more than any field takes is cut to 9999. */
static int
parse_number(parser *p)
{
	int value = 0;

	while (is_digit(*p->at))
	{
		value = value * 10 + (*p->at - '0');
		if (value > 9999)
			value = 9999;
		p->at++;
	}
	return value;
}

static bool
parse_name(parser *p, const field *f, int *value)
{
	const char *name;
	int i;

	for (name = f->names, i = 0; name != NULL && *name; name += 3, i++)
	{
		if (lower(p->at[0]) == name[0] && lower(p->at[1]) == name[1] &&
			lower(p->at[2]) == name[2])
		{
			p->at += 3;
			*value = f->names_first + i;
			return true;
		}
	}
	return false;
}

static bool
parse_value(parser *p, const field *f, int *value)
{
	const char *begin = p->at;

	if (!is_digit(*p->at))
		return parse_name(p, f, value) || fail(p, begin, f->range);
	*value = parse_number(p);
	return (*value >= f->first && *value <= f->last) ||
		   fail(p, begin, f->range);
}

static bool
parse_step(parser *p, const field *f, int *step)
{
	const char *begin = ++p->at;

	if (!is_digit(*p->at))
		return fail(p, begin, "a step is a number");
	*step = parse_number(p);
	if (*step == 0)
		return fail(p, begin, "a step must be at least 1");
	if (*step > f->last - f->first)
		return fail(p, begin,
					"the step is larger than the range of the field");
	return true;
}

/* "*", a value or a range, with a step where it may be. */
static bool
parse_item(parser *p, const field *f, uint64_t *bits)
{
	const char *begin = p->at;
	int low = f->first;
	int high = f->last;
	int step = 1;
	bool several = true;

	if (*p->at == '*')
	{
		p->at++;
		/* 7 is Sunday again and would disturb steps */
		if (f->last == 7)
			high = 6;
	}
	else
	{
		if (!parse_value(p, f, &low))
			return false;
		high = low;
		several = *p->at == '-';
		if (several)
		{
			p->at++;
			if (!parse_value(p, f, &high))
				return false;
			/* "fri-sun" */
			if (f->last == 7 && high == 0 && low > 0)
				high = 7;
			if (high < low)
				return fail(p, begin, "the range ends before it begins");
		}
	}
	if (*p->at == '/')
	{
		if (!several)
			return fail(p, p->at, "a step needs \"*\" or a range before it");
		if (!parse_step(p, f, &step))
			return false;
	}
	for (; low <= high; low += step)
		*bits |= UINT64_C(1) << low;
	return true;
}

static bool
parse_field(parser *p, const field *f, uint64_t *bits, bool *any)
{
	*bits = 0;
	*any = *p->at == '*';
	for (;;)
	{
		if (!parse_item(p, f, bits))
			return false;
		if (*p->at != ',')
			break;
		p->at++;
	}
	return *p->at == '\0' || is_space(*p->at) ||
		   fail(p, p->at, "unexpected character");
}

static bool
parse_fields(parser *p, omb_cron *cron)
{
	uint64_t bits[5];
	bool any[5];
	int i;

	for (i = 0; i < 5; i++)
	{
		while (is_space(*p->at))
			p->at++;
		if (*p->at == '\0')
			return fail(p, p->at,
						"five fields are needed: minute, hour, day, month, "
						"weekday");
		if (!parse_field(p, &fields[i], &bits[i], &any[i]))
			return false;
	}
	while (is_space(*p->at))
		p->at++;
	if (*p->at != '\0')
		return fail(p, p->at, "nothing may follow the five fields");
	cron->minutes = bits[0];
	cron->hours = (uint32_t) bits[1];
	cron->days = (uint32_t) bits[2];
	cron->months = (uint32_t) bits[3];
	cron->weekdays = (uint32_t) (bits[4] | bits[4] >> 7) & 0x7f;
	cron->any_hour = any[1];
	cron->any_day = any[2];
	cron->any_weekday = any[4];
	return true;
}

/* The five fields that a word stands for, or NULL. */
static const char *
find_word(const char *text)
{
	static const char *const words[][2] = {
		{ "@hourly", "0 * * * *" },	  { "@daily", "0 0 * * *" },
		{ "@midnight", "0 0 * * *" }, { "@weekly", "0 0 * * 0" },
		{ "@monthly", "0 0 1 * *" },  { "@yearly", "0 0 1 1 *" },
		{ "@annually", "0 0 1 1 *" },
	};
	size_t i, n;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		for (n = 0; words[i][0][n] && lower(text[n]) == words[i][0][n]; n++)
			;
		if (words[i][0][n] != '\0')
			continue;
		while (is_space(text[n]))
			n++;
		if (text[n] == '\0')
			return words[i][1];
	}
	return NULL;
}

bool
omb_cron_parse(const char *text, omb_cron *cron, omb_cron_error *error)
{
	parser p;

	p.text = p.at = text;
	p.error = error;
	while (is_space(*p.at))
		p.at++;
	if (*p.at == '@')
	{
		const char *word = find_word(p.at);

		if (word == NULL)
			return fail(&p, p.at,
						"known words are @hourly, @daily, @midnight, "
						"@weekly, @monthly, @yearly and @annually");
		p.text = p.at = word;
	}
	return parse_fields(&p, cron);
}

/* ---- civil time: seconds from 1970 as if the zone were UTC ---- */

static int64_t
floor_to(int64_t value, int64_t unit)
{
	int64_t rest = value % unit;

	return value - (rest < 0 ? rest + unit : rest);
}

/* Year, month and day of a number of days from 1970. */
static void
split_date(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t shifted = days + 719468; /* from 1 March of year 0 */
	int64_t era = floor_to(shifted, 146097) / 146097;
	int64_t of_era = shifted - era * 146097;
	int64_t y =
		(of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (int) (of_year - (153 * m + 2) / 5) + 1;
	*month = (int) (m < 10 ? m + 3 : m - 9);
	*year = y + era * 400 + (*month <= 2 ? 1 : 0);
}

static bool
day_fits(const omb_cron *cron, int64_t days, bool *month_fits)
{
	int64_t year;
	int month, day;
	int weekday = (int) (((days + 4) % 7 + 7) % 7); /* 1970 began on 4 */
	bool by_day, by_weekday;

	split_date(days, &year, &month, &day);
	*month_fits = (cron->months >> month & 1) != 0;
	if (!*month_fits)
		return false;
	by_day = (cron->days >> day & 1) != 0;
	by_weekday = (cron->weekdays >> weekday & 1) != 0;
	return cron->any_day || cron->any_weekday ? by_day && by_weekday :
												by_day || by_weekday;
}

/* The first time of a day, in minutes, from a minute on; -1 for none. */
static int
next_minute(const omb_cron *cron, int from)
{
	int hour = from / 60;
	int minute = from % 60;

	for (; hour < 24; hour++, minute = 0)
	{
		if ((cron->hours >> hour & 1) == 0)
			continue;
		for (; minute < 60; minute++)
		{
			if (cron->minutes >> minute & 1)
				return hour * 60 + minute;
		}
	}
	return -1;
}

/* The first civil time that fits, at or after one, before an end. */
static bool
next_civil(const omb_cron *cron, int64_t from, int64_t end, int64_t *next)
{
	int64_t start = floor_to(from + 59, 60);
	int64_t day = floor_to(start, DAY) / DAY;
	int minute = (int) ((start - day * DAY) / 60);
	bool month_fits;

	for (; day * DAY < end; day++, minute = 0)
	{
		int found;

		if (!day_fits(cron, day, &month_fits))
			continue;
		found = next_minute(cron, minute);
		if (found >= 0)
		{
			*next = day * DAY + (int64_t) found * 60;
			return *next < end;
		}
	}
	return false;
}

/* The first instant at which clocks show a civil time, or a later one. */
static int64_t
civil_to_instant(const omb_cron_zone *zone, int64_t civil)
{
	int64_t instant = civil - OFFSET_MAX;
	int64_t until;

	for (;;)
	{
		int32_t offset = zone->offset(instant, &until, zone->arg);

		if (instant + offset >= civil)
			return instant;
		if (until == INT64_MAX || civil - offset < until || until <= instant)
			return civil - offset;
		instant = until;
	}
}

/* By what the clock shows, from one change to the next. */
static bool
next_shown(const omb_cron *cron, const omb_cron_zone *zone, int64_t after,
		   int64_t limit, int64_t *next)
{
	int64_t instant = after + 1;
	int64_t until, civil;

	while (instant < limit)
	{
		int32_t offset = zone->offset(instant, &until, zone->arg);
		bool last = until == INT64_MAX || until > limit || until <= instant;

		if (last)
			until = limit;
		if (next_civil(cron, instant + offset, until + offset, &civil))
		{
			*next = civil - offset;
			return true;
		}
		if (last)
			return false;
		instant = until;
	}
	return false;
}

bool
omb_cron_next(const omb_cron *cron, const omb_cron_zone *zone, int64_t after,
			  int64_t *next)
{
	int64_t limit = after + (int64_t) YEARS_MAX * 366 * DAY;
	int64_t until, civil;

	if (cron->any_hour)
		return next_shown(cron, zone, after, limit, next);
	/* what clocks have shown already has had its turn */
	civil = after + zone->offset(after, &until, zone->arg);
	civil = floor_to(civil, 60);
	do
	{
		if (!next_civil(cron, civil + 60, limit, &civil))
			return false;
		*next = civil_to_instant(zone, civil);
	} while (*next <= after);
	return true;
}
