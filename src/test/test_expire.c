/*
 * test_expire.c: what expire tells and removes, and that a failure at any
 * operation of the store leaves a repository in which all listed backups
 * have their WAL and a second run finishes.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/text.h"
#include "repo/pin.h"
#include "repo/point.h"
#include "repo/walobject.h"
#include "task/retain/expire.h"

#include <stdlib.h>

#define SIZE (UINT64_C(16) * 1024 * 1024)
#define DAY (INT64_C(86400) * 1000000)
#define NOON (INT64_C(1795348800) * 1000000) /* 2026-11-22 12:00 UTC */
#define BACKUPS 6

static const omb_compression none = { OMB_METHOD_NONE, 0 };

/* Keeps backups 4 to 6, and 2 because it is pinned. */
static const omb_retain_rules rules = { .keep_last = 2, .keep_wal_days = 1 };

static void
backup_id(int number, char out[OMB_BACKUP_ID_MAX])
{
	(void) snprintf(out, OMB_BACKUP_ID_MAX, "202611%02dT120000Z-%04x",
					16 + number, (unsigned int) number);
}

static void
put_backup(omb_repository *repo, int number, uint32_t timeline)
{
	omb_error err = OMB_ERROR_INIT;
	omb_manifest_writer *writer;
	omb_pack_table *packs = omb_pack_table_new();
	omb_backup_info info;

	memset(&info, 0, sizeof(info));
	backup_id(number, info.id);
	memcpy(info.kind, "full", 5);
	info.wal_segment_size = SIZE;
	info.start_timeline = info.stop_timeline = timeline;
	info.start_lsn = (uint64_t) number * 10 * SIZE + 40;
	info.stop_lsn = info.start_lsn + SIZE;
	info.stop_time = NOON + (number - BACKUPS) * DAY;
	if (omb_manifest_create(repo, &writer, &err) != OMB_OK ||
		omb_manifest_commit(writer, &info, packs, &err) != OMB_OK)
	{
		printf("# %s\n", err.message);
		abort();
	}
	omb_pack_table_free(packs);
}

static void
put_wal(omb_repository *repo, const char *file, const char *content)
{
	omb_error err = OMB_ERROR_INIT;
	omb_stream_writer *writer;
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
	omb_wal_facts_write(&facts, &head);
	omb_ghash_update(hash, content, strlen(content));
	omb_wal_id_final(repo, hash, object.id);
	name = omb_wal_object_name(&object);
	if (omb_stream_create(repo, OMB_KIND_WAL, &none, &writer, &err) !=
			OMB_OK ||
		omb_stream_write(writer, head.data, head.len, &err) != OMB_OK ||
		omb_stream_break(writer, &offset, &index, &err) != OMB_OK ||
		omb_stream_write(writer, content, strlen(content), &err) != OMB_OK ||
		omb_stream_commit(writer, NULL, 0, name, &err) != OMB_OK)
	{
		printf("# %s\n", err.message);
		abort();
	}
	free(name);
	omb_buf_free(&head);
}

static void
put_segments(omb_repository *repo, uint32_t timeline, uint64_t first,
			 uint64_t last)
{
	char file[OMB_WAL_NAME_TEXT];

	for (; first <= last; first++)
	{
		omb_wal_name_format(timeline, first, SIZE, file);
		put_wal(repo, file, file);
	}
}

/*
 * A backup a day in segments 10, 20 .. 60 and the one behind each, the last
 * two on timeline 2 which began in segment 45; the second one is pinned.
 */
static omb_repository *
new_history(void)
{
	omb_repository *repo = new_memory_repository();
	omb_error err = OMB_ERROR_INIT;
	char id[OMB_BACKUP_ID_MAX];
	int i;

	for (i = 1; i <= BACKUPS; i++)
		put_backup(repo, i, i < 5 ? 1 : 2);
	put_segments(repo, 1, 8, 46);
	put_segments(repo, 2, 45, 65);
	put_wal(repo, "00000002.history", "1\t0/2D000100\tno reason\n");
	put_wal(repo, "000000010000000000000014.00000028.backup", "label");
	put_wal(repo, "00000001000000000000001E.00000028.backup", "label");
	put_wal(repo, "00000001000000000000002E.partial", "partial");
	backup_id(2, id);
	if (omb_pin_put(repo, id, "before the upgrade", &err) != OMB_OK)
		abort();
	return repo;
}

static omb_status
add_name(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_wal_object object;
	const char *name = strrchr(entry->name, '/') + 1;

	if (omb_wal_object_parse(entry->name, &object))
		name = object.file;
	omb_buf_printf(arg, "%s\n", name);
	return OMB_OK;
}

/* Names of all backups and WAL files. */
static char *
names(omb_repository *repo, omb_buf *out)
{
	omb_store *store = omb_store_fault_inner(repo->store);
	omb_error err = OMB_ERROR_INIT;

	omb_buf_clear(out);
	if (omb_store_list(store, "backups", true, add_name, out, &err) !=
			OMB_OK ||
		omb_store_list(store, "wal", true, add_name, out, &err) != OMB_OK)
		abort();
	return omb_buf_text(out);
}

static void
add_row(const omb_expire_row *row, void *arg)
{
	omb_buf_printf(arg, "%s %s %s: %s\n", row->verdict, row->object, row->name,
				   row->reason);
}

static omb_status
run(omb_repository *repo, const omb_retain_rules *by, bool dry_run,
	omb_buf *rows, omb_expire_result *result, omb_error *err)
{
	omb_expire_config config;

	memset(&config, 0, sizeof(config));
	config.repo = repo;
	config.rules = *by;
	config.dry_run = dry_run;
	config.row = add_row;
	config.arg = rows;
	omb_buf_clear(rows);
	return omb_expire(&config, result, err);
}

static const char told[] =
	"drop backup 20261117T120000Z-0001: no rule keeps it\n"
	"keep backup 20261118T120000Z-0002: pinned: before the upgrade\n"
	"drop backup 20261119T120000Z-0003: no rule keeps it\n"
	"keep backup 20261120T120000Z-0004: timeline 2 began from it\n";

static void
test_verdicts(void)
{
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf dry = OMB_BUF_INIT;
	omb_buf before = OMB_BUF_INIT;
	omb_buf after = OMB_BUF_INIT;
	omb_expire_result result, planned;

	/* the window begins with backup 5 */
	(void) names(repo, &before);
	ok(run(repo, &rules, true, &dry, &planned, &err) == OMB_OK,
	   "a dry run succeeds");
	is_text(names(repo, &after), omb_buf_text(&before), "it removes nothing");
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK,
	   "a run succeeds");
	is_text(omb_buf_text(&rows), omb_buf_text(&dry),
			"it tells what the dry run told");
	ok(memcmp(&result, &planned, sizeof(result)) == 0, "and counts the same");
	is_text(
		omb_buf_text(&rows),
		"drop backup 20261117T120000Z-0001: no rule keeps it\n"
		"keep backup 20261118T120000Z-0002: pinned: before the upgrade\n"
		"drop backup 20261119T120000Z-0003: no rule keeps it\n"
		"drop backup 20261120T120000Z-0004: no rule keeps it\n"
		"keep backup 20261121T120000Z-0005: one of the newest 2 (keep_last); "
		"leads to the beginning of the last 1 day (keep_wal_days)\n"
		"keep backup 20261122T120000Z-0006: one of the newest 2 (keep_last); "
		"inside the last 1 day (keep_wal_days)\n"
		"drop wal 000000010000000000000008 to 000000010000000000000013: no "
		"kept backup needs it (12 files, 2.3 kB)\n"
		"keep wal 000000010000000000000014 to 000000010000000000000015: "
		"written during backup \"20261118T120000Z-0002\", which is kept (3 "
		"files, 587 bytes)\n"
		"drop wal 000000010000000000000016 to 00000001000000000000002E: no "
		"kept backup needs it (27 files, 5.2 kB)\n"
		"keep wal 00000002.history: timeline histories are always kept\n"
		"drop wal 00000002000000000000002D to 000000020000000000000031: no "
		"kept backup needs it (5 files, 985 bytes)\n"
		"keep wal 000000020000000000000032 to 000000020000000000000041: "
		"follows backup \"20261121T120000Z-0005\", which leads to the last 1 "
		"day (keep_wal_days) (16 files, 3.1 kB)\n",
		"each verdict with its reason");
	is_u64(result.backups_dropped, 3, "backups dropped");
	is_u64(result.wal_dropped, 44, "WAL files dropped");
	is_text(names(repo, &after),
			"20261118T120000Z-0002\n20261121T120000Z-0005\n"
			"20261122T120000Z-0006\n000000010000000000000014\n"
			"000000010000000000000014.00000028.backup\n"
			"000000010000000000000015\n00000002.history\n"
			"000000020000000000000032\n000000020000000000000033\n"
			"000000020000000000000034\n000000020000000000000035\n"
			"000000020000000000000036\n000000020000000000000037\n"
			"000000020000000000000038\n000000020000000000000039\n"
			"00000002000000000000003A\n00000002000000000000003B\n"
			"00000002000000000000003C\n00000002000000000000003D\n"
			"00000002000000000000003E\n00000002000000000000003F\n"
			"000000020000000000000040\n000000020000000000000041\n",
			"what stays");
	(void) names(repo, &before);
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK &&
		   result.backups_dropped == 0 && result.wal_dropped == 0,
	   "a second run has nothing to do");
	is_text(names(repo, &after), omb_buf_text(&before), "and does nothing");
	omb_buf_free(&rows);
	omb_buf_free(&dry);
	omb_buf_free(&before);
	omb_buf_free(&after);
	omb_repository_free(repo);
}

static void
put_mark(omb_repository *repo, const char *id, uint32_t timeline, uint64_t lsn)
{
	omb_error err = OMB_ERROR_INIT;
	omb_point point;

	memset(&point, 0, sizeof(point));
	memcpy(point.id, id, OMB_STAMP_TEXT);
	point.name = "nightly";
	point.detail = "";
	point.lsn = lsn;
	point.timeline = timeline;
	if (omb_point_put(repo, &point, &err) != OMB_OK)
		abort();
}

static void
note_mark(const omb_point *point, void *arg)
{
	omb_buf_printf(arg, "%s\n", point->id);
}

/* The rows about marks. */
static char *
mark_rows(omb_buf *rows, omb_buf *out)
{
	const char *all = omb_buf_text(rows);
	const char *line = strstr(all, " mark ");

	omb_buf_clear(out);
	while (line != NULL)
	{
		const char *end = strchr(line, '\n');
		const char *begin = line;

		while (begin > all && begin[-1] != '\n')
			begin--;
		omb_buf_put(out, begin, (size_t) (end + 1 - begin));
		line = strstr(end, " mark ");
	}
	return omb_buf_text(out);
}

/* A mark goes with the WAL of its instant, and never before. */
static void
test_marks(void)
{
	/* kept: segments 20, 21 of timeline 1, from 50 on of timeline 2 */
	static const char verdicts[] =
		"drop mark 20261116T000000Z-00000001: \"nightly\": no kept backup "
		"leads to it\n"
		"keep mark 20261118T000000Z-00000002: \"nightly\": written during "
		"backup \"20261118T120000Z-0002\", which is kept\n"
		"drop mark 20261119T000000Z-00000003: \"nightly\": no kept backup "
		"leads to it\n"
		"drop mark 20261121T000000Z-00000004: \"nightly\": no kept backup "
		"leads to it\n"
		"keep mark 20261122T000000Z-00000005: \"nightly\": follows backup "
		"\"20261121T120000Z-0005\", which leads to the last 1 day "
		"(keep_wal_days)\n";
	omb_repository *repo = new_history();
	omb_repository *origin = new_repository(omb_store_memory_new());
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf found = OMB_BUF_INIT;
	omb_expire_config config;
	omb_expire_result result;
	uint64_t unreadable;

	put_mark(repo, "20261116T000000Z-00000001", 1, 9 * SIZE + 100);
	put_mark(repo, "20261118T000000Z-00000002", 1, 22 * SIZE);
	put_mark(repo, "20261119T000000Z-00000003", 1, 22 * SIZE + 1);
	put_mark(repo, "20261121T000000Z-00000004", 1, 55 * SIZE);
	put_mark(repo, "20261122T000000Z-00000005", 2, 55 * SIZE);
	/* a copy keeps those that its origin has, or they would come again */
	put_mark(origin, "20261119T000000Z-00000003", 1, 22 * SIZE + 1);
	ok(run(repo, &rules, true, &rows, &result, &err) == OMB_OK,
	   "a dry run with marks");
	is_text(mark_rows(&rows, &found), verdicts, "tells each with its reason");
	omb_buf_clear(&found);
	(void) omb_point_list(repo, note_mark, &found, &unreadable, &err);
	is_u64(found.len, 5 * 26, "it removes none");
	memset(&config, 0, sizeof(config));
	config.repo = repo;
	config.rules = rules;
	config.copy_of = origin->store;
	config.row = add_row;
	config.arg = &rows;
	ok(omb_expire(&config, &result, &err) == OMB_OK, "a run at a copy");
	omb_buf_clear(&found);
	(void) omb_point_list(repo, note_mark, &found, &unreadable, &err);
	is_text(omb_buf_text(&found),
			"20261118T000000Z-00000002\n20261119T000000Z-00000003\n"
			"20261122T000000Z-00000005\n",
			"removes what nobody needs, and its origin has no more");
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK, "a run");
	omb_buf_clear(&found);
	(void) omb_point_list(repo, note_mark, &found, &unreadable, &err);
	is_text(omb_buf_text(&found),
			"20261118T000000Z-00000002\n20261122T000000Z-00000005\n",
			"removes marks that nobody can restore to");
	omb_buf_free(&rows);
	omb_buf_free(&found);
	omb_repository_free(origin);
	omb_repository_free(repo);
}

/* Timeline 2 is younger than all of the window's backups but the newest. */
static void
test_young_timeline(void)
{
	static const omb_retain_rules last = { .keep_last = 1 };
	omb_repository *repo = new_memory_repository();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_expire_result result;
	char id[OMB_BACKUP_ID_MAX];
	int i;

	for (i = 1; i <= BACKUPS; i++)
		put_backup(repo, i, 1);
	put_segments(repo, 1, 8, 65);
	put_segments(repo, 2, 45, 48);
	put_wal(repo, "00000002.history", "1\t0/2D000100\tno reason\n");
	backup_id(2, id);
	ok(omb_pin_put(repo, id, "before the upgrade", &err) == OMB_OK, "a pin");
	ok(run(repo, &last, false, &rows, &result, &err) == OMB_OK &&
		   strncmp(omb_buf_text(&rows), told, strlen(told)) == 0,
	   "the backup that a restore began from stays while the server that was "
	   "restored has none of its own");
	is_u64(result.backups_kept, 3, "backups kept");
	omb_buf_free(&rows);
	omb_repository_free(repo);
}

static void
remove_segment(omb_repository *repo, uint32_t timeline, uint64_t segno)
{
	omb_error err = OMB_ERROR_INIT;
	omb_wal_object object;
	char file[OMB_WAL_NAME_TEXT];
	char *name;

	omb_wal_name_format(timeline, segno, SIZE, file);
	if (omb_wal_find(repo, file, &object, &err) != OMB_OK)
		abort();
	name = omb_wal_object_name(&object);
	if (omb_store_remove(repo->store, name, &err) != OMB_OK)
		abort();
	free(name);
}

static void
test_gaps(void)
{
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_expire_result result;

	remove_segment(repo, 2, 55);
	remove_segment(repo, 2, 56);
	remove_segment(repo, 2, 60);
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK,
	   "a run over gaps succeeds");
	ok(strstr(omb_buf_text(&rows),
			  "missing gap 000000020000000000000037 to "
			  "000000020000000000000038: "
			  "\"20261121T120000Z-0005\" cannot be recovered beyond it\n"),
	   "a gap is told, with the backups that lead up to it");
	ok(strstr(omb_buf_text(&rows),
			  "missing gap 00000002000000000000003C to "
			  "00000002000000000000003D: backup \"20261122T120000Z-0006\" "
			  "cannot be restored: 1 of its segments is missing\n"),
	   "so is a backup without all of its WAL");
	ok(strstr(omb_buf_text(&rows),
			  "keep backup 20261120T120000Z-0004: one of the newest 2 intact "
			  "ones (keep_last)"),
	   "which does not count");
	omb_buf_free(&rows);
	omb_repository_free(repo);
}

static void
test_unreadable(void)
{
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf before = OMB_BUF_INIT;
	omb_buf after = OMB_BUF_INIT;
	omb_expire_result result;
	omb_buf *manifest = omb_store_memory_bytes(
		omb_store_fault_inner(repo->store), "backups/20261117T120000Z-0001");

	manifest->data[manifest->len - 20] ^= 1;
	(void) names(repo, &before);
	ok(run(repo, &rules, true, &rows, &result, &err) == OMB_OK &&
		   strncmp(omb_buf_text(&rows),
				   "unreadable backup 20261117T120000Z-0001: manifest of",
				   52) == 0,
	   "a manifest that cannot be read is told");
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_REFUSED &&
		   err.hint[0] != '\0',
	   "nothing can be removed then");
	is_text(names(repo, &after), omb_buf_text(&before), "and nothing was");
	omb_buf_free(&rows);
	omb_buf_free(&before);
	omb_buf_free(&after);
	omb_repository_free(repo);
}

/* Prune may have been cut short with two revisions of a manifest there. */
static void
add_revision(omb_repository *repo)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf *manifest = omb_store_memory_bytes(
		omb_store_fault_inner(repo->store), "backups/20261117T120000Z-0001");
	omb_buf copy = OMB_BUF_INIT;

	omb_buf_put(&copy, manifest->data, manifest->len);
	(void) omb_store_put(repo->store, "backups/20261117T120000Z-0001.2",
						 copy.data, copy.len, &err);
	check(&err);
	omb_buf_free(&copy);
}

static void
test_revisions(void)
{
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf left = OMB_BUF_INIT;
	omb_expire_result result;

	add_revision(repo);
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK &&
		   result.backups_dropped == 3,
	   "it counts once");
	ok(strstr(names(repo, &left), "20261117") == NULL, "both are removed");
	omb_buf_free(&rows);
	omb_buf_free(&left);
	omb_repository_free(repo);
}

/* What the store keeps locked stays, with all that it needs. */
static void
test_kept_by_the_store(void)
{
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf left = OMB_BUF_INIT;
	omb_expire_result result;

	omb_store_fault_keep(repo->store, "backups/20261119");
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK,
	   "a locked manifest is no failure");
	ok(result.backups_dropped == 2 && result.backups_kept == 4 &&
		   result.locked == 1,
	   "it is counted");
	ok(strstr(omb_buf_text(&rows),
			  "keep backup 20261119T120000Z-0003: object "
			  "\"backups/20261119T120000Z-0003\" is locked\n"),
	   "and told");
	ok(strstr(names(repo, &left), "00000001000000000000001E\n"
								  "00000001000000000000001E.00000028.backup\n"
								  "00000001000000000000001F\n"),
	   "its WAL stays with it");
	ok(strstr(omb_buf_text(&left), "000000010000000000000020") == NULL,
	   "other WAL is gone");
	omb_store_fault_keep(repo->store, "wal/00000001/");
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK &&
		   result.locked == 3 && result.wal_dropped == 0 &&
		   result.backups_dropped == 1,
	   "so is locked WAL");
	omb_store_fault_keep(repo->store, NULL);
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_OK &&
		   result.locked == 0 && result.wal_dropped == 3,
	   "later it is removed");
	omb_buf_free(&rows);
	omb_buf_free(&left);
	omb_repository_free(repo);
}

static void
test_locks(void)
{
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf before = OMB_BUF_INIT;
	omb_buf after = OMB_BUF_INIT;
	omb_expire_result result;
	omb_lock *lock;

	(void) names(repo, &before);
	ok(omb_store_lock(repo->store, false, &lock, &err) == OMB_OK,
	   "a backup is running");
	ok(run(repo, &rules, false, &rows, &result, &err) == OMB_BUSY &&
		   rows.len == 0,
	   "expire does not begin");
	is_text(names(repo, &after), omb_buf_text(&before), "nothing is removed");
	omb_error_clear(&err);
	ok(run(repo, &rules, true, &rows, &result, &err) == OMB_OK,
	   "a dry run does not mind");
	omb_store_unlock(lock);
	ok(omb_store_lock(repo->store, true, &lock, &err) == OMB_OK &&
		   omb_pin_put(repo, "20261119T120000Z-0003", "", &err) == OMB_BUSY,
	   "nothing is pinned while backups are removed");
	omb_error_clear(&err);
	omb_store_unlock(lock);
	omb_buf_free(&rows);
	omb_buf_free(&before);
	omb_buf_free(&after);
	omb_repository_free(repo);
}

static omb_status
nearly_full(const omb_repository *repo, uint64_t *bytes, omb_error *err)
{
	*bytes = 1000;
	return OMB_OK;
}

/* Old backups go before their time, as few as are enough. */
static void
test_space(void)
{
	static const omb_retain_rules six = { .keep_last = 6 };
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf dry = OMB_BUF_INIT;
	omb_buf before = OMB_BUF_INIT;
	omb_buf after = OMB_BUF_INIT;
	omb_expire_config config;
	omb_expire_result result;

	memset(&config, 0, sizeof(config));
	config.repo = repo;
	config.rules = six;
	config.row = add_row;
	config.arg = &dry;
	config.min_free = 500;
	config.dry_run = true;
	ok(omb_expire(&config, &result, &err) == OMB_UNSUPPORTED,
	   "the free space of what is no directory is not known");
	omb_error_clear(&err);
	config.available = nearly_full;
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_early == 0 && result.backups_dropped == 0,
	   "with enough space nothing goes early");
	/* before backup 1 is some WAL that nobody needs, 390 bytes */
	config.min_free = 1300;
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_early == 0,
	   "nor when what goes anyway is enough");
	config.min_free = 2000;
	(void) names(repo, &before);
	omb_buf_clear(&dry);
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_early == 1 && result.backups_dropped == 1,
	   "then the oldest");
	is_text(names(repo, &after), omb_buf_text(&before),
			"a dry run removes nothing");
	config.dry_run = false;
	config.arg = &rows;
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_early == 1,
	   "a run does the same");
	is_text(omb_buf_text(&rows), omb_buf_text(&dry), "and tells the same");
	ok(strstr(omb_buf_text(&rows),
			  "drop backup 20261117T120000Z-0001: dropped early: the "
			  "repository has less than 2.0 kB free\n") != NULL &&
		   strstr(omb_buf_text(&rows),
				  "drop wal 000000010000000000000008 to "
				  "000000010000000000000013: no kept backup needs it") != NULL,
	   "with its reason, and its WAL");
	config.min_free = UINT64_MAX;
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_early == 3,
	   "however much is missing");
	(void) names(repo, &after);
	ok(strncmp(omb_buf_text(&after),
			   "20261118T120000Z-0002\n20261122T120000Z-0006\n0", 45) == 0,
	   "the pinned one and the newest stay");
	omb_buf_free(&rows);
	omb_buf_free(&dry);
	omb_buf_free(&before);
	omb_buf_free(&after);
	omb_repository_free(repo);
}

/* What only a backup of files names is freed when that goes. */
static void
test_space_files(void)
{
	static const omb_retain_rules six = { .keep_last = 6 };
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_manifest_writer *writer;
	omb_pack_table *packs = omb_pack_table_new();
	omb_expire_config config;
	omb_expire_result result;
	omb_buf rows = OMB_BUF_INIT;
	omb_backup_info info;
	omb_pack_id pack;
	int i;

	/* one before all backups, with a pack of its own; one behind the first,
	 * which the pinned one needs; the newest */
	for (i = 0; i < 3; i++)
	{
		memset(&info, 0, sizeof(info));
		(void) snprintf(info.id, sizeof(info.id), "202611%dT130000Z-0000",
						i == 2 ? 23 : 16 + i);
		(void) snprintf(info.kind, sizeof(info.kind), OMB_BACKUP_FILES);
		info.file_sets = 1;
		memset(&pack, 0, sizeof(pack));
		pack.size = 1000000;
		if (i == 0)
			(void) omb_pack_table_add(packs, &pack);
		if (omb_manifest_create(repo, &writer, &err) != OMB_OK ||
			omb_manifest_commit(writer, &info, packs, &err) != OMB_OK)
			abort();
		omb_pack_table_free(packs);
		packs = omb_pack_table_new();
	}
	memset(&config, 0, sizeof(config));
	config.repo = repo;
	config.rules = six;
	config.row = add_row;
	config.arg = &rows;
	config.available = nearly_full;
	config.dry_run = true;
	config.min_free = 500000;
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_early == 1,
	   "with the oldest backup the files before it go, and what they need");
	ok(strstr(omb_buf_text(&rows), "drop files 20261116T130000Z-0000: ") !=
		   NULL,
	   "as it is told");
	config.min_free = 1100000;
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_early == 4,
	   "where that is not enough all go that may");
	omb_pack_table_free(packs);
	omb_buf_free(&rows);
	omb_repository_free(repo);
}

static void
test_pins(void)
{
	omb_repository *repo = new_history();
	omb_error err = OMB_ERROR_INIT;
	omb_buf *bytes;
	omb_pin pin;
	char *long_reason = omb_malloc(OMB_PIN_REASON_MAX + 2);

	memset(long_reason, 'x', OMB_PIN_REASON_MAX + 1);
	long_reason[OMB_PIN_REASON_MAX + 1] = '\0';
	ok(omb_pin_read(repo, "20261118T120000Z-0002", &pin, &err) == OMB_OK &&
		   pin.pinned && strcmp(pin.reason, "before the upgrade") == 0 &&
		   pin.pinned_at > 0,
	   "a pin is read");
	omb_pin_clear(&pin);
	ok(omb_pin_put(repo, "20261118T120000Z-0002", "again", &err) == OMB_EXISTS,
	   "a pinned backup cannot be pinned again");
	omb_error_clear(&err);
	ok(omb_pin_put(repo, "20261118T120000Z-0009", "", &err) == OMB_NOT_FOUND,
	   "a backup that is not there cannot be pinned");
	omb_error_clear(&err);
	ok(omb_pin_put(repo, "../repository", "", &err) == OMB_USAGE,
	   "nor what is no id");
	omb_error_clear(&err);
	ok(omb_pin_put(repo, "20261119T120000Z-0003", long_reason, &err) ==
		   OMB_USAGE,
	   "a reason has its limit");
	omb_error_clear(&err);
	ok(omb_pin_put(repo, "20261119T120000Z-0003", "two\nlines", &err) ==
		   OMB_USAGE,
	   "and is one line");
	omb_error_clear(&err);
	bytes = omb_store_memory_bytes(omb_store_fault_inner(repo->store),
								   "marks/pins/20261118T120000Z-0002");
	bytes->data[bytes->len - 1] ^= 1;
	ok(omb_pin_read(repo, "20261118T120000Z-0002", &pin, &err) == OMB_OK &&
		   pin.pinned && pin.reason[0] == '\0',
	   "a damaged pin holds");
	omb_pin_clear(&pin);
	ok(omb_pin_remove(repo, "20261118T120000Z-0002", &err) == OMB_OK &&
		   omb_pin_read(repo, "20261118T120000Z-0002", &pin, &err) == OMB_OK &&
		   !pin.pinned,
	   "a pin is removed");
	omb_pin_clear(&pin);
	ok(omb_pin_remove(repo, "20261118T120000Z-0002", &err) == OMB_NOT_FOUND,
	   "once");
	free(long_reason);
	omb_repository_free(repo);
}

/* ---- a failure at each operation ---- */

/* Has each backup that is listed all WAL from its start to its stop? */
static bool
is_sound(omb_repository *repo)
{
	omb_error err = OMB_ERROR_INIT;
	int i;

	for (i = 1; i <= BACKUPS; i++)
	{
		char id[OMB_BACKUP_ID_MAX];
		char file[OMB_WAL_NAME_TEXT];
		omb_manifest *manifest;
		omb_wal_object object;
		uint64_t segno = (uint64_t) i * 10;

		backup_id(i, id);
		if (omb_manifest_open(repo, id, &manifest, &err) == OMB_NOT_FOUND)
		{
			/* what must be kept is still there */
			if (i == 2 || i > 4)
				return false;
			omb_error_clear(&err);
			continue;
		}
		omb_manifest_close(manifest);
		for (; segno <= (uint64_t) i * 10 + 1; segno++)
		{
			omb_wal_name_format(i < 5 ? 1 : 2, segno, SIZE, file);
			if (err.status != OMB_OK ||
				omb_wal_find(repo, file, &object, &err) != OMB_OK)
				return false;
		}
	}
	return true;
}

static void
test_faults(bool persistent)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf rows = OMB_BUF_INIT;
	omb_buf wanted = OMB_BUF_INIT;
	omb_buf got = OMB_BUF_INIT;
	omb_expire_result result;
	omb_repository *repo = new_history();
	uint64_t at, silent = 0;
	uint64_t wrong = 0;
	bool done = false;

	if (run(repo, &rules, false, &rows, &result, &err) != OMB_OK)
		abort();
	(void) names(repo, &wanted);
	omb_repository_free(repo);
	for (at = 1; !done; at++)
	{
		omb_error failed = OMB_ERROR_INIT;

		repo = new_history();
		add_revision(repo);
		omb_store_fault_set(repo->store, at, persistent);
		(void) run(repo, &rules, false, &rows, &result, &failed);
		done = omb_store_fault_count(repo->store) < at;
		omb_store_fault_set(repo->store, 0, false);
		if ((failed.status == OMB_OK) != done)
			silent++;
		if (!is_sound(repo) ||
			run(repo, &rules, false, &rows, &result, &err) != OMB_OK ||
			strcmp(names(repo, &got), omb_buf_text(&wanted)) != 0)
		{
			printf("# operation %" PRIu64 ": %s\n", at, err.message);
			wrong++;
			omb_error_clear(&err);
		}
		omb_repository_free(repo);
	}
	ok(at > 100, "%s: %" PRIu64 " operations failed",
	   persistent ? "from there on" : "once", at - 2);
	is_u64(silent, 0, "each failure is told");
	is_u64(wrong, 0, "what must be kept is kept, and a second run finishes");
	omb_buf_free(&rows);
	omb_buf_free(&wanted);
	omb_buf_free(&got);
}

int
main(void)
{
	test_verdicts();
	test_marks();
	test_young_timeline();
	test_gaps();
	test_unreadable();
	test_revisions();
	test_locks();
	test_space();
	test_space_files();
	test_kept_by_the_store();
	test_pins();
	test_faults(false);
	test_faults(true);
	return tap_done();
}
