/*
 * test_prune.c: removing and rewriting packs: backups that are kept read back
 * byte for byte, whatever fails in between.
 */
#include "test/tap.h"
#include "test/world.h"

#include "base/text.h"
#include "repo/revision.h"
#include "repo/unfinished.h"
#include "store/directory.h"
#include "task/retain/expire.h"
#include "task/retain/prune.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- pruning ---- */

typedef struct seen
{
	omb_buf text;
	size_t verdict[OMB_PRUNE_SKIP + 1];
} seen;

static void
note_pack(const omb_prune_pack *pack, void *arg)
{
	seen *s = arg;

	s->verdict[pack->verdict]++;
	omb_buf_printf(&s->text, "%s %d %s\n", pack->name, (int) pack->verdict,
				   pack->reason);
}

static void
set_config(omb_prune_config *config, omb_repository *repo, seen *s)
{
	memset(s, 0, sizeof(*s));
	omb_prune_config_init(config);
	config->repo = repo;
	config->compression = zstd;
	config->rewrite_size = 0;
	config->rewrite_below = 60;
	config->visit = note_pack;
	config->progress = ignore_progress;
	config->arg = s;
}

/*
 * Pruning again finds nothing to do: nothing is unused, no revision is left
 * over, and of each pack enough is in use, or rewriting does not pay.
 */
static bool
is_clean(omb_repository *repo)
{
	omb_error err = OMB_ERROR_INIT;
	omb_prune_config config;
	omb_prune_result result;
	seen s;
	bool clean;

	set_config(&config, repo, &s);
	config.dry_run = true;
	clean = omb_prune(&config, &result, &err) == OMB_OK &&
			result.packs_removed == 0 && result.revisions == 0 &&
			result.packs_rewritten == 0 && result.packs_missing == 0;
	if (!clean)
		printf("# %s\n%s\n", err.message, omb_buf_text(&s.text));
	omb_buf_free(&s.text);
	return clean;
}

static omb_status
prune(omb_repository *repo, omb_prune_result *result, omb_error *err)
{
	omb_prune_config config;
	seen s;

	set_config(&config, repo, &s);
	(void) omb_prune(&config, result, err);
	omb_buf_free(&s.text);
	return err->status;
}

/* Backups that share packs, some gone, with all kinds of garbage. */
static void
make_world(world *w)
{
	omb_error err = OMB_ERROR_INIT;
	uint8_t sha256[OMB_SHA256_SIZE];
	omb_buf *first;
	char *name;
	int i;

	memset(w, 0, sizeof(*w));
	/* the same each time, with something of all */
	random_state = 7920;
	w->repo = new_repository(omb_store_fault_new(omb_store_memory_new()));
	for (i = 0; i < 6; i++)
		take_backup(w, i > 0);
	remove_backup(w, 3);
	remove_backup(w, 1);
	remove_backup(w, 0);
	put_orphan(w->repo, sha256);
	/* a revision that a prune cut short has not removed */
	name = omb_revision_name(w->backup[0].id, 1);
	first = omb_store_memory_bytes(memory_of(w->repo), name);
	free(name);
	name = omb_revision_name(w->backup[0].id, 2);
	(void) omb_store_put(w->repo->store, name, first->data, first->len, &err);
	check(&err);
	free(name);
}

static omb_status
copy_object(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_store **stores = arg;
	const omb_buf *bytes = omb_store_memory_bytes(stores[0], entry->name);

	return omb_store_put(stores[1], entry->name, bytes->data, bytes->len, err);
}

/* The same repository in a store of its own. */
static omb_repository *
copy_repository(const omb_repository *repo)
{
	omb_store *stores[2];
	omb_error err = OMB_ERROR_INIT;
	omb_repository *copy = NULL;
	omb_secret secret;

	stores[0] = memory_of(repo);
	stores[1] = omb_store_memory_new();
	(void) omb_store_list(stores[0], "", true, copy_object, stores, &err);
	check(&err);
	memset(&secret, 0, sizeof(secret));
	omb_secret_open(&secret);
	(void) omb_repository_open(omb_store_fault_new(stores[1]), &secret, &copy,
							   &err);
	check(&err);
	return copy;
}

/* ---- cases ---- */

static void
test_what_is_unused_goes(void)
{
	world w;
	omb_error err = OMB_ERROR_INIT;
	omb_prune_config config;
	omb_prune_result planned, result;
	omb_buf before = OMB_BUF_INIT, after = OMB_BUF_INIT;
	seen s;

	make_world(&w);
	ok(is_whole(&w, w.repo), "a repository with a leftover revision verifies");
	(void) objects(w.repo, &before);
	set_config(&config, w.repo, &s);
	config.dry_run = true;
	ok(omb_prune(&config, &planned, &err) == OMB_OK, "a dry run");
	is_text(objects(w.repo, &after), omb_buf_text(&before),
			"it changes nothing");
	ok(planned.packs_removed > 1 && planned.packs_rewritten > 0 &&
		   planned.revisions == 1,
	   "it finds packs to remove and to rewrite, and a revision");
	is_u64(s.verdict[OMB_PRUNE_REMOVE], planned.packs_removed,
		   "each pack to remove is told of");
	is_u64(s.verdict[OMB_PRUNE_REWRITE], planned.packs_rewritten,
		   "each pack to rewrite too");
	is_u64(s.verdict[OMB_PRUNE_REWRITE] + s.verdict[OMB_PRUNE_REMOVE] +
			   s.verdict[OMB_PRUNE_KEEP],
		   planned.packs, "and each that stays");
	omb_buf_free(&s.text);
	ok(prune(w.repo, &result, &err) == OMB_OK &&
		   result.packs_removed == planned.packs_removed &&
		   result.bytes_removed == planned.bytes_removed &&
		   result.packs_rewritten == planned.packs_rewritten &&
		   result.revisions == 1 && result.bytes_saved > 0,
	   "the run does what was planned");
	ok(is_whole(&w, w.repo), "all backups read back");
	ok(is_clean(w.repo), "nothing is left to do");
	(void) objects(w.repo, &after);
	is_u64(occurrences(omb_buf_text(&after), "backups/"), w.count,
		   "each manifest has one revision");
	ok(strstr(omb_buf_text(&after), "Z-0000.2 ") != NULL ||
		   strstr(omb_buf_text(&after), "Z-0000.3 ") != NULL,
	   "of a higher number");
	while (w.count > 1)
	{
		remove_backup(&w, 0);
		ok(prune(w.repo, &result, &err) == OMB_OK && is_whole(&w, w.repo) &&
			   is_clean(w.repo),
		   "one less");
	}
	remove_backup(&w, 0);
	(void) objects(w.repo, &before);
	ok(prune(w.repo, &result, &err) == OMB_OK && result.packs_spared > 0 &&
		   strcmp(objects(w.repo, &after), omb_buf_text(&before)) == 0,
	   "without any backup no pack is removed");
	omb_buf_free(&before);
	omb_buf_free(&after);
	world_free(&w);
}

static void
ignore_row(const omb_expire_row *row, void *arg)
{
}

/* Expire removes a backup with all its revisions, and then its packs. */
static void
test_expire(void)
{
	world w;
	omb_error err = OMB_ERROR_INIT;
	omb_buf left = OMB_BUF_INIT;
	omb_prune_config prune_config;
	omb_expire_config config;
	omb_expire_result result;
	omb_prune_result pruned;
	seen s;

	make_world(&w);
	set_config(&prune_config, w.repo, &s);
	memset(&config, 0, sizeof(config));
	config.repo = w.repo;
	config.rules.keep_last = 1;
	config.row = ignore_row;
	config.prune = &prune_config;
	config.pruned = &pruned;
	ok(omb_expire(&config, &result, &err) == OMB_OK &&
		   result.backups_dropped == w.count - 1 && pruned.packs_removed > 0 &&
		   pruned.backups == 1,
	   "expire removes backups and then packs, under one lock");
	while (w.count > 1)
		forget_backup(&w, 0);
	is_u64(occurrences(objects(w.repo, &left), "backups/"), 1,
		   "no revision of them is left");
	ok(is_whole(&w, w.repo) && is_clean(w.repo),
	   "the other backup is whole, and nothing is left to do");
	omb_buf_free(&s.text);
	omb_buf_free(&left);
	world_free(&w);
}

/* Names of revisions, and finding the highest without listing each time. */
static void
test_revisions(void)
{
	static const char *const good[] = { "", ".2", ".10", ".4294967294" };
	static const char *const wrong[] = { ".",		   ".1",  ".0",	 ".02",
										 ".x",		   ".2x", "x",	 ".2.3",
										 "-",		   "/2",  ".-2", ".+2",
										 ".4294967295" };
	world w;
	omb_error err = OMB_ERROR_INIT;
	omb_revision revision;
	omb_manifest *manifest;
	omb_buf *bytes;
	char *name, *again;
	uint64_t before;
	uint32_t number;
	int refused = 0, same = 0;
	size_t i;

	make_world(&w);
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		name = omb_format(OMB_BACKUP_FOLDER "/%s%s", w.backup[0].id, good[i]);
		again = omb_revision_parse(name, &revision) ?
					omb_revision_name(revision.id, revision.number) :
					NULL;
		same += again != NULL && strcmp(name, again) == 0 ? 1 : 0;
		free(name);
		free(again);
	}
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		name = omb_format(OMB_BACKUP_FOLDER "/%s%s", w.backup[0].id, wrong[i]);
		refused += omb_revision_parse(name, &revision) ? 0 : 1;
		free(name);
	}
	ok(same == 4 && refused == 13, "names of revisions are read exactly");

	ok(omb_revision_latest(w.repo, w.backup[0].id, true, &number, &err) ==
			   OMB_OK &&
		   number == 2,
	   "the highest revision is found");
	omb_store_fault_set(w.repo->store, 0, false);
	for (i = 0; i < w.count; i++)
		(void) omb_revision_latest(w.repo, w.backup[i].id, false, &number,
								   &err);
	is_u64(omb_store_fault_count(w.repo->store), 0,
		   "and those of other backups without listing again");

	/* another process prunes: the revision that we know of goes */
	name = omb_revision_name(w.backup[1].id, 1);
	again = omb_revision_name(w.backup[1].id, 7);
	bytes = omb_store_memory_bytes(memory_of(w.repo), name);
	(void) omb_store_put(w.repo->store, again, bytes->data, bytes->len, &err);
	(void) omb_store_remove(w.repo->store, name, &err);
	check(&err);
	ok(omb_manifest_open(w.repo, w.backup[1].id, &manifest, &err) == OMB_OK &&
		   manifest->revision == 7,
	   "a revision that another process wrote is found");
	omb_manifest_close(manifest);
	(void) omb_store_remove(w.repo->store, again, &err);
	free(name);
	free(again);
	check(&err);
	before = omb_store_fault_count(w.repo->store);
	ok(omb_manifest_open(w.repo, w.backup[1].id, &manifest, &err) ==
			   OMB_NOT_FOUND &&
		   omb_store_fault_count(w.repo->store) > before,
	   "and that all are gone is seen");
	omb_error_clear(&err);
	world_free(&w);
}

static void
test_damage(void)
{
	world w;
	omb_error err = OMB_ERROR_INIT;
	omb_prune_result result;
	omb_prune_config config;
	omb_buf before = OMB_BUF_INIT, after = OMB_BUF_INIT;
	omb_buf *bytes;
	omb_lock *lock;
	char *name;
	char *line;
	seen s;

	make_world(&w);
	(void) objects(w.repo, &before);
	ok(omb_store_lock(w.repo->store, false, &lock, &err) == OMB_OK &&
		   prune(w.repo, &result, &err) == OMB_BUSY,
	   "beside a backup it does not start");
	omb_error_clear(&err);
	omb_store_unlock(lock);

	name = omb_revision_name(w.backup[1].id, 1);
	bytes = omb_store_memory_bytes(memory_of(w.repo), name);
	bytes->data[OMB_OBJECT_HEADER_SIZE + 20] ^= 1;
	ok(prune(w.repo, &result, &err) == OMB_DAMAGED && err.hint[0] != '\0',
	   "a damaged manifest ends it");
	omb_error_clear(&err);
	is_text(objects(w.repo, &after), omb_buf_text(&before),
			"before anything is removed");
	bytes->data[OMB_OBJECT_HEADER_SIZE + 20] ^= 1;
	free(name);

	/* damage the first pack that would be rewritten */
	set_config(&config, w.repo, &s);
	config.dry_run = true;
	(void) omb_prune(&config, &result, &err);
	check(&err);
	line = strstr(omb_buf_text(&s.text), " 3 ");
	name = omb_format("%.*s", 73, line - 73);
	bytes = omb_store_memory_bytes(memory_of(w.repo), name);
	bytes->data[bytes->len - 20] ^= 1;
	omb_buf_free(&s.text);
	set_config(&config, w.repo, &s);
	ok(omb_prune(&config, &result, &err) == OMB_OK &&
		   result.packs_skipped == 1 && s.verdict[OMB_PRUNE_SKIP] == 1,
	   "a pack that cannot be read is told of and left");
	bytes = omb_store_memory_bytes(memory_of(w.repo), name);
	ok(bytes != NULL, "it is still there");
	bytes->data[bytes->len - 20] ^= 1;
	ok(is_whole(&w, w.repo), "nothing of it was lost");
	ok(prune(w.repo, &result, &err) == OMB_OK && result.packs_rewritten == 1 &&
		   is_whole(&w, w.repo),
	   "once it is mended it is rewritten");
	omb_buf_free(&s.text);
	free(name);

	/* a pack in use that is gone */
	line = strstr(objects(w.repo, &after), "packs/");
	name = omb_format("%.*s", 73, line);
	(void) omb_store_remove(w.repo->store, name, &err);
	check(&err);
	ok(prune(w.repo, &result, &err) == OMB_OK && result.packs_missing == 1,
	   "a pack that is missing is told of");
	free(name);
	omb_buf_free(&before);
	omb_buf_free(&after);
	world_free(&w);
}

/* Each operation of the store fails once, alone and with all after it. */
static void
test_faults(bool persistent)
{
	const char *how = persistent ? "for good" : "once";
	world w;
	uint64_t at;
	int wrong = 0, failed = 0;
	bool done = false;

	make_world(&w);
	for (at = 1; !done && wrong < 3; at++)
	{
		omb_repository *repo = copy_repository(w.repo);
		omb_error err = OMB_ERROR_INIT;
		omb_prune_result result;

		omb_store_fault_set(repo->store, at, persistent);
		(void) prune(repo, &result, &err);
		done = omb_store_fault_count(repo->store) < at;
		omb_store_fault_set(repo->store, 0, false);
		failed += err.status != OMB_OK ? 1 : 0;
		omb_error_clear(&err);
		if (!is_whole(&w, repo))
			wrong++;
		if (prune(repo, &result, &err) != OMB_OK || !is_whole(&w, repo) ||
			!is_clean(repo))
			wrong++;
		if (wrong > 0)
			printf("# operation %" PRIu64 ": %s\n", at, err.message);
		omb_repository_free(repo);
	}
	is_u64((uint64_t) wrong, 0, "whichever operation fails, nothing is lost");
	ok(done && failed > 30, "%d of %" PRIu64 " operations failed, each %s",
	   failed, at - 1, how);
	world_free(&w);
}

/* Backups come and go at random; with limits so small that ranges are many. */
static void
test_random(int steps)
{
	world w;
	int wrong = 0, i;
	uint64_t removed = 0, rewritten = 0;

	memset(&w, 0, sizeof(w));
	w.repo = new_repository(omb_store_fault_new(omb_store_memory_new()));
	for (i = 0; i < steps && wrong == 0; i++)
	{
		omb_error err = OMB_ERROR_INIT;
		omb_prune_config config;
		omb_prune_result result;
		seen s;

		while (w.count < BACKUPS - 1 && rnd(3) > 0)
			take_backup(&w, rnd(6) > 0);
		while (w.count > 1 && rnd(3) > 0)
			remove_backup(&w, rnd((uint32_t) w.count));
		set_config(&config, w.repo, &s);
		config.rewrite_below = rnd(101);
		config.rewrite_size = rnd(2) * 3000;
		config.jobs = 1 + (int) rnd(3);
		config.max_packs = rnd(2) ? OMB_PRUNE_PACKS : 1 + rnd(20);
		config.max_bytes = rnd(2) ? OMB_PRUNE_BYTES : 1 + rnd(1000);
		if (omb_prune(&config, &result, &err) != OMB_OK ||
			!is_whole(&w, w.repo))
			wrong++;
		if (wrong)
			printf("# step %d: %s\n", i, err.message);
		removed += result.packs_removed;
		rewritten += result.packs_rewritten;
		omb_buf_free(&s.text);
	}
	is_u64((uint64_t) wrong, 0, "random backups and prunes lose nothing");
	ok(removed > 0 && rewritten > 0,
	   "%" PRIu64 " packs were removed, %" PRIu64 " rewritten", removed,
	   rewritten);
	world_free(&w);
}

static bool
lock_month(omb_store *store, omb_lock_rule *rule)
{
	rule->days = 30;
	return true;
}

/* What would be replaced stays for its lock: then nothing is gained. */
static void
test_locked(void)
{
	world w;
	omb_store_ops ops;
	omb_error err = OMB_ERROR_INIT;
	int i;

	make_world(&w);
	for (i = 0; i < 2; i++)
	{
		omb_repository *repo = copy_repository(w.repo);
		omb_prune_config config;
		omb_prune_result result;
		seen s;

		set_config(&config, repo, &s);
		ops = *repo->store->ops;
		if (i == 1)
			ops.lock_rule = lock_month;
		repo->store->ops = &ops;
		ok(omb_prune(&config, &result, &err) == OMB_OK && is_whole(&w, repo),
		   "pruned %s locks", i == 0 ? "without" : "with");
		ok((result.packs_rewritten > 0) == (i == 0) &&
			   result.packs_removed > 0,
		   "%" PRIu64 " packs were removed, %" PRIu64 " rewritten",
		   result.packs_removed, result.packs_rewritten);
		omb_buf_free(&s.text);
		omb_repository_free(repo);
	}
	world_free(&w);
}

/* Small limits come to the same as none. */
static void
test_ranges(void)
{
	world w;
	size_t i;
	static const struct
	{
		size_t packs;
		size_t bytes;
	} limits[] = { { 1, OMB_PRUNE_BYTES }, { 3, 100 }, { 1000, 1 } };
	omb_prune_result whole;
	omb_error err = OMB_ERROR_INIT;

	make_world(&w);
	for (i = 0; i < 4; i++)
	{
		omb_repository *repo = copy_repository(w.repo);
		omb_prune_config config;
		omb_prune_result result;
		seen s;

		set_config(&config, repo, &s);
		if (i > 0)
		{
			config.max_packs = limits[i - 1].packs;
			config.max_bytes = limits[i - 1].bytes;
		}
		/* whether rewriting pays is judged for each range */
		config.rewrite_below = 0;
		ok(omb_prune(&config, &result, &err) == OMB_OK && is_whole(&w, repo),
		   "pruned with limits %zu", i);
		if (i == 0)
			whole = result;
		else
			ok(memcmp(&result, &whole, sizeof(whole)) == 0,
			   "with the same result");
		omb_buf_free(&s.text);
		omb_repository_free(repo);
	}
	world_free(&w);
}

/* ---- journals ---- */

static void
set_age(const char *root, const char *id, time_t seconds)
{
	struct timespec times[2];
	char *path = omb_format("%s/cache/unfinished-%s", root, id);

	memset(times, 0, sizeof(times));
	times[0].tv_sec = times[1].tv_sec = time(NULL) - seconds;
	ok(utimensat(AT_FDCWD, path, times, 0) == 0, "the journal is %ld s old",
	   (long) seconds);
	free(path);
}

static void
test_journals(const char *root)
{
	static const char id[] = "20260202T000000Z-0000";
	world w;
	uint8_t sha256[OMB_SHA256_SIZE], other[OMB_SHA256_SIZE];
	omb_error err = OMB_ERROR_INIT;
	omb_unfinished *journal;
	omb_prune_result result;
	omb_buf out = OMB_BUF_INIT;
	char *path;

	memset(&w, 0, sizeof(w));
	w.repo = new_repository(omb_store_directory_new(root));
	take_backup(&w, false);
	put_orphan(w.repo, sha256);
	put_orphan(w.repo, other);
	(void) omb_unfinished_begin(w.repo, id, &journal, &err);
	(void) omb_unfinished_append(journal, sha256, &err);
	check(&err);
	omb_unfinished_close(journal);
	set_age(root, id, OMB_PRUNE_GRACE - 100);
	ok(prune(w.repo, &result, &err) == OMB_OK && result.packs_spared == 1 &&
		   result.packs_removed == 1,
	   "the pack of an unfinished backup is spared, any other is not");
	path = omb_pack_name(sha256);
	ok(strstr(objects(w.repo, &out), path) != NULL, "it is there");
	set_age(root, id, OMB_PRUNE_GRACE + 100);
	ok(prune(w.repo, &result, &err) == OMB_OK && result.packs_spared == 0 &&
		   result.packs_removed == 1,
	   "until it is too old");
	ok(strstr(objects(w.repo, &out), path) == NULL, "then it is gone");
	free(path);
	path = omb_format("%s/cache/unfinished-%s", root, id);
	ok(access(path, F_OK) != 0, "and so is the journal");
	free(path);

	put_orphan(w.repo, sha256);
	(void) omb_unfinished_begin(w.repo, w.backup[0].id, &journal, &err);
	(void) omb_unfinished_append(journal, sha256, &err);
	check(&err);
	omb_unfinished_close(journal);
	ok(prune(w.repo, &result, &err) == OMB_OK && result.packs_removed == 1,
	   "the journal of a backup that was finished spares nothing");
	ok(is_whole(&w, w.repo), "the backup is whole");
	omb_buf_free(&out);
	world_free(&w);
}

int
main(void)
{
	char root[] = "/tmp/omb-test-XXXXXX";
	const char *seed = getenv("OMB_SEED");
	char *command;

	if (mkdtemp(root) == NULL)
		abort();
	test_what_is_unused_goes();
	test_expire();
	test_revisions();
	test_damage();
	test_ranges();
	test_locked();
	test_faults(false);
	test_faults(true);
	random_state =
		seed ? strtoull(seed, NULL, 10) : (uint64_t) omb_time_now() | 1;
	printf("# OMB_SEED=%" PRIu64 "\n", random_state);
	test_random(25);
	test_journals(root);
	command = omb_format("rm -rf %s", root);
	ok(system(command) == 0, "clean up");
	free(command);
	return tap_done();
}
