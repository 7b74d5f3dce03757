/*
 * display.h: showing progress: a bar on a terminal, a line now and then
 * elsewhere. On standard error, so that output stays clean.
 */
#ifndef OMB_PROGRAM_DISPLAY_H
#define OMB_PROGRAM_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct omb_display
{
	bool is_terminal;
	bool quiet;
	const char *step; /* the last one shown */
	int64_t started;  /* of the step */
	int64_t shown;
	bool complete; /* the step was shown with all of its bytes */
} omb_display;

extern void omb_display_init(omb_display *display, bool quiet);
/* total 0 when there is nothing to measure. */
extern void omb_display_show(omb_display *display, const char *step,
							 uint64_t bytes, uint64_t total);
/* Leave the bar's line before other output. */
extern void omb_display_end(omb_display *display);

#endif
