/*
 * gathercollect.c: collecting units, in order, into the manifest.
 *
 * A file of a set that changed while a worker read it is read again here,
 * by the collecting thread, so that entries stay in order.
 */
#include "task/backup/gatherstate.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How often a file that changes is read again; once above this size. */
#define REREADS 3
#define REREAD_ONCE (64 * 1024 * 1024)

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

omb_status
omb_gather_add_entry(omb_gather *gather, omb_entry *entry,
					 const uint64_t *fingerprint, size_t count, omb_error *err)
{
	omb_backup_info *info = gather->config.info;
	bool is_set = entry->root == OMB_ROOT_FILES;

	if (entry->type == OMB_ENTRY_FILE)
	{
		*(is_set ? &info->set_files : &info->files) += 1;
		*(is_set ? &info->set_bytes : &info->bytes) += entry->size;
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

/* ---- files of sets ---- */

void
omb_gather_warn_file(omb_gather *gather, const char *fmt, const char *path)
{
	char *shown, *message;

	if (gather->file_warnings++ >= OMB_GATHER_FILE_WARNINGS)
		return;
	shown = omb_name_show(path);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	message = omb_format(fmt, shown);
#pragma GCC diagnostic pop
	gather->config.warn(message, NULL, 0, gather->config.arg);
	free(message);
	free(shown);
}

/* The facts of a file that is to be read from its beginning. */
static void
restart_entry(omb_entry *entry, const struct stat *st)
{
	entry->mode = st->st_mode & 07777;
	entry->uid = (uint32_t) st->st_uid;
	entry->gid = (uint32_t) st->st_gid;
	entry->mtime = omb_nanoseconds(&st->st_mtim);
	entry->ctime = omb_nanoseconds(&st->st_ctim);
	entry->inode = (uint64_t) st->st_ino;
	entry->size = 0;
	entry->crc32c = 0;
	entry->extent_count = 0;
}

/* Read all of a file into its entry; false when it changed meanwhile. */
static bool
read_whole(omb_gather *gather, omb_copy_item *item, int fd,
		   const struct stat *st, omb_error *err)
{
	uint64_t size = (uint64_t) st->st_size;
	omb_copy_unit *unit = gather->own;
	size_t i;

	restart_entry(&item->entry, st);
	do
	{
		unit->fd = fd;
		unit->is_set = true;
		unit->offset = item->entry.size;
		unit->wanted = size - unit->offset < OMB_COPY_SPAN ?
						   (size_t) (size - unit->offset) :
						   OMB_COPY_SPAN;
		unit->item[0].unreadable = 0;
		omb_copy_process(unit, gather->config.jobs, &gather->context);
		gather->config.info->bytes_read += unit->read;
		gather->stored += unit->stored;
		if (unit->error.status != OMB_OK)
		{
			*err = unit->error;
			return true;
		}
		item->unreadable = unit->item[0].unreadable;
		if (item->unreadable != 0)
			return true;
		item->entry.crc32c =
			omb_crc32c_combine(item->entry.crc32c, unit->crc32c, unit->got);
		item->entry.size += unit->got;
		for (i = 0; i < unit->part.extent_count; i++)
			omb_entry_add_extent(&item->entry, &unit->part.extent[i]);
	} while (unit->got == unit->wanted && item->entry.size < size);
	return item->entry.size == size && !omb_copy_changed(fd, st);
}

/* Read a file again until it stays the same meanwhile. */
static omb_status
read_again(omb_gather *gather, omb_copy_item *item, omb_error *err)
{
	int attempt;

	if (gather->own == NULL)
	{
		gather->own = omb_calloc(1, sizeof(*gather->own));
		omb_gather_add_worker(gather, gather->config.jobs);
	}
	for (attempt = 0; item->changed && attempt < REREADS; attempt++)
	{
		/* 20 ms, 80, 320 */
		struct timespec pause = { 0, 20000000L << 2 * attempt };
		struct stat st;
		int fd;

		(void) nanosleep(&pause, NULL);
		fd = omb_copy_open(item, &st);
		item->vanished = fd < 0 && errno == ENOENT;
		item->unreadable = fd < 0 && errno != ENOENT ? errno : 0;
		if (fd < 0)
			return OMB_OK;
		item->changed = !read_whole(gather, item, fd, &st, err);
		(void) close(fd);
		if (err->status != OMB_OK || st.st_size > REREAD_ONCE)
			break;
	}
	return err->status;
}

/* A file of a set was read, or could not be. The entry is cleared. */
static omb_status
add_set_file(omb_gather *gather, omb_copy_item *item,
			 const uint64_t *fingerprint, size_t count, omb_error *err)
{
	if (item->changed && read_again(gather, item, err) == OMB_OK)
	{
		/* read anew, page by page, which the cache knows nothing of */
		count = 0;
		fingerprint = NULL;
	}
	if (err->status != OMB_OK || item->vanished)
		return err->status;
	if (item->unreadable != 0)
	{
		char *fmt = omb_format("could not read file \"%%s\": %s%s",
							   strerror(item->unreadable),
							   item->kept ? "; kept as it was" : "");

		omb_gather_warn_file(gather, fmt, item->source);
		free(fmt);
		if (item->kept == NULL)
			return OMB_OK;
		omb_entry_clear(&item->entry);
		item->entry = *item->kept;
		memset(item->kept, 0, sizeof(*item->kept));
		fingerprint = NULL;
	}
	else if (item->changed)
	{
		omb_gather_warn_file(gather, "file \"%s\" changed while it was read",
							 item->source);
		/* so that no backup takes it over unread */
		item->entry.ctime = 0;
	}
	return omb_gather_add_entry(gather, &item->entry, fingerprint, count, err);
}

/* ---- units ---- */

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
		if (err->status != OMB_OK || item->vanished)
			;
		else if (item->entry.root == OMB_ROOT_FILES)
			(void) add_set_file(gather, item, item->fingerprint,
								item->fingerprint_count, err);
		else
			(void) omb_gather_add_entry(gather, &item->entry,
										item->fingerprint,
										item->fingerprint_count, err);
		omb_copy_item_clear(item);
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

/* The last span of a file is there. */
static omb_status
finish_large(omb_gather *gather, const omb_copy_unit *unit, omb_error *err)
{
	omb_copy_item *large = &gather->large;
	struct stat now;

	if (unit->is_set && !unit->is_copy)
		large->changed =
			large->unreadable == 0 &&
			(large->entry.size != gather->large_planned ||
			 fstat(unit->fd, &now) != 0 ||
			 (uint64_t) now.st_size != gather->large_planned ||
			 omb_nanoseconds(&now.st_mtim) != large->entry.mtime ||
			 omb_nanoseconds(&now.st_ctim) != large->entry.ctime);
	(void) close(unit->fd);
	if (unit->is_set)
		(void) add_set_file(gather, large, gather->large_fingerprint,
							gather->large_count, err);
	else
		(void) omb_gather_add_entry(gather, &large->entry,
									gather->large_fingerprint,
									gather->large_count, err);
	omb_copy_item_clear(large);
	return err->status;
}

static omb_status
collect_span(omb_gather *gather, omb_copy_unit *unit, omb_error *err)
{
	omb_copy_item *large = &gather->large;
	size_t i;

	if (unit->first)
	{
		*large = unit->item[0];
		memset(&unit->item[0], 0, sizeof(unit->item[0]));
		gather->large_planned = large->entry.size;
		large->entry.size = 0;
		gather->large_count = 0;
	}
	else if (unit->item[0].unreadable != 0)
		large->unreadable = unit->item[0].unreadable;
	/* after a short span the file had ended: what follows is new */
	if (large->entry.size == unit->offset)
	{
		large->entry.crc32c =
			omb_crc32c_combine(large->entry.crc32c, unit->crc32c, unit->got);
		large->entry.size += unit->got;
		for (i = 0; i < unit->part.extent_count; i++)
			omb_entry_add_extent(&large->entry, &unit->part.extent[i]);
		for (i = 0; i < unit->damaged_count; i++)
			add_damage(gather, &large->entry, unit->damaged[i].block);
		keep_fingerprints(gather, unit);
	}
	if (!unit->first)
		omb_copy_item_clear(&unit->item[0]);
	return unit->last ? finish_large(gather, unit, err) : OMB_OK;
}

omb_status
omb_gather_collect(omb_gather *gather, bool wait, bool *collected,
				   omb_error *err)
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
