/*
 * files.h: the application's files of a backup: all sets, one after the
 * other, into the manifest.
 */
#ifndef OMB_TASK_FILES_H
#define OMB_TASK_FILES_H

#include "task/backup/filewalk.h"
#include "task/backup/gather.h"

typedef struct omb_files_config
{
	const omb_file_set *set;
	size_t count;
	const char *pgdata;
	const char *repository; /* its directory, or NULL */
	omb_gather *gather;		/* whose parent is that of the files */
	omb_backup_info *info;	/* gets the facts on files */
	void (*warn)(const char *message, void *arg);
	void *arg;
} omb_files_config;

/*
 * Sets without a name twice, each as omb_file_set_check() wants it. Whatever
 * is wrong with files is a warning; what cannot be read is kept as the parent
 * has it. That is so for a whole set when its directory is missing, is empty
 * though it was not before, or is in the data directory or the repository.
 */
extern omb_status omb_files_gather(const omb_files_config *config,
								   omb_error *err);

#endif
