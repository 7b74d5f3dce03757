/*
 * world.h: small repositories in memory with backups that share blobs, and
 * what each of them must give back, for tests of what removes objects.
 * Include it after tap.h, in the one .c file of a test program only.
 */
#ifndef OMB_TEST_WORLD_H
#define OMB_TEST_WORLD_H

#include "test/repository.h"

#include "repo/manifest.h"
#include "task/verify/verify.h"

#define FILES 6
#define BACKUPS 12
#define EXTENT_MAX 12000

static const omb_compression zstd = { OMB_METHOD_ZSTD, 1 };

typedef struct backup
{
	char id[OMB_BACKUP_ID_MAX];
	omb_buf content[FILES];
} backup;

/* A repository, and what its backups must give back. */
typedef struct world
{
	omb_repository *repo;
	backup backup[BACKUPS];
	size_t count;
	uint32_t taken;
} world;

static uint64_t random_state = 1;

static uint32_t
rnd(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t) (random_state >> 32) % below;
}

static __attribute__((unused)) omb_store *
memory_of(const omb_repository *repo)
{
	return omb_store_fault_inner(repo->store);
}

static void
world_free(world *w)
{
	size_t i, f;

	for (i = 0; i < w->count; i++)
	{
		for (f = 0; f < FILES; f++)
			omb_buf_free(&w->backup[i].content[f]);
	}
	omb_repository_free(w->repo);
}

/* ---- taking backups ---- */

typedef struct taking
{
	omb_pack_table *table;
	omb_pack_writer *writer;
	omb_manifest *parent; /* or NULL */
	uint32_t *kept;		  /* numbers of the parent's packs, plus 1 */
} taking;

static void
add_new_extent(taking *t, omb_entry *entry, omb_buf *content)
{
	uint8_t plain[EXTENT_MAX];
	uint32_t len = 1 + rnd(EXTENT_MAX);
	omb_error err = OMB_ERROR_INIT;
	omb_extent extent;
	uint32_t i;

	memset(&extent, 0, sizeof(extent));
	if (rnd(8) == 0)
	{
		extent.is_zero = true;
		extent.length = len;
		memset(plain, 0, len);
		omb_buf_put(content, plain, len);
	}
	else
	{
		for (i = 0; i < len; i++)
			plain[i] = (uint8_t) rnd(256);
		(void) omb_pack_add(t->writer, plain, len, &extent.blob, &err);
		extent.start = rnd(len);
		extent.length = 1 + rnd(len - extent.start);
		omb_buf_put(content, plain + extent.start, (size_t) extent.length);
		if (rnd(5) == 0)
			(void) omb_pack_finish(t->writer, &err);
	}
	check(&err);
	omb_entry_add_extent(entry, &extent);
}

/* Take over most extents of the parent's file. */
static void
add_old_extents(taking *t, const omb_entry *old, const omb_buf *old_content,
				omb_entry *entry, omb_buf *content)
{
	uint64_t offset = 0;
	size_t i;

	for (i = 0; i < old->extent_count; i++)
	{
		omb_extent extent = old->extent[i];
		uint32_t pack = extent.blob.pack;

		if (rnd(4) == 0)
			add_new_extent(t, entry, content);
		else
		{
			if (!extent.is_zero && t->kept[pack] == 0)
				t->kept[pack] =
					omb_pack_table_add(t->table, &t->parent->pack[pack]) + 1;
			if (!extent.is_zero)
				extent.blob.pack = t->kept[pack] - 1;
			omb_buf_put(content, old_content->data + offset,
						(size_t) extent.length);
			omb_entry_add_extent(entry, &extent);
		}
		offset += old->extent[i].length;
	}
}

static void
add_file(taking *t, const backup *parent, size_t f, backup *b,
		 omb_manifest_writer *manifest)
{
	omb_error err = OMB_ERROR_INIT;
	omb_entry entry, old;
	bool end = false;
	uint32_t i;

	memset(&entry, 0, sizeof(entry));
	entry.type = OMB_ENTRY_FILE;
	entry.path = omb_format("file%zu", f);
	entry.mode = 0600;
	if (parent != NULL)
	{
		(void) omb_manifest_next(t->parent, &old, &end, &err);
		check(&err);
		add_old_extents(t, &old, &parent->content[f], &entry, &b->content[f]);
		omb_entry_clear(&old);
	}
	else
	{
		for (i = rnd(6); i > 0; i--)
			add_new_extent(t, &entry, &b->content[f]);
	}
	entry.size = b->content[f].len;
	(void) omb_manifest_add(manifest, &entry, &err);
	check(&err);
	omb_entry_clear(&entry);
}

/* A full backup, or one that shares blobs with the last one. */
static void
take_backup(world *w, bool incremental)
{
	const backup *parent =
		incremental && w->count > 0 ? &w->backup[w->count - 1] : NULL;
	backup *b = &w->backup[w->count];
	omb_error err = OMB_ERROR_INIT;
	omb_manifest_writer *manifest;
	omb_backup_info info;
	taking t;
	char *id;
	size_t f;

	memset(b, 0, sizeof(*b));
	memset(&t, 0, sizeof(t));
	id = omb_format("20260101T%06" PRIu32 "Z-0000", w->taken++);
	memcpy(b->id, id, strlen(id));
	free(id);
	t.table = omb_pack_table_new();
	t.writer = omb_pack_writer_new(w->repo, &zstd, t.table);
	if (parent != NULL)
	{
		(void) omb_manifest_open(w->repo, parent->id, &t.parent, &err);
		check(&err);
		t.kept = omb_calloc(t.parent->pack_count, sizeof(uint32_t));
	}
	(void) omb_manifest_create(w->repo, &manifest, &err);
	check(&err);
	for (f = 0; f < FILES; f++)
		add_file(&t, parent, f, b, manifest);
	(void) omb_pack_finish(t.writer, &err);
	check(&err);
	set_info(&info, b->id);
	(void) omb_manifest_commit(manifest, &info, t.table, &err);
	check(&err);
	omb_backup_info_clear(&info);
	omb_manifest_close(t.parent);
	omb_pack_writer_free(t.writer);
	omb_pack_table_free(t.table);
	free(t.kept);
	w->count++;
}

/* It is not to be there any more. */
static void
forget_backup(world *w, size_t i)
{
	size_t f;

	for (f = 0; f < FILES; f++)
		omb_buf_free(&w->backup[i].content[f]);
	w->count--;
	memmove(&w->backup[i], &w->backup[i + 1], (w->count - i) * sizeof(backup));
}

static void __attribute__((unused)) remove_backup(world *w, size_t i)
{
	remove_manifests(w->repo, w->backup[i].id);
	forget_backup(w, i);
}

/* A pack that no manifest names. */
static void __attribute__((unused))
put_orphan(omb_repository *repo, uint8_t sha256[OMB_SHA256_SIZE])
{
	omb_pack_table *table = omb_pack_table_new();
	omb_pack_writer *writer = omb_pack_writer_new(repo, &zstd, table);
	omb_error err = OMB_ERROR_INIT;
	omb_blob_ref ref;
	omb_pack_id id;

	(void) omb_pack_add(writer, "orphan", 6, &ref, &err);
	(void) omb_pack_finish(writer, &err);
	check(&err);
	id = omb_pack_table_get(table, 0);
	memcpy(sha256, id.sha256, sizeof(id.sha256));
	omb_pack_writer_free(writer);
	omb_pack_table_free(table);
}

/* ---- looking at the repository ---- */

/* Append the bytes of an entry's file. */
static void
read_entry(omb_repository *repo, const omb_manifest *manifest,
		   const omb_entry *entry, omb_buf *out, omb_error *err)
{
	omb_coder *coder = omb_coder_new(NULL);
	uint8_t *plain = omb_calloc(1, OMB_BLOB_MAX);
	size_t i;

	for (i = 0; i < entry->extent_count && err->status == OMB_OK; i++)
	{
		const omb_extent *extent = &entry->extent[i];
		omb_pack *pack;

		memset(plain, 0, OMB_BLOB_MAX);
		if (!extent->is_zero &&
			omb_pack_open(repo, manifest->pack[extent->blob.pack].sha256,
						  &pack, err) == OMB_OK)
		{
			(void) omb_pack_read(pack, coder, &extent->blob, plain, err);
			omb_pack_close(pack);
		}
		/* extents of zeros may have been put together */
		if (extent->is_zero)
		{
			size_t len = (size_t) extent->length;

			memset(omb_buf_reserve(out, len), 0, len);
			out->len += len;
		}
		else
			omb_buf_put(out, plain + extent->start, (size_t) extent->length);
	}
	free(plain);
	omb_coder_free(coder);
}

static bool
reads_back(omb_repository *repo, const backup *b)
{
	omb_error err = OMB_ERROR_INIT;
	omb_manifest *manifest;
	bool end = false, same;
	size_t f;

	if (omb_manifest_open(repo, b->id, &manifest, &err) != OMB_OK)
	{
		printf("# %s\n", err.message);
		return false;
	}
	same = manifest->info.bytes_stored == 77 &&
		   strcmp(manifest->info.label, "a label") == 0;
	for (f = 0; f < FILES && same; f++)
	{
		omb_buf out = OMB_BUF_INIT;
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, &err) == OMB_OK && !end)
			read_entry(repo, manifest, &entry, &out, &err);
		same = err.status == OMB_OK && !end && out.len == b->content[f].len &&
			   (out.len == 0 ||
				memcmp(out.data, b->content[f].data, out.len) == 0);
		omb_entry_clear(&entry);
		omb_buf_free(&out);
	}
	if (!same)
		printf("# backup %s is not as it was: %s\n", b->id, err.message);
	omb_manifest_close(manifest);
	return same;
}

static void
ignore_note(const char *text, void *arg)
{
}

static void
ignore_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
}

static void
print_problem(const char *object, const omb_error *problem, void *arg)
{
	printf("# %s: %s\n", object, problem->message);
}

static bool
verifies(omb_repository *repo)
{
	omb_error err = OMB_ERROR_INIT;
	omb_verify_config config;
	omb_verify_result result;
	bool sound;

	memset(&config, 0, sizeof(config));
	config.repo = repo;
	config.jobs = 1;
	config.problem = print_problem;
	config.note = ignore_note;
	config.progress = ignore_progress;
	(void) omb_verify(&config, &result, &err);
	sound = result.problems.total == 0;
	omb_problems_clear(&result.problems);
	return err.status == OMB_OK && sound;
}

static bool __attribute__((unused))
is_whole(const world *w, omb_repository *repo)
{
	bool whole = verifies(repo);
	size_t i;

	for (i = 0; i < w->count; i++)
		whole = reads_back(repo, &w->backup[i]) && whole;
	return whole;
}

static omb_status
append_object(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_buf_printf(arg, "%s %" PRIu64 "\n", entry->name, entry->size);
	return OMB_OK;
}

/* Names and sizes of all objects. */
static __attribute__((unused)) char *
objects(omb_repository *repo, omb_buf *out)
{
	omb_error err = OMB_ERROR_INIT;

	omb_buf_clear(out);
	(void) omb_store_list(repo->store, "", true, append_object, out, &err);
	check(&err);
	return omb_buf_text(out);
}

static size_t __attribute__((unused))
occurrences(const char *text, const char *part)
{
	size_t n = 0;

	for (; (text = strstr(text, part)) != NULL; text++)
		n++;
	return n;
}

#endif
