/*
 * crypto.c: cryptographic primitives over OpenSSL's libcrypto.
 */
#include "codec/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct omb_hash
{
	EVP_MD *md;
	EVP_MD_CTX *digest;
	EVP_MAC_CTX *mac;
	bool keyed;
};

struct omb_aead
{
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *ctx;
};

/* The library refused what cannot fail in a working installation. */
static void
library_failed(const char *what)
{
	char reason[256];

	ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
	(void) fprintf(stderr, "omsupply_backup: libcrypto failed in %s: %s\n",
				   what, reason);
	_exit(1);
}

static void
must(bool good, const char *what)
{
	if (!good)
		library_failed(what);
}

void
omb_random(void *out, size_t len)
{
	must(len <= INT32_MAX && RAND_bytes(out, (int) len) == 1, "RAND_bytes");
}

void
omb_wipe(void *secret, size_t len)
{
	OPENSSL_cleanse(secret, len);
}

bool
omb_secret_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

omb_hash *
omb_hash_new(void)
{
	omb_hash *hash = omb_calloc(1, sizeof(*hash));
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	hash->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	hash->digest = EVP_MD_CTX_new();
	hash->mac = mac ? EVP_MAC_CTX_new(mac) : NULL;
	EVP_MAC_free(mac);
	must(hash->md != NULL && hash->digest != NULL && hash->mac != NULL,
		 "SHA-256");
	return hash;
}

void
omb_hash_begin(omb_hash *hash, const uint8_t *key, size_t len)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[2];

	hash->keyed = key != NULL;
	if (!hash->keyed)
	{
		must(EVP_DigestInit_ex2(hash->digest, hash->md, NULL) == 1, "SHA-256");
		return;
	}
	params[0] =
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
	params[1] = OSSL_PARAM_construct_end();
	must(EVP_MAC_init(hash->mac, key, len, params) == 1, "HMAC");
}

void
omb_hash_update(omb_hash *hash, const void *data, size_t len)
{
	if (hash->keyed)
		must(EVP_MAC_update(hash->mac, data, len) == 1, "HMAC");
	else
		must(EVP_DigestUpdate(hash->digest, data, len) == 1, "SHA-256");
}

void
omb_hash_final(omb_hash *hash, uint8_t out[OMB_SHA256_SIZE])
{
	size_t len;

	if (hash->keyed)
		must(EVP_MAC_final(hash->mac, out, &len, OMB_SHA256_SIZE) == 1,
			 "HMAC");
	else
		must(EVP_DigestFinal_ex(hash->digest, out, NULL) == 1, "SHA-256");
}

void
omb_hash_free(omb_hash *hash)
{
	if (hash == NULL)
		return;
	EVP_MD_free(hash->md);
	EVP_MD_CTX_free(hash->digest);
	EVP_MAC_CTX_free(hash->mac);
	free(hash);
}

struct omb_ghash
{
	EVP_CIPHER_CTX *ctx;
};

omb_ghash *
omb_ghash_new(const uint8_t key[OMB_KEY_SIZE])
{
	static const uint8_t nonce[OMB_NONCE_SIZE];
	omb_ghash *hash = omb_calloc(1, sizeof(*hash));

	hash->ctx = EVP_CIPHER_CTX_new();
	must(hash->ctx != NULL && EVP_EncryptInit_ex2(hash->ctx, EVP_aes_256_gcm(),
												  key, nonce, NULL) == 1,
		 "GHASH");
	return hash;
}

void
omb_ghash_update(omb_ghash *hash, const void *data, size_t len)
{
	int n;

	must(len <= INT32_MAX &&
			 EVP_EncryptUpdate(hash->ctx, NULL, &n, data, (int) len) == 1,
		 "GHASH");
}

void
omb_ghash_final(omb_ghash *hash, uint8_t out[OMB_GHASH_SIZE])
{
	uint8_t none[16];
	int n;

	must(EVP_EncryptFinal_ex(hash->ctx, none, &n) == 1 &&
			 EVP_CIPHER_CTX_ctrl(hash->ctx, EVP_CTRL_AEAD_GET_TAG,
								 OMB_GHASH_SIZE, out) == 1,
		 "GHASH");
}

void
omb_ghash_free(omb_ghash *hash)
{
	if (hash == NULL)
		return;
	EVP_CIPHER_CTX_free(hash->ctx);
	free(hash);
}

void
omb_sha256(const void *data, size_t len, uint8_t out[OMB_SHA256_SIZE])
{
	must(EVP_Q_digest(NULL, "SHA256", NULL, data, len, out, NULL) == 1,
		 "SHA-256");
}

bool
omb_md5(const void *data, size_t len, uint8_t out[OMB_MD5_SIZE])
{
	unsigned int size = 0;

	return EVP_Digest(data, len, out, &size, EVP_md5(), NULL) == 1 &&
		   size == OMB_MD5_SIZE;
}

/* Nobody is asked for a password. */
static int
no_password(char *out, int size, int writing, void *arg)
{
	return -1;
}

bool
omb_rsa_sign(const char *pem, const void *data, size_t len, omb_buf *out)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key =
		bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t size = 0;
	bool good =
		key != NULL && ctx != NULL &&
		EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
		EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(ctx, NULL, &size, data, len) == 1 &&
		EVP_DigestSign(ctx, omb_buf_reserve(out, size), &size, data, len) == 1;

	if (good)
		out->len += size;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return good;
}

void
omb_hkdf(const uint8_t *key, size_t key_len, const uint8_t *salt,
		 size_t salt_len, const void *info, size_t info_len, uint8_t *out,
		 size_t out_len)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	char digest[] = "SHA256";
	uint8_t *copies[3];
	OSSL_PARAM params[5];

	/* the parameter interface wants pointers that are not const */
	copies[0] = memcpy(omb_malloc(key_len), key, key_len);
	copies[1] = memcpy(omb_malloc(salt_len), salt, salt_len);
	copies[2] = memcpy(omb_malloc(info_len), info, info_len);
	params[0] =
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
												  copies[0], key_len);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
												  copies[1], salt_len);
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
												  copies[2], info_len);
	params[4] = OSSL_PARAM_construct_end();
	must(ctx != NULL && EVP_KDF_derive(ctx, out, out_len, params) == 1,
		 "HKDF");
	omb_wipe(copies[0], key_len);
	free(copies[0]);
	free(copies[1]);
	free(copies[2]);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

void
omb_scrypt(const char *password, const uint8_t *salt, size_t salt_len,
		   uint64_t n, uint32_t r, uint32_t p, uint8_t *out, size_t out_len)
{
	/* the library's own limit is below what we ask for */
	uint64_t memory = 128 * n * r + 128 * (uint64_t) r * p + 1024 * 1024;

	must(EVP_PBE_scrypt(password, strlen(password), salt, salt_len, n, r, p,
						memory, out, out_len) == 1,
		 "scrypt");
}

omb_aead *
omb_aead_new(void)
{
	omb_aead *aead = omb_calloc(1, sizeof(*aead));

	aead->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	aead->ctx = EVP_CIPHER_CTX_new();
	must(aead->cipher != NULL && aead->ctx != NULL, "AES-256-GCM");
	return aead;
}

void
omb_aead_seal(omb_aead *aead, const uint8_t key[OMB_KEY_SIZE],
			  const uint8_t nonce[OMB_NONCE_SIZE], const void *associated,
			  size_t associated_len, const void *in, size_t len, uint8_t *out)
{
	int n;
	EVP_CIPHER_CTX *ctx = aead->ctx;

	must(len <= INT32_MAX && associated_len <= INT32_MAX &&
			 EVP_EncryptInit_ex2(ctx, aead->cipher, key, nonce, NULL) == 1 &&
			 EVP_EncryptUpdate(ctx, NULL, &n, associated,
							   (int) associated_len) == 1 &&
			 EVP_EncryptUpdate(ctx, out, &n, in, (int) len) == 1 &&
			 EVP_EncryptFinal_ex(ctx, out + len, &n) == 1 &&
			 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, OMB_TAG_SIZE,
								 out + len) == 1,
		 "AES-256-GCM");
}

bool
omb_aead_open(omb_aead *aead, const uint8_t key[OMB_KEY_SIZE],
			  const uint8_t nonce[OMB_NONCE_SIZE], const void *associated,
			  size_t associated_len, const uint8_t *in, size_t len,
			  uint8_t *out)
{
	int n;
	uint8_t tag[OMB_TAG_SIZE];
	EVP_CIPHER_CTX *ctx = aead->ctx;

	if (len < OMB_TAG_SIZE)
		return false;
	len -= OMB_TAG_SIZE;
	memcpy(tag, in + len, OMB_TAG_SIZE);
	must(len <= INT32_MAX && associated_len <= INT32_MAX &&
			 EVP_DecryptInit_ex2(ctx, aead->cipher, key, nonce, NULL) == 1 &&
			 EVP_DecryptUpdate(ctx, NULL, &n, associated,
							   (int) associated_len) == 1 &&
			 EVP_DecryptUpdate(ctx, out, &n, in, (int) len) == 1 &&
			 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, OMB_TAG_SIZE,
								 tag) == 1,
		 "AES-256-GCM");
	return EVP_DecryptFinal_ex(ctx, out + len, &n) == 1;
}

void
omb_aead_free(omb_aead *aead)
{
	if (aead == NULL)
		return;
	EVP_CIPHER_CTX_free(aead->ctx);
	EVP_CIPHER_free(aead->cipher);
	free(aead);
}
