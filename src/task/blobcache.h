/*
 * blobcache.h: reading blobs of a backup with the packs last used kept open.
 */
#ifndef OMB_TASK_BLOBCACHE_H
#define OMB_TASK_BLOBCACHE_H

#include "repo/manifest.h"

/* For one thread at a time. */
typedef struct omb_blob_cache omb_blob_cache;

extern omb_blob_cache *omb_blob_cache_new(omb_repository *repo,
										  const omb_manifest *manifest);
/* Read one blob into plain, which has room for OMB_BLOB_MAX bytes. */
extern omb_status omb_blob_cache_read(omb_blob_cache *cache,
									  const omb_blob_ref *blob, uint8_t *plain,
									  omb_error *err);
extern void omb_blob_cache_free(omb_blob_cache *cache);

#endif
