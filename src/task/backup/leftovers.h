/*
 * leftovers.h: what backups that were cut short have stored.
 *
 * Their packs are found by the journals (repo/unfinished.h), the blobs in
 * them by their content ids. A new backup that is about to store a blob looks
 * here first. The journals stay until a backup was committed. Both walk the data directory in the same order, so that only a
 * part of the packs' lists needs to be in memory at a time.
 */
#ifndef OMB_TASK_LEFTOVERS_H
#define OMB_TASK_LEFTOVERS_H

#include "repo/pack.h"

typedef struct omb_leftovers omb_leftovers;

/* *out is NULL when there is nothing. Packs in use are numbered in table. */
extern omb_status omb_leftovers_open(omb_repository *repo,
									 omb_pack_table *table,
									 omb_leftovers **out, omb_error *err);

/*
 * Find a blob; ref says where it is. The pack is made durable before it is
 * relied on. Threads may call it; coder is the caller's.
 */
extern bool omb_leftovers_find(omb_leftovers *leftovers, omb_coder *coder,
							   const uint8_t id[OMB_CONTENT_ID_SIZE],
							   size_t len, omb_blob_ref *ref);

/* After the backup was committed: remove the journals that were found. */
extern omb_status omb_leftovers_remove(omb_leftovers *leftovers,
									   omb_error *err);
extern void omb_leftovers_free(omb_leftovers *leftovers);

#endif
