/*
 * delta.h: comparing a data directory with a backup, and removing what is not
 * in it.
 */
#ifndef OMB_TASK_DELTA_H
#define OMB_TASK_DELTA_H

#include "repo/manifest.h"
#include "task/restore/spaces.h"

typedef struct omb_delta_config
{
	omb_spaces *spaces;		/* where the backup's files go */
	omb_manifest *manifest; /* just opened */
	/* else only look, and fill in what the spaces need and free */
	bool remove;
	/* Whether the content of a file will be a hole; or NULL. */
	bool (*leave_out)(const omb_entry *entry, void *arg);
	/* Called for what is not in the backup: a file, or a whole directory. */
	void (*removal)(const char *path, uint64_t bytes, void *arg);
	void *arg;
} omb_delta_config;

/* Files of the data directory and what they have on disk. */
typedef struct omb_delta_result
{
	uint64_t files_same; /* by type, mode, size and time of change */
	uint64_t bytes_same;
	uint64_t files_changed;
	uint64_t bytes_changed; /* their size in the backup */
	uint64_t files_missing;
	uint64_t bytes_missing;
	uint64_t files_removed;
	uint64_t bytes_removed;
} omb_delta_result;

/* The folder of a version in a tablespace: "PG_15_202209061", new memory. */
extern char *omb_version_folder(const omb_backup_info *info);

/*
 * Walk over the directory and the backup side by side. What is removed is
 * inside of the data directory or of its tablespaces' folders of this
 * version; links are never followed but for tablespaces. global/pg_control is
 * left alone. May be repeated after a crash.
 */
extern omb_status omb_delta_compare(const omb_delta_config *config,
									omb_delta_result *result, omb_error *err);

#endif
