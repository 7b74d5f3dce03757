/*
 * timeline.h: timeline history files.
 *
 * A line for each ancestor, oldest first: timeline, LSN where it was left, a
 * reason; separated by white space. Empty lines and '#' comments are skipped.
 */
#ifndef OMB_PGFMT_TIMELINE_H
#define OMB_PGFMT_TIMELINE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No cluster was ever restored as often. */
#define OMB_TIMELINE_MAX 1024
#define OMB_TIMELINE_FILE_MAX (256 * 1024)

/*
 * The way from timeline entry[0] to the last, which has no end. Ends never
 * fall: in the file they may, when a recovery towards a timeline stopped before
 * it came to where that timeline begins. The server then names the timeline
 * as the parent of the new one, though the new one has nothing of it; here
 * such an entry ends where it begins.
 */
typedef struct omb_timeline_path
{
	size_t count;
	struct
	{
		uint32_t timeline;
		uint64_t end; /* LSN where it was left; UINT64_MAX for the last */
	} entry[OMB_TIMELINE_MAX];
} omb_timeline_path;

/*
 * The path to a timeline from the text of its history file (len 0 for a
 * timeline that has none, as 1). OMB_DAMAGED when it makes no sense.
 */
extern omb_status omb_timeline_parse(const char *text, size_t len,
									 uint32_t timeline, omb_timeline_path *out,
									 omb_error *err);

/* The timeline whose WAL the path uses for the segment that begins at lsn. */
extern uint32_t omb_timeline_at(const omb_timeline_path *path, uint64_t lsn);

/* Whether the path goes through that LSN of that timeline. */
extern bool omb_timeline_contains(const omb_timeline_path *path,
								  uint32_t timeline, uint64_t lsn);

#endif
