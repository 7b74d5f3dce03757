/*
 * test_window.c: limits by time of day, the form of URLs, and a limit that
 * changes.
 */
#include "test/tap.h"

#include "base/location.h"
#include "base/window.h"
#include "task/mirror/throttle.h"

#include <pthread.h>
#include <time.h>

#define NOTHING UINT64_C(12345)

static uint64_t
rate_at(const char *text, int weekday, int hours, int minutes)
{
	omb_window window;
	omb_window_error error;
	uint64_t rate = NOTHING;

	if (!omb_window_parse(text, &window, &error))
		return NOTHING + 1;
	(void) omb_window_rate(&window, weekday, hours * 60 + minutes, &rate);
	return rate;
}

static void
test_times(void)
{
	static const struct
	{
		const char *text;
		int weekday, hours, minutes;
		uint64_t rate;
		const char *name;
	} cases[] = {
		{ "08:00-18:00 200kB", 3, 8, 0, 204800, "it begins on the minute" },
		{ "08:00-18:00 200kB", 3, 17, 59, 204800, "it lasts" },
		{ "08:00-18:00 200kB", 3, 18, 0, NOTHING, "it ends on the minute" },
		{ "08:00-18:00 200kB", 3, 7, 59, NOTHING, "nothing before it" },
		{ "mon-fri 08:00-18:00 1MB", 5, 12, 0, 1048576,
		  "Friday is a weekday" },
		{ "mon-fri 08:00-18:00 1MB", 6, 12, 0, NOTHING, "Saturday is none" },
		{ "mon-fri 08:00-18:00 1MB", 0, 12, 0, NOTHING, "Sunday is none" },
		{ "sat,sun 00:00-24:00 none", 0, 23, 59, 0, "a whole day, no limit" },
		{ "sat,sun 00:00-24:00 none", 6, 0, 0, 0, "from its first minute" },
		{ "fri-mon 10:00-11:00 5", 0, 10, 30, 5, "days around the week" },
		{ "fri-mon 10:00-11:00 5", 3, 10, 30, NOTHING, "but not others" },
		{ "22:00-06:00 5MB", 2, 23, 0, 5242880, "a night" },
		{ "22:00-06:00 5MB", 2, 5, 59, 5242880, "goes on next morning" },
		{ "22:00-06:00 5MB", 2, 6, 0, NOTHING, "until it ends" },
		{ "fri 22:00-06:00 5MB", 6, 3, 0, 5242880,
		  "the night of Friday ends on Saturday" },
		{ "fri 22:00-06:00 5MB", 5, 3, 0, NOTHING,
		  "Friday morning is that of Thursday" },
		{ "sat 22:00-06:00 5MB", 0, 3, 0, 5242880, "Saturday to Sunday" },
		{ "08:00-18:00 stop", 1, 9, 0, OMB_RATE_STOP, "nothing at all" },
		{ "08:00-12:00 1kB; 08:00-18:00 2kB", 1, 9, 0, 1024,
		  "the first that fits counts" },
		{ "08:00-12:00 1kB; 08:00-18:00 2kB", 1, 13, 0, 2048, "then others" },
		{ "  Mon-Fri   08:00-12:00   1GB  ;22:00-06:00 3B ", 1, 9, 0,
		  1073741824, "spaces and capitals" },
		{ "mon-fri 08:00-18:00 200kB; 22:00-06:00 5MB", 4, 1, 0, 5242880,
		  "the example" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_u64(rate_at(cases[i].text, cases[i].weekday, cases[i].hours,
					   cases[i].minutes),
			   cases[i].rate, cases[i].name);
}

static void
test_mistakes(void)
{
	static const struct
	{
		const char *text;
		int position;
		const char *reason;
	} cases[] = {
		{ "", 1, "a time is" },
		{ "08:00-18:00", 12, "a rate has to follow" },
		{ "08:00-18:00 ", 13, "a rate is" },
		{ "8:00-18:00 1kB", 1, "a time is written" },
		{ "08:00 18:00 1kB", 6, "times are written" },
		{ "08:00-25:00 1kB", 7, "between" },
		{ "08:00-24:01 1kB", 7, "between" },
		{ "08:60-12:00 1kB", 1, "between" },
		{ "08:00-08:00 1kB", 1, "ends when it begins" },
		{ "24:00-08:00 1kB", 1, "ends when it begins" },
		{ "mon-foo 08:00-09:00 1kB", 5, "a weekday" },
		{ "monday 08:00-09:00 1kB", 1, "a weekday" },
		{ "mon, 08:00-09:00 1kB", 5, "a weekday" },
		{ "08:00-09:00 0", 13, "a rate of 0" },
		{ "08:00-09:00 1TB", 14, "a unit" },
		{ "08:00-09:00 1KB", 14, "a unit" },
		{ "08:00-09:00 1234567890", 13, "too large" },
		{ "08:00-09:00 nonesuch", 13, "a rate is" },
		{ "08:00-09:00 1kB 10:00-11:00 2kB", 17, "semicolon" },
		{ "08:00-09:00 1kB;", 17, "a time is written" },
		{ "08:00-09:00 -1kB", 13, "a rate is" },
	};
	char many[17 * 20 + 1] = "";
	omb_window window;
	omb_window_error error;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		bool parsed = omb_window_parse(cases[i].text, &window, &error);

		ok(!parsed && error.position == cases[i].position &&
			   strstr(error.reason, cases[i].reason) != NULL,
		   "\"%s\" is refused at %d", cases[i].text, cases[i].position);
		if (!parsed && error.position != cases[i].position)
			printf("# at %d: %s\n", error.position, error.reason);
	}
	for (i = 0; i < 17; i++)
		(void) strcat(many, i == 0 ? "01:00-02:00 1kB" : ";01:00-02:00 1kB");
	ok(!omb_window_parse(many, &window, &error), "17 times are too many");
	many[strlen(many) - 16] = '\0';
	ok(omb_window_parse(many, &window, &error) && window.count == 16,
	   "16 are not");
}

static void
test_locations(void)
{
	static const struct
	{
		const char *url;
		const char *reason; /* NULL: fine */
		const char *directory;
	} cases[] = {
		{ "file:///mnt/disk%202/copy", NULL, "/mnt/disk 2/copy" },
		{ "FILE://localhost/x", NULL, "/x" },
		{ "s3://bucket/prefix?endpoint=https%3A%2F%2Fh%3A1&style=path", NULL,
		  "" },
		{ "s3://bucket", NULL, "" },
		{ "sftp://backup@host:22/dir", NULL, "" },
		{ "azblob://account/container/prefix", NULL, "" },
		{ "/mnt/copy", "no scheme", NULL },
		{ "copy", "no scheme", NULL },
		{ "", "no scheme", NULL },
		{ "://x", "no scheme", NULL },
		{ "ftp://host/x", "none of", NULL },
		{ "s3:///prefix", "names no bucket", NULL },
		{ "s3://key:secret@bucket/x", "password", NULL },
		{ "s3://key@bucket/x", "password", NULL },
		{ "sftp://user:secret@host/x", "password", NULL },
		{ "s3://b/x?secret_access_key=1", "secret", NULL },
		{ "s3://b/x?Access%4bey=1", "secret", NULL },
		{ "azblob://a/c?sv=1&sig=abc", "secret", NULL },
		{ "s3://b/x?session-token=1", "secret", NULL },
		{ "s3://b/x?region", "written as", NULL },
		{ "s3://b/x?=1", "written as", NULL },
		{ "s3://b/x?a=%zz", "written as", NULL },
		{ "s3://b/%", "hexadecimal", NULL },
		{ "s3://b/x#y", "%23", NULL },
		{ "s3://b/x\n", "control", NULL },
		{ "file://host/x", "written as file", NULL },
		{ "file:relative", "no scheme", NULL },
		{ "file:///x?a=b", "written as file", NULL },
	};
	char directory[64];
	const char *reason;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		bool fine;

		reason = "";
		fine = omb_location_check(cases[i].url, directory, sizeof(directory),
								  &reason);
		ok(cases[i].reason == NULL ?
			   fine && strcmp(directory, cases[i].directory) == 0 :
			   !fine && strstr(reason, cases[i].reason) != NULL,
		   "location %zu is %s", i, cases[i].reason ? "refused" : "taken");
		if (!fine && cases[i].reason == NULL)
			printf("# %s: %s\n", cases[i].url, reason);
	}
}

static omb_throttle *throttle;

static void *
wait_long(void *arg)
{
	omb_throttle_wait(throttle, 1000);
	omb_throttle_wait(throttle, 1000);
	return NULL;
}

/* Were it not woken up, it would take a day. */
static void
test_throttle(uint64_t first, const char *name)
{
	struct timespec pause = { 0, 1000000 };
	pthread_t thread;

	throttle = omb_throttle_new(first);
	(void) pthread_create(&thread, NULL, wait_long, NULL);
	/* that it has begun to wait cannot be seen; either order must do */
	(void) nanosleep(&pause, NULL);
	omb_throttle_set(throttle, 1000000);
	(void) pthread_join(thread, NULL);
	is_u64(omb_throttle_passed(throttle), 2000, name);
	omb_throttle_free(throttle);
}

int
main(void)
{
	test_times();
	test_mistakes();
	test_locations();
	test_throttle(1, "a new rate counts for those who wait");
	test_throttle(OMB_THROTTLE_STOP, "nothing passes until it is let go on");
	return tap_done();
}
