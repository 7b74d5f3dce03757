/*
 * display.c: showing progress.
 */
#include "program/display.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define TERMINAL_INTERVAL 200000 /* microseconds */
#define PLAIN_INTERVAL 10000000	 /* elsewhere: every ten seconds */

void
omb_display_init(omb_display *display, bool quiet)
{
	memset(display, 0, sizeof(*display));
	display->is_terminal = isatty(STDERR_FILENO) == 1;
	display->quiet = quiet;
}

/* "  1.5 GB of 4.0 GB, 312 MB/s, 0:08 left" */
static void
print_rate(uint64_t bytes, uint64_t total, int64_t elapsed)
{
	char done[OMB_SIZE_TEXT];
	char all[OMB_SIZE_TEXT];
	char rate[OMB_SIZE_TEXT];
	char left[OMB_SIZE_TEXT];
	double per_second =
		elapsed > 0 ? (double) bytes * 1e6 / (double) elapsed : 0;

	(void) fprintf(stderr, "%s of %s", omb_size_format(bytes, done),
				   omb_size_format(total, all));
	if (per_second >= 1 && elapsed > 500000)
		(void) fprintf(
			stderr, ", %s/s, %s left",
			omb_size_format((uint64_t) per_second, rate),
			omb_duration_format(
				(uint64_t) ((double) (total - bytes) / per_second), left));
}

static void
print_bar(uint64_t bytes, uint64_t total)
{
	int filled = (int) ((double) bytes * BAR_WIDTH / (double) total);
	int i;

	(void) fputc('[', stderr);
	for (i = 0; i < BAR_WIDTH; i++)
		(void) fputc(i < filled ? '#' : '.', stderr);
	(void) fprintf(stderr, "] %3d%% ",
				   (int) ((double) bytes * 100 / (double) total));
}

void
omb_display_show(omb_display *display, const char *step, uint64_t bytes,
				 uint64_t total)
{
	int64_t now = omb_time_steady();
	bool new_step = display->step == NULL || strcmp(display->step, step) != 0;
	int64_t interval =
		display->is_terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL;

	if (display->quiet)
		return;
	if (new_step)
	{
		omb_display_end(display);
		display->step = step;
		display->started = now;
	}
	else if (now - display->shown < interval && bytes < total)
		return;
	else if (total == 0 || (bytes >= total && display->complete))
		return;
	display->shown = now;
	display->complete = total > 0 && bytes >= total;
	if (bytes > total)
		bytes = total;
	if (display->is_terminal)
		(void) fputs("\r\033[K", stderr);
	(void) fprintf(stderr, "%s ", step);
	if (total > 0)
	{
		if (display->is_terminal)
			print_bar(bytes, total);
		print_rate(bytes, total, now - display->started);
	}
	if (!display->is_terminal)
		(void) fputc('\n', stderr);
	(void) fflush(stderr);
}

void
omb_display_end(omb_display *display)
{
	if (display->step != NULL && display->is_terminal && !display->quiet)
		(void) fputc('\n', stderr);
	display->step = NULL;
}
