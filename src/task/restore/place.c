/*
 * place.c: putting the files of a backup into a directory.
 *
 * The calling thread reads the manifest and does everything to the file
 * system; workers read, check, decrypt and decompress blobs and compute CRCs.
 * Two threads that write to one file, or create files in one directory, would
 * only wait for each other in the kernel.
 *
 * A unit is a piece of a file that has several extents, or a batch of small
 * files that share a blob. Units come back in order, and with the last one of a
 * file its CRC is compared.
 *
 * Patching: a file that looks the same is read in units of its own kind and
 * left alone when its CRC fits too. One that does not fit is noted, and placed
 * as soon as the units in hand allow. Pieces of a file that is there are
 * compared by the workers; only blocks that differ are written.
 */
#include "task/restore/place.h"

#include "base/file.h"
#include "base/pipeline.h"
#include "codec/crc32c.h"
#include "task/restore/ahead.h"
#include "task/restore/placeunit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Blobs that a worker keeps: pages that changed lie together in blobs that are
 * needed for many pieces, one of each backup that had changes.
 */
#define BLOBS_KEPT 32

typedef struct placer
{
	const omb_place_config *config;
	omb_pipeline *pipe;
	omb_place_context context;
	omb_place_unit *batch;	   /* being filled, or NULL */
	omb_place_part *differing; /* looked the same and are not */
	size_t differing_count;
	omb_manifest *manifest;
	omb_ahead *ahead;
	uint64_t number; /* of the entry that was read last, from 1 */
	uint32_t crc32c; /* of the file whose pieces come back */
	uint64_t bytes;
	uint64_t files;
} placer;

/* ---- collecting ---- */

static omb_status
finish_entry(placer *pl, const omb_entry *entry, uint32_t crc32c,
			 omb_error *err)
{
	if (entry->crc32c != crc32c)
		return omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" does not have the checksum it had "
							 "when it was backed up",
							 entry->path);
	pl->files++;
	return pl->config->placed(entry, pl->config->arg, err);
}

static void
clear_unit(omb_place_unit *u)
{
	int i;

	for (i = 0; i < u->count; i++)
	{
		omb_entry_clear(&u->part[i].entry);
		free(u->part[i].path);
		u->part[i].path = NULL;
	}
	u->count = 0;
}

/* The last part of a file that looked the same was read. */
static omb_status
finish_check(placer *pl, omb_place_unit *u, omb_error *err)
{
	omb_place_part *p = &u->part[0];

	(void) close(u->fd);
	u->fd = -1;
	if (pl->crc32c == p->entry.crc32c)
	{
		pl->context.result->files_same++;
		pl->bytes += p->entry.size;
		return finish_entry(pl, &p->entry, pl->crc32c, err);
	}
	pl->differing = omb_realloc(pl->differing, (pl->differing_count + 1) *
												   sizeof(*pl->differing));
	pl->differing[pl->differing_count++] = *p;
	memset(p, 0, sizeof(*p));
	return OMB_OK;
}

static omb_status
collect_unit(placer *pl, omb_place_unit *u, omb_error *err)
{
	int i;

	if (u->error.status != OMB_OK)
	{
		*err = u->error;
		return err->status;
	}
	if (u->kind == OMB_PLACE_BATCH)
	{
		for (i = 0; i < u->count && err->status == OMB_OK; i++)
		{
			pl->bytes += u->part[i].entry.size;
			if (omb_place_write_small(&pl->context, u, &u->part[i], err) ==
				OMB_OK)
				(void) finish_entry(pl, &u->part[i].entry, u->part[i].crc32c,
									err);
		}
		return err->status;
	}
	if (u->kind == OMB_PLACE_PIECE &&
		omb_place_write_piece(&pl->context, u, err) != OMB_OK)
		return err->status;
	if (u->offset == 0)
		pl->crc32c = 0;
	pl->crc32c = omb_crc32c_combine(pl->crc32c, u->part[0].crc32c, u->length);
	if (u->kind == OMB_PLACE_CHECK)
		return u->last ? finish_check(pl, u, err) : OMB_OK;
	pl->bytes += u->length;
	if (u->last)
	{
		(void) omb_place_close(&u->part[0].entry, u->part[0].path, u->fd, err);
		u->fd = -1;
		if (err->status == OMB_OK)
			(void) finish_entry(pl, &u->part[0].entry, pl->crc32c, err);
	}
	return err->status;
}

static omb_status
collect(placer *pl, bool wait, bool *collected, omb_error *err)
{
	omb_place_unit *u = omb_pipeline_next(pl->pipe, wait);

	*collected = u != NULL;
	if (u == NULL)
		return OMB_OK;
	(void) collect_unit(pl, u, err);
	clear_unit(u);
	omb_pipeline_release(pl->pipe);
	pl->config->progress(pl->bytes, pl->files, pl->config->arg);
	return err->status;
}

/* ---- filling ---- */

/* Take over what another placer has left. */
static void
use_more(placer *pl)
{
	int jobs;

	if (pl->config->jobs_now == NULL)
		return;
	jobs = pl->config->jobs_now(pl->config->arg);
	omb_pipeline_grow(pl->pipe, jobs);
	if (jobs > pl->config->jobs)
		omb_ahead_alone(pl->ahead);
}

static omb_place_unit *
free_unit(placer *pl, omb_error *err)
{
	omb_place_unit *u;
	bool collected;

	do
	{
		if (collect(pl, false, &collected, err) != OMB_OK)
			return NULL;
	} while (collected);
	use_more(pl);
	while ((u = omb_pipeline_slot(pl->pipe, false)) == NULL)
	{
		if (collect(pl, true, &collected, err) != OMB_OK)
			return NULL;
	}
	u->kind = OMB_PLACE_BATCH;
	u->existing = false;
	u->has_blob = false;
	u->extent_count = 0;
	u->last = false;
	u->count = 0;
	u->fd = -1;
	return u;
}

static void
submit_batch(placer *pl)
{
	if (pl->batch == NULL)
		return;
	pl->batch = NULL;
	omb_pipeline_submit(pl->pipe);
}

/* Drain, so that what was submitted is in place. */
static omb_status
drain(placer *pl, omb_error *err)
{
	bool collected;

	submit_batch(pl);
	while (omb_pipeline_busy(pl->pipe))
	{
		if (collect(pl, true, &collected, err) != OMB_OK)
			break;
	}
	return err->status;
}

static bool
same_blob(const omb_blob_ref *a, const omb_blob_ref *b)
{
	return a->pack == b->pack && a->index == b->index;
}

/* Takes the entry and the path over. */
static omb_status
add_small(placer *pl, omb_entry *entry, char *path, omb_error *err)
{
	const omb_extent *extent =
		entry->extent_count > 0 && !entry->extent[0].is_zero ?
			&entry->extent[0] :
			NULL;
	omb_place_unit *u = pl->batch;

	if (u != NULL && (u->count == OMB_PLACE_BATCH_MAX ||
					  (extent != NULL && u->has_blob &&
					   !same_blob(&u->blob, &extent->blob))))
	{
		submit_batch(pl);
		u = NULL;
	}
	if (u == NULL)
	{
		u = free_unit(pl, err);
		if (u == NULL)
		{
			omb_entry_clear(entry);
			free(path);
			return err->status;
		}
		pl->batch = u;
	}
	if (extent != NULL)
	{
		u->has_blob = true;
		u->blob = extent->blob;
	}
	u->part[u->count].entry = *entry;
	u->part[u->count].path = path;
	u->count++;
	memset(entry, 0, sizeof(*entry));
	return OMB_OK;
}

/*
 * Give a unit the next extents of an entry, as many as fit into it; returns
 * how many.
 */
static size_t
fill_piece(omb_place_unit *u, const omb_extent *extent, size_t count)
{
	/* what is compared is compared in the size of a blob */
	size_t most = u->existing ? OMB_BLOB_MAX : OMB_PLACE_PIECE_MAX;
	size_t i;

	u->length = 0;
	u->is_zero = extent[0].is_zero;
	for (i = 0; i < count; i++)
	{
		if (i > 0 && (u->is_zero || u->length + extent[i].length > most))
			break;
		if (u->extent_count == u->extent_cap)
		{
			u->extent_cap = u->extent_cap ? 2 * u->extent_cap : 8;
			u->extent =
				omb_realloc(u->extent, u->extent_cap * sizeof(omb_extent));
		}
		u->extent[u->extent_count++] = extent[i];
		u->length += extent[i].length;
	}
	return i;
}

/* A file of several extents. Takes the entry and the path over. */
static omb_status
add_large(placer *pl, omb_entry *entry, char *path, omb_error *err)
{
	uint64_t offset = 0;
	size_t next = 0;
	int fd;
	bool existing, direct;

	submit_batch(pl);
	fd = omb_place_open(&pl->context, entry, path, &existing, err);
	if (fd >= 0 && ftruncate(fd, (off_t) entry->size) != 0)
		(void) omb_error_set_errno(err, errno, "could not extend file \"%s\"",
								   path);
	direct = err->status == OMB_OK && !existing && omb_place_set_direct(fd);
	while (next < entry->extent_count && err->status == OMB_OK)
	{
		omb_place_unit *u = free_unit(pl, err);

		if (u == NULL)
			break;
		u->kind = OMB_PLACE_PIECE;
		u->existing = existing;
		u->is_direct = direct;
		u->fd = fd;
		u->offset = offset;
		next +=
			fill_piece(u, entry->extent + next, entry->extent_count - next);
		offset += u->length;
		omb_ahead_used(pl->ahead, u->extent_count);
		u->last = next == entry->extent_count;
		u->count = 1;
		memset(&u->part[0].entry, 0, sizeof(omb_entry));
		u->part[0].path = omb_strdup(path);
		if (u->last)
		{
			u->part[0].entry = *entry;
			memset(entry, 0, sizeof(*entry));
		}
		omb_pipeline_submit(pl->pipe);
		if (entry->path == NULL)
			break;
	}
	omb_entry_clear(entry);
	free(path);
	return err->status;
}

/* A file that looks the same. Takes the entry and the path over. */
static omb_status
add_check(placer *pl, omb_entry *entry, char *path, omb_error *err)
{
	uint64_t offset = 0;
	bool last = false;
	int fd;

	submit_batch(pl);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		(void) omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
	while (!last && err->status == OMB_OK)
	{
		omb_place_unit *u = free_unit(pl, err);

		if (u == NULL)
			break;
		u->kind = OMB_PLACE_CHECK;
		u->fd = fd;
		u->offset = offset;
		u->length = entry->size - offset < OMB_PLACE_PIECE_MAX ?
						entry->size - offset :
						OMB_PLACE_PIECE_MAX;
		offset += u->length;
		last = u->last = offset == entry->size;
		u->count = 1;
		memset(&u->part[0], 0, sizeof(omb_place_part));
		u->part[0].path = omb_strdup(path);
		if (last)
		{
			u->part[0].entry = *entry;
			memset(entry, 0, sizeof(*entry));
		}
		omb_pipeline_submit(pl->pipe);
	}
	omb_entry_clear(entry);
	free(path);
	return err->status;
}

/* Takes the entry and the path over. */
static omb_status
add_file(placer *pl, omb_entry *entry, char *path, omb_error *err)
{
	return entry->extent_count > 1 ? add_large(pl, entry, path, err) :
									 add_small(pl, entry, path, err);
}

/* Place the files that looked the same and were not. */
static omb_status
add_differing(placer *pl, omb_error *err)
{
	while (pl->differing_count > 0 && err->status == OMB_OK)
	{
		omb_place_part p = pl->differing[--pl->differing_count];

		(void) add_file(pl, &p.entry, p.path, err);
	}
	return err->status;
}

static omb_status
make_directory(const omb_entry *entry, const char *path, omb_error *err)
{
	/* the top directories may be there, empty */
	if (omb_directory_create(path, 0700, err) == OMB_OK &&
		chmod(path, entry->mode) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not set the mode of directory \"%s\"", path);
	return err->status;
}

/* Make a file's content as many zeros. */
static void
blank(omb_entry *entry)
{
	omb_extent zeros;

	free(entry->extent);
	entry->extent = NULL;
	entry->extent_count = entry->extent_cap = 0;
	entry->crc32c = omb_crc32c_zeros(entry->size);
	memset(&zeros, 0, sizeof(zeros));
	zeros.is_zero = true;
	zeros.length = entry->size;
	if (entry->size > 0)
		omb_entry_add_extent(entry, &zeros);
}

static omb_status
place_entry(placer *pl, omb_entry *entry, omb_error *err)
{
	char *path = pl->config->locate(entry, pl->config->arg);

	if (path == NULL)
	{
		omb_entry_clear(entry);
		return OMB_OK;
	}
	if (pl->config->leave_out != NULL &&
		pl->config->leave_out(entry, pl->config->arg))
	{
		blank(entry);
		return add_file(pl, entry, path, err);
	}
	if (entry->type == OMB_ENTRY_FILE)
		return pl->config->patch && omb_patch_looks_same(entry, path) ?
				   add_check(pl, entry, path, err) :
				   add_file(pl, entry, path, err);
	if (entry->type == OMB_ENTRY_DIRECTORY)
		(void) make_directory(entry, path, err);
	if (err->status == OMB_OK)
		(void) pl->config->placed(entry, pl->config->arg, err);
	omb_entry_clear(entry);
	free(path);
	return err->status;
}

/* ---- reading ahead ---- */

/* Will blobs of the entry be read? */
static bool
needs_blobs(const omb_entry *entry, void *arg)
{
	const placer *pl = arg;
	const omb_place_config *config = pl->config;
	char *path;
	bool same;

	if (entry->type != OMB_ENTRY_FILE ||
		(config->leave_out != NULL && config->leave_out(entry, config->arg)))
		return false;
	if (!config->patch)
		return true;
	path = config->locate(entry, config->arg);
	same = path != NULL && omb_patch_looks_same(entry, path);
	free(path);
	return !same;
}

static bool
is_wanted(const placer *pl, const omb_entry *entry)
{
	const omb_place_config *config = pl->config;

	/* those of the application go elsewhere */
	if (entry->root == OMB_ROOT_FILES)
		return false;
	switch (config->selection)
	{
		case OMB_PLACE_NO_FILES:
			return entry->type != OMB_ENTRY_FILE;
		case OMB_PLACE_SOME_FILES:
			return entry->type == OMB_ENTRY_FILE &&
				   pl->number > config->first && pl->number <= config->end;
		case OMB_PLACE_ALL:
			break;
	}
	return true;
}

static omb_status
next_entry(omb_ahead_item *item, bool *end, void *arg, omb_error *err)
{
	placer *pl = arg;

	item->manifest = pl->manifest;
	for (;;)
	{
		/* the other half reads to the end, and sees that none is missing */
		*end = pl->config->selection == OMB_PLACE_SOME_FILES &&
			   pl->number == pl->config->end;
		if (*end)
			return OMB_OK;
		if (omb_manifest_next(pl->manifest, &item->entry, end, err) != OMB_OK)
			return err->status;
		if (*end)
			break;
		pl->number++;
		if (is_wanted(pl, &item->entry))
			return OMB_OK;
		omb_entry_clear(&item->entry);
	}
	if (pl->config->later != NULL)
		omb_ahead_tell_entry(pl->ahead, pl->manifest, pl->config->later);
	return OMB_OK;
}

/* Place all entries. */
static omb_status
place_all(placer *pl, omb_error *err)
{
	omb_ahead_item item;
	bool end = false;

	while (omb_ahead_next(pl->ahead, &item, &end, err) == OMB_OK && !end)
	{
		if (add_differing(pl, err) == OMB_OK)
			(void) place_entry(pl, &item.entry, err);
		else
			omb_entry_clear(&item.entry);
	}
	return err->status;
}

/* Drain until nothing is left to do. */
static omb_status
finish(placer *pl, omb_error *err)
{
	while (drain(pl, err) == OMB_OK && pl->differing_count > 0)
		(void) add_differing(pl, err);
	return err->status;
}

omb_status
omb_place_files(const omb_place_config *config, omb_manifest *manifest,
				omb_place_result *result, omb_error *err)
{
	size_t depth = (size_t) (2 + 2 * config->jobs);
	/* each may get a reader */
	size_t jobs =
		(size_t) (config->jobs_now ? config->jobs_most : config->jobs);
	omb_ahead_source source = { next_entry, needs_blobs, NULL };
	placer pl;
	size_t i;

	memset(result, 0, sizeof(*result));
	memset(&pl, 0, sizeof(pl));
	pl.config = config;
	pl.manifest = manifest;
	pl.context.config = config;
	pl.context.manifest = manifest;
	pl.context.result = result;
	source.arg = &pl;
	pl.ahead = omb_ahead_new(config->repo, &source);
	pl.context.reader = omb_calloc(jobs, sizeof(*pl.context.reader));
	pl.context.local = omb_calloc(jobs, sizeof(*pl.context.local));
	pl.context.own = omb_malloc(OMB_BLOB_MAX);
	for (i = 0; i < jobs; i++)
	{
		pl.context.reader[i] = omb_blob_reader_new(config->repo, BLOBS_KEPT);
		pl.context.local[i] = omb_malloc(OMB_BLOB_MAX);
	}
	pl.pipe = omb_pipeline_new(config->jobs, depth, sizeof(omb_place_unit),
							   omb_place_process, &pl.context);
	for (i = 0; i < depth; i++)
		omb_place_unit_init(omb_pipeline_unit(pl.pipe, i));
	if (place_all(&pl, err) == OMB_OK && finish(&pl, err) == OMB_OK &&
		config->later != NULL)
		(void) omb_place_read_entry(pl.context.reader[0], manifest,
									config->later, config->later_content, err);
	omb_pipeline_stop(pl.pipe);
	for (i = 0; i < depth; i++)
	{
		omb_place_unit *u = omb_pipeline_unit(pl.pipe, i);

		clear_unit(u);
		omb_place_unit_free(u);
	}
	omb_pipeline_free(pl.pipe);
	for (i = 0; i < jobs; i++)
	{
		omb_blob_reader_free(pl.context.reader[i]);
		free(pl.context.local[i]);
	}
	for (i = 0; i < pl.differing_count; i++)
	{
		omb_entry_clear(&pl.differing[i].entry);
		free(pl.differing[i].path);
	}
	free(pl.differing);
	omb_ahead_free(pl.ahead);
	free(pl.context.own);
	free(pl.context.local);
	free(pl.context.reader);
	return err->status;
}
