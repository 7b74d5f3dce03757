/*
 * window.c: limits of a rate by time of day.
 */
#include "base/window.h"

#include <stddef.h>
#include <string.h>

#define DAY_MINUTES (24 * 60)
#define ALL_DAYS 0x7f

/* No rate is larger: a number of bytes has to fit in 63 bits. */
#define DIGITS_MAX 9

typedef struct parser
{
	const char *text;
	const char *at;
	omb_window_error *error;
} parser;

static bool
fail(const parser *p, const char *at, const char *reason)
{
	p->error->position = (int) (at - p->text) + 1;
	p->error->reason = reason;
	return false;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void
skip_space(parser *p)
{
	while (*p->at == ' ' || *p->at == '\t')
		p->at++;
}

static bool
parse_day(parser *p, int *day)
{
	static const char names[] = "sunmontuewedthufrisat";
	int i, k;

	for (i = 0; i < 7; i++)
	{
		/* a letter in lower case differs in one bit */
		for (k = 0; k < 3 && is_letter(p->at[k]) &&
					(p->at[k] | 0x20) == names[3 * i + k];
			 k++)
			;
		if (k == 3 && !is_letter(p->at[3]))
		{
			p->at += 3;
			*day = i;
			return true;
		}
	}
	return fail(p, p->at, "a weekday is a name from mon to sun");
}

static bool
parse_days(parser *p, uint32_t *days)
{
	*days = 0;
	for (;;)
	{
		int first, last;

		if (!parse_day(p, &first))
			return false;
		last = first;
		if (*p->at == '-')
		{
			p->at++;
			if (!parse_day(p, &last))
				return false;
		}
		for (; first != last; first = (first + 1) % 7)
			*days |= UINT32_C(1) << first;
		*days |= UINT32_C(1) << last;
		if (*p->at != ',')
			return true;
		p->at++;
	}
}

static bool
parse_time(parser *p, int *minute)
{
	const char *begin = p->at;
	int hours, minutes;

	if (!is_digit(begin[0]) || !is_digit(begin[1]) || begin[2] != ':' ||
		!is_digit(begin[3]) || !is_digit(begin[4]) || is_digit(begin[5]))
		return fail(p, begin, "a time is written as 08:00");
	hours = (begin[0] - '0') * 10 + (begin[1] - '0');
	minutes = (begin[3] - '0') * 10 + (begin[4] - '0');
	if (minutes > 59 || hours > 24 || (hours == 24 && minutes > 0))
		return fail(p, begin, "a time is between 00:00 and 24:00");
	*minute = hours * 60 + minutes;
	p->at += 5;
	return true;
}

static bool
parse_word(parser *p, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(p->at, word, len) != 0 || is_letter(p->at[len]) ||
		is_digit(p->at[len]))
		return false;
	p->at += len;
	return true;
}

static bool
parse_rate(parser *p, uint64_t *rate)
{
	static const struct
	{
		const char *name;
		uint64_t size;
	} units[] = { { "B", 1 },
				  { "kB", 1024 },
				  { "MB", 1024 * 1024 },
				  { "GB", 1024 * 1024 * 1024 } };
	const char *begin = p->at;
	size_t i;

	*rate = 0;
	if (parse_word(p, "none"))
		return true;
	if (parse_word(p, "stop"))
	{
		*rate = OMB_RATE_STOP;
		return true;
	}
	if (!is_digit(*p->at))
		return fail(p, begin,
					"a rate is bytes per second, for example 200kB or 5MB, "
					"or none, or stop");
	while (is_digit(*p->at))
	{
		if (p->at - begin == DIGITS_MAX)
			return fail(p, begin, "the rate is too large");
		*rate = *rate * 10 + (uint64_t) (*p->at++ - '0');
	}
	if (*rate == 0)
		return fail(p, begin,
					"a rate of 0 is written as stop, no limit as "
					"none");
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
	{
		if (parse_word(p, units[i].name))
		{
			*rate *= units[i].size;
			return true;
		}
	}
	if (is_letter(*p->at))
		return fail(p, p->at, "a unit is B, kB, MB or GB");
	return true;
}

static bool
parse_item(parser *p, omb_window_item *item)
{
	const char *begin;

	item->days = ALL_DAYS;
	if (is_letter(*p->at) && !parse_days(p, &item->days))
		return false;
	skip_space(p);
	begin = p->at;
	if (!parse_time(p, &item->from))
		return false;
	if (*p->at != '-')
		return fail(p, p->at, "times are written as 08:00-18:00");
	p->at++;
	if (!parse_time(p, &item->to))
		return false;
	if (item->from == item->to || item->from == DAY_MINUTES)
		return fail(p, begin, "it ends when it begins");
	if (*p->at != ' ' && *p->at != '\t')
		return fail(p, p->at, "a rate has to follow, after a space");
	skip_space(p);
	if (!parse_rate(p, &item->rate))
		return false;
	skip_space(p);
	return true;
}

bool
omb_window_parse(const char *text, omb_window *window, omb_window_error *error)
{
	parser p;

	memset(window, 0, sizeof(*window));
	p.text = p.at = text;
	p.error = error;
	for (;;)
	{
		skip_space(&p);
		if (window->count == OMB_WINDOW_MAX)
			return fail(&p, p.at, "there are more than 16 times");
		if (!parse_item(&p, &window->item[window->count]))
			return false;
		window->count++;
		if (*p.at == '\0')
			return true;
		if (*p.at != ';')
			return fail(&p, p.at, "the next time has to follow a semicolon");
		p.at++;
	}
}

static bool
fits(const omb_window_item *item, int weekday, int minute)
{
	bool today = (item->days >> weekday & 1) != 0;
	bool yesterday = (item->days >> (weekday + 6) % 7 & 1) != 0;

	if (item->from < item->to)
		return today && minute >= item->from && minute < item->to;
	return (today && minute >= item->from) || (yesterday && minute < item->to);
}

bool
omb_window_rate(const omb_window *window, int weekday, int minute,
				uint64_t *rate)
{
	int i;

	for (i = 0; i < window->count; i++)
	{
		if (fits(&window->item[i], weekday, minute))
		{
			*rate = window->item[i].rate;
			return true;
		}
	}
	return false;
}
