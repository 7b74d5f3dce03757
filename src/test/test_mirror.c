/*
 * test_mirror.c: copying a repository: the target is a valid repository or
 * none at every moment, whatever fails, and the newest instant comes first.
 */
#include "test/tap.h"
#include "test/world.h"

#include "base/file.h"
#include "base/text.h"
#include "repo/pin.h"
#include "repo/revision.h"
#include "repo/walobject.h"
#include "task/mirror/mirror.h"
#include "task/mirror/mirrorcheck.h"
#include "task/mirror/mirrorset.h"
#include "task/mirror/probe.h"
#include "task/retain/prune.h"

#include <inttypes.h>
#include <unistd.h>

#define SEGMENT (UINT64_C(16) * 1024 * 1024)

/* ---- mirroring ---- */

typedef struct seen
{
	omb_buf problems;
	void (*meanwhile)(void *arg); /* once, when something was sent */
	void *arg;
} seen;

static seen told;

static void
note_problem(const char *object, const omb_error *problem, void *arg)
{
	omb_buf_printf(&told.problems, "%s: %s\n", object, problem->message);
}

static void
note_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	void (*meanwhile)(void *) = told.meanwhile;

	if (bytes == 0 || meanwhile == NULL)
		return;
	told.meanwhile = NULL;
	meanwhile(told.arg);
}

static omb_status
mirror_with(omb_mirror_config *config, omb_mirror_result *result,
			omb_error *err)
{
	omb_buf_clear(&told.problems);
	config->problem = note_problem;
	config->progress = note_progress;
	omb_error_clear(err);
	return omb_mirror(config, result, err);
}

static void
set_config(omb_mirror_config *config, omb_repository *repo, omb_store *to,
		   bool with_key)
{
	omb_mirror_config_init(config);
	config->from = repo->store;
	config->repo = with_key ? repo : NULL;
	config->to = to;
	config->jobs = 1;
}

static omb_status
mirror(omb_repository *repo, omb_store *to, bool with_key,
	   omb_mirror_result *result, omb_error *err)
{
	omb_mirror_config config;

	set_config(&config, repo, to, with_key);
	return mirror_with(&config, result, err);
}

/* ---- looking at the target ---- */

/* The repository in a store that stays; NULL when there is none. */
static omb_repository *
open_copy(omb_store *to)
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository_facts facts;
	omb_repository *copy = NULL;
	omb_secret secret;

	if (omb_repository_look(to, &facts, &err) != OMB_OK)
		return NULL;
	omb_secret_open(&secret);
	(void) omb_repository_open(to, &secret, &copy, &err);
	check(&err);
	return copy;
}

static void
close_copy(omb_repository *copy)
{
	if (copy == NULL)
		return;
	/* the store is not the copy's */
	copy->store = omb_store_memory_new();
	omb_repository_free(copy);
}

static bool
has_object(omb_store *store, const char *name)
{
	omb_error err = OMB_ERROR_INIT;
	omb_object *object;

	if (omb_store_open(store, name, &object, &err) != OMB_OK)
		return false;
	omb_object_close(object);
	return true;
}

typedef struct copy_state
{
	const world *w;
	omb_repository *copy;
	size_t backups;
	bool whole;
} copy_state;

static omb_status
look_at_backup(const char *id, void *arg, omb_error *err)
{
	copy_state *state = arg;
	size_t i = 0;

	while (i < state->w->count && strcmp(state->w->backup[i].id, id) != 0)
		i++;
	state->whole = state->whole && i < state->w->count &&
				   reads_back(state->copy, &state->w->backup[i]);
	state->backups++;
	return OMB_OK;
}

static omb_status
refuse_manifest(const omb_store_entry *entry, void *arg, omb_error *err)
{
	return omb_error_set(err, OMB_FAILED, "a backup without a repository");
}

/* A repository whose backups are all whole, or none; how many it has. */
static bool
is_valid_copy(const world *w, omb_store *to, size_t *backups)
{
	omb_error err = OMB_ERROR_INIT;
	copy_state state;

	*backups = 0;
	memset(&state, 0, sizeof(state));
	state.w = w;
	state.whole = true;
	state.copy = open_copy(to);
	if (state.copy == NULL)
		return omb_store_list(to, "backups", true, refuse_manifest, NULL,
							  &err) == OMB_OK;
	(void) omb_backup_list(state.copy, look_at_backup, &state, &err);
	check(&err);
	state.whole = verifies(state.copy) && state.whole;
	close_copy(state.copy);
	*backups = state.backups;
	return state.whole;
}

static bool
same_objects(omb_store *a, omb_store *b)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf here = OMB_BUF_INIT, there = OMB_BUF_INIT;
	bool same;

	(void) omb_store_list(a, "", true, append_object, &here, &err);
	(void) omb_store_list(b, "", true, append_object, &there, &err);
	check(&err);
	same = strcmp(omb_buf_text(&here), omb_buf_text(&there)) == 0;
	omb_buf_free(&here);
	omb_buf_free(&there);
	return same;
}

static void
world_begin(world *w, size_t backups)
{
	size_t i;

	memset(w, 0, sizeof(*w));
	w->repo = new_repository(omb_store_fault_new(omb_store_memory_new()));
	for (i = 0; i < backups; i++)
		take_backup(w, i > 0);
}

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

/* The first pack of the newest backup that no other one has. */
static char *
pack_of_newest(const world *w)
{
	omb_error err = OMB_ERROR_INIT;
	omb_manifest *newest, *before;
	char *name = NULL;
	uint32_t i, k;

	(void) omb_manifest_open(w->repo, w->backup[w->count - 1].id, &newest,
							 &err);
	(void) omb_manifest_open(w->repo, w->backup[w->count - 2].id, &before,
							 &err);
	check(&err);
	for (i = 0; i < newest->pack_count && name == NULL; i++)
	{
		for (k = 0; k < before->pack_count; k++)
		{
			if (memcmp(newest->pack[i].sha256, before->pack[k].sha256,
					   OMB_SHA256_SIZE) == 0)
				break;
		}
		if (k == before->pack_count)
			name = omb_pack_name(newest->pack[i].sha256);
	}
	omb_manifest_close(newest);
	omb_manifest_close(before);
	return name;
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

/* ---- the order ---- */

/* A backup of one pack whose WAL is from one segment to the next. */
static void
put_backup(omb_repository *repo, unsigned number, uint64_t segno,
		   size_t pack_size)
{
	omb_error err = OMB_ERROR_INIT;
	omb_pack_table *table = omb_pack_table_new();
	omb_pack_writer *writer = omb_pack_writer_new(repo, &zstd, table);
	uint8_t *plain = omb_malloc(pack_size);
	omb_manifest_writer *manifest;
	omb_backup_info info;
	omb_blob_ref ref;
	char *id = omb_format("20260101T%06uZ-0000", number);

	omb_random(plain, pack_size);
	(void) omb_pack_add(writer, plain, pack_size, &ref, &err);
	(void) omb_pack_finish(writer, &err);
	(void) omb_manifest_create(repo, &manifest, &err);
	check(&err);
	set_info(&info, id);
	info.wal_segment_size = SEGMENT;
	info.start_timeline = info.stop_timeline = 1;
	info.start_lsn = segno * SEGMENT + 40;
	info.stop_lsn = (segno + 1) * SEGMENT + 40;
	(void) omb_manifest_commit(manifest, &info, table, &err);
	check(&err);
	omb_backup_info_clear(&info);
	omb_pack_writer_free(writer);
	omb_pack_table_free(table);
	free(plain);
	free(id);
}

static char *
wal_name(uint64_t segno)
{
	return omb_format("wal/00000001/00000001%08" PRIX64 "/00000001%08" PRIX64
					  "%08" PRIX64 "-00112233445566778899aabbccddeeff",
					  segno / 256, segno / 256, segno % 256);
}

static void
put_wal(omb_repository *repo, uint64_t first, uint64_t last, size_t size)
{
	omb_error err = OMB_ERROR_INIT;
	uint8_t *plain = omb_malloc(size);

	for (; first <= last; first++)
	{
		char *name = wal_name(first);

		omb_random(plain, size);
		(void) omb_stream_put(repo, OMB_KIND_WAL, name, plain, size, &err);
		check(&err);
		free(name);
	}
	free(plain);
}

static bool
has_wal(omb_store *store, uint64_t first, uint64_t last)
{
	bool has = true;

	for (; first <= last && has; first++)
	{
		char *name = wal_name(first);

		has = has_object(store, name);
		free(name);
	}
	return has;
}

/*
 * The last segment up to which the target can be restored, 0 for none: from
 * the start of some backup on without a gap. False when a backup lacks WAL of
 * its own.
 */
static bool
restorable(omb_store *to, const uint64_t *start, size_t backups,
		   uint64_t *newest)
{
	size_t i;

	*newest = 0;
	for (i = 0; i < backups; i++)
	{
		char *id = omb_format("backups/20260101T%06zuZ-0000", i);
		uint64_t segno = start[i];

		if (has_object(to, id))
		{
			if (!has_wal(to, segno, segno + 1))
			{
				free(id);
				return false;
			}
			while (has_wal(to, segno + 1, segno + 1))
				segno++;
			if (segno > *newest)
				*newest = segno;
		}
		free(id);
	}
	return true;
}

/*
 * Three backups and their WAL go to an empty target. Cut the mirror short at
 * each operation and look what is restorable.
 */
static void
test_order(bool packs_are_large)
{
	static const uint64_t start[] = { 10, 30, 50 };
	const size_t wal_size = packs_are_large ? 100 : 20000;
	const size_t pack_size = packs_are_large ? 100000 : 100;
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo =
		new_repository(omb_store_fault_new(omb_store_memory_new()));
	omb_mirror_result result;
	uint64_t at, newest, last = 0, jumps = 0;
	bool done = false, valid = true, growing = true;

	put_backup(repo, 0, start[0], 100);
	put_wal(repo, 10, 60, wal_size);
	put_backup(repo, 1, start[1], pack_size);
	put_backup(repo, 2, start[2], pack_size);
	for (at = 1; !done && valid && growing; at++)
	{
		omb_store *to = omb_store_fault_new(omb_store_memory_new());

		omb_store_fault_set(to, at, true);
		(void) mirror(repo, to, true, &result, &err);
		done = omb_store_fault_count(to) < at;
		valid = restorable(omb_store_fault_inner(to), start, 3, &newest);
		growing = newest >= last;
		if (newest > last)
			jumps++;
		last = newest;
		omb_store_free(to);
	}
	ok(valid, "a backup at the target always has its WAL");
	ok(growing && last == 60 && jumps == 1,
	   "at an empty target the newest instant is restorable first");
	omb_repository_free(repo);
}

/* What was committed to a target, in order. */
static size_t
position(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at == NULL ? SIZE_MAX : (size_t) (at - text);
}

static omb_buf order;
static omb_store *watched;

static omb_status
note_new(const omb_store_entry *entry, void *arg, omb_error *err)
{
	char *line = omb_format("%s\n", entry->name);

	if (strstr(omb_buf_text(&order), line) == NULL)
		omb_buf_printf(&order, "%s", line);
	free(line);
	return OMB_OK;
}

static void
watch_target(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	omb_error err = OMB_ERROR_INIT;

	(void) omb_store_list(watched, "", true, note_new, NULL, &err);
	check(&err);
}

/* After days offline: by WAL from what is there, or by the newest backup? */
static void
test_catching_up(bool packs_are_large)
{
	const size_t wal_size = packs_are_large ? 100 : 20000;
	const size_t pack_size = packs_are_large ? 100000 : 100;
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = new_repository(omb_store_memory_new());
	omb_store *to = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_result result;
	char *old_wal = wal_name(16), *new_wal = wal_name(60);
	size_t newest, other;

	put_backup(repo, 0, 10, 100);
	put_wal(repo, 10, 15, 100);
	(void) mirror(repo, to, true, &result, &err);
	check(&err);
	put_wal(repo, 16, 60, wal_size);
	put_backup(repo, 1, 30, pack_size);
	put_backup(repo, 2, 50, pack_size);
	watched = to;
	omb_buf_clear(&order);
	watch_target(NULL, 0, 0, NULL);
	set_config(&config, repo, to, true);
	config.problem = note_problem;
	config.progress = watch_target;
	(void) omb_mirror(&config, &result, &err);
	check(&err);
	watch_target(NULL, 0, 0, NULL);
	newest = position(omb_buf_text(&order), "backups/20260101T000002Z-0000");
	other = position(omb_buf_text(&order), "backups/20260101T000001Z-0000");
	ok(newest < other && other != SIZE_MAX, "newer backups come first");
	ok(position(omb_buf_text(&order), new_wal) < newest,
	   "WAL comes before the backup that needs it");
	if (packs_are_large)
		ok(position(omb_buf_text(&order), old_wal) <
			   position(omb_buf_text(&order), new_wal),
		   "where WAL is less to copy it goes first, oldest first");
	else
		ok(position(omb_buf_text(&order), old_wal) > newest,
		   "where the backup is less to copy older WAL waits");
	free(old_wal);
	free(new_wal);
	omb_store_free(to);
	omb_repository_free(repo);
}

/* What vanished from the target is seen when it is listed. */
static void
test_lost(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *to = omb_store_memory_new();
	omb_mirror_result result;
	char *pack;
	world w;

	world_begin(&w, 3);
	(void) mirror(w.repo, to, true, &result, &err);
	check(&err);
	pack = pack_of_newest(&w);
	(void) omb_store_remove(to, pack, &err);
	ok(mirror(w.repo, to, true, &result, &err) == OMB_OK &&
		   result.objects == 1 && same_objects(w.repo->store, to),
	   "a pack that was lost at the target is copied again");
	free(pack);
	omb_store_free(to);
	world_free(&w);
}

static void
test_newest(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = new_repository(omb_store_memory_new());
	omb_store *to = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_result result;

	put_backup(repo, 0, 10, 100);
	put_backup(repo, 1, 30, 100);
	put_backup(repo, 2, 50, 100);
	put_wal(repo, 10, 60, 100);
	set_config(&config, repo, to, true);
	config.newest = 2;
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.backups == 2,
	   "only the newest backups are copied");
	ok(has_wal(to, 30, 60) && !has_wal(to, 29, 29),
	   "with the WAL from the oldest of them on");
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.objects == 0,
	   "and nothing else the next time");
	config.repo = NULL;
	ok(mirror_with(&config, &result, &err) == OMB_USAGE, "that needs the key");
	omb_store_free(to);
	omb_repository_free(repo);
}

static void
test_short_rounds(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *to = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_result result;
	size_t backups;
	world w;

	world_begin(&w, 3);
	set_config(&config, w.repo, to, true);
	config.round_seconds = 0;
	ok(mirror_with(&config, &result, &err) == OMB_OK &&
		   is_valid_copy(&w, to, &backups) && backups == 3,
	   "rounds that end at once come to the end");
	omb_store_free(to);
	world_free(&w);
}

typedef struct current_state
{
	omb_store *to;
	bool before_backup; /* it was current before the second one was there */
	int64_t at;
} current_state;

static size_t count_backups(omb_store *to);

static void
note_current(int64_t time, void *arg)
{
	current_state *state = arg;

	state->at = time;
	if (count_backups(state->to) == 1)
		state->before_backup = true;
}

static void
test_current(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = new_repository(omb_store_memory_new());
	omb_store *to = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_result result;
	current_state state;
	int64_t began;

	memset(&state, 0, sizeof(state));
	state.to = to;
	put_wal(repo, 10, 20, 100);
	set_config(&config, repo, to, true);
	config.current = note_current;
	config.arg = &state;
	config.round_seconds = 0;
	ok(mirror_with(&config, &result, &err) == OMB_OK && !result.is_current &&
		   state.at == 0,
	   "without a backup nothing can be restored from a target");
	put_backup(repo, 0, 10, 100);
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.is_current &&
		   state.at > 0,
	   "with one it can");
	state.before_backup = false;
	put_backup(repo, 1, 15, 100);
	put_wal(repo, 21, 22, 100);
	began = omb_time_now();
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.is_current &&
		   state.before_backup && state.at >= began,
	   "new WAL counts before a new backup is there");
	omb_store_free(to);
	omb_repository_free(repo);
}

/* With a limit that makes each object last longer than a round. */
static void
test_low_limit(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = new_repository(omb_store_memory_new());
	omb_store *to = omb_store_memory_new();
	omb_mirror_config config;
	omb_mirror_result result;
	unsigned i;

	for (i = 0; i < 4; i++)
		put_backup(repo, i, 10, 30000);
	put_wal(repo, 10, 13, 100);
	set_config(&config, repo, to, true);
	config.jobs = 4;
	config.limit = 60000;
	config.round_seconds = 0;
	ok(mirror_with(&config, &result, &err) == OMB_OK && result.backups == 4 &&
		   result.missing == 0 && has_wal(to, 10, 13),
	   "a low limit does not keep anything away");
	omb_store_free(to);
	omb_repository_free(repo);
}

/* ---- a target with rules of its own ---- */

static size_t
count_backups(omb_store *to)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf names = OMB_BUF_INIT;
	size_t count;

	(void) omb_store_list(to, "backups", true, append_object, &names, &err);
	check(&err);
	count = occurrences(omb_buf_text(&names), "backups/");
	omb_buf_free(&names);
	return count;
}

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

/* ---- what a store can do ---- */

typedef struct probe_rows
{
	unsigned count[4]; /* by result */
	omb_buf text;
} probe_rows;

static void
note_row(const omb_probe_row *row, void *arg)
{
	probe_rows *rows = arg;

	rows->count[row->result]++;
	omb_buf_printf(&rows->text, "%s %s: %s\n", row->operation,
				   omb_probe_word(row->result), row->found);
}

static int
probe_store(omb_store *store, probe_rows *rows)
{
	omb_probe_config config;

	memset(&config, 0, sizeof(config));
	omb_buf_free(&rows->text);
	memset(rows, 0, sizeof(*rows));
	config.row = note_row;
	config.arg = rows;
	return omb_probe_store(&config, store);
}

static void
test_probe(void)
{
	omb_store *store = omb_store_fault_new(omb_store_memory_new());
	omb_error err = OMB_ERROR_INIT;
	omb_buf left = OMB_BUF_INIT;
	probe_rows rows;
	bool seen_all = true, done = false;
	uint64_t at;

	memset(&rows, 0, sizeof(rows));
	omb_store_fault_set(store, 0, false);
	ok(probe_store(store, &rows) == 0 && rows.count[OMB_PROBE_OK] == 8,
	   "a good store passes");
	(void) omb_store_list(store, "", true, append_object, &left, &err);
	ok(left.len == 0, "and is as it was");
	for (at = 1; !done && seen_all; at++)
	{
		int errors;

		omb_store_fault_set(store, at, true);
		errors = probe_store(store, &rows);
		done = omb_store_fault_count(store) < at;
		seen_all = done || errors > 0;
	}
	ok(seen_all && at > 10, "every failure is told (%" PRIu64 ")", at);
	omb_store_fault_set(store, 0, false);
	omb_store_fault_keep(store, "probe/");
	ok(probe_store(store, &rows) == 0 &&
		   strstr(omb_buf_text(&rows.text), "remove warning") != NULL,
	   "objects that are locked are a warning");
	omb_buf_free(&rows.text);
	omb_buf_free(&left);
	omb_store_free(store);
}

static void
test_policy(void)
{
	char *policy = omb_probe_policy("s3://my-bucket/a/b?region=x");

	ok(policy != NULL &&
		   strstr(policy, "\"arn:aws:s3:::my-bucket\"") != NULL &&
		   strstr(policy, "\"arn:aws:s3:::my-bucket/a/b/*\"") != NULL,
	   "a policy names bucket and prefix");
	free(policy);
	policy = omb_probe_policy("s3://my-bucket");
	ok(policy != NULL &&
		   strstr(policy, "\"arn:aws:s3:::my-bucket/*\"") != NULL,
	   "or the bucket alone");
	free(policy);
	ok(omb_probe_policy("file:///x") == NULL, "a directory has none");
}

/* ---- checking and healing ---- */

static void
test_check(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *to = omb_store_memory_new();
	omb_mirror_check_result found;
	omb_mirror_config config;
	omb_mirror_result result;
	size_t backups;
	char *pack;
	world w;

	world_begin(&w, 3);
	(void) omb_stream_put(w.repo, OMB_KIND_MARK, "marks/one", "x", 1, &err);
	(void) mirror(w.repo, to, true, &result, &err);
	check(&err);
	set_config(&config, w.repo, to, true);
	config.problem = note_problem;
	config.progress = ignore_progress;
	(void) omb_mirror_check(&config, 100, false, &found, &err);
	ok(err.status == OMB_OK && found.changed == 0 && found.strange == 0 &&
		   found.read == found.compared && found.read > 5,
	   "a good copy is found good");

	pack = pack_of_newest(&w);
	omb_store_memory_bytes(to, pack)->data[70] ^= 4;
	omb_store_memory_bytes(to, "marks/one")->len--;
	(void) omb_mirror_check(&config, 0, false, &found, &err);
	ok(err.status == OMB_DAMAGED && found.changed == 1,
	   "another size is found without reading");
	omb_error_clear(&err);
	(void) omb_mirror_check(&config, 100, false, &found, &err);
	ok(err.status == OMB_DAMAGED && found.changed == 2 && found.healed == 0,
	   "other bytes are found by reading");
	omb_error_clear(&err);

	omb_store_memory_bytes(memory_of(w.repo), pack)->data[80] ^= 4;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.changed == 2 && found.healed == 1 &&
		   has_object(to, pack),
	   "nothing is healed from what is damaged itself");
	omb_error_clear(&err);
	omb_store_memory_bytes(memory_of(w.repo), pack)->data[80] ^= 4;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_OK && found.changed == 1 && found.healed == 1,
	   "a damaged pack is healed");
	ok(same_objects(w.repo->store, to) && is_valid_copy(&w, to, &backups) &&
		   backups == 3,
	   "the copy is as the original again");

	omb_store_memory_bytes(memory_of(w.repo), "marks/one")->data[70] ^= 4;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.healed == 0,
	   "a good object is not replaced by a damaged one");
	omb_error_clear(&err);
	omb_store_memory_bytes(memory_of(w.repo), "marks/one")->data[70] ^= 4;
	omb_store_memory_bytes(to, "marks/one")->data[70] ^= 4;
	config.repo = NULL;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.healed == 0,
	   "which one is good is not guessed without the key");
	omb_error_clear(&err);
	config.repo = w.repo;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_OK && found.healed == 1, "with the key it is known");
	(void) omb_store_put(to, "packs/zz", "x", 1, &err);
	(void) omb_mirror_check(&config, 0, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.strange == 1 &&
		   has_object(to, "packs/zz"),
	   "what is no object is told and left");
	free(pack);
	omb_store_free(to);
	world_free(&w);
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
	test_order(true);
	test_order(false);
	test_catching_up(true);
	test_catching_up(false);
	test_lost();
	test_newest();
	test_short_rounds();
	test_current();
	test_low_limit();
	test_rules();
	test_session();
	test_probe();
	test_policy();
	test_check();
	omb_buf_free(&told.problems);
	omb_buf_free(&order);
	return tap_done();
}
