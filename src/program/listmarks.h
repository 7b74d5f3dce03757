/*
 * listmarks.h: showing the marks and watermarks of a repository.
 */
#ifndef OMB_PROGRAM_LISTMARKS_H
#define OMB_PROGRAM_LISTMARKS_H

#include "base/error.h"
#include "repo/repository.h"

#include <stdbool.h>

/* A table, or JSON. */
extern omb_status omb_list_marks(omb_repository *repo, bool as_json,
								 omb_error *err);
extern omb_status omb_list_watermarks(omb_repository *repo, bool as_json,
									  omb_error *err);

#endif
