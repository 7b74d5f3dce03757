/*
 * verifyjob.h: the agent's job "verify".
 */
#ifndef OMB_PROGRAM_VERIFYJOB_H
#define OMB_PROGRAM_VERIFYJOB_H

#include "base/error.h"
#include "base/fields.h"
#include "repo/repository.h"

/*
 * Read the repository back, as much of it as the fields "sample" and
 * "max_time" say. What is damaged is sent as warnings; then the status is
 * OMB_DAMAGED.
 */
extern omb_status omb_verify_job(omb_repository *repo,
								 const omb_fields *fields, int jobs,
								 omb_error *err);

#endif
