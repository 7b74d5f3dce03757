/*
 * filesjob.h: the sets of the application's files that a server sends with a
 * job, and the job "files".
 */
#ifndef OMB_PROGRAM_FILESJOB_H
#define OMB_PROGRAM_FILESJOB_H

#include "base/fields.h"
#include "task/backup/backup.h"

/* Sets with the lines that their texts are in. */
typedef struct omb_sent_sets
{
	omb_file_set set[OMB_FILE_SETS_MAX];
	const char *exclude[OMB_FILE_SETS_MAX][OMB_FILE_EXCLUDES_MAX];
	char *line[OMB_FILE_SETS_MAX];
	size_t count;
} omb_sent_sets;

/* Receive as many sets as the job says. */
extern omb_status omb_sent_sets_receive(const omb_fields *job,
										omb_sent_sets *sets, omb_error *err);
extern void omb_sent_sets_free(omb_sent_sets *sets);

/* Back up the application's files; config is complete but for the sets. */
extern omb_status omb_files_job(const omb_fields *job,
								omb_backup_config *config, omb_error *err);

#endif
