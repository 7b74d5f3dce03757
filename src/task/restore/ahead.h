/*
 * ahead.h: reading entries some way ahead of their use, so that a store far
 * away can be told which blobs are needed next and fetches them side by side.
 */
#ifndef OMB_TASK_AHEAD_H
#define OMB_TASK_AHEAD_H

#include "repo/manifest.h"

typedef struct omb_ahead_item
{
	omb_entry entry; /* owned by who took it */
	const omb_manifest *manifest;
	size_t number; /* of the manifest, for who reads several */
} omb_ahead_item;

/* Where entries come from. */
typedef struct omb_ahead_source
{
	/* The next one; *end after the last. */
	omb_status (*next)(omb_ahead_item *item, bool *end, void *arg,
					   omb_error *err);
	/* Will the blobs of the entry be read? */
	bool (*needs_blobs)(const omb_entry *entry, void *arg);
	void *arg;
} omb_ahead_source;

typedef struct omb_ahead omb_ahead;

extern omb_ahead *omb_ahead_new(omb_repository *repo,
								const omb_ahead_source *source);
/*
 * The next entry; *end after the last. The entry before is done with. Where
 * the store is near nothing is read ahead. An error that is in err already
 * stays there and is returned.
 */
extern omb_status omb_ahead_next(omb_ahead *ahead, omb_ahead_item *item,
								 bool *end, omb_error *err);
/*
 * So many more extents of the entry are being read: as many may be told of
 * instead. To be called while a large entry is worked on.
 */
extern void omb_ahead_used(omb_ahead *ahead, size_t count);
/* Nobody else reads any more: all the room that the store has may be used. */
extern void omb_ahead_alone(omb_ahead *ahead);
/*
 * Tell of the first entries now, up to so many bytes of blobs in all: somebody
 * else is going to read them.
 */
extern void omb_ahead_tell(omb_ahead *ahead, uint64_t bytes);
/* Tell of one entry that is read at the end. */
extern void omb_ahead_tell_entry(omb_ahead *ahead,
								 const omb_manifest *manifest,
								 const omb_entry *entry);
extern void omb_ahead_free(omb_ahead *ahead);

#endif
