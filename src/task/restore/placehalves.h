/*
 * placehalves.h: putting the files of a backup into a directory, from two sides
 * at once when the store is far away.
 */
#ifndef OMB_TASK_PLACEHALVES_H
#define OMB_TASK_PLACEHALVES_H

#include "task/restore/place.h"

/* The number of the entry after which the second half of a backup begins. */
typedef struct omb_place_middle
{
	char backup[OMB_BACKUP_ID_MAX]; /* "" before it was looked for */
	uint64_t number;				/* 0: two sides are not worth while */
} omb_place_middle;

/*
 * As omb_place_files with OMB_PLACE_ALL, of which the callbacks are called by
 * one thread at a time, but not in the order of the entries: directories and
 * links first. middle may be known for the backup already.
 */
extern omb_status omb_place_halves(const omb_place_config *config,
								   omb_manifest *manifest,
								   omb_place_middle *middle,
								   omb_place_result *result, omb_error *err);

/*
 * A store far away is asked for what omb_place_halves will read first of a
 * backup that is restored as a whole by so many threads. Finds the middle.
 */
extern void omb_place_halves_expect(omb_repository *repo, const char *backup,
									int jobs, omb_place_middle *middle);

#endif
