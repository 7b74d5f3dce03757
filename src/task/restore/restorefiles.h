/*
 * restorefiles.h: putting back the application's files.
 */
#ifndef OMB_TASK_RESTOREFILES_H
#define OMB_TASK_RESTOREFILES_H

#include "task/restore/chosenfiles.h"

/* Where a set goes, if not to <directory>/<set>. */
typedef struct omb_files_move
{
	const char *set;
	const char *to;
} omb_files_move;

typedef struct omb_restore_files_config
{
	omb_repository *repo;
	int jobs;			   /* threads */
	const char *directory; /* absolute, or NULL when every set has a move */
	const omb_files_move *move;
	size_t move_count;
	const char *only; /* a set, or a path as in the manifest; NULL for all */
	int64_t from;	  /* the instant, see chosenfiles.h */
	int64_t until;
	bool delta; /* files that are there and differ are replaced */
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	void *arg;
} omb_restore_files_config;

typedef struct omb_restore_files_result
{
	char backup[OMB_BACKUP_ID_MAX]; /* that the files are of */
	int64_t time;					/* when it began to copy them */
	char older[OMB_BACKUP_ID_MAX];	/* the oldest that added some, or "" */
	int64_t older_time;
	uint64_t sets;
	uint64_t total_files;
	uint64_t total_bytes;
	uint64_t files_added; /* of them, by older ones */
	uint64_t files;
	uint64_t bytes_written;
	uint64_t files_same; /* left alone */
} omb_restore_files_result;

/*
 * Choose, count, and see that nothing is in the way; nothing is written.
 * OMB_REFUSED when a file is there and delta is not set, OMB_NOT_FOUND when
 * "only" names nothing.
 */
extern omb_status omb_restore_files_check(
	const omb_restore_files_config *config, omb_restore_files_result *result,
	omb_error *err);
/* Do it, durably. Nothing is ever removed but what a file takes the place of. */
extern omb_status omb_restore_files(const omb_restore_files_config *config,
									omb_restore_files_result *result,
									omb_error *err);

#endif
