/*
 * test_survey.c: what can be restored from a repository, which WAL is missing,
 * and what a survey says of places that are no good.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/file.h"
#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/confirmed.h"
#include "repo/gap.h"
#include "store/directory.h"
#include "task/survey.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (UINT64_C(16) * 1024 * 1024)
#define HOUR (INT64_C(3600) * 1000000)
#define NOON (INT64_C(1795348800) * 1000000) /* 2026-11-22 12:00 UTC */

static const omb_compression none = { OMB_METHOD_NONE, 0 };
static char base[] = "/tmp/omb_survey_XXXXXX";

/* A repository <base>/<name> without encryption. */
static char *
repository_directory(const char *name)
{
	char *path = omb_format("%s/%s", base, name);
	omb_error err = OMB_ERROR_INIT;

	(void) omb_directory_create(path, 0700, &err);
	check(&err);
	omb_repository_free(new_repository(omb_store_directory_new(path)));
	return path;
}

static omb_repository *
open_repository(const char *path)
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;

	(void) omb_repository_open_at(path, NULL, NULL, &repo, &err);
	check(&err);
	return repo;
}

/* A backup that needs segment number and the one behind it. */
static void
put_backup(const char *path, unsigned int number, uint32_t timeline)
{
	omb_repository *repo = open_repository(path);
	omb_error err = OMB_ERROR_INIT;
	omb_manifest_writer *writer = NULL;
	omb_pack_table *packs = omb_pack_table_new();
	omb_backup_info info;

	memset(&info, 0, sizeof(info));
	omb_backup_id_new(NOON + number * HOUR, info.id);
	memcpy(info.kind, "full", 5);
	info.wal_segment_size = SIZE;
	info.start_timeline = info.stop_timeline = timeline;
	info.start_lsn = (uint64_t) number * SIZE + 40;
	info.stop_lsn = info.start_lsn + SIZE;
	info.start_time = info.stop_time = NOON + number * HOUR;
	(void) omb_manifest_create(repo, &writer, &err);
	check(&err);
	(void) omb_manifest_commit(writer, &info, packs, &err);
	check(&err);
	omb_pack_table_free(packs);
	omb_repository_free(repo);
}

static void
put_wal(omb_repository *repo, const char *file, const char *content,
		int64_t archived_at)
{
	omb_error err = OMB_ERROR_INIT;
	omb_stream_writer *writer = NULL;
	omb_ghash *hash = omb_wal_id_begin(repo);
	omb_wal_object object;
	omb_wal_facts facts;
	omb_buf head = OMB_BUF_INIT;
	uint64_t offset, index;
	char *name;

	memset(&facts, 0, sizeof(facts));
	memset(&object, 0, sizeof(object));
	(void) snprintf(facts.file, sizeof(facts.file), "%s", file);
	(void) snprintf(object.file, sizeof(object.file), "%s", file);
	facts.size = strlen(content);
	facts.archived_at = archived_at;
	omb_wal_facts_write(&facts, &head);
	omb_ghash_update(hash, content, strlen(content));
	omb_wal_id_final(repo, hash, object.id);
	name = omb_wal_object_name(&object);
	(void) omb_stream_create(repo, OMB_KIND_WAL, &none, &writer, &err);
	check(&err);
	(void) omb_stream_write(writer, head.data, head.len, &err);
	check(&err);
	(void) omb_stream_break(writer, &offset, &index, &err);
	check(&err);
	(void) omb_stream_write(writer, content, strlen(content), &err);
	check(&err);
	(void) omb_stream_commit(writer, NULL, 0, name, &err);
	check(&err);
	free(name);
	omb_buf_free(&head);
}

static void
put_segments(const char *path, uint32_t timeline, uint64_t first,
			 uint64_t last)
{
	omb_repository *repo = open_repository(path);
	char file[OMB_WAL_NAME_TEXT];

	for (; first <= last; first++)
	{
		omb_wal_name_format(timeline, first, SIZE, file);
		put_wal(repo, file, file, NOON + (int64_t) first * HOUR);
	}
	omb_repository_free(repo);
}

static omb_survey
look(const char *path, const char *wal_file)
{
	omb_survey_config config;
	omb_survey found;

	memset(&config, 0, sizeof(config));
	config.repository = path;
	config.pgdata = base;
	config.system_identifier = 1;
	config.wal_segment_size = SIZE;
	config.wal_file = wal_file;
	config.now = NOON + 100 * HOUR;
	omb_survey_run(&config, &found);
	return found;
}

static void
test_window(void)
{
	char *path = repository_directory("window");
	omb_survey found = look(path, NULL);

	ok(found.problem.status == OMB_OK, "an empty repository can be read");
	is_u64(found.backups, 0, "it has no backup");
	ok(found.window_from == 0 && found.gaps == 0, "and no window");
	ok(found.fence == OMB_SURVEY_UNCLAIMED, "nobody claimed it");
	ok(look(path, NULL).fence == OMB_SURVEY_UNCLAIMED,
	   "looking does not claim it");
	ok(found.same_device && found.repository_free > 0, "file systems");

	put_segments(path, 1, 5, 9);
	found = look(path, NULL);
	is_u64(found.gaps, 0, "WAL in front of any backup has no gap");
	put_backup(path, 10, 1);
	put_segments(path, 1, 10, 14);
	found = look(path, "00000001000000000000000C");
	is_u64(found.backups, 1, "a backup");
	ok(found.window_from == NOON + 10 * HOUR, "the window begins at its end");
	ok(found.window_to == NOON + 14 * HOUR, "and ends with the archive");
	is_text(found.last_wal, "00000001000000000000000E", "the last segment");
	ok(found.wal_file_found, "a file that is there");
	ok(!look(path, "0000000100000000000000FF").wal_file_found,
	   "and one that is not");

	/* 15 and 16 are missing */
	put_segments(path, 1, 17, 19);
	found = look(path, NULL);
	is_u64(found.gaps, 1, "a gap");
	is_text(found.gap_first, "00000001000000000000000F", "from");
	is_text(found.gap_last, "000000010000000000000010", "to");
	ok(found.window_from == 0, "nothing reaches the end of the archive");
	put_backup(path, 18, 1);
	found = look(path, NULL);
	ok(found.window_from == NOON + 18 * HOUR,
	   "a backup behind the gap begins a window");
	is_u64(found.gaps, 1, "the gap is behind a backup that is kept");
	ok(found.pack_bytes == 0 && found.wal_bytes > 0 &&
		   found.manifest_bytes > 0,
	   "sizes");
	free(path);
}

/* Timeline 2 left timeline 1 inside of segment 12. */
static void
test_timelines(void)
{
	char *path = repository_directory("timelines");
	omb_repository *repo = open_repository(path);
	omb_survey found;

	put_wal(repo, "00000002.history", "1\t0/C000100\tbranch\n", NOON);
	omb_repository_free(repo);
	put_backup(path, 10, 1);
	put_segments(path, 1, 10, 14);
	put_segments(path, 2, 12, 16);
	found = look(path, NULL);
	is_u64(found.gaps, 0, "the way goes from one timeline to the other");
	ok(found.window_from == NOON + 10 * HOUR &&
		   found.window_to == NOON + 16 * HOUR,
	   "the window reaches across");
	is_text(found.last_wal, "000000020000000000000010",
			"the end is that of the newest timeline");

	/* a backup on what was left behind is on no way to the end */
	put_segments(path, 1, 15, 30);
	found = look(path, NULL);
	is_text(found.last_wal, "000000020000000000000010",
			"later WAL of the old timeline is not on the way");
	free(path);
}

static void
test_given_up(void)
{
	char *path = repository_directory("given_up");
	omb_repository *repo = open_repository(path);
	omb_gap gap;
	omb_gap behind;
	omb_error err = OMB_ERROR_INIT;
	omb_survey found;
	bool is_behind = false;

	put_backup(path, 10, 1);
	put_segments(path, 1, 10, 12);
	memset(&gap, 0, sizeof(gap));
	memcpy(gap.first, "00000001000000000000000D", 25);
	memcpy(gap.last, "00000001000000000000000E", 25);
	gap.files = 2;
	gap.since = NOON;
	gap.until = NOON + 13 * HOUR;
	ok(omb_gap_put(repo, &gap, &err) == OMB_OK, "a gap is noted");
	ok(omb_gap_put(repo, &gap, &err) == OMB_OK, "and once more");
	found = look(path, NULL);
	ok(found.given_up, "no backup began behind it");
	is_text(found.given_up_first, gap.first, "from");
	is_text(found.given_up_last, gap.last, "to");
	put_backup(path, 13, 1);
	ok(look(path, NULL).given_up, "nor one that began inside");
	put_backup(path, 15, 1);
	ok(!look(path, NULL).given_up, "a backup behind it ends that");

	ok(omb_gap_behind(repo, "00000001000000000000000C", &behind, &is_behind,
					  &err) == OMB_OK &&
		   is_behind && behind.files == 2,
	   "it is found behind a segment");
	ok(omb_gap_behind(repo, "00000001000000000000000E", &behind, &is_behind,
					  &err) == OMB_OK &&
		   !is_behind,
	   "and not in front of one");
	memcpy(gap.first, "nonsense", 9);
	ok(omb_gap_put(repo, &gap, &err) == OMB_USAGE, "nonsense is refused");
	omb_repository_free(repo);
	free(path);
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 ||
		chmod(path, mode) != 0)
		exit(1);
}

static void
test_growth(void)
{
	char *path = repository_directory("growth");
	char *cache = omb_format("%s/cache", path);
	char *sizes = omb_format("%s/cache/sizes", path);
	char *text;
	omb_survey found;

	(void) mkdir(cache, 0700);
	ok(!look(path, NULL).growth_known, "growth is not known at first");
	/* now is 100 hours past noon; what is too old or in the future is not
	 * used, and neither is nonsense */
	text = omb_format("%" PRId64 " 999999999\n%" PRId64
					  " 0\nnonsense\n%" PRId64 " 7\n",
					  NOON - 1000 * HOUR, NOON + 76 * HOUR, NOON + 200 * HOUR);
	write_file(sizes, text, 0600);
	put_segments(path, 1, 1, 3);
	found = look(path, NULL);
	ok(found.growth_known, "with a size of yesterday it is known");
	is_u64((uint64_t) found.growth_per_day, found.wal_bytes,
		   "what came since is a day's growth");
	free(text);
	free(sizes);
	free(cache);
	free(path);
}

static void
test_bad_places(void)
{
	char *path = omb_format("%s/nowhere", base);
	char *key = omb_format("%s/key", base);
	omb_survey_config config;
	omb_survey found = look(path, NULL);
	omb_error err = OMB_ERROR_INIT;

	ok(found.problem.status != OMB_OK, "a place where there is nothing");
	ok(found.backups == 0 && found.fence == OMB_SURVEY_NOT_KNOWN,
	   "nothing is known of it");
	memset(&config, 0, sizeof(config));
	config.repository = path;
	config.pgdata = base;
	config.wal_segment_size = SIZE;
	config.key_file = key;
	omb_survey_run(&config, &found);
	ok(found.key.status != OMB_OK, "a key file that is not there");
	write_file(key, "format=1\n", 0644);
	omb_survey_run(&config, &found);
	ok(found.key.status == OMB_REFUSED, "one that others can read");
	(void) chmod(key, 0600);
	omb_survey_run(&config, &found);
	ok(found.key.status == OMB_DAMAGED, "one that is none");
	ok(omb_confirmed_put(path, "x", &err) != OMB_OK,
	   "no code is confirmed there");
	free(key);
	free(path);
}

static void
test_confirmed(void)
{
	char *open_one = repository_directory("open");
	char *path = omb_format("%s/sealed", base);
	char *key = omb_format("%s/sealed.key", base);
	char code[OMB_RECOVERY_CODE_TEXT];
	char wrong[OMB_RECOVERY_CODE_TEXT];
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	omb_secret secret;
	bool confirmed = true;

	ok(omb_confirmed_put(open_one, "x", &err) == OMB_REFUSED,
	   "an open repository has no code");
	omb_error_clear(&err);
	(void) omb_directory_create(path, 0700, &err);
	(void) omb_repository_prepare(omb_store_directory_new(path), true, key,
								  code, &repo, &err);
	check(&err);
	(void) omb_repository_commit(repo, &err);
	check(&err);
	ok(omb_confirmed_read(repo, &confirmed, &err) == OMB_OK && !confirmed,
	   "nobody confirmed a new one");
	omb_secret_new_code(&secret, wrong);
	ok(omb_confirmed_put(path, wrong, &err) == OMB_WRONG_KEY,
	   "another code confirms nothing");
	omb_error_clear(&err);
	ok(omb_confirmed_put(path, "abc", &err) == OMB_USAGE, "nor does nonsense");
	omb_error_clear(&err);
	ok(omb_confirmed_read(repo, &confirmed, &err) == OMB_OK && !confirmed,
	   "it is still not confirmed");
	ok(omb_confirmed_put(path, code, &err) == OMB_OK, "the code does");
	ok(omb_confirmed_put(path, code, &err) == OMB_OK, "also twice");
	ok(omb_confirmed_read(repo, &confirmed, &err) == OMB_OK && confirmed,
	   "now it is confirmed");
	omb_repository_free(repo);
	free(key);
	free(path);
	free(open_one);
}

int
main(void)
{
	char *command;

	if (mkdtemp(base) == NULL)
		return 1;
	test_window();
	test_timelines();
	test_given_up();
	test_growth();
	test_bad_places();
	test_confirmed();
	command = omb_format("rm -rf '%s'", base);
	if (system(command) != 0)
		tap_failed++;
	free(command);
	return tap_done();
}
