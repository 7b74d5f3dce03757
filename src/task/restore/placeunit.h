/*
 * placeunit.h: the unit of work of placing files, what workers do with it,
 * and writing it.
 */
#ifndef OMB_TASK_PLACEUNIT_H
#define OMB_TASK_PLACEUNIT_H

#include "repo/blobreader.h"
#include "task/restore/patch.h"
#include "task/restore/place.h"

/*
 * Bytes of a piece at most: large enough for a disk to be quick when pieces
 * are written one by one, past the page cache, by a thread that has to wait for
 * a processor after each.
 */
#define OMB_PLACE_PIECE_MAX (32 * OMB_BLOB_MAX)
/* Small files in one unit at most. */
#define OMB_PLACE_BATCH_MAX 128

typedef struct omb_place_part
{
	omb_entry entry; /* owned; of a piece only when it is the last one */
	char *path;
	uint32_t crc32c;
} omb_place_part;

typedef enum omb_place_unit_kind
{
	OMB_PLACE_BATCH, /* small files that share a blob */
	OMB_PLACE_PIECE, /* some extents of a large file, or one of zeros */
	OMB_PLACE_CHECK	 /* a part of a file that looks the same */
} omb_place_unit_kind;

typedef struct omb_place_unit
{
	omb_place_unit_kind kind;
	bool has_blob; /* of a batch, whose files share it */
	omb_blob_ref blob;
	bool existing;		/* of a piece: the file was there */
	bool is_direct;		/* of a piece: written past the page cache */
	bool is_zero;		/* of a piece: one extent of zeros, of any length */
	omb_extent *extent; /* of a piece; owned */
	size_t extent_count;
	size_t extent_cap;
	int fd; /* of a piece or check */
	uint64_t offset;
	uint64_t length; /* of a piece or check */
	omb_patch_mask differ;
	bool last;
	int count;
	omb_place_part part[OMB_PLACE_BATCH_MAX];
	omb_error error;
	uint8_t *plain; /* OMB_PLACE_PIECE_MAX bytes */
} omb_place_unit;

typedef struct omb_place_context
{
	const omb_place_config *config;
	const omb_manifest *manifest;
	omb_blob_reader **reader; /* one for each worker */
	uint8_t **local;		  /* likewise, OMB_BLOB_MAX bytes of a file */
	uint8_t *own;			  /* such bytes for the calling thread */
	omb_place_result *result;
} omb_place_context;

/* Make a unit ready for its first use, and free what it holds. */
extern void omb_place_unit_init(omb_place_unit *u);
extern void omb_place_unit_free(omb_place_unit *u);

/* The work function of the pipeline; arg is an omb_place_context. */
extern void omb_place_process(void *unit, int worker, void *arg);

/*
 * Open the file of an entry for writing, with its mode and no more than its
 * size. existing tells whether it may have some content. Returns the
 * descriptor, or -1.
 */
extern int omb_place_open(const omb_place_context *context,
						  const omb_entry *entry, const char *path,
						  bool *existing, omb_error *err);
/*
 * Let writes to a new file go past the page cache, when the file system can:
 * a restore writes each byte once and would only fill the cache with them.
 */
extern bool omb_place_set_direct(int fd);
/* Close it and set its time, so that a later backup can rely on it. */
extern omb_status omb_place_close(const omb_entry *entry, const char *path,
								  int fd, omb_error *err);

/* Write what a processed unit has: a piece, or one small file of a batch. */
extern omb_status omb_place_write_piece(const omb_place_context *context,
										const omb_place_unit *u,
										omb_error *err);
extern omb_status omb_place_write_small(const omb_place_context *context,
										const omb_place_unit *u,
										const omb_place_part *p,
										omb_error *err);

/* The whole content of a small file's entry, by a reader that is there. */
extern omb_status omb_place_read_entry(omb_blob_reader *reader,
									   const omb_manifest *manifest,
									   const omb_entry *entry, omb_buf *out,
									   omb_error *err);

#endif
