/*
 * fingerprint.h: short hashes that tell whether a page changed.
 *
 * XXH3 (libxxhash) with a secret derived from the repository key, so that
 * nobody without the key can make two pages look alike, and fingerprints tell
 * nothing about the data. They are compared with fingerprints of the same
 * place in the same file only, and never leave the machine but sealed.
 */
#ifndef OMB_CODEC_FINGERPRINT_H
#define OMB_CODEC_FINGERPRINT_H

#include "codec/seal.h"

/* A page; the last block of a file may be shorter. */
#define OMB_FINGERPRINT_BLOCK 8192
/* Blocks in a blob of the largest size. */
#define OMB_FINGERPRINT_BLOCKS (OMB_BLOB_MAX / OMB_FINGERPRINT_BLOCK)
#define OMB_CONTENT_ID_SIZE 16

/* Holds the secret; may be used by several threads. */
typedef struct omb_fingerprinter omb_fingerprinter;

extern omb_fingerprinter *omb_fingerprinter_new(const omb_keyring *keyring);
extern void omb_fingerprinter_free(omb_fingerprinter *fingerprinter);

/* Blocks in a file of that size. */
extern size_t omb_fingerprint_count(uint64_t size);

/* Fingerprints of all blocks of data; returns their number. */
extern size_t omb_fingerprint(const omb_fingerprinter *fingerprinter,
							  const void *data, size_t len, uint64_t *out);

/*
 * What a blob holds, from the fingerprints of its blocks and its size: blobs
 * with the same id are the same.
 */
extern void omb_content_id(const omb_fingerprinter *fingerprinter,
						   const uint64_t *fingerprint, size_t count,
						   uint8_t out[OMB_CONTENT_ID_SIZE]);

#endif
