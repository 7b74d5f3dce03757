/*
 * walrange.h: walking over archived WAL along timelines.
 */
#ifndef OMB_TASK_WALRANGE_H
#define OMB_TASK_WALRANGE_H

#include "pgfmt/timeline.h"
#include "pgfmt/walrecord.h"
#include "repo/walobject.h"

/* Timelines that have WAL or a history file in the repository, ascending. */
extern omb_status omb_timelines(omb_repository *repo, uint32_t **timeline,
								size_t *count, omb_error *err);

/* The way to a timeline by its archived history. */
extern omb_status omb_timeline_path_read(omb_repository *repo,
										 uint32_t timeline,
										 omb_timeline_path *path,
										 omb_error *err);

/*
 * Whoever looks for many segments: a folder is listed when the first of its
 * segments is looked for, and again only when one was not in it. Not for
 * several threads at once.
 */
typedef struct omb_wal_finder omb_wal_finder;

extern omb_wal_finder *omb_wal_finder_new(omb_repository *repo);
extern void omb_wal_finder_free(omb_wal_finder *finder);

/* As omb_wal_find. */
extern omb_status omb_wal_finder_find(omb_wal_finder *finder, const char *file,
									  omb_wal_listed *out, omb_error *err);
/*
 * The object that recovery along the path would use for a segment.
 * OMB_NOT_FOUND when no timeline of the path has it.
 */
extern omb_status omb_wal_find_on_path(omb_wal_finder *finder,
									   const omb_timeline_path *path,
									   uint64_t segno, uint64_t segment_size,
									   omb_wal_listed *out, omb_error *err);

/*
 * Is a later segment of the timeline archived? Then a missing one is a gap
 * and not the end.
 */
extern omb_status omb_wal_has_later(omb_repository *repo, uint32_t timeline,
									uint64_t segno, uint64_t segment_size,
									bool *later, omb_error *err);

#endif
