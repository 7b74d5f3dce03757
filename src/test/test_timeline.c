/*
 * test_timeline.c: timeline history files.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "base/file.h"
#include "pgfmt/timeline.h"

#include <stdlib.h>

static omb_timeline_path path;

static omb_status
parse(const char *text, uint32_t timeline)
{
	omb_error err = OMB_ERROR_INIT;

	return omb_timeline_parse(text, strlen(text), timeline, &path, &err);
}

static void
read_data(const char *name, uint32_t timeline)
{
	const char *folder = getenv("OMB_TEST_DATA");
	char *file =
		omb_format("%s/pgfmt/%s", folder ? folder : "src/test/data", name);
	omb_buf text = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;

	ok(omb_file_read(file, OMB_TIMELINE_FILE_MAX, &text, &err) == OMB_OK &&
		   omb_timeline_parse((const char *) text.data, text.len, timeline,
							  &path, &err) == OMB_OK,
	   "%s is read%s%s", name, err.message[0] ? ": " : "", err.message);
	omb_buf_free(&text);
	free(file);
}

static void
the_first_timeline_has_no_history(void)
{
	ok(parse("", 1) == OMB_OK && path.count == 1, "no text, one timeline");
	ok(omb_timeline_at(&path, 0) == 1 &&
		   omb_timeline_at(&path, UINT64_MAX) == 1,
	   "it has all WAL");
	ok(omb_timeline_contains(&path, 1, 12345), "it has each LSN");
	ok(!omb_timeline_contains(&path, 2, 12345), "another has none");
}

static void
a_path_goes_from_timeline_to_timeline(void)
{
	ok(parse("1\t0/3000000\tno recovery target specified\n\n"
			 "# a comment\n"
			 " 2 0/5000000 x y\r\n"
			 "4\t1/0\tbefore 2026-11-21 06:12:08+00\n",
			 7) == OMB_OK &&
		   path.count == 4,
	   "lines, empty lines, comments, white space");
	ok(omb_timeline_at(&path, 0x2ffffff) == 1 &&
		   omb_timeline_at(&path, 0x3000000) == 2 &&
		   omb_timeline_at(&path, 0x4ffffff) == 2 &&
		   omb_timeline_at(&path, 0x5000000) == 4 &&
		   omb_timeline_at(&path, UINT64_C(0x100000000)) == 7,
	   "a timeline begins where its parent was left");
	ok(omb_timeline_contains(&path, 1, 0x3000000) &&
		   !omb_timeline_contains(&path, 1, 0x3000001),
	   "the first one's end");
	ok(!omb_timeline_contains(&path, 2, 0x2ffffff) &&
		   omb_timeline_contains(&path, 2, 0x3000000) &&
		   omb_timeline_contains(&path, 2, 0x5000000),
	   "the second one's begin and end");
	ok(!omb_timeline_contains(&path, 3, 0x4000000),
	   "a timeline that the path does not go through");
	ok(parse("1 0/3000000", 2) == OMB_OK && path.count == 2,
	   "a last line that is not ended");
}

/*
 * A recovery that goes towards timeline 2 and stops before it came there
 * makes a timeline whose history names 2, left before it began.
 */
static void
a_parent_may_be_left_before_it_begins(void)
{
	read_data("00000003.history", 3);
	ok(path.count == 3 && omb_timeline_at(&path, 0x901584f) == 1 &&
		   omb_timeline_at(&path, 0x9015850) == 3 &&
		   omb_timeline_at(&path, 0x90158f8) == 3,
	   "the new timeline has all from where recovery stopped");
	ok(omb_timeline_contains(&path, 1, 0x9015850) &&
		   !omb_timeline_contains(&path, 1, 0x9015851),
	   "the first one's WAL behind that is not on the path");
	ok(!omb_timeline_contains(&path, 2, 0x90158f8) &&
		   !omb_timeline_contains(&path, 2, 0x9017000),
	   "nothing of the parent is");
	read_data("00000004.history", 4);
	ok(path.count == 4 && omb_timeline_at(&path, 0x9015850) == 4 &&
		   !omb_timeline_contains(&path, 3, 0x9016000) &&
		   omb_timeline_contains(&path, 4, 0x9016000),
	   "twice");
}

static void
histories_that_make_no_sense_are_refused(void)
{
	static const char *const texts[] = {
		"1\n",
		"x\t0/3000000\n",
		"0\t0/3000000\n",
		"-1\t0/3000000\n",
		"+1\t0/3000000\n",
		"1x\t0/3000000\n",
		"4294967296\t0/3000000\n",
		"99999999999999999999999999\t0/3000000\n",
		"1\t03000000\n",
		"1\t0/\n",
		"1\t/3000000\n",
		"1\t0/123456789\n",
		"1\tG/0\n",
		"2\t0/3000000\n1\t0/4000000\n",
		"1\t0/3000000\n1\t0/4000000\n",
		"9\t0/3000000\n",
		"10\t0/3000000\n",
	};
	omb_error err = OMB_ERROR_INIT;
	omb_buf text = OMB_BUF_INIT;
	size_t i;
	int bad = 0;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		if (parse(texts[i], 9) != OMB_DAMAGED)
			printf("# accepted: %s", texts[i]), bad++;
	}
	ok(bad == 0, "lines and orders that are none");
	ok(omb_timeline_parse("1\t0/3\0x\n", 8, 2, &path, &err) == OMB_DAMAGED,
	   "NUL: %s", err.message);
	for (i = 1; i < OMB_TIMELINE_MAX; i++)
		omb_buf_printf(&text, "%zu 0/3000000\n", i);
	ok(parse(omb_buf_text(&text), 5000) == OMB_OK, "the longest path");
	omb_buf_printf(&text, "%zu 0/3000000\n", i);
	ok(parse(omb_buf_text(&text), 5000) == OMB_DAMAGED, "a longer one");
	omb_buf_free(&text);
}

static void
random_bytes_are_harmless(void)
{
	static const char some[] = "0123456789ABCDEF/\t \n\r#x";
	uint32_t state = 99;
	char text[300];
	bool good = true;
	int i;
	size_t j, k;

	for (i = 0; i < 20000; i++)
	{
		size_t len = (size_t) i % sizeof(text);
		omb_error err = OMB_ERROR_INIT;

		for (j = 0; j < len; j++)
		{
			state = state * 1103515245 + 12345;
			text[j] = some[(state >> 16) % (sizeof(some) - 1)];
		}
		if (omb_timeline_parse(text, len, 7, &path, &err) != OMB_OK)
			continue;
		for (k = 1; k < path.count; k++)
			good = good && path.entry[k - 1].end <= path.entry[k].end &&
				   path.entry[k - 1].timeline < path.entry[k].timeline;
	}
	ok(good, "what is accepted is in order");
}

int
main(void)
{
	the_first_timeline_has_no_history();
	a_path_goes_from_timeline_to_timeline();
	a_parent_may_be_left_before_it_begins();
	histories_that_make_no_sense_are_refused();
	random_bytes_are_harmless();
	return tap_done();
}
