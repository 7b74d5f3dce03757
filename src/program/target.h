/*
 * target.h: the store that a repository is mirrored to, before it is used.
 */
#ifndef OMB_PROGRAM_TARGET_H
#define OMB_PROGRAM_TARGET_H

#include "store/store.h"

/*
 * Make the directory of a new target, but never its parent: that is missing
 * when a disk is not mounted. Does nothing for other stores.
 */
extern omb_status omb_target_make(const char *location, omb_error *err);

/* The same place under two names would be healed from itself. */
extern omb_status omb_target_check_different(const omb_store *from,
											 const omb_store *to,
											 omb_error *err);

#endif
