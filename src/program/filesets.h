/*
 * filesets.h: the sets of the application's files that a server sends with a job.
 */
#ifndef OMB_PROGRAM_FILESETS_H
#define OMB_PROGRAM_FILESETS_H

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

#endif
