/*
 * text.c: numbers, times and bytes as people read and write them.
 */
#include "base/text.h"

#include "base/buffer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

char *
omb_hex_format(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < len; i++)
	{
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
	return out;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool
omb_hex_parse(const char *text, void *out, size_t len)
{
	uint8_t *p = out;
	size_t i;

	if (strlen(text) != 2 * len)
		return false;
	for (i = 0; i < len; i++)
	{
		int high = hex_value(text[2 * i]);
		int low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		p[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}

/* Bytes of the valid UTF-8 character that begins there; 0 for none. */
static size_t
utf8_length(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80				 ? 1 :
				 p[0] >= 0xc2 && p[0] < 0xe0 ? 2 :
				 p[0] >= 0xe0 && p[0] < 0xf0 ? 3 :
				 p[0] >= 0xf0 && p[0] < 0xf5 ? 4 :
											   0;
	uint32_t code = len == 0 ? 0 : p[0] & (0xffU >> (len + 1));
	size_t i;

	for (i = 1; i < len; i++)
	{
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fU);
	}
	if (len > 1 && (code < least[len] || code > 0x10ffff ||
					(code >= 0xd800 && code < 0xe000)))
		return 0;
	return len;
}

char *
omb_name_show(const char *name)
{
	const unsigned char *p = (const unsigned char *) name;
	omb_buf out = OMB_BUF_INIT;
	char *text;

	while (*p != 0)
	{
		size_t len = utf8_length(p);

		/* U+0080 to U+009f are control characters too */
		if (len == 0 || *p < 0x20 || *p == 0x7f ||
			(len == 2 && p[0] == 0xc2 && p[1] < 0xa0))
		{
			omb_buf_printf(&out, "\\x%02x", *p++);
			continue;
		}
		omb_buf_put(&out, p, len);
		p += len;
	}
	text = omb_strdup(omb_buf_text(&out));
	omb_buf_free(&out);
	return text;
}

bool
omb_u64_parse(const char *text, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static int64_t
read_clock(clockid_t clock)
{
	struct timespec now;

	(void) clock_gettime(clock, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
omb_time_now(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t
omb_time_steady(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

/* Split into calendar fields and the microseconds left. */
static long
split_time(int64_t time, struct tm *tm)
{
	int64_t fraction = time % 1000000;
	time_t seconds;

	if (fraction < 0)
		fraction += 1000000;
	seconds = (time_t) ((time - fraction) / 1000000);
	if (gmtime_r(&seconds, tm) == NULL)
		memset(tm, 0, sizeof(*tm));
	return (long) fraction;
}

char *
omb_time_format(int64_t time, char *out)
{
	struct tm tm;
	long fraction = split_time(time, &tm);
	size_t len = strftime(out, OMB_TIME_TEXT, "%Y-%m-%d %H:%M:%S", &tm);

	if (fraction != 0)
		len += (size_t) snprintf(out + len, OMB_TIME_TEXT - len, ".%06ld",
								 fraction);
	(void) snprintf(out + len, OMB_TIME_TEXT - len, "+00");
	return out;
}

char *
omb_time_compact(int64_t time, char *out)
{
	struct tm tm;

	(void) split_time(time, &tm);
	(void) strftime(out, OMB_TIME_TEXT, "%Y%m%dT%H%M%SZ", &tm);
	return out;
}

/* Exactly n digits; NULL when they are not there. */
static const char *
parse_digits(const char *p, int n, int *value)
{
	*value = 0;
	for (; n > 0; n--, p++)
	{
		if (*p < '0' || *p > '9')
			return NULL;
		*value = *value * 10 + (*p - '0');
	}
	return p;
}

/* The zone at the end of a time; minutes east of UTC. */
static bool
parse_zone(const char *p, int *minutes)
{
	int sign = *p == '-' ? -1 : 1;
	int hours, rest = 0;

	*minutes = 0;
	if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0 || strcmp(p, "UTC") == 0 ||
		strcmp(p, "GMT") == 0)
		return true;
	if (*p != '+' && *p != '-')
		return false;
	p = parse_digits(p + 1, 2, &hours);
	if (p != NULL && *p == ':')
		p = parse_digits(p + 1, 2, &rest);
	else if (p != NULL && *p != '\0')
		p = parse_digits(p, 2, &rest);
	if (p == NULL || *p != '\0' || hours > 15 || rest > 59)
		return false;
	*minutes = sign * (hours * 60 + rest);
	return true;
}

bool
omb_time_parse(const char *text, int64_t *time)
{
	struct tm tm;
	struct tm check;
	const char *p = text;
	int fraction = 0;
	int minutes = 0;
	time_t seconds;

	memset(&tm, 0, sizeof(tm));
	if ((p = parse_digits(p, 4, &tm.tm_year)) == NULL || *p++ != '-' ||
		(p = parse_digits(p, 2, &tm.tm_mon)) == NULL || *p++ != '-' ||
		(p = parse_digits(p, 2, &tm.tm_mday)) == NULL ||
		(*p != ' ' && *p != 'T') ||
		(p = parse_digits(p + 1, 2, &tm.tm_hour)) == NULL || *p++ != ':' ||
		(p = parse_digits(p, 2, &tm.tm_min)) == NULL)
		return false;
	if (*p == ':' && (p = parse_digits(p + 1, 2, &tm.tm_sec)) == NULL)
		return false;
	if (*p == '.')
	{
		int scale = 100000;

		/* digits beyond those are left out */
		for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
			fraction += (*p - '0') * scale;
	}
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
		tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	check = tm;
	while (*p == ' ')
		p++;
	if (*p == '\0')
	{
		tm.tm_isdst = -1;
		seconds = mktime(&tm);
	}
	else
	{
		if (!parse_zone(p, &minutes))
			return false;
		seconds = timegm(&tm);
	}
	/* a day that the month does not have was carried into the next one */
	if (tm.tm_mday != check.tm_mday)
		return false;
	*time = ((int64_t) seconds - minutes * 60) * 1000000 + fraction;
	return true;
}

char *
omb_size_format(uint64_t bytes, char *out)
{
	static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB" };
	double value = (double) bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]))
	{
		value /= 1024;
		unit++;
	}
	(void) snprintf(out, OMB_SIZE_TEXT,
					unit > 0 && value < 10 ? "%.1f %s" : "%.0f %s", value,
					units[unit]);
	return out;
}

bool
omb_size_parse(const char *text, uint64_t *bytes)
{
	static const struct
	{
		const char *name;
		unsigned int shift;
	} units[] = { { "", 0 },	{ "B", 0 },	  { "kB", 10 },
				  { "MB", 20 }, { "GB", 30 }, { "TB", 40 } };
	char digits[24];
	size_t len = strspn(text, "0123456789");
	size_t i;

	(void) snprintf(digits, sizeof(digits), "%.*s", (int) len, text);
	text += len;
	while (*text == ' ')
		text++;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
	{
		if (strcmp(text, units[i].name) == 0 && omb_u64_parse(digits, bytes) &&
			*bytes > 0 && *bytes <= (uint64_t) INT64_MAX >> units[i].shift)
		{
			*bytes <<= units[i].shift;
			return true;
		}
	}
	return false;
}

char *
omb_duration_format(uint64_t seconds, char *out)
{
	uint64_t hours = seconds / 3600 % 100000;
	unsigned int minutes = (unsigned int) (seconds / 60 % 60);
	unsigned int rest = (unsigned int) (seconds % 60);

	if (hours > 0)
		(void) snprintf(out, OMB_SIZE_TEXT, "%" PRIu64 ":%02u:%02u", hours,
						minutes, rest);
	else
		(void) snprintf(out, OMB_SIZE_TEXT, "%u:%02u", minutes, rest);
	return out;
}
