/*
 * backup.c: taking a base backup.
 *
 * Nothing of a backup can be seen in the repository before the manifest is
 * committed; what an attempt leaves that was cut short is packs that no
 * manifest names, which the next attempt takes over.
 */
#include "task/backup/backup.h"

#include "base/file.h"
#include "base/text.h"
#include "pgfmt/control.h"
#include "pgfmt/walname.h"
#include "repo/claim.h"
#include "repo/walobject.h"
#include "task/backup/files.h"

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
	omb_fingerprinter *fingerprinter;
	omb_parent *parent;		 /* or NULL */
	omb_parent *file_parent; /* of the application's files, or NULL */
	omb_gather *gather;
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
	int64_t time = omb_time_steady();

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
	{
		backup->fingerprinter = omb_fingerprinter_new(&backup->repo->keyring);
		*out = backup;
	}
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

/* ---- copying ---- */

static void
warn_walk(const char *message, void *arg)
{
	omb_backup *backup = arg;

	backup->config.warn(message, NULL, 0, backup->config.arg);
}

static void
warn_gather(const char *message, const char *file, uint32_t block, void *arg)
{
	omb_backup *backup = arg;

	backup->config.warn(message, file, block, backup->config.arg);
}

static void
gather_progress(uint64_t bytes, uint64_t files, uint64_t stored, void *arg)
{
	omb_backup *backup = arg;

	backup->progress.bytes_done = bytes;
	backup->progress.files_done = files;
	backup->progress.bytes_stored = stored;
	report(backup, false);
}

/* Find what to build upon, unless everything is to be read and stored. */
static omb_status
choose_parent(omb_backup *backup, omb_error *err)
{
	const char *kind = backup->config.kind;
	const char *done = "full";

	backup->info.boot_id = omb_boot_id();
	backup->info.clock_offset = omb_clock_offset();
	if (strcmp(kind, "full") != 0 &&
		omb_parent_open(backup->repo, backup->fingerprinter, &backup->info,
						warn_walk, backup, &backup->parent, err) != OMB_OK)
		return err->status;
	if (backup->parent != NULL)
	{
		done = "incremental";
		backup->info.parent = omb_strdup(omb_parent_info(backup->parent)->id);
	}
	else if (strcmp(kind, "incremental") == 0)
		backup->config.warn("there is no backup to build upon, so this one "
							"is a full one",
							NULL, 0, backup->config.arg);
	(void) strncpy(backup->info.kind, done, sizeof(backup->info.kind) - 1);
	return OMB_OK;
}

static void
describe_gather(omb_backup *backup, omb_gather_config *gather)
{
	const omb_backup_config *config = &backup->config;

	memset(gather, 0, sizeof(*gather));
	gather->repo = backup->repo;
	gather->fingerprinter = backup->fingerprinter;
	gather->compression = config->compression;
	gather->jobs = config->jobs;
	gather->max_read_rate = config->max_read_rate;
	gather->info = &backup->info;
	gather->progress = gather_progress;
	gather->warn = warn_gather;
	gather->arg = backup;
}

omb_status
omb_backup_copy(omb_backup *backup, uint64_t start_lsn,
				uint32_t start_timeline, int64_t start_time, omb_error *err)
{
	const omb_backup_config *config = &backup->config;
	omb_gather_config gather;
	omb_walk_config walk;
	omb_buf bytes = OMB_BUF_INIT;
	omb_control control;

	backup->info.start_lsn = start_lsn;
	backup->info.start_timeline = start_timeline;
	backup->info.start_time = start_time;
	if (choose_parent(backup, err) != OMB_OK)
		return err->status;
	describe_gather(backup, &gather);
	gather.verify_pages = config->data_checksums;
	gather.start_lsn = start_lsn;
	gather.parent = backup->parent;
	if (omb_gather_new(&gather, &backup->gather, err) != OMB_OK)
		return err->status;
	backup->counting =
		pthread_create(&backup->counter, NULL, count_main, backup) == 0;
	report(backup, true);
	describe_walk(backup, &walk);
	walk.visit = omb_gather_visit;
	walk.warn = warn_walk;
	walk.arg = backup->gather;
	walk.warn_arg = backup;
	/* pg_control last, from memory because it must be read untorn */
	if (omb_walk(&walk, err) == OMB_OK &&
		read_control(config->pgdata, &bytes, &control, err) == OMB_OK)
		(void) omb_gather_add_last(backup->gather, PG_CONTROL, &bytes, err);
	omb_buf_free(&bytes);
	report(backup, true);
	return err->status;
}

/* ---- the application's files ---- */

/*
 * They always build upon what there is, also in a full backup: what cannot be
 * seen just now is kept.
 */
static omb_status
copy_files(omb_backup *backup, omb_error *err)
{
	const omb_backup_config *config = &backup->config;
	omb_files_config files;

	if (config->file_set_count == 0)
		return OMB_OK;
	backup->progress.phase = OMB_PHASE_FILES;
	report(backup, true);
	memset(&files, 0, sizeof(files));
	files.set = config->file_set;
	files.count = config->file_set_count;
	files.pgdata = config->pgdata;
	files.repository = omb_repository_directory(backup->repo);
	files.gather = backup->gather;
	files.info = &backup->info;
	files.warn = warn_walk;
	files.arg = backup;
	if (omb_parent_open_files(backup->repo, backup->fingerprinter,
							  &backup->info, warn_walk, backup,
							  &backup->file_parent, err) == OMB_OK &&
		omb_gather_set_parent(backup->gather, backup->file_parent, err) ==
			OMB_OK)
		(void) omb_files_gather(&files, err);
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
		if (omb_time_steady() - *last_progress > timeout)
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
	*last_progress = omb_time_steady();
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
	int64_t last_progress = omb_time_steady();

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

static omb_status
commit(omb_backup *backup, const char *keep_cache, omb_error *err)
{
	uint32_t claim;

	/* another server may have taken over while we copied */
	if (omb_repository_check(backup->repo, err) != OMB_OK ||
		omb_claim_number(backup->repo, &claim, err) != OMB_OK)
		return err->status;
	if (claim != backup->claim)
		return omb_error_set(err, OMB_REFUSED,
							 "another server took the repository over during "
							 "the backup");
	backup->progress.phase = OMB_PHASE_COMMIT;
	report(backup, true);
	return omb_gather_commit(backup->gather, keep_cache, err);
}

omb_status
omb_backup_commit(omb_backup *backup, uint64_t stop_lsn,
				  uint32_t stop_timeline, int64_t stop_time,
				  const char *backup_label, const char *tablespace_map,
				  const omb_backup_info **info, omb_error *err)
{
	backup->info.stop_lsn = stop_lsn;
	backup->info.stop_timeline = stop_timeline;
	backup->info.stop_time = stop_time;
	backup->info.backup_label = omb_strdup(backup_label);
	backup->info.tablespace_map = omb_strdup(tablespace_map);
	*info = &backup->info;
	if (copy_files(backup, err) != OMB_OK ||
		omb_gather_finish(backup->gather, err) != OMB_OK ||
		prove_wal(backup, err) != OMB_OK)
		return err->status;
	return commit(backup, NULL, err);
}

omb_status
omb_backup_files(omb_backup *backup, const omb_backup_info **out,
				 omb_error *err)
{
	omb_backup_info *info = &backup->info;
	omb_gather_config gather;
	char base[OMB_BACKUP_ID_MAX];

	*out = info;
	(void) strncpy(info->kind, OMB_BACKUP_FILES, sizeof(info->kind) - 1);
	info->wal_segment_size = 0;
	info->data_checksums = false;
	info->boot_id = omb_boot_id();
	info->clock_offset = omb_clock_offset();
	info->start_time = omb_time_now();
	describe_gather(backup, &gather);
	if (omb_gather_new(&gather, &backup->gather, err) != OMB_OK ||
		copy_files(backup, err) != OMB_OK ||
		omb_gather_finish(backup->gather, err) != OMB_OK ||
		omb_parent_newest_base(backup->repo, base, err) != OMB_OK)
		return err->status;
	if (backup->file_parent != NULL)
		info->parent = omb_strdup(omb_parent_info(backup->file_parent)->id);
	info->stop_time = omb_time_now();
	/* pages of the database are compared with its last backup */
	return commit(backup, base, err);
}

void
omb_backup_free(omb_backup *backup)
{
	if (backup->counting)
	{
		(void) pthread_mutex_lock(&backup->count_lock);
		backup->stop_counting = true;
		(void) pthread_mutex_unlock(&backup->count_lock);
		(void) pthread_join(backup->counter, NULL);
	}
	omb_gather_free(backup->gather);
	omb_parent_free(backup->parent);
	omb_parent_free(backup->file_parent);
	omb_fingerprinter_free(backup->fingerprinter);
	omb_backup_info_clear(&backup->info);
	omb_store_unlock(backup->lock);
	omb_repository_free(backup->repo);
	(void) pthread_mutex_destroy(&backup->count_lock);
	free(backup);
}
