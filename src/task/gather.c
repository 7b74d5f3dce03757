/*
 * gather.c: filling units from the walk, collecting them into the manifest.
 */
#include "task/gather.h"

#include "base/crc32c.h"
#include "base/file.h"
#include "base/text.h"
#include "repo/pagecache.h"
#include "task/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Extents and fingerprints in one batch, which bounds the memory. */
#define WEIGHT_MAX (32 * 1024)
/* Blobs of the parent that a worker keeps; it goes through them in order. */
#define BLOBS_KEPT 8

struct omb_gather
{
	omb_gather_config config;
	omb_manifest_writer *manifest;
	omb_pack_table *packs;
	omb_unfinished *journal;
	omb_leftovers *leftovers;
	omb_page_cache_writer *cache;
	size_t depth;
	omb_pipeline *pipe;
	omb_copy_context context;
	uint32_t *number; /* of the parent's packs in this manifest, and 1 */

	omb_copy_unit *batch; /* being filled, or NULL */
	omb_entry large;	  /* the large file whose spans are collected */
	uint64_t *large_fingerprint;
	size_t large_count;
	size_t large_cap;

	uint64_t bytes;
	uint64_t files;
	uint64_t stored;
};

omb_status
omb_gather_new(const omb_gather_config *config, omb_gather **out,
			   omb_error *err)
{
	omb_gather *gather = omb_calloc(1, sizeof(*gather));
	int i;

	*out = NULL;
	gather->config = *config;
	gather->packs = omb_pack_table_new();
	if (omb_leftovers_open(config->repo, gather->packs, &gather->leftovers,
						   err) != OMB_OK ||
		omb_unfinished_begin(config->repo, config->info->id, &gather->journal,
							 err) != OMB_OK ||
		omb_manifest_create(config->repo, &gather->manifest, err) != OMB_OK)
	{
		omb_gather_free(gather);
		return err->status;
	}
	omb_pack_table_set_journal(gather->packs, gather->journal);
	omb_page_cache_create(config->repo, config->fingerprinter,
						  config->info->id, &gather->cache);
	if (config->parent != NULL)
		gather->number = omb_calloc(omb_parent_pack_count(config->parent),
									sizeof(uint32_t));
	gather->context.verify_pages = config->verify_pages;
	gather->context.start_lsn = config->start_lsn;
	gather->context.throttle = omb_throttle_new(config->max_read_rate);
	gather->context.fingerprinter = config->fingerprinter;
	gather->context.parent = config->parent;
	gather->context.leftovers = gather->leftovers;
	gather->context.worker =
		omb_calloc((size_t) config->jobs, sizeof(omb_copy_worker *));
	for (i = 0; i < config->jobs; i++)
	{
		omb_copy_worker *worker = omb_calloc(1, sizeof(*worker));

		worker->writer = omb_pack_writer_new(
			config->repo, &config->compression, gather->packs);
		worker->reader = omb_blob_reader_new(config->repo, BLOBS_KEPT);
		worker->coder = omb_coder_new(NULL);
		gather->context.worker[i] = worker;
	}
	gather->depth = (size_t) (8 + 4 * config->jobs);
	gather->pipe =
		omb_pipeline_new(config->jobs, gather->depth, sizeof(omb_copy_unit),
						 omb_copy_process, &gather->context);
	*out = gather;
	return OMB_OK;
}

/* ---- collecting ---- */

static void
add_damage(omb_gather *gather, omb_entry *entry, uint32_t block)
{
	char *message =
		omb_format("page verification failed in file \"%s\", block %u",
				   entry->path, block);

	entry->damaged = omb_realloc(entry->damaged, (entry->damaged_count + 1) *
													 sizeof(uint32_t));
	entry->damaged[entry->damaged_count++] = block;
	gather->config.info->damaged_pages++;
	gather->config.warn(message, entry->path, block, gather->config.arg);
	free(message);
}

/* Give packs that are the parent's their numbers in this manifest. */
static void
renumber(omb_gather *gather, omb_entry *entry)
{
	size_t i;

	for (i = 0; i < entry->extent_count; i++)
	{
		omb_extent *extent = &entry->extent[i];
		uint32_t old;

		if (extent->is_zero || (extent->blob.pack & OMB_COPY_OLD) == 0)
			continue;
		old = extent->blob.pack & ~OMB_COPY_OLD;
		if (gather->number[old] == 0)
			gather->number[old] =
				1 + omb_pack_table_add(
						gather->packs,
						omb_parent_pack(gather->config.parent, old));
		extent->blob.pack = gather->number[old] - 1;
	}
}

static omb_status
add_entry(omb_gather *gather, omb_entry *entry, const uint64_t *fingerprint,
		  size_t count, omb_error *err)
{
	if (entry->type == OMB_ENTRY_FILE)
	{
		gather->config.info->files++;
		gather->config.info->bytes += entry->size;
		gather->files++;
		if (fingerprint != NULL)
			omb_page_cache_add(gather->cache, entry->root, entry->path,
							   fingerprint, count);
	}
	renumber(gather, entry);
	(void) omb_manifest_add(gather->manifest, entry, err);
	omb_entry_clear(entry);
	return err->status;
}

static omb_status
collect_batch(omb_gather *gather, omb_copy_unit *unit, omb_error *err)
{
	size_t d;
	int i;

	for (i = 0; i < unit->count; i++)
	{
		omb_copy_item *item = &unit->item[i];

		for (d = 0; d < unit->damaged_count; d++)
		{
			if (unit->damaged[d].item == i)
				add_damage(gather, &item->entry, unit->damaged[d].block);
		}
		if (item->is_taken)
			gather->bytes += item->entry.size;
		if (item->vanished)
			omb_entry_clear(&item->entry);
		else if (err->status == OMB_OK)
			(void) add_entry(gather, &item->entry, item->fingerprint,
							 item->fingerprint_count, err);
		free(item->source);
		free(item->fingerprint);
		free(item->old);
		item->source = NULL;
		item->fingerprint = NULL;
		item->old = NULL;
	}
	return err->status;
}

static void
keep_fingerprints(omb_gather *gather, const omb_copy_unit *unit)
{
	size_t count = omb_fingerprint_count(unit->got);

	if (gather->large_count + count > gather->large_cap)
	{
		gather->large_cap = 2 * (gather->large_count + count);
		gather->large_fingerprint = omb_realloc(
			gather->large_fingerprint, gather->large_cap * sizeof(uint64_t));
	}
	memcpy(gather->large_fingerprint + gather->large_count, unit->fingerprint,
		   count * sizeof(uint64_t));
	gather->large_count += count;
}

static omb_status
collect_span(omb_gather *gather, omb_copy_unit *unit, omb_error *err)
{
	omb_entry *large = &gather->large;
	size_t i;

	if (unit->first)
	{
		*large = unit->item[0].entry;
		memset(&unit->item[0].entry, 0, sizeof(unit->item[0].entry));
		large->size = 0;
		gather->large_count = 0;
	}
	/* after a short span the file had ended: what follows is new */
	if (large->size == unit->offset)
	{
		large->crc32c =
			omb_crc32c_combine(large->crc32c, unit->crc32c, unit->got);
		large->size += unit->got;
		for (i = 0; i < unit->part.extent_count; i++)
			omb_entry_add_extent(large, &unit->part.extent[i]);
		for (i = 0; i < unit->damaged_count; i++)
			add_damage(gather, large, unit->damaged[i].block);
		keep_fingerprints(gather, unit);
	}
	free(unit->item[0].source);
	unit->item[0].source = NULL;
	if (!unit->last)
		return OMB_OK;
	(void) close(unit->fd);
	return add_entry(gather, large, gather->large_fingerprint,
					 gather->large_count, err);
}

/* Take the oldest unit when it is done, or wait for it. */
static omb_status
collect(omb_gather *gather, bool wait, bool *collected, omb_error *err)
{
	omb_copy_unit *unit = omb_pipeline_next(gather->pipe, wait);

	*collected = unit != NULL;
	if (unit == NULL)
		return OMB_OK;
	gather->bytes += unit->read;
	gather->stored += unit->stored;
	gather->config.info->bytes_read += unit->read;
	if (unit->error.status != OMB_OK)
		*err = unit->error;
	else if (unit->fd >= 0)
		(void) collect_span(gather, unit, err);
	else
		(void) collect_batch(gather, unit, err);
	omb_pipeline_release(gather->pipe);
	gather->config.info->bytes_stored = gather->stored;
	gather->config.progress(gather->bytes, gather->files, gather->stored,
							gather->config.arg);
	return err->status;
}

/* ---- filling ---- */

/* A free unit, collecting finished ones meanwhile. */
static omb_status
free_unit(omb_gather *gather, omb_copy_unit **unit, omb_error *err)
{
	bool collected;

	do
	{
		if (collect(gather, false, &collected, err) != OMB_OK)
			return err->status;
	} while (collected);
	while ((*unit = omb_pipeline_slot(gather->pipe, false)) == NULL)
	{
		if (collect(gather, true, &collected, err) != OMB_OK)
			return err->status;
	}
	(*unit)->fd = -1;
	(*unit)->count = 0;
	(*unit)->planned = 0;
	(*unit)->weight = 0;
	(*unit)->old_count = 0;
	(*unit)->old_size = 0;
	(*unit)->old_known = 0;
	return OMB_OK;
}

static void
submit_batch(omb_gather *gather)
{
	if (gather->batch == NULL)
		return;
	gather->batch = NULL;
	omb_pipeline_submit(gather->pipe);
}

static void
fill_item(omb_copy_item *item, const omb_walk_item *from)
{
	const struct stat *st = &from->st;

	memset(item, 0, sizeof(*item));
	item->entry.type = from->type;
	item->entry.root = from->root;
	item->entry.path = omb_strdup(from->path);
	item->entry.target = from->target ? omb_strdup(from->target) : NULL;
	item->entry.mode = st->st_mode & 07777;
	item->entry.mtime = omb_nanoseconds(&st->st_mtim);
	if (from->type == OMB_ENTRY_FILE)
	{
		item->entry.ctime = omb_nanoseconds(&st->st_ctim);
		item->entry.inode = (uint64_t) st->st_ino;
		item->entry.size = (uint64_t) st->st_size;
	}
	item->source = omb_strdup(from->source);
	item->is_relation = from->is_relation;
	item->first_block = from->first_block;
}

/* An extent of the parent's, marked as such. */
static omb_extent
old_extent(const omb_gather *gather, const omb_extent *extent)
{
	omb_extent old = *extent;

	if (!old.is_zero)
		old.blob.pack =
			omb_parent_has_pack(gather->config.parent, old.blob.pack) ?
				old.blob.pack | OMB_COPY_OLD :
				OMB_COPY_LOST;
	return old;
}

/* What the parent has of the span that a unit covers. */
static void
fill_old(const omb_gather *gather, omb_copy_unit *unit, const omb_entry *old,
		 const uint64_t *fingerprint, size_t *at, uint64_t *position)
{
	uint64_t end = unit->offset + unit->wanted;
	size_t known = omb_fingerprint_count(old->size);
	size_t first = (size_t) (unit->offset / OMB_FINGERPRINT_BLOCK);

	/* *at is the first extent that reaches into the span */
	while (*at < old->extent_count && *position < end)
	{
		omb_extent extent = old_extent(gather, &old->extent[*at]);
		uint64_t extent_end = *position + extent.length;
		uint64_t from = *position < unit->offset ? unit->offset : *position;
		uint64_t to = extent_end < end ? extent_end : end;

		if (!extent.is_zero)
			extent.start += (uint32_t) (from - *position);
		extent.length = to - from;
		if (unit->old_count == unit->old_cap)
		{
			unit->old_cap = unit->old_cap ? 2 * unit->old_cap : 64;
			unit->old =
				omb_realloc(unit->old, unit->old_cap * sizeof(omb_extent));
		}
		unit->old[unit->old_count++] = extent;
		unit->old_size += extent.length;
		if (extent_end > end)
			break;
		*position = extent_end;
		(*at)++;
	}
	if (fingerprint == NULL || first >= known)
		return;
	unit->old_known = known - first < OMB_COPY_SPAN_BLOCKS ?
						  known - first :
						  OMB_COPY_SPAN_BLOCKS;
	memcpy(unit->old_fingerprint, fingerprint + first,
		   unit->old_known * sizeof(uint64_t));
}

/* Submit a file of more than a blob span by span. */
static omb_status
submit_large(omb_gather *gather, const omb_walk_item *item,
			 const omb_entry *old, const uint64_t *fingerprint, omb_error *err)
{
	uint64_t size = (uint64_t) item->st.st_size;
	uint64_t offset, position = 0;
	size_t at = 0;
	omb_copy_unit *unit;
	int fd;

	submit_batch(gather);
	fd = open(item->source, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return OMB_OK;
	if (fd < 0)
		return omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   item->source);
	(void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	for (offset = 0; offset < size; offset += OMB_COPY_SPAN)
	{
		/* on failure the process ends, and fd with it */
		if (free_unit(gather, &unit, err) != OMB_OK)
			return err->status;
		unit->fd = fd;
		unit->count = 1;
		unit->first = offset == 0;
		unit->offset = offset;
		unit->wanted = size - offset < OMB_COPY_SPAN ?
						   (size_t) (size - offset) :
						   OMB_COPY_SPAN;
		unit->last = offset + unit->wanted == size;
		fill_item(&unit->item[0], item);
		if (!unit->first)
			omb_entry_clear(&unit->item[0].entry);
		if (old != NULL)
			fill_old(gather, unit, old, fingerprint, &at, &position);
		omb_pipeline_submit(gather->pipe);
	}
	return OMB_OK;
}

/* Copy what is known of the parent's file to an item. */
static void
keep_fingerprint(omb_copy_item *item, const omb_entry *old,
				 const uint64_t *fingerprint)
{
	item->fingerprint_count = omb_fingerprint_count(old->size);
	item->fingerprint = omb_malloc(item->fingerprint_count * sizeof(uint64_t));
	memcpy(item->fingerprint, fingerprint,
		   item->fingerprint_count * sizeof(uint64_t));
}

/* The entry of a file that is taken over unread. */
static void
take_over(const omb_gather *gather, omb_copy_item *item, const omb_entry *old)
{
	size_t i;

	item->is_taken = true;
	item->entry.crc32c = old->crc32c;
	for (i = 0; i < old->extent_count; i++)
	{
		omb_extent extent = old_extent(gather, &old->extent[i]);

		omb_entry_add_extent(&item->entry, &extent);
	}
}

/* A small file that is to be compared with the parent's. */
static void
prepare_compare(const omb_gather *gather, omb_copy_item *item,
				const omb_entry *old, const uint64_t *fingerprint)
{
	size_t i;

	keep_fingerprint(item, old, fingerprint);
	item->old = omb_malloc(old->extent_count * sizeof(omb_extent));
	for (i = 0; i < old->extent_count; i++)
	{
		item->old[i] = old_extent(gather, &old->extent[i]);
		/* what is lost is stored again */
		if (!item->old[i].is_zero && item->old[i].blob.pack == OMB_COPY_LOST)
			return;
	}
	item->old_count = old->extent_count;
}

omb_status
omb_gather_visit(const omb_walk_item *item, void *arg, omb_error *err)
{
	omb_gather *gather = arg;
	uint64_t size =
		item->type == OMB_ENTRY_FILE ? (uint64_t) item->st.st_size : 0;
	const uint64_t *fingerprint = NULL;
	const omb_entry *old = omb_parent_find(gather->config.parent, item->root,
										   item->path, &fingerprint);
	bool taken;
	size_t weight = 0;
	omb_copy_unit *unit;
	omb_copy_item *added;

	if (old != NULL &&
		(old->type != OMB_ENTRY_FILE || item->type != OMB_ENTRY_FILE))
		old = NULL;
	taken = old != NULL && omb_parent_unchanged(gather->config.parent, old,
												&item->st, item->source);
	if (size > OMB_BLOB_MAX && !taken)
		return submit_large(gather, item, old, fingerprint, err);
	if (old != NULL)
		weight = old->extent_count + omb_fingerprint_count(old->size);
	if (gather->batch != NULL &&
		(gather->batch->count == OMB_COPY_BATCH ||
		 (!taken && gather->batch->planned + size > OMB_BLOB_MAX) ||
		 gather->batch->weight + weight > WEIGHT_MAX))
		submit_batch(gather);
	if (gather->batch == NULL &&
		free_unit(gather, &gather->batch, err) != OMB_OK)
		return err->status;
	unit = gather->batch;
	added = &unit->item[unit->count++];
	fill_item(added, item);
	if (taken)
		take_over(gather, added, old);
	if (taken && fingerprint != NULL)
		keep_fingerprint(added, old, fingerprint);
	else if (old != NULL && old->size == size && size > 0 &&
			 fingerprint != NULL)
		prepare_compare(gather, added, old, fingerprint);
	if (!taken)
		unit->planned += size;
	unit->weight += weight;
	return OMB_OK;
}

static omb_status
drain(omb_gather *gather, omb_error *err)
{
	bool collected;

	submit_batch(gather);
	while (omb_pipeline_busy(gather->pipe))
	{
		if (collect(gather, true, &collected, err) != OMB_OK)
			break;
	}
	return err->status;
}

omb_status
omb_gather_finish(omb_gather *gather, const char *path, const omb_buf *content,
				  omb_error *err)
{
	omb_entry entry;
	omb_extent extent;
	int i;

	if (drain(gather, err) != OMB_OK)
		return err->status;
	memset(&entry, 0, sizeof(entry));
	memset(&extent, 0, sizeof(extent));
	extent.length = content->len;
	if (omb_pack_add(gather->context.worker[0]->writer, content->data,
					 content->len, &extent.blob, err) == OMB_OK)
	{
		entry.type = OMB_ENTRY_FILE;
		entry.root = OMB_ROOT_LAST;
		entry.path = omb_strdup(path);
		entry.mode = 0600;
		entry.mtime = (uint64_t) omb_time_now() * 1000;
		entry.size = content->len;
		entry.crc32c = omb_crc32c(0, content->data, content->len);
		omb_entry_add_extent(&entry, &extent);
		gather->stored += extent.blob.stored;
		(void) add_entry(gather, &entry, NULL, 0, err);
	}
	for (i = 0; i < gather->config.jobs && err->status == OMB_OK; i++)
		(void) omb_pack_finish(gather->context.worker[i]->writer, err);
	gather->config.info->bytes_stored = gather->stored;
	return err->status;
}

omb_status
omb_gather_commit(omb_gather *gather, omb_error *err)
{
	omb_manifest_writer *manifest = gather->manifest;
	omb_error ignored = OMB_ERROR_INIT;

	gather->manifest = NULL;
	if (omb_manifest_commit(manifest, gather->config.info, gather->packs,
							err) != OMB_OK)
		return err->status;
	omb_page_cache_commit(gather->cache);
	gather->cache = NULL;
	/* the backup is there: what cannot be tidied up is left to prune */
	if (omb_leftovers_remove(gather->leftovers, &ignored) == OMB_OK &&
		gather->journal != NULL)
		(void) omb_unfinished_remove(gather->config.repo,
									 gather->config.info->id, &ignored);
	return OMB_OK;
}

void
omb_gather_free(omb_gather *gather)
{
	size_t u;
	int i;

	if (gather == NULL)
		return;
	if (gather->pipe != NULL)
	{
		omb_pipeline_stop(gather->pipe);
		for (u = 0; u < gather->depth; u++)
			omb_copy_unit_clear(omb_pipeline_unit(gather->pipe, u));
		omb_pipeline_free(gather->pipe);
	}
	for (i = 0; gather->context.worker != NULL && i < gather->config.jobs; i++)
	{
		omb_copy_worker *worker = gather->context.worker[i];

		omb_pack_writer_free(worker->writer);
		omb_blob_reader_free(worker->reader);
		omb_coder_free(worker->coder);
		free(worker);
	}
	free(gather->context.worker);
	omb_throttle_free(gather->context.throttle);
	omb_leftovers_free(gather->leftovers);
	omb_pack_table_free(gather->packs);
	omb_unfinished_close(gather->journal);
	omb_manifest_abort(gather->manifest);
	omb_page_cache_abort(gather->cache);
	omb_entry_clear(&gather->large);
	free(gather->large_fingerprint);
	free(gather->number);
	free(gather);
}
