/*
 * pagecache.h: the fingerprints of the pages of the last backup.
 *
 * The next backup compares pages with them instead of reading the blobs of
 * the last one. The file cache/fingerprints-<backup id> below the directory
 * of the repository is no object: it is not sealed and not mirrored, and
 * losing it costs time only (task/backup/parent.h). It holds, little-endian:
 *
 *   header, 64 bytes: "ompages1", repository id (16), id of the backup as
 *   text with zeros behind it (32), 8 zero bytes
 *   for each file whose fingerprints are known, in the order of the manifest:
 *     8  fingerprint of the number of the root as one byte and the path
 *     4  number of fingerprints
 *     4  CRC-32C of these 12 bytes and the fingerprints
 *     8  each fingerprint
 */
#ifndef OMB_REPO_PAGECACHE_H
#define OMB_REPO_PAGECACHE_H

#include "codec/fingerprint.h"
#include "repo/manifest.h"

typedef struct omb_page_cache_writer omb_page_cache_writer;

/*
 * Begin the cache of a backup. Without a local directory, or when it cannot
 * be written, *out is NULL, which the others take: a backup does not fail for
 * the want of a cache.
 */
extern void omb_page_cache_create(omb_repository *repo,
								  const omb_fingerprinter *fingerprinter,
								  const char *id, omb_page_cache_writer **out);
/* Files come in the order of the manifest. */
extern void omb_page_cache_add(omb_page_cache_writer *writer, omb_root root,
							   const char *path, const uint64_t *fingerprint,
							   size_t count);
/*
 * After the backup: put the cache into place and remove all others, but that
 * of one more backup when its id is given.
 */
extern void omb_page_cache_commit(omb_page_cache_writer *writer,
								  const char *keep);
extern void omb_page_cache_abort(omb_page_cache_writer *writer);

typedef struct omb_page_cache omb_page_cache;

/* NULL when there is no usable cache of that backup. */
extern omb_page_cache *omb_page_cache_open(
	omb_repository *repo, const omb_fingerprinter *fingerprinter,
	const char *id);
/*
 * The fingerprints of a file, or NULL when they are not known. Files are
 * asked for in the order of the manifest, and all of them. Valid until the
 * next call.
 */
extern const uint64_t *omb_page_cache_find(omb_page_cache *cache,
										   omb_root root, const char *path,
										   size_t count);
extern void omb_page_cache_close(omb_page_cache *cache);

#endif
