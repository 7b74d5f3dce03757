/*
 * surveyjob.h: telling a server how its repository is.
 */
#ifndef OMB_PROGRAM_SURVEYJOB_H
#define OMB_PROGRAM_SURVEYJOB_H

#include "task/survey.h"

/* Survey the repository and send the line "done" with what was found. */
extern void omb_survey_job(const omb_survey_config *config);

#endif
