/*
 * copy.h: the workers of a backup: reading files, checking pages, finding out
 * what changed, storing blobs.
 *
 * A unit is either a batch of small entries, whose contents share one blob,
 * or a span of a large file. Units are filled by the walking thread
 * (gather.h), processed by any worker, and collected in order.
 */
#ifndef OMB_TASK_COPY_H
#define OMB_TASK_COPY_H

#include "base/pipeline.h"
#include "codec/fingerprint.h"
#include "repo/blobreader.h"
#include "repo/manifest.h"
#include "task/backup/leftovers.h"
#include "task/backup/parent.h"
#include "task/mirror/throttle.h"

/* Entries that share one unit at most. */
#define OMB_COPY_BATCH 128
/* Bytes of a large file that one unit covers. */
#define OMB_COPY_SPAN (32 * OMB_BLOB_MAX)
#define OMB_COPY_SPAN_BLOCKS (OMB_COPY_SPAN / OMB_FINGERPRINT_BLOCK)

/*
 * Pack numbers of extents that are not final: with this bit it is a number
 * in the parent's manifest, which the collecting thread replaces;
 */
#define OMB_COPY_OLD 0x80000000U
/* and this is a pack of the parent's that is missing. */
#define OMB_COPY_LOST 0xffffffffU

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
	bool is_taken; /* over from the parent, unread; the entry is complete */
	bool vanished;

	/* root FILES: see omb_walk_item; the worker tells what went wrong */
	int directory;
	size_t below;
	bool changed;	 /* while it was read */
	int unreadable;	 /* errno, or 0 */
	omb_entry *kept; /* what the parent has; owned, or NULL */

	/*
	 * Fingerprints, owned, NULL when not known: of a file that is taken or
	 * compared the parent's, and after the work the file's own.
	 */
	uint64_t *fingerprint;
	size_t fingerprint_count;
	/* where the parent has a small file that is to be compared; owned */
	omb_extent *old;
	size_t old_count;
} omb_copy_item;

typedef struct omb_copy_unit
{
	/* a batch has count items; a span has one, and fd */
	int count;
	omb_copy_item item[OMB_COPY_BATCH];
	uint64_t planned; /* bytes of the batch's files, as they were listed */
	size_t weight;	  /* extents and fingerprints that the batch carries */

	int fd;		  /* of a large file, or -1 */
	bool is_set;  /* a file of a set, */
	bool is_copy; /* or rather a copy of one */
	bool first;
	bool last;
	uint64_t offset;
	size_t wanted;
	/* what the parent has from that offset on; bits as above */
	omb_extent *old;
	size_t old_count;
	size_t old_cap;
	uint64_t old_size;
	size_t old_known; /* fingerprints */
	uint64_t old_fingerprint[OMB_COPY_SPAN_BLOCKS];

	/* results */
	omb_error error;
	size_t got;		 /* of a span */
	uint32_t crc32c; /* of a span */
	omb_entry part;	 /* the extents of a span */
	uint64_t fingerprint[OMB_COPY_SPAN_BLOCKS];
	uint64_t read;
	uint64_t stored;
	omb_copy_damage *damaged;
	size_t damaged_count;
	size_t damaged_cap;
} omb_copy_unit;

/*
 * Open the file of an item; a file of a set without following any link. -1
 * with errno; ENOENT for what is no regular file any more.
 */
extern int omb_copy_open(const omb_copy_item *item, struct stat *st);
/* Has the file changed since st? */
extern bool omb_copy_changed(int fd, const struct stat *st);

/* Free what a unit or an item holds. */
extern void omb_copy_item_clear(omb_copy_item *item);
extern void omb_copy_unit_clear(omb_copy_unit *unit);

/* What belongs to one worker. */
typedef struct omb_copy_worker
{
	omb_pack_writer *writer;
	omb_blob_reader *reader; /* of the parent's blobs */
	omb_coder *coder;
	uint8_t buffer[OMB_BLOB_MAX];
	uint8_t old[OMB_BLOB_MAX];
	uint8_t patch[OMB_BLOB_MAX];
} omb_copy_worker;

typedef struct omb_copy_context
{
	bool verify_pages; /* the cluster has data checksums */
	uint64_t start_lsn;
	omb_throttle *throttle;
	const omb_fingerprinter *fingerprinter;
	const omb_parent *parent; /* or NULL */
	omb_leftovers *leftovers; /* or NULL */
	omb_copy_worker **worker;
} omb_copy_context;

/* The work function of the pipeline; arg is an omb_copy_context. */
extern void omb_copy_process(void *unit, int worker, void *arg);

#endif
