/*
 * backup.c: taking a base backup.
 *
 * The thread that calls walks the data directory, fills units, and collects
 * processed units in order into the manifest; the workers of copy.c do the
 * rest. Nothing of a backup can be seen in the repository before the
 * manifest is committed; what an attempt leaves that was cut short is packs
 * that no manifest names.
 */
#include "task/backup.h"

#include "base/crc32c.h"
#include "base/file.h"
#include "base/text.h"
#include "pgfmt/control.h"
#include "pgfmt/walname.h"
#include "repo/claim.h"
#include "repo/walobject.h"
#include "task/copy.h"
#include "task/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_INTERVAL 250000 /* microseconds */
#define PG_CONTROL "global/pg_control"
#define PG_CONTROL_READS 20

/* How often to look for a WAL segment: 20 ms at first, then 250. */
#define WAL_POLL_FIRST 20000000L
#define WAL_POLL_LATER 250000000L

struct omb_backup
{
	omb_backup_config config;
	omb_repository *repo;
	omb_lock *lock; /* nothing is removed while we rely on what is there */
	uint32_t claim;
	omb_backup_info info;
	omb_manifest_writer *manifest;
	omb_pack_table *packs;
	omb_pipeline *pipe;
	omb_copy_context context;
	omb_copy_unit *batch; /* being filled, or NULL */
	omb_entry large;	  /* the large file whose pieces are collected */
	omb_backup_progress progress;
	int64_t progress_sent;

	/* counting what there is to do, beside the copying */
	pthread_t counter;
	bool counting;
	pthread_mutex_t count_lock;
	bool counted;
	bool stop_counting;
	uint64_t count_bytes;
	uint64_t count_files;
};

static void
report(omb_backup *backup, bool now)
{
	int64_t time = omb_time_now();

	if (!now && time - backup->progress_sent < PROGRESS_INTERVAL)
		return;
	backup->progress_sent = time;
	(void) pthread_mutex_lock(&backup->count_lock);
	if (backup->counted)
	{
		backup->progress.bytes_total = backup->count_bytes;
		backup->progress.files_total = backup->count_files;
	}
	(void) pthread_mutex_unlock(&backup->count_lock);
	backup->config.progress(&backup->progress, backup->config.arg);
}

/* Read pg_control untorn; the server writes it in place. */
static omb_status
read_control(const char *pgdata, omb_buf *out, omb_control *control,
			 omb_error *err)
{
	char *path = omb_format("%s/" PG_CONTROL, pgdata);
	int attempt;

	for (attempt = 0; attempt < PG_CONTROL_READS; attempt++)
	{
		struct timespec pause = { 0, 5000000 };

		omb_error_clear(err);
		omb_buf_clear(out);
		if (omb_file_read(path, 65536, out, err) != OMB_OK ||
			omb_control_parse(out->data, out->len, control, err) == OMB_OK)
			break;
		(void) nanosleep(&pause, NULL);
	}
	free(path);
	return err->status;
}

/* A path is refused when it lies inside the data directory. */
static omb_status
check_outside(const char *pgdata, const char *path, const char *what,
			  omb_error *err)
{
	char *inner = realpath(path, NULL);
	char *outer = realpath(pgdata, NULL);
	size_t len = outer ? strlen(outer) : 0;

	if (inner != NULL && outer != NULL && strncmp(inner, outer, len) == 0 &&
		(inner[len] == '/' || inner[len] == '\0'))
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "%s \"%s\" is inside the data directory", what,
							 path);
		omb_error_hint(err, "Whatever destroys the data directory would "
							"destroy it too. Move it to another disk.");
	}
	free(inner);
	free(outer);
	return err->status;
}

static omb_status
check_control(omb_backup *backup, omb_error *err)
{
	const omb_backup_config *config = &backup->config;
	omb_buf bytes = OMB_BUF_INIT;
	omb_control control;

	if (read_control(config->pgdata, &bytes, &control, err) == OMB_OK)
	{
		backup->info.control_version = control.control_version;
		backup->info.catalog_version = control.catalog_version;
		if (control.system_identifier != config->system_identifier)
			(void) omb_error_set(
				err, OMB_REFUSED,
				"data directory \"%s\" is not that of this server",
				config->pgdata);
	}
	omb_buf_free(&bytes);
	return err->status;
}

static omb_status
keep_last_id(const char *id, void *arg, omb_error *err)
{
	memcpy(arg, id, strlen(id) + 1);
	return OMB_OK;
}

/*
 * Ids sort by time. One second may not have two, nor may a clock that was set
 * back put a backup before an older one: then the id is that of the second
 * behind the last.
 */
static omb_status
choose_id(omb_backup *backup, omb_error *err)
{
	char last[OMB_BACKUP_ID_MAX] = "";
	char *text;
	int64_t time;

	omb_backup_id_new(omb_time_now(), backup->info.id);
	if (omb_backup_list(backup->repo, keep_last_id, last, err) != OMB_OK)
		return err->status;
	/* 16 characters are the time */
	if (last[0] == '\0' || strncmp(backup->info.id, last, 16) > 0)
		return OMB_OK;
	text = omb_format("%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", last, last + 4,
					  last + 6, last + 9, last + 11, last + 13);
	if (omb_time_parse(text, &time))
		omb_backup_id_new(time + 1000000, backup->info.id);
	free(text);
	return OMB_OK;
}

omb_status
omb_backup_prepare(const omb_backup_config *config, omb_backup **out,
				   omb_error *err)
{
	omb_backup *backup = omb_calloc(1, sizeof(*backup));

	*out = NULL;
	backup->config = *config;
	(void) pthread_mutex_init(&backup->count_lock, NULL);
	(void) strncpy(backup->info.kind, "full", sizeof(backup->info.kind) - 1);
	backup->info.label = omb_strdup(config->label);
	backup->info.program_version = omb_strdup(config->program_version);
	backup->info.pgdata = omb_strdup(config->pgdata);
	backup->info.system_identifier = config->system_identifier;
	backup->info.pg_version = config->pg_version;
	backup->info.wal_segment_size = config->wal_segment_size;
	backup->info.data_checksums = config->data_checksums;
	if (check_outside(config->pgdata, config->repository, "repository", err) ==
			OMB_OK &&
		(config->key_file == NULL ||
		 check_outside(config->pgdata, config->key_file, "key file", err) ==
			 OMB_OK) &&
		omb_repository_open_at(config->repository, config->key_file, NULL,
							   &backup->repo, err) == OMB_OK &&
		omb_store_lock(backup->repo->store, false, &backup->lock, err) ==
			OMB_OK &&
		omb_claim_check(backup->repo, config->pgdata,
						config->system_identifier, &backup->claim,
						err) == OMB_OK &&
		choose_id(backup, err) == OMB_OK &&
		check_control(backup, err) == OMB_OK)
		*out = backup;
	else
		omb_backup_free(backup);
	return err->status;
}

const char *
omb_backup_id(const omb_backup *backup)
{
	return backup->info.id;
}

/* ---- counting ---- */

static omb_status
count_item(const omb_walk_item *item, void *arg, omb_error *err)
{
	omb_backup *backup = arg;
	bool stop;

	(void) pthread_mutex_lock(&backup->count_lock);
	if (item->type == OMB_ENTRY_FILE)
	{
		backup->count_files++;
		backup->count_bytes += (uint64_t) item->st.st_size;
	}
	stop = backup->stop_counting;
	(void) pthread_mutex_unlock(&backup->count_lock);
	return stop ? omb_error_set(err, OMB_CANCELLED, "stopped") : OMB_OK;
}

static void
ignore_warning(const char *message, void *arg)
{
}

static void
describe_walk(const omb_backup *backup, omb_walk_config *walk)
{
	const omb_backup_config *config = &backup->config;

	memset(walk, 0, sizeof(*walk));
	walk->pgdata = config->pgdata;
	walk->pg_version = config->pg_version;
	walk->catalog_version = backup->info.catalog_version;
	walk->segment_blocks = config->segment_blocks;
	walk->config_file = config->config_file;
	walk->config_count = config->config_count;
}

static void *
count_main(void *arg)
{
	omb_backup *backup = arg;
	omb_error err = OMB_ERROR_INIT;
	omb_walk_config walk;

	describe_walk(backup, &walk);
	walk.visit = count_item;
	walk.warn = ignore_warning;
	walk.arg = backup;
	/* only the progress display depends on it */
	(void) omb_walk(&walk, &err);
	(void) pthread_mutex_lock(&backup->count_lock);
	backup->counted = err.status == OMB_OK;
	(void) pthread_mutex_unlock(&backup->count_lock);
	return NULL;
}

/* ---- collecting ---- */

static void
add_damage(omb_backup *backup, omb_entry *entry, uint32_t block)
{
	char *message =
		omb_format("page verification failed in file \"%s\", block %u",
				   entry->path, block);

	entry->damaged = omb_realloc(entry->damaged, (entry->damaged_count + 1) *
													 sizeof(uint32_t));
	entry->damaged[entry->damaged_count++] = block;
	backup->info.damaged_pages++;
	backup->config.warn(message, entry->path, block, backup->config.arg);
	free(message);
}

static omb_status
add_entry(omb_backup *backup, omb_entry *entry, omb_error *err)
{
	if (entry->type == OMB_ENTRY_FILE)
	{
		backup->info.files++;
		backup->info.bytes += entry->size;
		backup->progress.files_done++;
	}
	(void) omb_manifest_add(backup->manifest, entry, err);
	omb_entry_clear(entry);
	return err->status;
}

static omb_status
collect_batch(omb_backup *backup, omb_copy_unit *unit, omb_error *err)
{
	int i, d;

	for (i = 0; i < unit->count; i++)
	{
		omb_copy_item *item = &unit->item[i];

		for (d = 0; d < unit->damaged_count; d++)
		{
			if (unit->damaged[d].item == i)
				add_damage(backup, &item->entry, unit->damaged[d].block);
		}
		if (item->vanished)
			omb_entry_clear(&item->entry);
		else if (add_entry(backup, &item->entry, err) != OMB_OK)
			break;
		free(item->source);
		item->source = NULL;
	}
	return err->status;
}

static omb_status
collect_piece(omb_backup *backup, omb_copy_unit *unit, omb_error *err)
{
	omb_entry *large = &backup->large;
	int d;

	if (unit->first)
	{
		*large = unit->item[0].entry;
		memset(&unit->item[0].entry, 0, sizeof(unit->item[0].entry));
		large->size = 0;
	}
	/* after a short piece the file had ended: what follows is new */
	if (large->size == unit->offset)
	{
		large->crc32c =
			omb_crc32c_combine(large->crc32c, unit->crc32c, unit->got);
		large->size += unit->got;
		omb_entry_add_extent(large, &unit->extent);
		for (d = 0; d < unit->damaged_count; d++)
			add_damage(backup, large, unit->damaged[d].block);
	}
	free(unit->item[0].source);
	unit->item[0].source = NULL;
	if (!unit->last)
		return OMB_OK;
	(void) close(unit->fd);
	return add_entry(backup, large, err);
}

/* Take the oldest unit when it is done, or wait for it. */
static omb_status
collect(omb_backup *backup, bool wait, bool *collected, omb_error *err)
{
	omb_copy_unit *unit = omb_pipeline_next(backup->pipe, wait);

	*collected = unit != NULL;
	if (unit == NULL)
		return OMB_OK;
	backup->progress.bytes_done += unit->read;
	backup->progress.bytes_stored += unit->stored;
	if (unit->error.status != OMB_OK)
		*err = unit->error;
	else if (unit->fd >= 0)
		(void) collect_piece(backup, unit, err);
	else
		(void) collect_batch(backup, unit, err);
	omb_pipeline_release(backup->pipe);
	report(backup, false);
	return err->status;
}

/* ---- filling ---- */

/* A free unit, collecting finished ones meanwhile. */
static omb_status
free_unit(omb_backup *backup, omb_copy_unit **unit, omb_error *err)
{
	bool collected;

	do
	{
		if (collect(backup, false, &collected, err) != OMB_OK)
			return err->status;
	} while (collected);
	while ((*unit = omb_pipeline_slot(backup->pipe, false)) == NULL)
	{
		if (collect(backup, true, &collected, err) != OMB_OK)
			return err->status;
	}
	(*unit)->fd = -1;
	(*unit)->count = 0;
	(*unit)->planned = 0;
	return OMB_OK;
}

static void
submit_batch(omb_backup *backup)
{
	if (backup->batch == NULL)
		return;
	backup->batch = NULL;
	omb_pipeline_submit(backup->pipe);
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
	item->entry.mtime = st->st_mtim.tv_sec < 0 ?
							0 :
							(uint64_t) st->st_mtim.tv_sec * 1000000000 +
								(uint64_t) st->st_mtim.tv_nsec;
	if (from->type == OMB_ENTRY_FILE)
	{
		item->entry.ctime = (uint64_t) st->st_ctim.tv_sec * 1000000000 +
							(uint64_t) st->st_ctim.tv_nsec;
		item->entry.inode = (uint64_t) st->st_ino;
		item->entry.size = (uint64_t) st->st_size;
	}
	item->source = omb_strdup(from->source);
	item->is_relation = from->is_relation;
	item->first_block = from->first_block;
}

/* Submit a file of more than a blob piece by piece. */
static omb_status
submit_large(omb_backup *backup, const omb_walk_item *item, omb_error *err)
{
	uint64_t size = (uint64_t) item->st.st_size;
	uint64_t offset;
	omb_copy_unit *unit;
	int fd;

	submit_batch(backup);
	fd = open(item->source, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return OMB_OK;
	if (fd < 0)
		return omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   item->source);
	(void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	for (offset = 0; offset < size; offset += OMB_BLOB_MAX)
	{
		/* on failure the process ends, and fd with it */
		if (free_unit(backup, &unit, err) != OMB_OK)
			return err->status;
		unit->fd = fd;
		unit->count = 1;
		unit->first = offset == 0;
		unit->offset = offset;
		unit->wanted = size - offset < OMB_BLOB_MAX ?
						   (size_t) (size - offset) :
						   OMB_BLOB_MAX;
		unit->last = offset + unit->wanted == size;
		fill_item(&unit->item[0], item);
		if (!unit->first)
			omb_entry_clear(&unit->item[0].entry);
		omb_pipeline_submit(backup->pipe);
	}
	return OMB_OK;
}

static omb_status
visit_item(const omb_walk_item *item, void *arg, omb_error *err)
{
	omb_backup *backup = arg;
	uint64_t size =
		item->type == OMB_ENTRY_FILE ? (uint64_t) item->st.st_size : 0;
	omb_copy_unit *unit;

	if (size > OMB_BLOB_MAX)
		return submit_large(backup, item, err);
	if (backup->batch != NULL &&
		(backup->batch->count == OMB_COPY_BATCH ||
		 backup->batch->planned + size > OMB_BLOB_MAX))
		submit_batch(backup);
	if (backup->batch == NULL &&
		free_unit(backup, &backup->batch, err) != OMB_OK)
		return err->status;
	unit = backup->batch;
	fill_item(&unit->item[unit->count++], item);
	unit->planned += size;
	return OMB_OK;
}

static void
warn_walk(const char *message, void *arg)
{
	omb_backup *backup = arg;

	backup->config.warn(message, NULL, 0, backup->config.arg);
}

static omb_status
drain(omb_backup *backup, omb_error *err)
{
	bool collected;

	submit_batch(backup);
	while (omb_pipeline_busy(backup->pipe))
	{
		if (collect(backup, true, &collected, err) != OMB_OK)
			break;
	}
	return err->status;
}

/* pg_control, from memory because it must be read untorn. */
static omb_status
copy_control(omb_backup *backup, omb_error *err)
{
	omb_buf bytes = OMB_BUF_INIT;
	omb_control control;
	omb_entry entry;
	omb_extent extent;

	memset(&entry, 0, sizeof(entry));
	memset(&extent, 0, sizeof(extent));
	if (read_control(backup->config.pgdata, &bytes, &control, err) == OMB_OK &&
		omb_pack_add(backup->context.writer[0], bytes.data, bytes.len,
					 &extent.blob, err) == OMB_OK)
	{
		entry.type = OMB_ENTRY_FILE;
		entry.root = OMB_ROOT_LAST;
		entry.path = omb_strdup(PG_CONTROL);
		entry.mode = 0600;
		entry.mtime = (uint64_t) omb_time_now() * 1000;
		entry.size = bytes.len;
		entry.crc32c = omb_crc32c(0, bytes.data, bytes.len);
		extent.length = bytes.len;
		omb_entry_add_extent(&entry, &extent);
		(void) add_entry(backup, &entry, err);
	}
	omb_buf_free(&bytes);
	return err->status;
}

omb_status
omb_backup_copy(omb_backup *backup, uint64_t start_lsn,
				uint32_t start_timeline, int64_t start_time, omb_error *err)
{
	const omb_backup_config *config = &backup->config;
	omb_walk_config walk;
	int i;

	backup->info.start_lsn = start_lsn;
	backup->info.start_timeline = start_timeline;
	backup->info.start_time = start_time;
	if (omb_manifest_create(backup->repo, &backup->manifest, err) != OMB_OK)
		return err->status;
	backup->packs = omb_pack_table_new();
	backup->context.verify_pages = config->data_checksums;
	backup->context.start_lsn = start_lsn;
	backup->context.throttle = omb_throttle_new(config->max_read_rate);
	backup->context.writer =
		omb_calloc((size_t) config->jobs, sizeof(omb_pack_writer *));
	for (i = 0; i < config->jobs; i++)
		backup->context.writer[i] = omb_pack_writer_new(
			backup->repo, &config->compression, backup->packs);
	backup->pipe = omb_pipeline_new(
		config->jobs, (size_t) (16 + 8 * config->jobs), sizeof(omb_copy_unit),
		omb_copy_process, &backup->context);
	backup->counting =
		pthread_create(&backup->counter, NULL, count_main, backup) == 0;

	report(backup, true);
	describe_walk(backup, &walk);
	walk.visit = visit_item;
	walk.warn = warn_walk;
	walk.arg = backup;
	if (omb_walk(&walk, err) != OMB_OK || drain(backup, err) != OMB_OK ||
		copy_control(backup, err) != OMB_OK)
		return err->status;
	for (i = 0; i < config->jobs && err->status == OMB_OK; i++)
		(void) omb_pack_finish(backup->context.writer[i], err);
	report(backup, true);
	return err->status;
}

/* ---- commit ---- */

/* Wait until a segment is in the repository and prove it whole. */
static omb_status
prove_segment(omb_backup *backup, const char *segment, int64_t *last_progress,
			  omb_error *err)
{
	int64_t timeout = (int64_t) backup->config.archive_timeout * 1000000;
	struct timespec pause = { 0, WAL_POLL_FIRST };
	omb_wal_object object;
	omb_wal_facts facts;
	int polls = 0;

	while (omb_wal_find(backup->repo, segment, &object, err) == OMB_NOT_FOUND)
	{
		if (omb_time_now() - *last_progress > timeout)
		{
			(void) omb_error_set(
				err, OMB_FAILED,
				"WAL segment \"%s\" was not archived within %u seconds",
				segment, backup->config.archive_timeout);
			omb_error_hint(err, "A backup needs all WAL from its start to "
								"its end. See pg_stat_archiver and the "
								"server log for why archiving fails.");
			return err->status;
		}
		omb_error_clear(err);
		report(backup, false);
		if (++polls == 50)
			pause.tv_nsec = WAL_POLL_LATER;
		(void) nanosleep(&pause, NULL);
	}
	if (err->status != OMB_OK)
		return err->status;
	*last_progress = omb_time_now();
	if (omb_wal_verify(backup->repo, &object, &facts, err) == OMB_OK &&
		facts.size != backup->config.wal_segment_size)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "WAL segment \"%s\" has %" PRIu64
							 " bytes in the repository",
							 segment, facts.size);
	return err->status;
}

static omb_status
prove_wal(omb_backup *backup, omb_error *err)
{
	const omb_backup_info *info = &backup->info;
	uint64_t size = backup->config.wal_segment_size;
	uint64_t segno = omb_wal_segno_at(info->start_lsn, size);
	uint64_t last = omb_wal_segno_before(info->stop_lsn, size);
	int64_t last_progress = omb_time_now();

	if (info->start_timeline != info->stop_timeline)
		return omb_error_set(err, OMB_FAILED,
							 "the timeline changed during the backup");
	backup->progress.phase = OMB_PHASE_WAL;
	for (; segno <= last && err->status == OMB_OK; segno++)
	{
		char segment[25];

		omb_wal_name_format(info->stop_timeline, segno, size, segment);
		backup->progress.wal_file = segment;
		report(backup, true);
		(void) prove_segment(backup, segment, &last_progress, err);
	}
	backup->progress.wal_file = NULL;
	return err->status;
}

omb_status
omb_backup_commit(omb_backup *backup, uint64_t stop_lsn,
				  uint32_t stop_timeline, int64_t stop_time,
				  const char *backup_label, const char *tablespace_map,
				  const omb_backup_info **info, omb_error *err)
{
	omb_manifest_writer *manifest;
	uint32_t claim;

	backup->info.stop_lsn = stop_lsn;
	backup->info.stop_timeline = stop_timeline;
	backup->info.stop_time = stop_time;
	backup->info.backup_label = omb_strdup(backup_label);
	backup->info.tablespace_map = omb_strdup(tablespace_map);
	backup->info.bytes_stored = backup->progress.bytes_stored;
	*info = &backup->info;
	if (prove_wal(backup, err) != OMB_OK)
		return err->status;
	/* another server may have taken over while we copied */
	if (omb_claim_number(backup->repo, &claim, err) != OMB_OK)
		return err->status;
	if (claim != backup->claim)
		return omb_error_set(err, OMB_REFUSED,
							 "another server took the repository over during "
							 "the backup");
	backup->progress.phase = OMB_PHASE_COMMIT;
	report(backup, true);
	manifest = backup->manifest;
	backup->manifest = NULL;
	return omb_manifest_commit(manifest, &backup->info, backup->packs, err);
}

void
omb_backup_free(omb_backup *backup)
{
	size_t i, depth = (size_t) (16 + 8 * backup->config.jobs);
	int j;

	if (backup->counting)
	{
		(void) pthread_mutex_lock(&backup->count_lock);
		backup->stop_counting = true;
		(void) pthread_mutex_unlock(&backup->count_lock);
		(void) pthread_join(backup->counter, NULL);
	}
	if (backup->pipe != NULL)
	{
		omb_pipeline_stop(backup->pipe);
		for (i = 0; i < depth; i++)
		{
			omb_copy_unit *unit = omb_pipeline_unit(backup->pipe, i);

			for (j = 0; j < OMB_COPY_BATCH; j++)
			{
				omb_entry_clear(&unit->item[j].entry);
				free(unit->item[j].source);
			}
		}
		omb_pipeline_free(backup->pipe);
	}
	for (j = 0; backup->context.writer != NULL && j < backup->config.jobs; j++)
		omb_pack_writer_free(backup->context.writer[j]);
	free(backup->context.writer);
	omb_throttle_free(backup->context.throttle);
	omb_pack_table_free(backup->packs);
	omb_manifest_abort(backup->manifest);
	omb_entry_clear(&backup->large);
	omb_backup_info_clear(&backup->info);
	omb_store_unlock(backup->lock);
	omb_repository_free(backup->repo);
	(void) pthread_mutex_destroy(&backup->count_lock);
	free(backup);
}
