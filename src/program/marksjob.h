/*
 * marksjob.h: telling a server which marks and watermarks its repository has.
 */
#ifndef OMB_PROGRAM_MARKSJOB_H
#define OMB_PROGRAM_MARKSJOB_H

#include "repo/watermark.h"

/* The jobs "marks" and "watermarks"; name "" is all. */
extern omb_status omb_marks_job(omb_repository *repo, omb_error *err);
extern omb_status omb_watermarks_job(omb_repository *repo, const char *name,
									 int64_t from, int64_t to, omb_error *err);

#endif
