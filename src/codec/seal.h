/*
 * seal.h: from plain bytes to sealed blobs and back.
 *
 * Every object of the repository that holds data begins with a header and
 * consists of blobs sealed with a key of its own. A blob is at most
 * OMB_BLOB_MAX bytes of plain text, compressed when that makes it smaller,
 * then sealed with AES-256-GCM.
 *
 * Object header, 64 bytes:
 *
 *   0   8  "omsupply"
 *   8   1  kind of object: one of OMB_KIND_*
 *   9   1  format version, 1
 *  10   2  version of the repository key
 *  12   4  features a reader must know; none are defined, so 0
 *  16  16  repository id
 *  32  32  random salt
 *
 * Key of the object = HKDF-SHA-256(repository key, salt, "omsupply_backup
 * object" followed by header bytes 0..31).
 *
 * Sealing blob number i (from 0, each number used once in an object):
 *   nonce            i as 8 bytes, then 4 zero bytes
 *   associated data  i (8 bytes), length of the plain text (4), compression
 *                    method (1), 1 for the last blob of a stream else 0 (1),
 *                    2 zero bytes
 *   sealed bytes     the ciphertext and 16 bytes of tag
 *
 * The key binds repository, kind and object; nonce and associated data bind
 * the place. So a blob that was swapped, cut, repeated or moved does not open.
 */
#ifndef OMB_CODEC_SEAL_H
#define OMB_CODEC_SEAL_H

#include "base/error.h"
#include "codec/compress.h"
#include "codec/crypto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 128 KiB = 16 pages */
#define OMB_BLOB_MAX (128 * 1024)
#define OMB_OBJECT_HEADER_SIZE 64
#define OMB_REPOSITORY_ID_SIZE 16

#define OMB_KIND_PACK 'P'
#define OMB_KIND_MANIFEST 'M'
#define OMB_KIND_WAL 'W'
#define OMB_KIND_MARK 'K'

/* The keys of one repository, by version 1..count. */
#define OMB_KEY_VERSIONS_MAX 64
typedef struct omb_keyring
{
	uint8_t repository_id[OMB_REPOSITORY_ID_SIZE];
	uint16_t count;
	uint8_t key[OMB_KEY_VERSIONS_MAX][OMB_KEY_SIZE];
} omb_keyring;

/* The key of one object. */
typedef struct omb_object_key
{
	uint8_t key[OMB_KEY_SIZE];
} omb_object_key;

/* Begin a new object under the newest key: fills its header and key. */
extern void omb_object_begin(const omb_keyring *keyring, char kind,
							 uint8_t header[OMB_OBJECT_HEADER_SIZE],
							 omb_object_key *key);

/*
 * Read the header of an object that should be of that kind. OMB_DAMAGED when
 * it is no header of this repository, OMB_UNSUPPORTED for a newer format,
 * OMB_WRONG_KEY for a key version that the keyring lacks.
 */
extern omb_status omb_object_open(const omb_keyring *keyring, char kind,
								  const uint8_t header[OMB_OBJECT_HEADER_SIZE],
								  omb_object_key *key, omb_error *err);

/*
 * A key for a purpose other than sealing, from the first version of the
 * repository key, so that it never changes.
 */
extern void omb_keyring_derive(const omb_keyring *keyring, const char *purpose,
							   uint8_t out[OMB_KEY_SIZE]);

/* Compressor, cipher and scratch memory; one for each thread. */
typedef struct omb_coder omb_coder;

/* compression NULL for a coder that only decodes. */
extern omb_coder *omb_coder_new(const omb_compression *compression);

/* The most that _encode writes for len plain bytes. */
#define OMB_SEALED_MAX(len) ((len) + OMB_TAG_SIZE)

/*
 * Compress and seal blob number index into out, which has room for
 * OMB_SEALED_MAX(len). Returns the size and tells the method.
 */
extern size_t omb_coder_encode(omb_coder *coder, const omb_object_key *key,
							   uint64_t index, bool last, const void *plain,
							   size_t len, uint8_t *out, uint8_t *method);

/*
 * Open and decompress into exactly raw_len bytes at out. OMB_DAMAGED when
 * the bytes, or any of the facts about them, are not as they were sealed;
 * nothing is written to out before the seal was checked.
 */
extern omb_status omb_coder_decode(omb_coder *coder, const omb_object_key *key,
								   uint64_t index, bool last, uint8_t method,
								   const uint8_t *sealed, size_t len,
								   uint8_t *out, size_t raw_len,
								   omb_error *err);
extern void omb_coder_free(omb_coder *coder);

#endif
