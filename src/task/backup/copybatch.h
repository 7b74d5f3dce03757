/*
 * copybatch.h: what batches and spans of a backup share, and batches.
 */
#ifndef OMB_TASK_COPYBATCH_H
#define OMB_TASK_COPYBATCH_H

#include "task/backup/copy.h"

/* Read the files of a batch and store what is new of them. */
extern void omb_copy_batch(omb_copy_unit *unit,
						   const omb_copy_context *context,
						   omb_copy_worker *worker);

/* Check the pages of what was read from an offset of a relation file. */
extern void omb_copy_check_pages(omb_copy_unit *unit,
								 const omb_copy_context *context, int item,
								 int fd, uint8_t *data, size_t len,
								 uint64_t offset);
/*
 * Store bytes as a blob, unless they are zeros or an attempt that was cut
 * short has stored them already.
 */
extern omb_status omb_copy_store(omb_copy_unit *unit,
								 const omb_copy_context *context,
								 omb_copy_worker *worker, const uint8_t *data,
								 size_t len, const uint64_t *fingerprint,
								 omb_extent *extent);

#endif
