/*
 * archivejobs.c: the WAL files that are under way, and which comes next.
 */
#include "task/wal/archivejobs.h"

#include <string.h>

omb_archive_job *
omb_archive_find(omb_archive_jobs *jobs, const char *file)
{
	int i;

	for (i = 0; i < OMB_ARCHIVE_JOBS; i++)
	{
		if (jobs->job[i].state != OMB_JOB_FREE &&
			strcmp(jobs->job[i].file, file) == 0)
			return &jobs->job[i];
	}
	return NULL;
}

omb_archive_job *
omb_archive_add(omb_archive_jobs *jobs, const char *file)
{
	int i;

	for (i = 0; i < OMB_ARCHIVE_JOBS; i++)
	{
		omb_archive_job *j = &jobs->job[i];

		if (j->state != OMB_JOB_FREE)
			continue;
		j->state = OMB_JOB_QUEUED;
		j->asked = false;
		(void) strncpy(j->file, file, sizeof(j->file) - 1);
		omb_error_clear(&j->error);
		omb_error_clear(&j->feed_error);
		return j;
	}
	return NULL;
}

/*
 * Forget jobs that were done ahead and will not be asked for: their .ready
 * mark is gone.
 */
static void
drop_stale(omb_archive_jobs *jobs)
{
	int i;

	for (i = 0; i < OMB_ARCHIVE_JOBS; i++)
	{
		omb_archive_job *j = &jobs->job[i];

		if (j->state == OMB_JOB_DONE && !j->asked &&
			!omb_ready_list_has(jobs->ready, j->file))
			j->state = OMB_JOB_FREE;
	}
}

void
omb_archive_queue(omb_archive_jobs *jobs)
{
	const char *file;
	int used = 0;
	int i;

	for (i = 0; i < OMB_ARCHIVE_JOBS; i++)
	{
		if (jobs->job[i].state != OMB_JOB_FREE)
			used++;
	}
	/* one place is kept for the file that is asked for */
	while (jobs->look_ahead && used < OMB_ARCHIVE_JOBS - 1)
	{
		file = omb_ready_list_next(jobs->ready);
		if (file == NULL)
		{
			jobs->look_ahead = false;
			drop_stale(jobs);
		}
		else if (omb_archive_find(jobs, file) == NULL &&
				 strcmp(file, jobs->answered) != 0 &&
				 omb_archive_add(jobs, file) != NULL)
			used++;
	}
}

omb_archive_job *
omb_archive_next(omb_archive_jobs *jobs)
{
	omb_archive_job *best = NULL;
	int i;

	for (i = 0; i < OMB_ARCHIVE_JOBS; i++)
	{
		omb_archive_job *j = &jobs->job[i];

		if (j->state != OMB_JOB_QUEUED)
			continue;
		if (best == NULL || (j->asked && !best->asked) ||
			(j->asked == best->asked &&
			 omb_ready_compare(j->file, best->file) < 0))
			best = j;
	}
	return best;
}
