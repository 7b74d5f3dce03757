/*
 * survey.h: having the agent look at the repository, and what the launcher
 * does about it.
 */
#ifndef OMB_BACKEND_SURVEY_H
#define OMB_BACKEND_SURVEY_H

#include "backend/status.h"

/*
 * Look at the repository now and note the result. wal_file, or NULL, is a WAL
 * file to look for. Errors are raised for interrupts only: that it could not be
 * read is a result too.
 */
extern void omb_survey_now(const char *wal_file, OmbSurvey *survey);

/*
 * A step of the launcher: start a survey when one is due, ask for a backup
 * when WAL was given up, watch the state.
 */
extern void omb_survey_step(void);

/* Entry point of the worker. */
extern PGDLLEXPORT void omb_survey_main(Datum arg);

#endif
