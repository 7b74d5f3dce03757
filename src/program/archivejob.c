/*
 * archivejob.c: the job "archive".
 */
#include "program/jobs.h"

#include "program/agent.h"

#include "task/wal/archive.h"

#include <stdlib.h>
#include <string.h>

omb_status
omb_job_archive(const omb_job *job, omb_error *err)
{
	omb_archive_config config;
	omb_archive *archive;

	memset(&config, 0, sizeof(config));
	config.repository = job->repository;
	config.key_file = job->key_file;
	config.pgdata = job->pgdata;
	config.system_identifier = job->system_identifier;
	config.compression = job->compression;
	config.jobs = job->jobs;
	if (omb_job_wal_segment_size(job, &config.wal_segment_size, err) != OMB_OK)
		return err->status;
	archive = omb_archive_start(&config);
	omb_agent_begin("ready");
	omb_agent_end();
	/* until standard input ends, which ends the process */
	while (err->status == OMB_OK)
	{
		omb_fields fields;
		char *line = NULL;
		const char *file;
		omb_error failure = OMB_ERROR_INIT;

		if (omb_job_expect("archive", &fields, &line, err) == OMB_OK)
		{
			file = omb_fields_get(&fields, "file");
			if (file == NULL)
				(void) omb_job_invalid("file", err);
			else
			{
				(void) omb_archive_file(archive, file, &failure);
				omb_agent_begin(failure.status == OMB_OK ? "archived" :
														   "failed");
				omb_agent_text("file", file);
				if (failure.status != OMB_OK)
					omb_agent_error_fields(&failure);
				omb_agent_end();
			}
		}
		free(line);
		/* the next agent opens the repository that is there then */
		if (failure.status == OMB_REFUSED)
			break;
	}
	omb_archive_free(archive);
	return err->status;
}
