/*
 * mirrorcopy.h: copying one object as it is from a store to another, checked
 * as far as that goes without a key.
 */
#ifndef OMB_TASK_MIRRORCOPY_H
#define OMB_TASK_MIRRORCOPY_H

#include "codec/seal.h"
#include "store/store.h"
#include "task/mirror/throttle.h"

/* An object is read and written in pieces of this size. */
#define OMB_MIRROR_PIECE (1024 * 1024)

typedef struct omb_mirror_route
{
	omb_store *from;
	omb_store *to; /* NULL: only read and check */
	uint8_t repository_id[OMB_REPOSITORY_ID_SIZE];
	omb_throttle *throttle;
} omb_mirror_route;

typedef struct omb_mirror_copied
{
	uint64_t size;
	bool was_there;	 /* at the target: nothing was written */
	bool vanished;	 /* from the source: with OMB_NOT_FOUND only */
	bool bad_source; /* with OMB_DAMAGED: it is the source's object */
} omb_mirror_copied;

/*
 * Copy the object of that name. What fails a check is OMB_DAMAGED and not
 * stored: the bytes of a pack against its name, of other objects the kind, the
 * repository and that it is not cut short. An object that is at the target
 * already stays; OMB_DAMAGED when its size is another one. piece has room for
 * OMB_MIRROR_PIECE bytes.
 */
extern omb_status omb_mirror_copy(const omb_mirror_route *route,
								  const char *name, uint8_t *piece,
								  omb_mirror_copied *copied, omb_error *err);

/* SHA-256 of an object's bytes. */
extern omb_status omb_mirror_hash(omb_store *store, const char *name,
								  uint8_t *piece,
								  uint8_t sha256[OMB_SHA256_SIZE],
								  omb_error *err);

/* Is it the name of an object of a repository? */
extern bool omb_mirror_is_object(const char *name);

#endif
