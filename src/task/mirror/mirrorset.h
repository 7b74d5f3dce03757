/*
 * mirrorset.h: what a target is known to hold.
 *
 * A set of names of objects with their sizes, 24 bytes for each, whatever the
 * length of the name: names are kept as the first 16 bytes of their SHA-256.
 * Between runs of the mirror it is kept in a file, so that a run need not list
 * the target:
 *
 *    0   8  "omstgt01"
 *    8   8  1 while a run may change the target: then the set is empty and
 *           has to be listed; else 0
 *   16  16  repository id
 *   32   8  when the target was last listed, microseconds since 1970
 *   40   8  number of objects
 *   48      for each 16 bytes of name and 8 of size, in no order
 *        32  SHA-256 of all before
 *
 * The file is no object of the repository; losing it costs a listing.
 */
#ifndef OMB_TASK_MIRRORSET_H
#define OMB_TASK_MIRRORSET_H

#include "base/error.h"
#include "codec/seal.h"

#include <stdbool.h>
#include <stdint.h>

/* Not safe for use by several threads. */
typedef struct omb_mirror_set omb_mirror_set;

extern omb_mirror_set *omb_mirror_set_new(void);
extern void omb_mirror_set_free(omb_mirror_set *set);
extern void omb_mirror_set_clear(omb_mirror_set *set);

/* Add an object, or change its size. */
extern void omb_mirror_set_add(omb_mirror_set *set, const char *name,
							   uint64_t size);
extern bool omb_mirror_set_has(const omb_mirror_set *set, const char *name);
/* The size too. */
extern bool omb_mirror_set_find(const omb_mirror_set *set, const char *name,
								uint64_t *size);
extern uint64_t omb_mirror_set_count(const omb_mirror_set *set);

typedef struct omb_mirror_list
{
	bool is_open;	   /* a run was under way: nothing was loaded */
	int64_t listed_at; /* when the target was last listed */
	uint64_t count;	   /* objects, also of a list that is open */
} omb_mirror_list;

/*
 * Load the set from a file. OMB_NOT_FOUND when there is none, OMB_DAMAGED for
 * one that is not whole or that is of another repository: then nothing was
 * loaded either.
 */
extern omb_status omb_mirror_set_load(
	omb_mirror_set *set, const char *path,
	const uint8_t repository_id[OMB_REPOSITORY_ID_SIZE], omb_mirror_list *list,
	omb_error *err);
/*
 * Save it; with is_open only that a run is under way and how many objects
 * there were.
 */
extern omb_status omb_mirror_set_save(
	const omb_mirror_set *set, const char *path,
	const uint8_t repository_id[OMB_REPOSITORY_ID_SIZE], bool is_open,
	int64_t listed_at, omb_error *err);

#endif
