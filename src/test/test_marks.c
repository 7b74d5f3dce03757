/*
 * test_marks.c: marks and watermarks in a repository, thinning out, notes.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/file.h"
#include "base/text.h"
#include "repo/watermark.h"
#include "task/notes.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR (INT64_C(3600) * 1000000)
#define DAY (24 * HOUR)

static omb_point
point_of(const char *id, const char *name)
{
	omb_point point;

	memset(&point, 0, sizeof(point));
	memcpy(point.id, id, OMB_STAMP_TEXT);
	point.name = name;
	point.detail = "{\"a\": 1}";
	point.time = 1000;
	point.lsn = 0x1000;
	point.timeline = 2;
	return point;
}

static void
count_point(const omb_point *point, void *arg)
{
	(*(int *) arg)++;
}

static void
marks_are_found_by_name_and_id(void)
{
	omb_repository *repo = new_memory_repository();
	omb_point a = point_of("20261120T231502Z-00000001", "a");
	omb_point b = point_of("20261120T231502Z-00000002", "b");
	omb_point b2 = point_of("20261120T231503Z-00000003", "b");
	omb_error err = OMB_ERROR_INIT;
	omb_point found;
	uint64_t unreadable;
	int count = 0;

	(void) omb_point_put(repo, &a, &err);
	(void) omb_point_put(repo, &b, &err);
	(void) omb_point_put(repo, &b2, &err);
	(void) omb_point_put(repo, &b2, &err);
	check(&err);
	(void) omb_point_list(repo, count_point, &count, &unreadable, &err);
	is_u64((uint64_t) count, 3, "putting one again adds none");
	(void) omb_point_find(repo, "a", &found, &err);
	is_text(found.id, a.id, "by name");
	is_u64(found.lsn, 0x1000, "with its LSN");
	(void) omb_point_find(repo, b2.id, &found, &err);
	is_text(found.id, b2.id, "by id");
	ok(omb_point_find(repo, "b", &found, &err) == OMB_REFUSED &&
		   strstr(err.detail, b2.id) != NULL,
	   "a name that is not unique");
	omb_error_clear(&err);
	ok(omb_point_find(repo, "c", &found, &err) == OMB_NOT_FOUND,
	   "a name that is not there");
	omb_error_clear(&err);
	omb_repository_free(repo);
}

static omb_status
count_watermark(const omb_watermark *mark, void *arg, omb_error *err)
{
	(*(int *) arg)++;
	return OMB_OK;
}

static void
put_watermark(omb_repository *repo, const char *name, int64_t time,
			  const char *value)
{
	omb_error err = OMB_ERROR_INIT;
	omb_watermark mark;
	char stamp[OMB_TIME_TEXT];

	memset(&mark, 0, sizeof(mark));
	(void) omb_time_compact(time, stamp);
	(void) snprintf(mark.stamp, sizeof(mark.stamp), "%.16s-%08x", stamp,
					(unsigned int) (time % 1000000));
	mark.name = name;
	mark.value = value;
	mark.database = "d";
	mark.time = time;
	mark.lsn = 1;
	mark.timeline = 1;
	(void) omb_watermark_put(repo, &mark, &err);
	check(&err);
}

static int
count_all(omb_repository *repo, const char *name, int64_t from, int64_t to)
{
	omb_error err = OMB_ERROR_INIT;
	int count = 0;

	(void) omb_watermark_list(repo, name, from, to, count_watermark, &count,
							  &err);
	check(&err);
	return count;
}

static void
watermarks_are_listed_and_thinned_out(void)
{
	omb_repository *repo = new_memory_repository();
	int64_t start = INT64_C(1700000000) * 1000000 / DAY * DAY;
	omb_error err = OMB_ERROR_INIT;
	int64_t i;

	/* every 20 minutes for 40 days */
	for (i = 0; i < 40 * 24 * 3; i++)
		put_watermark(repo, "cursor", start + i * HOUR / 3, "{\"c\": 1}");
	for (i = 0; i < 40; i++)
		put_watermark(repo, "changelog-journal", start + i * DAY, "{}");
	is_u64((uint64_t) count_all(repo, "cursor", 0, INT64_MAX), 2880,
		   "all are listed");
	is_u64(
		(uint64_t) count_all(repo, "cursor", start + DAY, start + DAY + HOUR),
		3, "those of an hour");
	is_u64((uint64_t) count_all(repo, NULL, start, start + 1), 2,
		   "of all names");
	is_u64((uint64_t) count_all(repo, "../cursor", 0, INT64_MAX), 0,
		   "a name that is none");
	(void) omb_watermark_expire(repo, true, NULL, NULL, &err);
	check(&err);
	/* newest is 23:40 of day 39: a day of 3 an hour, 30 of 1, 9 of 1 a day */
	is_u64((uint64_t) count_all(repo, "cursor", start + 39 * DAY, INT64_MAX),
		   72, "the last day is kept whole");
	is_u64((uint64_t) count_all(repo, "cursor", start + 20 * DAY,
								start + 21 * DAY),
		   24, "of a day of the last month one an hour");
	is_u64(
		(uint64_t) count_all(repo, "cursor", start + 2 * DAY, start + 3 * DAY),
		1, "of an older day one");
	is_u64((uint64_t) count_all(repo, "changelog-journal", 0, INT64_MAX), 32,
		   "a journal is kept whole for a month");
	i = count_all(repo, "cursor", 0, INT64_MAX);
	(void) omb_watermark_expire(repo, true, NULL, NULL, &err);
	is_u64((uint64_t) count_all(repo, "cursor", 0, INT64_MAX), (uint64_t) i,
		   "doing it again removes nothing");
	omb_repository_free(repo);
}

static void
write_note(const char *pgdata, const char *name, const char *text)
{
	omb_error err = OMB_ERROR_INIT;
	char *path = omb_format("%s/" OMB_NOTES_DIRECTORY "/%s", pgdata, name);

	(void) omb_file_replace(path, text, strlen(text), 0600, &err);
	check(&err);
	free(path);
}

static void
count_warning(const char *message, void *arg)
{
	(*(int *) arg)++;
}

static void
notes_are_taken_whatever_fails(void)
{
	char pgdata[] = "/tmp/omb-notes-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = new_memory_repository();
	uint64_t at, taken, unreadable;
	int warnings = 0;
	int count = 0;
	char *command;

	if (mkdtemp(pgdata) == NULL)
		abort();
	ok(omb_notes_take(repo, pgdata, count_warning, &warnings, &taken, &err) ==
			   OMB_OK &&
		   taken == 0,
	   "no directory of notes");
	command = omb_format("%s/" OMB_NOTES_DIRECTORY, pgdata);
	if (mkdir(command, 0700) != 0)
		abort();
	free(command);
	write_note(pgdata, "1",
			   "type=point\nid=20261120T231502Z-00000001\nname=a%20b\n"
			   "detail=\ntime=5\nlsn=0/10\ntimeline=1\n");
	write_note(pgdata, "2",
			   "type=watermark\nstamp=20261120T231502Z-00000002\nname=w\n"
			   "value={}\ntime=5\nlsn=0/10\ntimeline=1\n");
	write_note(pgdata, "3", "type=point\nid=x\n");
	write_note(pgdata, "4.tmp", "type=point\nid=x\n");
	for (at = 1; at < 100; at++)
	{
		omb_store_fault_set(repo->store, at, true);
		if (omb_notes_take(repo, pgdata, count_warning, &warnings, &taken,
						   &err) == OMB_OK)
			break;
		omb_error_clear(&err);
	}
	omb_store_fault_set(repo->store, 0, false);
	ok(at > 3 && at < 100, "it works at last");
	is_u64((uint64_t) warnings, 1, "one made no sense");
	(void) omb_point_list(repo, count_point, &count, &unreadable, &err);
	is_u64((uint64_t) count, 1, "the mark is there once");
	is_u64((uint64_t) count_all(repo, "w", 0, INT64_MAX), 1,
		   "and the watermark");
	(void) omb_notes_take(repo, pgdata, count_warning, &warnings, &taken,
						  &err);
	check(&err);
	is_u64(taken, 0, "nothing is left to take");
	command = omb_format("rm -rf %s", pgdata);
	if (system(command) != 0)
		abort();
	free(command);
	omb_repository_free(repo);
}

static void
stamps_have_a_shape(void)
{
	ok(omb_stamp_valid("20261120T231502Z-1a2b3c4d"), "a stamp");
	ok(!omb_stamp_valid(""), "nothing");
	ok(!omb_stamp_valid("20261120T231502Z-1a2b3c4"), "too short");
	ok(!omb_stamp_valid("20261120T231502Z-1a2b3c4d5"), "too long");
	ok(!omb_stamp_valid("20261120T231502Z-1A2B3C4D"), "upper case");
	ok(!omb_stamp_valid("2026112/T231502Z-1a2b3c4d"), "a slash");
}

int
main(void)
{
	marks_are_found_by_name_and_id();
	watermarks_are_listed_and_thinned_out();
	notes_are_taken_whatever_fails();
	stamps_have_a_shape();
	return tap_done();
}
