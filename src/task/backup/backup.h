/*
 * backup.h: taking a base backup, in the steps that the server sets, or one of
 * the application's files only.
 */
#ifndef OMB_TASK_BACKUP_H
#define OMB_TASK_BACKUP_H

#include "codec/compress.h"
#include "repo/manifest.h"
#include "task/backup/filewalk.h"

typedef enum omb_backup_phase
{
	OMB_PHASE_COPY,
	OMB_PHASE_FILES,
	OMB_PHASE_WAL,
	OMB_PHASE_COMMIT
} omb_backup_phase;

typedef struct omb_backup_progress
{
	omb_backup_phase phase;
	uint64_t bytes_done;
	uint64_t bytes_total; /* 0 while not known */
	uint64_t files_done;
	uint64_t files_total;
	uint64_t bytes_stored;
	const char *wal_file; /* waited for, in phase WAL */
} omb_backup_progress;

/* Texts and callbacks must stay until _free. */
typedef struct omb_backup_config
{
	const char *repository;
	const char *key_file;
	const char *pgdata;
	const char *label;
	const char *kind; /* "auto", "full" or "incremental" */
	const char *program_version;
	uint64_t system_identifier;
	uint32_t pg_version;
	uint64_t wal_segment_size;
	uint32_t segment_blocks;
	bool data_checksums;
	omb_compression compression;
	int jobs;
	uint64_t max_read_rate;	  /* bytes per second, 0 = no limit */
	uint32_t archive_timeout; /* seconds without a new archived segment */
	const char *const *config_file;
	size_t config_count;
	const omb_file_set *file_set; /* the application's files */
	size_t file_set_count;

	void (*progress)(const omb_backup_progress *progress, void *arg);
	/* file and block are NULL and 0 unless a page is damaged */
	void (*warn)(const char *message, const char *file, uint32_t block,
				 void *arg);
	void *arg;
} omb_backup_config;

typedef struct omb_backup omb_backup;

/* Open the repository, check the fence and what the data directory says. */
extern omb_status omb_backup_prepare(const omb_backup_config *config,
									 omb_backup **out, omb_error *err);
extern const char *omb_backup_id(const omb_backup *backup);

/* After pg_backup_start: copy everything, pg_control last. */
extern omb_status omb_backup_copy(omb_backup *backup, uint64_t start_lsn,
								  uint32_t start_timeline, int64_t start_time,
								  omb_error *err);

/*
 * After pg_backup_stop: copy the application's files, so that what the
 * database refers to at its stop is there; prove that all WAL from start to stop is in the
 * repository, waiting for it, and write the manifest. facts gets the backup's.
 */
extern omb_status omb_backup_commit(omb_backup *backup, uint64_t stop_lsn,
									uint32_t stop_timeline, int64_t stop_time,
									const char *backup_label,
									const char *tablespace_map,
									const omb_backup_info **info,
									omb_error *err);
/*
 * Instead of the two: copy the application's files alone and commit them as a
 * manifest of kind OMB_BACKUP_FILES.
 */
extern omb_status omb_backup_files(omb_backup *backup,
								   const omb_backup_info **info,
								   omb_error *err);
extern void omb_backup_free(omb_backup *backup);

#endif
