/*
 * cloudcache.h: bytes of objects that were fetched from a cloud, for all
 * threads of a store: each request costs a round trip, which may be long.
 *
 *  - Opening an object fetches its beginning, with which its size comes.
 *  - Reads that go on where the last one ended fetch more each time.
 *  - What a reader says it will need is fetched ahead by threads of the cache,
 *    several pieces at once, as fast as they come and memory allows.
 *  - What was fetched stays for a while. An object never changes, so its bytes
 *    are as good as new; that it is there is believed for ten seconds.
 *
 * The memory is bounded (112 MiB).
 */
#ifndef OMB_STORE_CLOUDCACHE_H
#define OMB_STORE_CLOUDCACHE_H

#include "store/cloud/cloudclient.h"
#include "store/cloud/cloudhead.h"

typedef struct omb_cloud_cache omb_cloud_cache;

extern omb_cloud_cache *omb_cloud_cache_new(omb_cloud_client *client);
/* Waits for what is being fetched: the client should be stopped. */
extern void omb_cloud_cache_free(omb_cloud_cache *cache);

/* An object that is read by one thread. */
typedef struct omb_cloud_source
{
	char *name;
	uint64_t size;
	char etag[sizeof(((omb_cloud_found *) 0)->etag)];
	uint64_t next; /* where the last read ended */
	size_t window; /* to be fetched with the next read that misses */
} omb_cloud_source;

/* OMB_NOT_FOUND. The name is copied; free it. */
extern omb_status omb_cloud_cache_open(omb_cloud_cache *cache,
									   const char *name,
									   omb_cloud_source *source,
									   omb_error *err);
extern omb_status omb_cloud_cache_read(omb_cloud_cache *cache,
									   omb_cloud_source *source,
									   uint64_t offset, void *data, size_t len,
									   omb_error *err);
/* As omb_store_expect. */
extern void omb_cloud_cache_expect(omb_cloud_cache *cache, const char *name,
								   uint64_t offset, size_t len);
/* The object is another one from now on, or none. */
extern void omb_cloud_cache_forget(omb_cloud_cache *cache, const char *name);

#endif
