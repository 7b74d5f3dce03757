/*
 * crypto.h: the cryptographic primitives we use, over OpenSSL's libcrypto.
 *
 * The only file that knows the library is crypto.c. A failure inside the
 * library (no memory, no such algorithm) leaves nothing sensible to do and
 * ends the program with a message.
 */
#ifndef OMB_CODEC_CRYPTO_H
#define OMB_CODEC_CRYPTO_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMB_SHA256_SIZE 32
#define OMB_KEY_SIZE 32
#define OMB_NONCE_SIZE 12
#define OMB_TAG_SIZE 16

extern void omb_random(void *out, size_t len);
/* Overwrite a secret so that the compiler cannot leave it out. */
extern void omb_wipe(void *secret, size_t len);
/* Compare in constant time. */
extern bool omb_secret_equal(const void *a, const void *b, size_t len);

/* SHA-256 over pieces; with a key it is HMAC-SHA-256. */
typedef struct omb_hash omb_hash;
extern omb_hash *omb_hash_new(void);
/* Begin a new message; key NULL for plain SHA-256. */
extern void omb_hash_begin(omb_hash *hash, const uint8_t *key, size_t len);
extern void omb_hash_update(omb_hash *hash, const void *data, size_t len);
extern void omb_hash_final(omb_hash *hash, uint8_t out[OMB_SHA256_SIZE]);
extern void omb_hash_free(omb_hash *hash);

/*
 * A fast keyed hash of long data: GHASH under AES-256-GCM's key schedule with
 * a fixed nonce. It is universal, not secret: its value may be used as input
 * to HMAC and must never be shown.
 */
#define OMB_GHASH_SIZE 16
typedef struct omb_ghash omb_ghash;
extern omb_ghash *omb_ghash_new(const uint8_t key[OMB_KEY_SIZE]);
extern void omb_ghash_update(omb_ghash *hash, const void *data, size_t len);
extern void omb_ghash_final(omb_ghash *hash, uint8_t out[OMB_GHASH_SIZE]);
extern void omb_ghash_free(omb_ghash *hash);

/* SHA-256 of one piece. */
extern void omb_sha256(const void *data, size_t len,
					   uint8_t out[OMB_SHA256_SIZE]);

/*
 * MD5, which some protocols want as a checksum; false where the library does
 * not offer it (FIPS).
 */
#define OMB_MD5_SIZE 16
extern bool omb_md5(const void *data, size_t len, uint8_t out[OMB_MD5_SIZE]);

/*
 * Append the signature of one piece, RSA with SHA-256 (PKCS #1 v1.5), by a
 * private key in PEM without a password; false when it is none.
 */
extern bool omb_rsa_sign(const char *pem, const void *data, size_t len,
						 omb_buf *out);

/* HKDF with SHA-256 (RFC 5869), extract and expand. */
extern void omb_hkdf(const uint8_t *key, size_t key_len, const uint8_t *salt,
					 size_t salt_len, const void *info, size_t info_len,
					 uint8_t *out, size_t out_len);

/* scrypt (RFC 7914); needs 128 n r bytes of memory. */
extern void omb_scrypt(const char *password, const uint8_t *salt,
					   size_t salt_len, uint64_t n, uint32_t r, uint32_t p,
					   uint8_t *out, size_t out_len);

/* AES-256-GCM; one for each thread. */
typedef struct omb_aead omb_aead;
extern omb_aead *omb_aead_new(void);
/* Writes len bytes of ciphertext and the tag. in and out may be the same. */
extern void omb_aead_seal(omb_aead *aead, const uint8_t key[OMB_KEY_SIZE],
						  const uint8_t nonce[OMB_NONCE_SIZE],
						  const void *associated, size_t associated_len,
						  const void *in, size_t len, uint8_t *out);
/*
 * len counts the tag. Writes len - OMB_TAG_SIZE bytes; false when the bytes
 * are not what was sealed, and then out holds nothing that may be used.
 */
extern bool omb_aead_open(omb_aead *aead, const uint8_t key[OMB_KEY_SIZE],
						  const uint8_t nonce[OMB_NONCE_SIZE],
						  const void *associated, size_t associated_len,
						  const uint8_t *in, size_t len, uint8_t *out);
extern void omb_aead_free(omb_aead *aead);

#endif
