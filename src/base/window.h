/*
 * window.h: limits of a rate by time of day.
 *
 *   [DAYS] HH:MM-HH:MM RATE; [DAYS] HH:MM-HH:MM RATE; ...
 *
 * DAYS are weekdays: "mon-fri", "sat,sun", "mon,wed-fri"; without them all.
 * RATE is bytes per second, "200kB", "5MB", or "none" for no limit, or "stop"
 * for nothing at all. A time that ends before it begins goes on until the next
 * day, and belongs to the day on which it begins. Of several that fit the
 * first counts; 24:00 is the end of the day.
 *
 * Used in the server part, too: no memory is allocated and nothing else of
 * this program is needed.
 */
#ifndef OMB_BASE_WINDOW_H
#define OMB_BASE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define OMB_WINDOW_MAX 16

/* Rates: bytes per second, 0 for no limit. */
#define OMB_RATE_STOP UINT64_MAX

typedef struct omb_window_item
{
	uint32_t days; /* a bit for each weekday, Sunday is 0 */
	int from;	   /* minutes of the day */
	int to;
	uint64_t rate;
} omb_window_item;

typedef struct omb_window
{
	int count;
	omb_window_item item[OMB_WINDOW_MAX];
} omb_window;

typedef struct omb_window_error
{
	int position; /* of the first wrong character, from 1 */
	const char *reason;
} omb_window_error;

/* False, with *error, when the text has another form. */
extern bool omb_window_parse(const char *text, omb_window *window,
							 omb_window_error *error);

/* The rate at a minute of a weekday; false when nothing is said of it. */
extern bool omb_window_rate(const omb_window *window, int weekday, int minute,
							uint64_t *rate);

#endif
