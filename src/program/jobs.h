/*
 * jobs.h: the jobs of the agent, as src/README section 3 describes them. Each
 * answers the server, and returns what the job failed with.
 */
#ifndef OMB_PROGRAM_JOBS_H
#define OMB_PROGRAM_JOBS_H

#include "program/job.h"

/* backupjob.c */
extern omb_status omb_job_backup(const omb_job *job, omb_error *err);
extern omb_status omb_job_files(const omb_job *job, omb_error *err);

/* archivejob.c; until standard input ends */
extern omb_status omb_job_archive(const omb_job *job, omb_error *err);

/* mirrorjob.c; a mirror until standard input ends, or it makes no sense */
extern omb_status omb_job_mirror(const omb_job *job, omb_error *err);
extern omb_status omb_job_probe(const omb_job *job, omb_error *err);

/* surveyjob.c, verifyjob.c, expirejob.c */
extern omb_status omb_job_survey(const omb_job *job, omb_error *err);
extern omb_status omb_job_verify(const omb_job *job, omb_error *err);
extern omb_status omb_job_expire(const omb_job *job, omb_error *err);

/* shortjobs.c */
extern omb_status omb_job_list(const omb_job *job, omb_error *err);
extern omb_status omb_job_adopt(const omb_job *job, omb_error *err);
extern omb_status omb_job_pin(const omb_job *job, omb_error *err);
extern omb_status omb_job_unpin(const omb_job *job, omb_error *err);
extern omb_status omb_job_confirm(const omb_job *job, omb_error *err);
extern omb_status omb_job_gap(const omb_job *job, omb_error *err);
extern omb_status omb_job_notes(const omb_job *job, omb_error *err);
extern omb_status omb_job_watermarks(const omb_job *job, omb_error *err);
extern omb_status omb_job_marks(const omb_job *job, omb_error *err);

#endif
