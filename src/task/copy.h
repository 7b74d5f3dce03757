/*
 * copy.h: the workers of a backup: reading files, checking pages, storing
 * blobs.
 *
 * A unit is either a batch of small entries, whose contents share one blob,
 * or one piece of a large file. Units are filled by the walking thread,
 * processed by any worker, and collected in order.
 */
#ifndef OMB_TASK_COPY_H
#define OMB_TASK_COPY_H

#include "base/pipeline.h"
#include "repo/manifest.h"
#include "task/throttle.h"

/* Entries that share one unit at most. */
#define OMB_COPY_BATCH 128
/* Damaged pages that are counted by unit: 16 pages and some for batches. */
#define OMB_COPY_DAMAGED_MAX 32

/* A damaged page: which file of the unit, which block of the relation. */
typedef struct omb_copy_damage
{
	int item;
	uint32_t block;
} omb_copy_damage;

typedef struct omb_copy_item
{
	omb_entry entry; /* owned; extents are added by the worker */
	char *source;	 /* where to open it, for small files; owned */
	bool is_relation;
	uint32_t first_block;
	bool vanished;
} omb_copy_item;

typedef struct omb_copy_unit
{
	/* a batch has count items; a piece has one, and fd */
	int count;
	omb_copy_item item[OMB_COPY_BATCH];
	uint64_t planned; /* bytes of the batch's files, as they were listed */

	int fd; /* of a large file, or -1 */
	bool first;
	bool last;
	uint64_t offset;
	size_t wanted;

	/* results */
	omb_error error;
	size_t got;		   /* of a piece */
	uint32_t crc32c;   /* of a piece */
	omb_extent extent; /* of a piece */
	uint64_t read;
	uint64_t stored;
	int damaged_count;
	omb_copy_damage damaged[OMB_COPY_DAMAGED_MAX];
	uint8_t buffer[OMB_BLOB_MAX];
} omb_copy_unit;

typedef struct omb_copy_context
{
	bool verify_pages; /* the cluster has data checksums */
	uint64_t start_lsn;
	omb_throttle *throttle;
	omb_pack_writer **writer; /* one for each worker */
} omb_copy_context;

/* The work function of the pipeline; arg is an omb_copy_context. */
extern void omb_copy_process(void *unit, int worker, void *arg);

#endif
