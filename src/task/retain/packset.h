/*
 * packset.h: which packs are used, and which of their blobs.
 *
 * A set that does not outgrow its limits whatever the repository: it covers a
 * range of the names of packs, and when it gets too large it forgets the
 * upper half of what it has and covers that much less. The user adds all
 * packs and blobs that he finds and does what he has to do with the packs of
 * the range; then he begins again where the range ended, until nothing is
 * left.
 */
#ifndef OMB_TASK_PACKSET_H
#define OMB_TASK_PACKSET_H

#include "repo/pack.h"

typedef struct omb_set_pack
{
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t size;		 /* as listed; 0 when it was not */
	uint64_t live;		 /* stored bytes of all blobs in use */
	uint32_t live_blobs; /* their number */
	uint32_t blob_bits;	 /* bits in blob */
	uint32_t turn;		 /* for task/retain/early.c */
	uint8_t *blob;		 /* a bit for each blob in use */
	bool is_used;		 /* a manifest names it */
	bool is_spared;		 /* a journal names it */
	bool is_listed;
	bool is_strange; /* a blob's number is impossible: leave it alone */
} omb_set_pack;

typedef struct omb_pack_set omb_pack_set;

/* Limits: number of packs, and bytes for the bits of blobs. */
extern omb_pack_set *omb_pack_set_new(size_t max_packs, size_t max_bytes);
extern void omb_pack_set_free(omb_pack_set *set);

/* Cover all names from the first; then from where the range ended. */
extern void omb_pack_set_first(omb_pack_set *set);
extern bool omb_pack_set_next(omb_pack_set *set);

/* Whether the range has the name; the range only ever gets smaller. */
extern bool omb_pack_set_covers(const omb_pack_set *set,
								const uint8_t sha256[OMB_SHA256_SIZE]);
/*
 * The pack of that name, added when it is not there, or found. NULL when the
 * range does not have it. Valid until the next _add or _count.
 */
extern omb_set_pack *omb_pack_set_add(omb_pack_set *set,
									  const uint8_t sha256[OMB_SHA256_SIZE]);
extern omb_set_pack *omb_pack_set_find(omb_pack_set *set,
									   const uint8_t sha256[OMB_SHA256_SIZE]);
/* Note that a blob of a pack is in use; each is counted once. */
extern void omb_pack_set_count(omb_pack_set *set,
							   const uint8_t sha256[OMB_SHA256_SIZE],
							   const omb_blob_ref *blob);
extern bool omb_set_pack_has(const omb_set_pack *pack, uint32_t index);

/* All packs of the set, in order of name once _sort was called. */
extern void omb_pack_set_sort(omb_pack_set *set);
extern size_t omb_pack_set_size(const omb_pack_set *set);
extern omb_set_pack *omb_pack_set_at(omb_pack_set *set, size_t i);

#endif
