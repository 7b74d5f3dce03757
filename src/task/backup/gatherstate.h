/*
 * gatherstate.h: what gather.c, which fills units, gatherset.c, which knows
 * files of sets, and gathercollect.c, which collects units, share.
 */
#ifndef OMB_TASK_GATHERSTATE_H
#define OMB_TASK_GATHERSTATE_H

#include "repo/pagecache.h"
#include "task/backup/copy.h"
#include "task/backup/gather.h"

struct omb_gather
{
	omb_gather_config config;
	omb_manifest_writer *manifest;
	omb_pack_table *packs;
	omb_unfinished *journal;
	omb_leftovers *leftovers;
	omb_page_cache_writer *cache;
	size_t depth;
	omb_pipeline *pipe;
	/* its last worker is the collecting thread, made when first needed */
	omb_copy_context context;
	uint32_t *number; /* of the parent's packs in this manifest, and 1 */

	omb_copy_unit *batch; /* being filled, or NULL */
	omb_copy_unit *own;	  /* of the collecting thread, or NULL */
	omb_copy_item large;  /* the large file whose spans are collected */
	uint64_t large_planned;
	uint64_t *large_fingerprint;
	size_t large_count;
	size_t large_cap;

	uint64_t bytes;
	uint64_t files;
	uint64_t stored;
	uint64_t file_warnings;
	char *plain_database; /* the last one of which there is no copy, or NULL */
	bool database_kept;	  /* and that is the parent's */
};

/* A worker number i of the context. */
extern void omb_gather_add_worker(omb_gather *gather, int i);

/* Take the oldest unit when it is done, or wait for it. */
extern omb_status omb_gather_collect(omb_gather *gather, bool wait,
									 bool *collected, omb_error *err);
/* Add a complete entry, which is cleared. */
extern omb_status omb_gather_add_entry(omb_gather *gather, omb_entry *entry,
									   const uint64_t *fingerprint,
									   size_t count, omb_error *err);

/* ---- filling (gather.c) ---- */

/* An extent of the parent's, marked as such. */
extern omb_extent omb_gather_old_extent(const omb_gather *gather,
										const omb_extent *extent);
extern void omb_gather_fill_item(omb_copy_item *item,
								 const omb_walk_item *from);
/* Copy what is known of the parent's file to an item. */
extern void omb_gather_keep_fingerprint(omb_copy_item *item,
										const omb_entry *old,
										const uint64_t *fingerprint);
/* A place in a batch, for a file with that many bytes to read. */
extern omb_status omb_gather_add_item(omb_gather *gather, uint64_t bytes,
									  size_t weight, omb_copy_item **item,
									  omb_error *err);
/* What the parent's entry, or NULL, adds to the weight of a batch. */
extern size_t omb_gather_weight(const omb_entry *old);

/* ---- files of sets (gatherset.c) ---- */

/*
 * The parent's file as it would be in this manifest; NULL when some of it is
 * lost.
 */
extern omb_entry *omb_gather_keep_entry(const omb_gather *gather,
										const omb_entry *old);
/* An entry of the parent's as it is; *kept counts files. */
extern omb_status omb_gather_add_kept(omb_gather *gather, const omb_entry *old,
									  const uint64_t *fingerprint,
									  uint64_t *kept, omb_error *err);
/*
 * Of a database of SQLite a consistent copy is taken instead of the file,
 * which may change while it is read. *failed when it is one and there is no
 * copy.
 */
extern void omb_gather_copy_database(omb_gather *gather, omb_walk_item *item,
									 const omb_entry *old, bool *failed);
/* The log of a database goes with it only when there is no copy. */
extern bool omb_gather_needs_log(const omb_gather *gather,
								 const omb_walk_item *item);

#endif
