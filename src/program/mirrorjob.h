/*
 * mirrorjob.h: keeping a target a copy of the repository, for the server;
 * and trying what a target can do.
 */
#ifndef OMB_PROGRAM_MIRRORJOB_H
#define OMB_PROGRAM_MIRRORJOB_H

#include "base/error.h"
#include "base/fields.h"
#include "task/retain/retain.h"

/* The rules that a job names; OMB_USAGE when one is no number. */
extern omb_status omb_job_rules(const omb_fields *job, omb_retain_rules *rules,
								omb_error *err);

/* Until standard input ends, which ends the process, or it makes no sense. */
extern omb_status omb_mirror_job(const omb_fields *job, omb_error *err);

extern omb_status omb_probe_job(const omb_fields *job, omb_error *err);

#endif
