/*
 * cron.h: when a schedule of five fields runs next.
 *
 *   minute 0-59  hour 0-23  day 1-31  month 1-12  weekday 0-7 (0, 7: Sunday)
 *
 * A field is a list of "*", numbers and ranges, the first and the last with
 * an optional step: "*", "5", "1-5", "10-50/10", "1,15", "* /2" (without the
 * space). Months and weekdays have English names of three letters, too. When
 * neither day nor weekday begins with "*", either is enough; else both must
 * fit. @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.
 *
 * Where clocks change: a schedule whose hours begin with "*" runs by what the
 * clock shows, so that it runs every so many minutes whatever happens. Any
 * other runs once for each time of day: one that does not exist at the first
 * instant after the gap, one that there is twice the first time only.
 *
 * Used in the server part, too: no memory is allocated and nothing else of
 * this program is needed.
 */
#ifndef OMB_BASE_CRON_H
#define OMB_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

typedef struct omb_cron
{
	uint64_t minutes; /* a bit for each number */
	uint32_t hours;
	uint32_t days;
	uint32_t months;
	uint32_t weekdays; /* Sunday is 0 */
	bool any_hour;	   /* the field begins with "*" */
	bool any_day;
	bool any_weekday;
} omb_cron;

typedef struct omb_cron_error
{
	int position; /* of the first wrong character, from 1 */
	const char *reason;
} omb_cron_error;

/* False, with *error, when the text is no schedule. */
extern bool omb_cron_parse(const char *text, omb_cron *cron,
						   omb_cron_error *error);

/*
 * A time zone, in seconds from 1970: what has to be added to UTC at an
 * instant, and the instant until which that is so (INT64_MAX: for good).
 */
typedef struct omb_cron_zone
{
	int32_t (*offset)(int64_t instant, int64_t *until, void *arg);
	void *arg;
} omb_cron_zone;

/*
 * The first run after an instant. False when there is none within 50 years:
 * "0 0 30 2 *".
 */
extern bool omb_cron_next(const omb_cron *cron, const omb_cron_zone *zone,
						  int64_t after, int64_t *next);

#endif
