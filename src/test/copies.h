/*
 * copies.h: mirroring a repository of world.h, and looking at what the target
 * has then. Include it after tap.h, in the one .c file of a test program only.
 */
#ifndef OMB_TEST_COPIES_H
#define OMB_TEST_COPIES_H

#include "test/world.h"

#include "repo/revision.h"
#include "repo/walobject.h"
#include "task/mirror/mirror.h"

#include <inttypes.h>

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
	w->repo = new_memory_repository();
	for (i = 0; i < backups; i++)
		take_backup(w, i > 0);
}

static size_t __attribute__((unused)) count_backups(omb_store *to)
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

/* ---- backups with their WAL ---- */

/* A backup of one pack whose WAL is from one segment to the next. */
static void __attribute__((unused))
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

static void __attribute__((unused))
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

static bool __attribute__((unused))
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

#endif
