/*
 * patch.h: making an existing file what a backup says, by writing only the
 * blocks that differ.
 */
#ifndef OMB_TASK_PATCH_H
#define OMB_TASK_PATCH_H

#include "repo/manifest.h"

/* Bit i: the i-th block of OMB_PATCH_BLOCK bytes differs. */
typedef uint32_t omb_patch_mask;
#define OMB_PATCH_BLOCK 8192

/*
 * Can the file at path be as the entry says it was: regular, mode, size,
 * time of change, no second name? Its bytes have to be looked at still.
 */
extern bool omb_patch_looks_same(const omb_entry *entry, const char *path);

/*
 * Open the file of an entry for writing, with its mode. A file that is there
 * and can be patched is opened as it is (*existing), anything else but a
 * directory is replaced by a new file: a file with several names would change
 * under the others too. Returns the descriptor, or -1.
 */
extern int omb_patch_open(const omb_entry *entry, const char *path,
						  bool *existing, omb_error *err);

/*
 * Compare len bytes (at most OMB_BLOB_MAX) of the file with data, or with
 * zeros when data is NULL, which may be of any length and then count as one
 * block. local has room for OMB_BLOB_MAX bytes.
 */
extern omb_status omb_patch_compare(int fd, uint64_t offset,
									const uint8_t *data, uint64_t len,
									uint8_t *local, omb_patch_mask *differ,
									omb_error *err);

/* Write the blocks that differ; *written is increased. */
extern int omb_patch_write(int fd, uint64_t offset, const uint8_t *data,
						   size_t len, omb_patch_mask differ,
						   uint64_t *written);
/* Make that part of the file zeros, a hole when the file system can. */
extern int omb_patch_zero(int fd, uint64_t offset, uint64_t len);

#endif
