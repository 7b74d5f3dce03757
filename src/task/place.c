/*
 * place.c: putting the files of a backup into a directory.
 *
 * The calling thread reads the manifest and does everything to the file
 * system; workers read, check, decrypt and decompress blobs and compute CRCs.
 * Two threads that write to one file, or create files in one directory, would
 * only wait for each other in the kernel.
 *
 * A unit is one extent of a file that has several, or a batch of small files
 * that share a blob. Units come back in order, and with the last one of a
 * file its CRC is compared.
 */
#include "task/place.h"

#include "base/crc32c.h"
#include "base/file.h"
#include "base/pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH 128
#define PACKS_OPEN 8
/* Start writing back this much early, so that the last sync is short. */
#define WRITEBACK_STEP (4 * 1024 * 1024)

typedef struct part
{
	omb_entry entry; /* owned; of a piece only when it is the last one */
	char *path;
	uint32_t crc32c;
} part;

typedef struct unit
{
	bool is_piece;
	bool has_blob;
	omb_extent extent; /* of a piece; of a batch, the blob they share */
	int fd;			   /* of a piece */
	uint64_t offset;
	bool last;
	int count;
	part part[BATCH];
	omb_error error;
	uint8_t plain[OMB_BLOB_MAX]; /* of the blob */
} unit;

/* Packs a worker has open, least recently used first out. */
typedef struct pack_cache
{
	omb_pack *pack[PACKS_OPEN];
	uint32_t number[PACKS_OPEN];
	uint64_t used[PACKS_OPEN];
	uint64_t clock;
	omb_coder *coder;
} pack_cache;

typedef struct placer
{
	const omb_place_config *config;
	omb_manifest *manifest;
	omb_pipeline *pipe;
	pack_cache *cache; /* one for each worker */
	unit *batch;	   /* being filled, or NULL */
	uint32_t crc32c;   /* of the file whose pieces come back */
	uint64_t bytes;
	uint64_t files;
} placer;

static omb_status
read_blob(omb_repository *repo, const omb_manifest *manifest,
		  pack_cache *cache, const omb_blob_ref *blob, uint8_t *plain,
		  omb_error *err)
{
	int oldest = 0;
	int i;

	for (i = 0; i < PACKS_OPEN; i++)
	{
		if (cache->pack[i] != NULL && cache->number[i] == blob->pack)
			break;
		if (cache->used[i] < cache->used[oldest])
			oldest = i;
	}
	if (i == PACKS_OPEN)
	{
		i = oldest;
		omb_pack_close(cache->pack[i]);
		cache->pack[i] = NULL;
		if (omb_pack_open(repo, manifest->pack[blob->pack].sha256,
						  &cache->pack[i], err) != OMB_OK)
			return err->status;
		cache->number[i] = blob->pack;
	}
	cache->used[i] = ++cache->clock;
	return omb_pack_read(cache->pack[i], cache->coder, blob, plain, err);
}

static void
cache_init(pack_cache *cache)
{
	cache->coder = omb_coder_new(NULL);
}

static void
cache_clear(pack_cache *cache)
{
	int i;

	for (i = 0; i < PACKS_OPEN; i++)
		omb_pack_close(cache->pack[i]);
	omb_coder_free(cache->coder);
}

/* CRC of that many zeros. */
static uint32_t
crc_of_zeros(uint64_t len)
{
	static const uint8_t zeros[8192];
	uint32_t crc = 0;

	while (len > 0)
	{
		size_t n = len < sizeof(zeros) ? (size_t) len : sizeof(zeros);

		crc = omb_crc32c(crc, zeros, n);
		len -= n;
	}
	return crc;
}

/* ---- workers ---- */

/* CRC of what an extent is, whose blob is in memory. */
static uint32_t
crc_of_extent(const omb_extent *extent, const uint8_t *plain)
{
	if (extent->is_zero)
		return crc_of_zeros(extent->length);
	return omb_crc32c(0, plain + extent->start, (size_t) extent->length);
}

static void
process_unit(void *arg, int worker, void *context)
{
	unit *u = arg;
	placer *pl = context;
	int i;

	omb_error_clear(&u->error);
	if (u->has_blob &&
		read_blob(pl->config->repo, pl->manifest, &pl->cache[worker],
				  &u->extent.blob, u->plain, &u->error) != OMB_OK)
	{
		(void) omb_error_context(&u->error, "while restoring \"%s\"",
								 u->part[0].path);
		return;
	}
	if (u->is_piece)
	{
		u->part[0].crc32c = crc_of_extent(&u->extent, u->plain);
		return;
	}
	for (i = 0; i < u->count; i++)
	{
		const omb_entry *entry = &u->part[i].entry;

		u->part[i].crc32c = entry->extent_count > 0 ?
								crc_of_extent(&entry->extent[0], u->plain) :
								0;
	}
}

/* ---- writing ---- */

/* Create a file of an entry with its mode. */
static int
create_file(const omb_entry *entry, const char *path, omb_error *err)
{
	int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || (entry->mode != 0600 && fchmod(fd, entry->mode) != 0))
	{
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   path);
		if (fd >= 0)
			(void) close(fd);
		return -1;
	}
	return fd;
}

/* Set the time of the last change, so that a later backup can rely on it. */
static omb_status
close_file(const omb_entry *entry, const char *path, int fd, omb_error *err)
{
	struct timespec times[2];

	times[0].tv_sec = times[1].tv_sec = (time_t) (entry->mtime / 1000000000);
	times[0].tv_nsec = times[1].tv_nsec = (long) (entry->mtime % 1000000000);
	/* a file system without times is no reason to fail */
	(void) futimens(fd, times);
	if (close(fd) != 0)
		return omb_error_set_errno(err, errno, "could not close file \"%s\"",
								   path);
	return OMB_OK;
}

static omb_status
write_piece(const unit *u, omb_error *err)
{
	size_t len = (size_t) u->extent.length;
	uint64_t end = u->offset + len;
	uint64_t from = u->offset / WRITEBACK_STEP * WRITEBACK_STEP;

	/* the file was made at its full size: zeros stay a hole */
	if (u->extent.is_zero)
		return OMB_OK;
	if (omb_pwrite_full(u->fd, u->plain + u->extent.start, len,
						(off_t) u->offset) != 0)
		return omb_error_set_errno(err, errno, "could not write file \"%s\"",
								   u->part[0].path);
	if (end / WRITEBACK_STEP != from / WRITEBACK_STEP)
		(void) sync_file_range(u->fd, (off_t) from, WRITEBACK_STEP,
							   SYNC_FILE_RANGE_WRITE);
	return OMB_OK;
}

static omb_status
write_small(const unit *u, const part *p, omb_error *err)
{
	const omb_entry *entry = &p->entry;
	const omb_extent *extent =
		entry->extent_count > 0 ? &entry->extent[0] : NULL;
	int fd = create_file(entry, p->path, err);

	if (fd < 0)
		return err->status;
	if (extent != NULL && extent->is_zero)
	{
		if (ftruncate(fd, (off_t) extent->length) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not extend file \"%s\"", p->path);
	}
	else if (extent != NULL && omb_write_full(fd, u->plain + extent->start,
											  (size_t) extent->length) != 0)
		(void) omb_error_set_errno(err, errno, "could not write file \"%s\"",
								   p->path);
	if (err->status != OMB_OK)
	{
		(void) close(fd);
		return err->status;
	}
	return close_file(entry, p->path, fd, err);
}

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
clear_unit(unit *u)
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

static omb_status
collect_unit(placer *pl, unit *u, omb_error *err)
{
	int i;

	if (u->error.status != OMB_OK)
	{
		*err = u->error;
		return err->status;
	}
	if (!u->is_piece)
	{
		for (i = 0; i < u->count && err->status == OMB_OK; i++)
		{
			pl->bytes += u->part[i].entry.size;
			if (write_small(u, &u->part[i], err) == OMB_OK)
				(void) finish_entry(pl, &u->part[i].entry, u->part[i].crc32c,
									err);
		}
		return err->status;
	}
	if (write_piece(u, err) != OMB_OK)
		return err->status;
	if (u->offset == 0)
		pl->crc32c = 0;
	pl->crc32c =
		omb_crc32c_combine(pl->crc32c, u->part[0].crc32c, u->extent.length);
	pl->bytes += u->extent.length;
	if (u->last)
	{
		(void) close_file(&u->part[0].entry, u->part[0].path, u->fd, err);
		u->fd = -1;
		if (err->status == OMB_OK)
			(void) finish_entry(pl, &u->part[0].entry, pl->crc32c, err);
	}
	return err->status;
}

static omb_status
collect(placer *pl, bool wait, bool *collected, omb_error *err)
{
	unit *u = omb_pipeline_next(pl->pipe, wait);

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

static unit *
free_unit(placer *pl, omb_error *err)
{
	unit *u;
	bool collected;

	do
	{
		if (collect(pl, false, &collected, err) != OMB_OK)
			return NULL;
	} while (collected);
	while ((u = omb_pipeline_slot(pl->pipe, false)) == NULL)
	{
		if (collect(pl, true, &collected, err) != OMB_OK)
			return NULL;
	}
	u->is_piece = false;
	u->has_blob = false;
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
	unit *u = pl->batch;

	if (u != NULL &&
		(u->count == BATCH || (extent != NULL && u->has_blob &&
							   !same_blob(&u->extent.blob, &extent->blob))))
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
		u->extent = *extent;
	}
	u->part[u->count].entry = *entry;
	u->part[u->count].path = path;
	u->count++;
	memset(entry, 0, sizeof(*entry));
	return OMB_OK;
}

/* A file of several extents. Takes the entry and the path over. */
static omb_status
add_large(placer *pl, omb_entry *entry, char *path, omb_error *err)
{
	uint64_t offset = 0;
	size_t i;
	int fd;

	submit_batch(pl);
	fd = create_file(entry, path, err);
	if (fd >= 0 && ftruncate(fd, (off_t) entry->size) != 0)
		(void) omb_error_set_errno(err, errno, "could not extend file \"%s\"",
								   path);
	for (i = 0; i < entry->extent_count && err->status == OMB_OK; i++)
	{
		unit *u = free_unit(pl, err);

		if (u == NULL)
			break;
		u->is_piece = true;
		u->extent = entry->extent[i];
		u->has_blob = !u->extent.is_zero;
		u->fd = fd;
		u->offset = offset;
		u->last = i + 1 == entry->extent_count;
		u->count = 1;
		memset(&u->part[0].entry, 0, sizeof(omb_entry));
		u->part[0].path = omb_strdup(path);
		offset += u->extent.length;
		if (u->last)
		{
			u->part[0].entry = *entry;
			memset(entry, 0, sizeof(*entry));
			omb_pipeline_submit(pl->pipe);
			break;
		}
		omb_pipeline_submit(pl->pipe);
	}
	omb_entry_clear(entry);
	free(path);
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

static omb_status
place_entry(placer *pl, omb_entry *entry, omb_error *err)
{
	char *path = pl->config->locate(entry, pl->config->arg);

	if (path == NULL)
	{
		omb_entry_clear(entry);
		return OMB_OK;
	}
	if (entry->type == OMB_ENTRY_FILE)
		return entry->extent_count > 1 ? add_large(pl, entry, path, err) :
										 add_small(pl, entry, path, err);
	if (entry->type == OMB_ENTRY_DIRECTORY)
		(void) make_directory(entry, path, err);
	if (err->status == OMB_OK)
		(void) pl->config->placed(entry, pl->config->arg, err);
	omb_entry_clear(entry);
	free(path);
	return err->status;
}

omb_status
omb_place_files(const omb_place_config *config, omb_manifest *manifest,
				omb_error *err)
{
	size_t depth = (size_t) (16 + 8 * config->jobs);
	placer pl;
	bool end = false;
	int i;
	size_t u;

	memset(&pl, 0, sizeof(pl));
	pl.config = config;
	pl.manifest = manifest;
	pl.cache = omb_calloc((size_t) config->jobs, sizeof(pack_cache));
	for (i = 0; i < config->jobs; i++)
		cache_init(&pl.cache[i]);
	pl.pipe =
		omb_pipeline_new(config->jobs, depth, sizeof(unit), process_unit, &pl);
	while (!end && err->status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) == OMB_OK && !end)
			(void) place_entry(&pl, &entry, err);
	}
	if (err->status == OMB_OK)
		(void) drain(&pl, err);
	omb_pipeline_stop(pl.pipe);
	for (u = 0; u < depth; u++)
		clear_unit(omb_pipeline_unit(pl.pipe, u));
	omb_pipeline_free(pl.pipe);
	for (i = 0; i < config->jobs; i++)
		cache_clear(&pl.cache[i]);
	free(pl.cache);
	return err->status;
}

omb_status
omb_place_read(omb_repository *repo, const omb_manifest *manifest,
			   const omb_entry *entry, omb_buf *out, omb_error *err)
{
	pack_cache *cache = omb_calloc(1, sizeof(*cache));
	uint8_t *plain = omb_malloc(OMB_BLOB_MAX);
	size_t i;

	cache_init(cache);
	for (i = 0; i < entry->extent_count && err->status == OMB_OK; i++)
	{
		const omb_extent *extent = &entry->extent[i];

		if (extent->is_zero)
			memset(omb_buf_reserve(out, (size_t) extent->length), 0,
				   (size_t) extent->length);
		else if (read_blob(repo, manifest, cache, &extent->blob, plain, err) ==
				 OMB_OK)
			memcpy(omb_buf_reserve(out, (size_t) extent->length),
				   plain + extent->start, (size_t) extent->length);
		if (err->status == OMB_OK)
			out->len += (size_t) extent->length;
	}
	if (err->status == OMB_OK &&
		omb_crc32c(0, out->data, out->len) != entry->crc32c)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" does not have the checksum it had "
							 "when it was backed up",
							 entry->path);
	cache_clear(cache);
	free(cache);
	free(plain);
	return err->status;
}
