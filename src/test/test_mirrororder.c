/*
 * test_mirrororder.c: copying a repository: the newest instant comes first, and
 * how recent the target is.
 */
#include "test/tap.h"
#include "test/copies.h"

#include "base/text.h"
#include "repo/pin.h"

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

int
main(void)
{
	test_order(true);
	test_order(false);
	test_catching_up(true);
	test_catching_up(false);
	test_lost();
	test_newest();
	test_short_rounds();
	test_current();
	test_low_limit();
	omb_buf_free(&told.problems);
	omb_buf_free(&order);
	return tap_done();
}
