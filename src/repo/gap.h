/*
 * gap.h: WAL that was given up: never archived, and gone.
 *
 * A server whose archiving fails may be told to go on without it rather than
 * to run out of space. What it then recycles unarchived is noted here, so that
 * a recovery that ends there can say why. A mark is the object
 * marks/gaps/<8 digits>, numbered from 1, a sealed stream of kind 'K' with
 * text: first and last (names of segments), files, since, until (times).
 */
#ifndef OMB_REPO_GAP_H
#define OMB_REPO_GAP_H

#include "repo/walobject.h"

typedef struct omb_gap
{
	char first[OMB_WAL_FILE_MAX + 1];
	char last[OMB_WAL_FILE_MAX + 1];
	uint64_t files;
	int64_t since; /* the first was given up, microseconds since 1970 */
	int64_t until; /* the last was */
} omb_gap;

/* Note one; the same one again is fine. OMB_USAGE for names of no segments. */
extern omb_status omb_gap_put(omb_repository *repo, const omb_gap *gap,
							  omb_error *err);

/* Visit all, oldest first. One that is damaged is left out. */
typedef void (*omb_gap_visit)(const omb_gap *gap, void *arg);
extern omb_status omb_gap_list(omb_repository *repo, omb_gap_visit visit,
							   void *arg, omb_error *err);

/*
 * The nearest WAL behind a segment (its name) that was given up; *found tells
 * whether there is any.
 */
extern omb_status omb_gap_behind(omb_repository *repo, const char *segment,
								 omb_gap *out, bool *found, omb_error *err);

#endif
