/*
 * blobcache.c: reading blobs of a backup with the packs last used kept open.
 */
#include "task/blobcache.h"

#include <stdlib.h>
#include <string.h>

#define PACKS_OPEN 8

struct omb_blob_cache
{
	omb_repository *repo;
	const omb_manifest *manifest;
	omb_pack *pack[PACKS_OPEN];
	uint32_t number[PACKS_OPEN];
	uint64_t used[PACKS_OPEN]; /* the least recently used goes first */
	uint64_t clock;
	omb_coder *coder;
};

omb_blob_cache *
omb_blob_cache_new(omb_repository *repo, const omb_manifest *manifest)
{
	omb_blob_cache *cache = omb_calloc(1, sizeof(*cache));

	cache->repo = repo;
	cache->manifest = manifest;
	cache->coder = omb_coder_new(NULL);
	return cache;
}

omb_status
omb_blob_cache_read(omb_blob_cache *cache, const omb_blob_ref *blob,
					uint8_t *plain, omb_error *err)
{
	int oldest = 0;
	int i;

	for (i = 0; i < PACKS_OPEN; i++)
	{
		if (cache->pack[i] != NULL && cache->number[i] == blob->pack)
			break;
		if (cache->used[i] < cache->used[oldest])
			oldest = i;
	}
	if (i == PACKS_OPEN)
	{
		i = oldest;
		omb_pack_close(cache->pack[i]);
		cache->pack[i] = NULL;
		if (omb_pack_open(cache->repo,
						  cache->manifest->pack[blob->pack].sha256,
						  &cache->pack[i], err) != OMB_OK)
			return err->status;
		cache->number[i] = blob->pack;
	}
	cache->used[i] = ++cache->clock;
	return omb_pack_read(cache->pack[i], cache->coder, blob, plain, err);
}

void
omb_blob_cache_free(omb_blob_cache *cache)
{
	int i;

	if (cache == NULL)
		return;
	for (i = 0; i < PACKS_OPEN; i++)
		omb_pack_close(cache->pack[i]);
	omb_coder_free(cache->coder);
	free(cache);
}
