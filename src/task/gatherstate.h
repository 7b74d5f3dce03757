/*
 * gatherstate.h: what gather.c, which fills units, and gathercollect.c, which
 * collects them, share.
 */
#ifndef OMB_TASK_GATHERSTATE_H
#define OMB_TASK_GATHERSTATE_H

#include "repo/pagecache.h"
#include "task/copy.h"
#include "task/gather.h"

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

#endif
