/*
 * test_mirror.c: copying a repository: the target is a valid repository or none
 * at every moment, whatever fails.
 */
#include "test/tap.h"
#include "test/copies.h"

#include "base/file.h"
#include "repo/pin.h"
#include "task/mirror/mirrorset.h"
#include "task/retain/prune.h"

#include <unistd.h>

/* ---- the tests ---- */

static void
test_whole(bool with_key)
{
	const char *how = with_key ? "with" : "without";
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_result result;
	omb_mirror_config config;
	omb_store *to = omb_store_memory_new();
	uint64_t missing;
	size_t backups;
	world w;

	world_begin(&w, 4);
	set_config(&config, w.repo, to, with_key);
	config.dry_run = true;
	(void) mirror_with(&config, &result, &err);
	missing = result.missing;
	ok(err.status == OMB_OK && missing > 10 && result.backups_missing == 4 &&
		   !has_object(to, "repository"),
	   "%s the key a dry run counts and copies nothing", how);
	config.dry_run = false;
	config.jobs = 4;
	ok(mirror_with(&config, &result, &err) == OMB_OK &&
		   result.objects == missing && result.backups == 4 &&
		   result.missing == 0,
	   "all is copied that was counted");
	ok(same_objects(w.repo->store, to), "the target has the same objects");
	ok(is_valid_copy(&w, to, &backups) && backups == 4,
	   "and all backups read back");
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.objects == 0,
	   "the next run has nothing to do");
	take_backup(&w, true);
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.backups == 1,
	   "a new backup is copied");
	ok(is_valid_copy(&w, to, &backups) && backups == 5, "it reads back");
	omb_store_free(to);
	world_free(&w);
}

/* Every operation of either store fails, once or for good. */
static void
test_faults(bool with_key, bool at_target, bool persistent)
{
	const char *where = at_target ? "target" : "source";
	uint64_t at, failed = 0;
	size_t backups, most = 0;
	bool valid = true, completed = true, done = false;
	world w;

	world_begin(&w, 3);
	for (at = 1; !done && valid && completed; at++)
	{
		omb_store *to = omb_store_fault_new(omb_store_memory_new());
		omb_store *faulty = at_target ? to : w.repo->store;
		omb_error err = OMB_ERROR_INIT;
		omb_mirror_result result;

		omb_store_fault_set(faulty, at, persistent);
		(void) mirror(w.repo, to, with_key, &result, &err);
		done = omb_store_fault_count(faulty) < at;
		omb_store_fault_set(faulty, 0, false);
		if (err.status != OMB_OK)
			failed++;
		valid = is_valid_copy(&w, to, &backups);
		if (!done && backups > most)
			most = backups;
		completed = mirror(w.repo, to, with_key, &result, &err) == OMB_OK &&
					same_objects(w.repo->store, to) && result.missing == 0;
		if (!completed)
			printf("# at %" PRIu64 ": %s\n", at, err.message);
		omb_store_free(to);
	}
	ok(valid && completed && failed > 10,
	   "%" PRIu64 " failures at the %s, %s, %s the key: the target is always "
	   "valid and the next run completes it",
	   failed, where, persistent ? "for good" : "once",
	   with_key ? "with" : "without");
	ok(!at_target || most > 0, "some of them had backups already");
	world_free(&w);
}

static void
test_damaged_pack(bool with_key)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *to = omb_store_memory_new();
	omb_mirror_result result;
	size_t backups;
	char *pack;
	world w;

	world_begin(&w, 3);
	pack = pack_of_newest(&w);
	omb_store_memory_bytes(memory_of(w.repo), pack)->data[100] ^= 1;
	ok(mirror(w.repo, to, with_key, &result, &err) == OMB_DAMAGED,
	   "a damaged pack makes the mirror fail %s the key",
	   with_key ? "with" : "without");
	ok(result.damaged == 1 && !has_object(to, pack) &&
		   strstr(omb_buf_text(&told.problems), pack) != NULL,
	   "it is told and not copied");
	is_u64(result.missing, with_key ? 2 : 4, "what is missing is counted");
	omb_store_memory_bytes(memory_of(w.repo), pack)->data[100] ^= 1;
	ok(is_valid_copy(&w, to, &backups), "the target is valid");
	is_u64(backups, with_key ? 2 : 0,
		   "backups that do not need it are there, when that can be known");
	ok(mirror(w.repo, to, with_key, &result, &err) == OMB_OK &&
		   same_objects(w.repo->store, to),
	   "once it is repaired the rest follows");
	free(pack);
	omb_store_free(to);
	world_free(&w);
}

static void
test_damaged_others(void)
{
	static const size_t cut[] = { 0, 1, 63, 64, 70, 100 };
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_result result;
	size_t i, refused = 0;
	omb_buf *bytes;
	char *name;
	world w;

	world_begin(&w, 1);
	name = omb_revision_name(w.backup[0].id, 1);
	bytes = omb_store_memory_bytes(memory_of(w.repo), name);
	for (i = 0; i <= sizeof(cut) / sizeof(cut[0]) + 1; i++)
	{
		omb_store *to = omb_store_memory_new();
		size_t len = bytes->len;

		if (i < sizeof(cut) / sizeof(cut[0]))
			bytes->len = cut[i];
		else if (i == sizeof(cut) / sizeof(cut[0]))
			bytes->len--;
		else
			bytes->data[20] ^= 1; /* the repository's id */
		(void) mirror(w.repo, to, false, &result, &err);
		if (err.status == OMB_DAMAGED && !has_object(to, name) &&
			result.damaged == 1)
			refused++;
		if (i > sizeof(cut) / sizeof(cut[0]))
			bytes->data[20] ^= 1;
		bytes->len = len;
		omb_store_free(to);
	}
	is_u64(refused, i,
		   "a manifest that is cut short or another's is not copied");
	free(name);
	world_free(&w);
}

static void
test_refused(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_result result;
	omb_store *to = omb_store_memory_new();
	world w, other;

	world_begin(&w, 1);
	world_begin(&other, 1);
	ok(mirror(w.repo, other.repo->store, true, &result, &err) == OMB_REFUSED,
	   "a target with another repository is refused");
	ok(is_whole(&other, other.repo), "and stays as it is");
	omb_error_clear(&err);
	(void) omb_store_put(to, "diary", "dear", 4, &err);
	ok(mirror(w.repo, to, true, &result, &err) == OMB_REFUSED &&
		   !has_object(to, "repository"),
	   "a target with something else is refused");
	omb_store_free(to);
	to = omb_store_memory_new();
	omb_error_clear(&err);
	(void) omb_store_put(to, "keys/0123456789abcdef", "x", 1, &err);
	ok(mirror(w.repo, to, true, &result, &err) == OMB_REFUSED,
	   "so is one with a key that is not ours");
	omb_store_free(to);
	world_free(&w);
	world_free(&other);
}

/* ---- the list of what the target has ---- */

static void
test_list(void)
{
	char path[] = "/tmp/omb-mirror-list-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	omb_store *to = omb_store_fault_new(omb_store_memory_new());
	omb_store *empty = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_result result;
	omb_mirror_set *set = omb_mirror_set_new();
	omb_repository_facts facts;
	world w;

	world_begin(&w, 2);
	(void) close(mkstemp(path));
	set_config(&config, w.repo, to, true);
	config.list_path = path;
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.listed,
	   "without a list the target is listed");
	omb_store_fault_set(to, 0, false);
	ok(mirror_with(&config, &result, &err) == OMB_OK && !result.listed &&
		   result.objects == 0,
	   "with a list it is not");
	ok(omb_store_fault_count(to) < 5, "hardly anything is asked of it");
	(void) omb_stream_put(w.repo, OMB_KIND_MARK, "marks/new", "x", 1, &err);
	ok(mirror_with(&config, &result, &err) == OMB_OK && !result.listed &&
		   result.objects == 1 && has_object(to, "marks/new"),
	   "nor for something new");
	take_backup(&w, true);
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.listed &&
		   result.backups == 1,
	   "for a new backup it is");
	config.to = empty;
	ok(mirror_with(&config, &result, &err) == OMB_REFUSED &&
		   !has_object(empty, "repository"),
	   "a target that is suddenly empty is refused");
	config.reconcile = true;
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.listed &&
		   same_objects(w.repo->store, empty),
	   "unless that is said to be right");
	config.reconcile = false;

	(void) omb_repository_look(w.repo->store, &facts, &err);
	(void) omb_mirror_set_save(set, path, facts.id, true, 1, &err);
	check(&err);
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.listed,
	   "after a run that was cut short it is listed");
	(void) truncate(path, 60);
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.listed,
	   "and when the list is damaged");
	(void) unlink(path);
	omb_mirror_set_free(set);
	omb_store_free(to);
	omb_store_free(empty);
	world_free(&w);
}

static void
test_set(void)
{
	char path[] = "/tmp/omb-mirror-set-XXXXXX";
	static const uint8_t id[OMB_REPOSITORY_ID_SIZE] = { 1 };
	static const uint8_t other[OMB_REPOSITORY_ID_SIZE] = { 2 };
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_set *set = omb_mirror_set_new();
	omb_mirror_set *loaded = omb_mirror_set_new();
	omb_mirror_list list;
	uint64_t size, good = 0;
	unsigned i;

	(void) close(mkstemp(path));
	for (i = 0; i < 5000; i++)
	{
		char *name = omb_format("wal/%u", i);

		omb_mirror_set_add(set, name, i);
		free(name);
	}
	omb_mirror_set_add(set, "wal/7", 70);
	is_u64(omb_mirror_set_count(set), 5000, "each name is there once");
	(void) omb_mirror_set_save(set, path, id, false, 1234, &err);
	(void) omb_mirror_set_load(loaded, path, id, &list, &err);
	check(&err);
	ok(!list.is_open && list.listed_at == 1234 && list.count == 5000,
	   "a list is saved and loaded");
	for (i = 0; i < 6000; i++)
	{
		char *name = omb_format("wal/%u", i);

		if (omb_mirror_set_find(loaded, name, &size) == (i < 5000) &&
			(i >= 5000 || size == (i == 7 ? 70 : i)))
			good++;
		free(name);
	}
	is_u64(good, 6000, "with all names and sizes");
	omb_mirror_set_clear(loaded);
	ok(omb_mirror_set_load(loaded, path, other, &list, &err) == OMB_DAMAGED &&
		   omb_mirror_set_count(loaded) == 0,
	   "a list of another repository is not taken");
	omb_error_clear(&err);
	(void) omb_mirror_set_save(set, path, id, true, 1, &err);
	(void) omb_mirror_set_load(loaded, path, id, &list, &err);
	ok(list.is_open && list.count == 5000 && omb_mirror_set_count(loaded) == 0,
	   "a list of a run under way has the number only");
	(void) unlink(path);
	omb_mirror_set_free(set);
	omb_mirror_set_free(loaded);
}

/* ---- retention and prune meanwhile ---- */

static void
ignore_pack(const omb_prune_pack *pack, void *arg)
{
}

/* Remove the oldest backup, and packs, and rewrite others. */
static void
expire_oldest(void *arg)
{
	world *w = arg;
	omb_error err = OMB_ERROR_INIT;
	omb_prune_config config;
	omb_prune_result result;

	remove_backup(w, 0);
	omb_prune_config_init(&config);
	config.repo = w->repo;
	config.compression = zstd;
	config.rewrite_size = 0;
	config.rewrite_below = 90;
	config.visit = ignore_pack;
	config.progress = ignore_progress;
	(void) omb_prune(&config, &result, &err);
	check(&err);
}

static omb_status
count_revisions(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_revision revision;

	if (omb_revision_parse(entry->name, &revision) && revision.number > 1)
		++*(uint64_t *) arg;
	return OMB_OK;
}

static void
test_prune_meanwhile(bool with_key)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *to = omb_store_memory_new();
	omb_mirror_result result;
	size_t backups;
	uint64_t revisions = 0;
	world w;

	world_begin(&w, 5);
	told.meanwhile = expire_oldest;
	told.arg = &w;
	ok(mirror(w.repo, to, with_key, &result, &err) == OMB_OK,
	   "backups are removed and packs rewritten meanwhile, %s the key",
	   with_key ? "with" : "without");
	if (err.status != OMB_OK)
		printf("# %s: %s\n%s\n", err.message, err.detail,
			   omb_buf_text(&told.problems));
	ok(told.meanwhile == NULL, "that was while it ran");
	ok(is_valid_copy(&w, to, &backups) && backups == 4,
	   "what is left is at the target");

	expire_oldest(&w);
	ok(mirror(w.repo, to, with_key, &result, &err) == OMB_OK &&
		   result.missing == 0,
	   "rewritten manifests are copied");
	(void) omb_store_list(to, "backups", true, count_revisions, &revisions,
						  &err);
	ok(revisions > 0, "there are some at the target");
	omb_store_free(to);
	world_free(&w);
}

/* ---- a target with rules of its own ---- */

static void
test_rules(void)
{
	static const char path[] = "build/test/mirror-dropped";
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = new_repository(omb_store_memory_new());
	omb_store *to = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_result result;
	omb_retain_rules rules;
	static const char *const ids[] = { "20260101T000000Z-0000",
									   "20260101T000001Z-0000",
									   "20260101T000002Z-0000",
									   "20260101T000003Z-0000" };
	uint32_t i;

	(void) unlink(path);
	for (i = 0; i < 4; i++)
		put_backup(repo, i, 10 + 20 * i, 100);
	put_wal(repo, 5, 80, 100);
	memset(&rules, 0, sizeof(rules));
	rules.keep_last = 2;
	set_config(&config, repo, to, true);
	config.keep = omb_mirror_keep_new(&rules, path);
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.backups == 2 &&
		   count_backups(to) == 2,
	   "what the rules of a target would drop is not copied");
	ok(has_wal(to, 50, 80) && !has_wal(to, 49, 49),
	   "nor is WAL that they do not keep");
	ok(result.is_current && result.waiting_wal[0] == '\0',
	   "the target is current");

	/* pinned at the source */
	(void) omb_pin_put(repo, ids[0], "", &err);
	check(&err);
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.backups == 1 &&
		   has_wal(to, 10, 10),
	   "what is pinned is copied, with its WAL");
	(void) omb_pin_remove(repo, ids[0], &err);

	/* the target dropped it */
	omb_mirror_keep_dropped(config.keep, ids[2]);
	(void) omb_mirror_keep_save(config.keep, &err);
	check(&err);
	omb_mirror_keep_free(config.keep);
	omb_store_free(to);
	to = omb_store_memory_new();
	set_config(&config, repo, to, true);
	config.keep = omb_mirror_keep_new(&rules, path);
	ok(mirror_with(&config, &result, &err) == OMB_OK && count_backups(to) == 2,
	   "what a target dropped is not copied again");
	ok(omb_mirror_keep_wants(config.keep, ids[1]) &&
		   !omb_mirror_keep_wants(config.keep, ids[2]) &&
		   omb_mirror_keep_wants(config.keep, ids[3]),
	   "and the rules decide on the others");
	omb_mirror_keep_free(config.keep);
	rules.keep_last = 3;
	config.keep = omb_mirror_keep_new(&rules, path);
	ok(mirror_with(&config, &result, &err) == OMB_OK &&
		   count_backups(to) == 3 &&
		   omb_mirror_keep_wants(config.keep, ids[2]),
	   "until the rules are others");
	omb_mirror_keep_free(config.keep);

	/* whatever is in the file */
	for (i = 0; i < 200; i++)
	{
		omb_buf bytes = OMB_BUF_INIT;

		omb_buf_printf(&bytes, "omsdrop1\n3 0 0 0 0 0 0\n");
		omb_random(omb_buf_reserve(&bytes, 50), 50);
		bytes.len += 50;
		(void) omb_file_replace(path, bytes.data, bytes.len, 0600, &err);
		config.keep = omb_mirror_keep_new(&rules, path);
		omb_mirror_keep_free(config.keep);
		omb_buf_free(&bytes);
	}
	check(&err);
	(void) unlink(path);
	omb_store_free(to);
	omb_repository_free(repo);
}

/* ---- again and again ---- */

static void
step(omb_mirror_session *session, bool full, omb_mirror_result *result)
{
	omb_error err = OMB_ERROR_INIT;

	(void) omb_mirror_step(session, full, result, &err);
	check(&err);
}

static void
test_session(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = new_repository(omb_store_memory_new());
	omb_store *to = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_session *session;
	omb_mirror_result result;
	uint64_t i;

	put_backup(repo, 0, 10, 100);
	for (i = 0; i < 40; i++)
		put_wal(repo, 256 * i + 10, 256 * i + 12, 100);
	set_config(&config, repo, to, true);
	config.problem = note_problem;
	config.progress = ignore_progress;
	(void) omb_mirror_begin(&config, &session, &err);
	check(&err);
	step(session, false, &result);
	ok(result.missing == 0 && result.listed && result.is_current &&
		   has_wal(to, 10, 12) && has_wal(to, 256 * 39 + 10, 256 * 39 + 12),
	   "the first step copies all");
	step(session, false, &result);
	ok(result.objects == 0 && !result.listed, "then there is nothing to do");
	put_wal(repo, 256 * 39 + 13, 256 * 39 + 13, 100);
	step(session, false, &result);
	ok(result.objects == 1 && has_wal(to, 256 * 39 + 13, 256 * 39 + 13),
	   "it finds what was archived");
	put_wal(repo, 256 * 40, 256 * 40, 100);
	step(session, false, &result);
	ok(result.objects == 1, "also in a new folder");
	put_wal(repo, 100, 100, 100);
	step(session, false, &result);
	ok(result.objects == 0, "not what comes late");
	step(session, true, &result);
	ok(result.objects == 1 && has_wal(to, 100, 100), "which a full one does");
	put_wal(repo, 200, 201, 100);
	put_backup(repo, 1, 200, 100);
	step(session, false, &result);
	ok(result.backups == 1 && result.listed && has_wal(to, 200, 200),
	   "a new backup is looked for with all its WAL");

	omb_mirror_end(session);
	omb_store_free(to);
	to = omb_store_memory_new();
	config.to = to;
	(void) omb_mirror_begin(&config, &session, &err);
	(void) omb_mirror_step(session, false, &result, &err);
	check(&err);
	omb_mirror_unlist(session);
	(void) omb_mirror_step(session, false, &result, &err);
	ok(err.status == OMB_OK && result.listed, "it is listed when asked to be");
	omb_mirror_end(session);
	omb_store_free(to);
	omb_repository_free(repo);
}

int
main(void)
{
	test_set();
	test_whole(true);
	test_whole(false);
	test_faults(true, true, false);
	test_faults(true, true, true);
	test_faults(true, false, true);
	test_faults(true, false, false);
	test_faults(false, true, true);
	test_faults(false, false, false);
	test_damaged_pack(true);
	test_damaged_pack(false);
	test_damaged_others();
	test_refused();
	test_list();
	test_prune_meanwhile(true);
	test_prune_meanwhile(false);
	test_rules();
	test_session();
	omb_buf_free(&told.problems);
	return tap_done();
}
