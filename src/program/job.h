/*
 * job.h: a job that a server gave to its agent, and what all jobs do with it.
 */
#ifndef OMB_PROGRAM_JOB_H
#define OMB_PROGRAM_JOB_H

#include "base/fields.h"
#include "codec/compress.h"
#include "repo/repository.h"
#include "task/retain/retain.h"

typedef struct omb_job
{
	omb_fields fields;
	char *line; /* that the texts are in */
	const char *repository;
	const char *key_file; /* NULL: the repository may not be encrypted */
	const char *pgdata;
	uint64_t system_identifier;
	omb_compression compression;
	int jobs;
} omb_job;

/* Receive the first line. The caller frees job->line. */
extern omb_status omb_job_receive(omb_job *job, omb_error *err);

/* A field of the job; "" or NULL when it is missing or empty. */
extern const char *omb_job_text(const omb_job *job, const char *name);
extern const char *omb_job_text_or_null(const omb_job *job, const char *name);
extern omb_status omb_job_wal_segment_size(const omb_job *job, uint64_t *size,
										   omb_error *err);
/* The rules that a job names; OMB_USAGE when one is no number. */
extern omb_status omb_job_rules(const omb_job *job, omb_retain_rules *rules,
								omb_error *err);
/* OMB_USAGE: that field makes no sense. */
extern omb_status omb_job_invalid(const char *name, omb_error *err);

/* Receive the line that has to come now; the caller frees *line. */
extern omb_status omb_job_expect(const char *verb, omb_fields *fields,
								 char **line, omb_error *err);

/*
 * Open the repository. To change what it keeps is for the server that it
 * belongs to, not for a copy with settings of its own.
 */
extern omb_status omb_job_open(const omb_job *job, bool changes,
							   omb_repository **repo, omb_error *err);

/* The line "done", with nothing to tell. */
extern void omb_job_done(void);

#endif
