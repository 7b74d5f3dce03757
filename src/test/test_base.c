/*
 * test_base.c: errors, buffers, fields, text, CRC, files, the pipeline.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/fields.h"
#include "base/file.h"
#include "base/json.h"
#include "base/pipeline.h"
#include "base/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
test_error_keeps_reason_and_context(void)
{
	omb_error err = OMB_ERROR_INIT;

	(void) omb_error_set_errno(&err, ENOSPC, "could not write file \"%s\"",
							   "x");
	ok(err.status == OMB_NO_SPACE, "a full disk has a status of its own");
	(void) omb_error_context(&err, "pack \"%s\"", "p");
	is_text(err.message,
			"pack \"p\": could not write file \"x\": No space left on device",
			"context goes in front");
}

static void
test_cursor_never_reads_past_the_end(void)
{
	omb_buf buf = OMB_BUF_INIT;
	omb_cursor cur;
	static const uint64_t values[] = { 0,	  127,		  128,
									   16384, UINT32_MAX, UINT64_MAX };
	static const uint8_t endless[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
									   0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	size_t i;
	bool same = true;

	for (i = 0; i < 6; i++)
		omb_buf_put_varint(&buf, values[i]);
	omb_cursor_init(&cur, buf.data, buf.len);
	for (i = 0; i < 6; i++)
		same = same && omb_cursor_get_varint(&cur) == values[i];
	ok(same && !cur.failed && omb_cursor_left(&cur) == 0, "varints come back");
	(void) omb_cursor_get_u8(&cur);
	ok(cur.failed, "reading past the end fails");
	omb_cursor_init(&cur, endless, sizeof(endless));
	(void) omb_cursor_get_varint(&cur);
	ok(cur.failed, "a varint of more than 64 bits fails");
	omb_buf_clear(&buf);
	omb_buf_put_varint(&buf, 1000000);
	omb_cursor_init(&cur, buf.data, buf.len);
	ok(omb_cursor_get_text(&cur, SIZE_MAX) == NULL && cur.failed,
	   "a text longer than its bytes fails");
	omb_buf_free(&buf);
}

static void
test_fields_survive_all_bytes(void)
{
	char value[256];
	char line[1024] = "verb name=";
	omb_fields fields;
	char *end;
	int i;

	for (i = 1; i < 256; i++)
		value[i - 1] = (char) i;
	value[255] = '\0';
	end = omb_fields_escape(value, line + strlen(line));
	memcpy(end, " n=42\n", 7);
	ok(omb_fields_parse_line(line, strlen(line), &fields) && fields.count == 2,
	   "a line with every byte parses");
	is_text(fields.verb, "verb", "the verb");
	is_text(omb_fields_get(&fields, "name"), value, "every byte comes back");
}

static void
test_fields_refuse_nonsense(void)
{
	static const char *const bad[] = { "",			 " a=1",	   "verb a",
									   "verb a=%4",	 "verb a=%zz", "verb A=1",
									   "verb =1",	 "verb a=b=c", "verb  a=1",
									   "verb a=%00", "Verb a=1" };
	char line[64];
	omb_fields fields;
	uint64_t number;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		memcpy(line, bad[i], strlen(bad[i]) + 1);
		ok(!omb_fields_parse_line(line, strlen(line), &fields),
		   "refused: \"%s\"", bad[i]);
	}
	memcpy(line, "a=-1\nb=18446744073709551616\nc= 1\nd=7\n", 38);
	ok(!omb_fields_parse_text(line, strlen(line), &fields),
	   "refused: a space in a text's value");
	memcpy(line, "a=-1\nb=18446744073709551616\nd=7\n", 33);
	ok(omb_fields_parse_text(line, strlen(line), &fields),
	   "the text form parses");
	ok(!omb_fields_get_u64(&fields, "a", &number) &&
		   !omb_fields_get_u64(&fields, "b", &number) &&
		   omb_fields_get_u64(&fields, "d", &number) && number == 7,
	   "numbers must fit");
}

static void
test_times(void)
{
	static const struct
	{
		const char *text;
		const char *wanted; /* NULL: refused */
	} cases[] = {
		{ "2026-11-20 23:15:02+00", "2026-11-20 23:15:02+00" },
		{ "2026-11-20T23:15Z", "2026-11-20 23:15:00+00" },
		{ "2026-11-20 23:15:02.5 +13:00", "2026-11-20 10:15:02.500000+00" },
		{ "2026-11-20 23:15:02-0330", "2026-11-21 02:45:02+00" },
		{ "2024-02-29 00:00:00 UTC", "2024-02-29 00:00:00+00" },
		{ "1969-12-31 23:59:59.25+00", "1969-12-31 23:59:59.250000+00" },
		{ "2026-02-30 00:00:00+00", NULL },
		{ "2026-13-01 00:00:00+00", NULL },
		{ "2026-11-20 24:00:00+00", NULL },
		{ "2026-11-20", NULL },
		{ "2026-11-20 23:15:02+99", NULL },
		{ "2026-11-20 23:15:02 Nowhere", NULL },
		{ "", NULL },
	};
	char text[OMB_TIME_TEXT];
	int64_t time;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		bool parsed = omb_time_parse(cases[i].text, &time);

		if (cases[i].wanted == NULL)
			ok(!parsed, "refused: \"%s\"", cases[i].text);
		else
			is_text(parsed ? omb_time_format(time, text) : NULL,
					cases[i].wanted, cases[i].text);
	}
}

static void
test_sizes(void)
{
	static const struct
	{
		const char *text;
		uint64_t bytes; /* 0: refused */
	} cases[] = { { "1", 1 },
				  { "500B", 500 },
				  { "500kB", 512000 },
				  { "2 MB", 2097152 },
				  { "10GB", UINT64_C(10737418240) },
				  { "8388607TB", UINT64_C(8388607) << 40 },
				  { "8388608TB", 0 },
				  { "", 0 },
				  { "0", 0 },
				  { "-1", 0 },
				  { "1.5GB", 0 },
				  { "MB", 0 },
				  { "1 mb", 0 },
				  { "1MB ", 0 },
				  { "99999999999999999999", 0 },
				  { "000000000000000000000000000000001", 0 } };
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		uint64_t bytes = 0;
		bool read = omb_size_parse(cases[i].text, &bytes);

		ok(read == (cases[i].bytes > 0) && (!read || bytes == cases[i].bytes),
		   "size \"%s\"", cases[i].text);
	}
}

static void
test_tree_remove(void)
{
	char path[] = "/tmp/omb-tree-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	char *inner, *outside, *link;
	struct stat st;

	if (mkdtemp(path) == NULL)
		abort();
	outside = omb_format("%s-outside", path);
	inner = omb_format("%s/a/b/c", path);
	link = omb_format("%s/a/link", path);
	if (omb_directory_create(outside, 0700, &err) != OMB_OK ||
		omb_directory_create(inner, 0700, &err) != OMB_OK ||
		symlink(outside, link) != 0)
		abort();
	ok(omb_tree_remove(path, &err) == OMB_OK && stat(path, &st) != 0,
	   "a tree is removed");
	ok(stat(outside, &st) == 0, "where a link leads is not");
	ok(omb_tree_remove(path, &err) == OMB_OK, "one that is not there is fine");
	(void) omb_tree_remove(outside, &err);
	free(link);
	free(inner);
	free(outside);
}

static void
test_paths(void)
{
	ok(omb_path_is_safe("base/5/1259") && omb_path_is_safe("a"),
	   "plain paths are safe");
	ok(!omb_path_is_safe("") && !omb_path_is_safe("/etc") &&
		   !omb_path_is_safe("a/../b") && !omb_path_is_safe("..") &&
		   !omb_path_is_safe("a//b") && !omb_path_is_safe("a/") &&
		   !omb_path_is_safe("./a"),
	   "paths that lead elsewhere are not");
}

static void
square(void *unit, int worker, void *arg)
{
	int *number = unit;

	if (*number % 7 == 0)
		(void) usleep(1000);
	*number *= *number;
}

static void
test_pipeline_keeps_the_order(void)
{
	omb_pipeline *pipe = omb_pipeline_new(4, 8, sizeof(int), square, NULL);
	int next = 0, seen = 0;
	bool ordered = true;
	int *unit;

	while (seen < 1000)
	{
		while (next < 1000 && (unit = omb_pipeline_slot(pipe, false)) != NULL)
		{
			*unit = next++;
			omb_pipeline_submit(pipe);
		}
		unit = omb_pipeline_next(pipe, true);
		ordered = ordered && *unit == seen * seen;
		seen++;
		omb_pipeline_release(pipe);
	}
	ok(ordered, "results come in the order of submission");
	ok(!omb_pipeline_busy(pipe), "and none is left");
	omb_pipeline_stop(pipe);
	ok(omb_pipeline_next(pipe, true) == NULL, "a stopped one ends");
	omb_pipeline_free(pipe);
}

/* The first unit ends only when the second one has been worked on. */
static pthread_barrier_t both;

static void
meet(void *unit, int worker, void *arg)
{
	*(int *) unit = worker + 1;
	(void) pthread_barrier_wait(&both);
}

static void
test_pipeline_grows(void)
{
	omb_pipeline *pipe = omb_pipeline_new(1, 2, sizeof(int), meet, NULL);
	const int *first = omb_pipeline_slot(pipe, false);
	const int *second;

	(void) pthread_barrier_init(&both, NULL, 2);
	omb_pipeline_submit(pipe);
	second = omb_pipeline_slot(pipe, false);
	omb_pipeline_submit(pipe);
	ok(omb_pipeline_next(pipe, false) == NULL, "one worker waits");
	omb_pipeline_grow(pipe, 2);
	omb_pipeline_grow(pipe, 1);
	ok(omb_pipeline_next(pipe, true) == first, "with two it goes on");
	omb_pipeline_release(pipe);
	ok(omb_pipeline_next(pipe, true) == second && *first + *second == 3,
	   "and each worker has its number");
	omb_pipeline_release(pipe);
	omb_pipeline_free(pipe);
	(void) pthread_barrier_destroy(&both);
}

static void
test_file_replace_is_whole(void)
{
	char directory[] = "/tmp/omb-test-XXXXXX";
	char *path;
	omb_buf content = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;

	if (mkdtemp(directory) == NULL)
		abort();
	path = omb_format("%s/file", directory);
	ok(omb_file_replace(path, "one", 3, 0600, &err) == OMB_OK &&
		   omb_file_replace(path, "two!", 4, 0600, &err) == OMB_OK &&
		   omb_file_read(path, 100, &content, &err) == OMB_OK,
	   "a file is replaced");
	is_text(omb_buf_text(&content), "two!", "by its new content");
	ok(omb_file_read(path, 3, &content, &err) == OMB_DAMAGED,
	   "a file larger than expected is refused");
	omb_error_clear(&err);
	ok(omb_file_read("/nonexistent", 3, &content, &err) == OMB_NOT_FOUND,
	   "a missing file is said to be missing");
	(void) unlink(path);
	(void) rmdir(directory);
	omb_buf_free(&content);
	free(path);
}

static void
test_json(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	omb_json json;

	omb_json_begin(&json, out);
	omb_json_open(&json, NULL, '{');
	omb_json_text(&json, "a", "quote \" backslash \\ newline \n");
	omb_json_open(&json, "list", '[');
	omb_json_close(&json, ']');
	omb_json_u64(&json, "n", UINT64_MAX);
	omb_json_bool(&json, "b", false);
	omb_json_close(&json, '}');
	omb_json_end(&json);
	(void) fclose(out);
	is_text(text,
			"{\n  \"a\": \"quote \\\" backslash \\\\ newline \\u000a\",\n"
			"  \"list\": [],\n  \"n\": 18446744073709551615,\n"
			"  \"b\": false\n}\n",
			"JSON is escaped and indented");
	free(text);
}

int
main(void)
{
	test_error_keeps_reason_and_context();
	test_cursor_never_reads_past_the_end();
	test_fields_survive_all_bytes();
	test_fields_refuse_nonsense();
	test_times();
	test_sizes();
	test_tree_remove();
	test_paths();
	test_pipeline_keeps_the_order();
	test_pipeline_grows();
	test_file_replace_is_whole();
	test_json();
	return tap_done();
}
