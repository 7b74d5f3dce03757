/*
 * archivejobs.h: the WAL files that are under way to the repository.
 *
 * A job that was started ahead waits as done until it is asked for; one that
 * failed ahead is forgotten and tried again when it is asked for. Looking ahead
 * relies on .ready marks only: what has one is complete and never changes.
 *
 * Whoever calls holds the lock of the archive; what a job has besides its
 * state belongs to the thread that works on it.
 */
#ifndef OMB_TASK_ARCHIVEJOBS_H
#define OMB_TASK_ARCHIVEJOBS_H

#include "repo/walobject.h"
#include "task/wal/readylist.h"

/* Files that may be under way or done and not yet asked for. */
#define OMB_ARCHIVE_JOBS 16

typedef enum omb_job_state
{
	OMB_JOB_FREE = 0,
	OMB_JOB_QUEUED,
	OMB_JOB_RUNNING,
	OMB_JOB_DONE
} omb_job_state;

typedef struct omb_archive_job
{
	omb_job_state state;
	bool asked; /* the server waits for it */
	char file[OMB_WAL_FILE_MAX + 1];
	omb_error error;

	/* set by the feeder before it submits the file's last unit */
	omb_error feed_error;
	omb_wal_object object;
	bool present; /* the same bytes are archived already: only confirm */

	/* the feeder's */
	omb_object_key key;
	uint8_t header[OMB_OBJECT_HEADER_SIZE];

	/* the committer's */
	omb_upload *upload;
} omb_archive_job;

typedef struct omb_archive_jobs
{
	omb_archive_job job[OMB_ARCHIVE_JOBS];
	omb_ready_list *ready;
	bool look_ahead; /* until something fails or there is nothing more */
	char answered[OMB_WAL_FILE_MAX + 1]; /* the last file stored */
} omb_archive_jobs;

/* The job of a file, or NULL. */
extern omb_archive_job *omb_archive_find(omb_archive_jobs *jobs,
										 const char *file);
/* A job for a file, or NULL when all are taken. */
extern omb_archive_job *omb_archive_add(omb_archive_jobs *jobs,
										const char *file);
/* Queue files with a .ready mark while there is room. */
extern void omb_archive_queue(omb_archive_jobs *jobs);
/* The next job to feed: what is asked for, else the first in file order. */
extern omb_archive_job *omb_archive_next(omb_archive_jobs *jobs);

#endif
