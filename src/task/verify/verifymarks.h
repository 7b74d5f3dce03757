/*
 * verifymarks.h: checking marks: what a repository knows beside backups and WAL.
 */
#ifndef OMB_TASK_VERIFYMARKS_H
#define OMB_TASK_VERIFYMARKS_H

#include "repo/repository.h"

#define OMB_MARKS_FOLDER "marks"

/*
 * Is it an object that is checked here? Claims are not: repo/claim.h reads
 * them as a whole.
 */
extern bool omb_verify_is_mark(const char *name);

/*
 * Read such an object: all its seals, and that a mark or a watermark says what
 * its name says. OMB_DAMAGED, OMB_NOT_FOUND.
 */
extern omb_status omb_verify_mark(omb_repository *repo, const char *name,
								  omb_error *err);

#endif
