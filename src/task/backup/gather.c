/*
 * gather.c: filling units from the walk; gathercollect.c collects them into
 * the manifest.
 */
#include "task/backup/gatherstate.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Extents and fingerprints in one batch, which bounds the memory. */
#define WEIGHT_MAX (32 * 1024)
/* Blobs of the parent that a worker keeps; it goes through them in order. */
#define BLOBS_KEPT 8

void
omb_gather_add_worker(omb_gather *gather, int i)
{
	omb_copy_worker *worker = omb_calloc(1, sizeof(*worker));

	worker->writer = omb_pack_writer_new(
		gather->config.repo, &gather->config.compression, gather->packs);
	worker->reader = omb_blob_reader_new(gather->config.repo, BLOBS_KEPT);
	worker->coder = omb_coder_new(NULL);
	gather->context.worker[i] = worker;
}

/* The parent whose files are asked for from now on, or NULL. */
static void
set_parent(omb_gather *gather, omb_parent *parent)
{
	free(gather->number);
	gather->number = parent == NULL ? NULL :
									  omb_calloc(omb_parent_pack_count(parent),
												 sizeof(uint32_t));
	gather->config.parent = parent;
	gather->context.parent = parent;
}

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
	set_parent(gather, config->parent);
	gather->context.verify_pages = config->verify_pages;
	gather->context.start_lsn = config->start_lsn;
	gather->context.throttle = omb_throttle_new(config->max_read_rate);
	gather->context.fingerprinter = config->fingerprinter;
	gather->context.leftovers = gather->leftovers;
	gather->context.worker =
		omb_calloc((size_t) config->jobs + 1, sizeof(omb_copy_worker *));
	for (i = 0; i < config->jobs; i++)
		omb_gather_add_worker(gather, i);
	gather->depth = (size_t) (8 + 4 * config->jobs);
	gather->pipe =
		omb_pipeline_new(config->jobs, gather->depth, sizeof(omb_copy_unit),
						 omb_copy_process, &gather->context);
	*out = gather;
	return OMB_OK;
}

/* ---- filling ---- */

/* A free unit, collecting finished ones meanwhile. */
static omb_status
free_unit(omb_gather *gather, omb_copy_unit **unit, omb_error *err)
{
	bool collected;

	do
	{
		if (omb_gather_collect(gather, false, &collected, err) != OMB_OK)
			return err->status;
	} while (collected);
	while ((*unit = omb_pipeline_slot(gather->pipe, false)) == NULL)
	{
		if (omb_gather_collect(gather, true, &collected, err) != OMB_OK)
			return err->status;
	}
	(*unit)->fd = -1;
	(*unit)->is_set = false;
	(*unit)->is_copy = false;
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

void
omb_gather_fill_item(omb_copy_item *item, const omb_walk_item *from)
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
	if (from->root == OMB_ROOT_FILES)
	{
		item->entry.uid = (uint32_t) st->st_uid;
		item->entry.gid = (uint32_t) st->st_gid;
		item->directory = from->directory;
		item->below = from->below;
	}
	item->source = omb_strdup(from->source);
	item->is_relation = from->is_relation;
	item->first_block = from->first_block;
}

/* An extent of the parent's, marked as such. */
omb_extent
omb_gather_old_extent(const omb_gather *gather, const omb_extent *extent)
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
		omb_extent extent = omb_gather_old_extent(gather, &old->extent[*at]);
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

/* Open a large file, or its copy; of a set, with its facts as they are now. */
static int
open_large(omb_walk_item *item)
{
	omb_copy_item probe;
	struct stat st;
	int fd;

	if (item->has_copy)
		return item->copy;
	memset(&probe, 0, sizeof(probe));
	omb_gather_fill_item(&probe, item);
	fd = omb_copy_open(&probe, &st);
	if (fd >= 0 && item->root == OMB_ROOT_FILES)
		item->st = st;
	omb_copy_item_clear(&probe);
	return fd;
}

/* Submit a file of more than a blob span by span; takes fd over. */
static omb_status
submit_large(omb_gather *gather, const omb_walk_item *item, int fd,
			 const omb_entry *old, const uint64_t *fingerprint, omb_error *err)
{
	uint64_t size = (uint64_t) item->st.st_size;
	uint64_t offset = 0, position = 0;
	size_t at = 0;
	omb_copy_unit *unit;

	(void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	do
	{
		/* on failure the process ends, and fd with it */
		if (free_unit(gather, &unit, err) != OMB_OK)
			return err->status;
		unit->fd = fd;
		unit->is_set = item->root == OMB_ROOT_FILES;
		unit->is_copy = item->has_copy;
		unit->count = 1;
		unit->first = offset == 0;
		unit->offset = offset;
		unit->wanted = size - offset < OMB_COPY_SPAN ?
						   (size_t) (size - offset) :
						   OMB_COPY_SPAN;
		unit->last = offset + unit->wanted == size;
		omb_gather_fill_item(&unit->item[0], item);
		if (unit->first && unit->is_set && old != NULL)
			unit->item[0].kept = omb_gather_keep_entry(gather, old);
		if (!unit->first)
			omb_entry_clear(&unit->item[0].entry);
		if (old != NULL)
			fill_old(gather, unit, old, fingerprint, &at, &position);
		offset += unit->wanted;
		omb_pipeline_submit(gather->pipe);
	} while (offset < size);
	return OMB_OK;
}

/* Copy what is known of the parent's file to an item. */
void
omb_gather_keep_fingerprint(omb_copy_item *item, const omb_entry *old,
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
		omb_extent extent = omb_gather_old_extent(gather, &old->extent[i]);

		omb_entry_add_extent(&item->entry, &extent);
	}
}

/* A small file that is to be compared with the parent's. */
static void
prepare_compare(const omb_gather *gather, omb_copy_item *item,
				const omb_entry *old, const uint64_t *fingerprint)
{
	size_t i;

	omb_gather_keep_fingerprint(item, old, fingerprint);
	item->old = omb_malloc(old->extent_count * sizeof(omb_extent));
	for (i = 0; i < old->extent_count; i++)
	{
		item->old[i] = omb_gather_old_extent(gather, &old->extent[i]);
		/* what is lost is stored again */
		if (!item->old[i].is_zero && item->old[i].blob.pack == OMB_COPY_LOST)
			return;
	}
	item->old_count = old->extent_count;
}

/* A place in a batch, for a file with that many bytes to read. */
omb_status
omb_gather_add_item(omb_gather *gather, uint64_t bytes, size_t weight,
					omb_copy_item **item, omb_error *err)
{
	omb_copy_unit *unit;

	if (gather->batch != NULL &&
		(gather->batch->count == OMB_COPY_BATCH ||
		 gather->batch->planned + bytes > OMB_BLOB_MAX ||
		 gather->batch->weight + weight > WEIGHT_MAX))
		submit_batch(gather);
	if (gather->batch == NULL &&
		free_unit(gather, &gather->batch, err) != OMB_OK)
		return err->status;
	unit = gather->batch;
	unit->planned += bytes;
	unit->weight += weight;
	*item = &unit->item[unit->count++];
	return OMB_OK;
}

size_t
omb_gather_weight(const omb_entry *old)
{
	return old == NULL ? 0 :
						 old->extent_count + omb_fingerprint_count(old->size);
}

/* A file of more than a blob, or a copy of one that is in use. */
static omb_status
visit_large(omb_gather *gather, omb_walk_item *item, const omb_entry *old,
			const uint64_t *fingerprint, omb_error *err)
{
	uint64_t kept = 0;
	char *fmt;
	int fd;

	submit_batch(gather);
	fd = open_large(item);
	if (fd >= 0)
		return submit_large(gather, item, fd, old, fingerprint, err);
	if (errno == ENOENT)
		return OMB_OK;
	if (item->root != OMB_ROOT_FILES)
		return omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   item->source);
	fmt = omb_format("could not open file \"%%s\": %s%s", strerror(errno),
					 old ? "; kept as it was" : "");
	omb_gather_warn_file(gather, fmt, item->source);
	free(fmt);
	return old == NULL ?
			   OMB_OK :
			   omb_gather_add_kept(gather, old, fingerprint, &kept, err);
}

omb_status
omb_gather_visit(const omb_walk_item *from, void *arg, omb_error *err)
{
	omb_gather *gather = arg;
	omb_walk_item item = *from;
	uint64_t size =
		item.type == OMB_ENTRY_FILE ? (uint64_t) item.st.st_size : 0;
	const uint64_t *fingerprint = NULL;
	const omb_entry *old = omb_parent_find(gather->config.parent, item.root,
										   item.path, &fingerprint);
	bool taken;
	bool failed = false;
	uint64_t kept = 0;
	omb_copy_item *added;

	if (old != NULL &&
		(old->type != OMB_ENTRY_FILE || item.type != OMB_ENTRY_FILE))
		old = NULL;
	taken = old != NULL && !item.in_use &&
			omb_parent_unchanged(gather->config.parent, old, &item.st,
								 item.source);
	if (item.is_log && !omb_gather_needs_log(gather, &item))
		return OMB_OK;
	if (!taken && !item.is_log)
		omb_gather_copy_database(gather, &item, old, &failed);
	if (item.is_log && gather->database_kept && old == NULL)
		return OMB_OK;
	if ((failed || (item.is_log && gather->database_kept)) && old != NULL)
		return omb_gather_add_kept(gather, old, fingerprint, &kept, err);
	if ((size > OMB_BLOB_MAX || item.has_copy) && !taken)
		return visit_large(gather, &item, old, fingerprint, err);
	if (omb_gather_add_item(gather, taken ? 0 : size, omb_gather_weight(old),
							&added, err) != OMB_OK)
		return err->status;
	omb_gather_fill_item(added, &item);
	if (taken)
		take_over(gather, added, old);
	else if (old != NULL && item.root == OMB_ROOT_FILES)
		added->kept = omb_gather_keep_entry(gather, old);
	if (taken && fingerprint != NULL)
		omb_gather_keep_fingerprint(added, old, fingerprint);
	else if (old != NULL && old->size == size && size > 0 &&
			 fingerprint != NULL)
		prepare_compare(gather, added, old, fingerprint);
	return OMB_OK;
}

omb_status
omb_gather_drain(omb_gather *gather, omb_error *err)
{
	bool collected;

	submit_batch(gather);
	while (omb_pipeline_busy(gather->pipe))
	{
		if (omb_gather_collect(gather, true, &collected, err) != OMB_OK)
			break;
	}
	return err->status;
}

omb_status
omb_gather_add_last(omb_gather *gather, const char *path,
					const omb_buf *content, omb_error *err)
{
	omb_entry entry;
	omb_extent extent;

	if (omb_gather_drain(gather, err) != OMB_OK)
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
		(void) omb_gather_add_entry(gather, &entry, NULL, 0, err);
	}
	return err->status;
}

omb_status
omb_gather_set_parent(omb_gather *gather, omb_parent *parent, omb_error *err)
{
	/* what is under way refers to the old one */
	if (omb_gather_drain(gather, err) == OMB_OK)
		set_parent(gather, parent);
	return err->status;
}

uint64_t
omb_gather_file_warnings(const omb_gather *gather)
{
	return gather->file_warnings;
}

omb_status
omb_gather_finish(omb_gather *gather, omb_error *err)
{
	int i;

	if (omb_gather_drain(gather, err) != OMB_OK)
		return err->status;
	for (i = 0; i <= gather->config.jobs && err->status == OMB_OK; i++)
	{
		if (gather->context.worker[i] != NULL)
			(void) omb_pack_finish(gather->context.worker[i]->writer, err);
	}
	gather->config.info->bytes_stored = gather->stored;
	return err->status;
}

omb_status
omb_gather_commit(omb_gather *gather, const char *keep_cache, omb_error *err)
{
	omb_manifest_writer *manifest = gather->manifest;
	omb_error ignored = OMB_ERROR_INIT;

	gather->manifest = NULL;
	if (omb_manifest_commit(manifest, gather->config.info, gather->packs,
							err) != OMB_OK)
		return err->status;
	omb_page_cache_commit(gather->cache, keep_cache);
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
	for (i = 0; gather->context.worker != NULL && i <= gather->config.jobs;
		 i++)
	{
		omb_copy_worker *worker = gather->context.worker[i];

		if (worker == NULL)
			continue;
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
	if (gather->own != NULL)
		omb_copy_unit_clear(gather->own);
	free(gather->own);
	omb_copy_item_clear(&gather->large);
	free(gather->large_fingerprint);
	free(gather->plain_database);
	free(gather->number);
	free(gather);
}
