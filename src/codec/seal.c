/*
 * seal.c: object headers, keys of objects, sealing of blobs.
 */
#include "codec/seal.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT_VERSION 1

static const char magic[8] = { 'o', 'm', 's', 'u', 'p', 'p', 'l', 'y' };
static const char object_info[] = "omsupply_backup object";

struct omb_coder
{
	omb_compressor *compressor;
	omb_aead *aead;
	uint8_t scratch[OMB_BLOB_MAX];
};

static void
derive_object_key(const omb_keyring *keyring, uint16_t version,
				  const uint8_t header[OMB_OBJECT_HEADER_SIZE],
				  omb_object_key *key)
{
	uint8_t info[sizeof(object_info) - 1 + 32];

	memcpy(info, object_info, sizeof(object_info) - 1);
	memcpy(info + sizeof(object_info) - 1, header, 32);
	omb_hkdf(keyring->key[version - 1], OMB_KEY_SIZE, header + 32, 32, info,
			 sizeof(info), key->key, OMB_KEY_SIZE);
}

void
omb_object_begin(const omb_keyring *keyring, char kind,
				 uint8_t header[OMB_OBJECT_HEADER_SIZE], omb_object_key *key)
{
	memset(header, 0, OMB_OBJECT_HEADER_SIZE);
	memcpy(header, magic, sizeof(magic));
	header[8] = (uint8_t) kind;
	header[9] = FORMAT_VERSION;
	omb_set_u16(header + 10, keyring->count);
	memcpy(header + 16, keyring->repository_id, OMB_REPOSITORY_ID_SIZE);
	omb_random(header + 32, 32);
	derive_object_key(keyring, keyring->count, header, key);
}

omb_status
omb_object_open(const omb_keyring *keyring, char kind,
				const uint8_t header[OMB_OBJECT_HEADER_SIZE],
				omb_object_key *key, omb_error *err)
{
	uint16_t version = omb_get_u16(header + 10);

	if (memcmp(header, magic, sizeof(magic)) != 0 ||
		header[8] != (uint8_t) kind)
		return omb_error_set(err, OMB_DAMAGED,
							 "the header is not that of such an object");
	if (header[9] != FORMAT_VERSION || omb_get_u32(header + 12) != 0)
	{
		(void) omb_error_set(err, OMB_UNSUPPORTED,
							 "format version %u is not supported", header[9]);
		omb_error_hint(err, "Use a newer version of omsupply_backup.");
		return err->status;
	}
	if (memcmp(header + 16, keyring->repository_id, OMB_REPOSITORY_ID_SIZE) !=
		0)
		return omb_error_set(err, OMB_DAMAGED,
							 "the object belongs to another repository");
	if (version == 0 || version > keyring->count)
		return omb_error_set(err, OMB_WRONG_KEY,
							 "version %u of the repository key is missing",
							 version);
	derive_object_key(keyring, version, header, key);
	return OMB_OK;
}

void
omb_keyring_derive(const omb_keyring *keyring, const char *purpose,
				   uint8_t out[OMB_KEY_SIZE])
{
	omb_hkdf(keyring->key[0], OMB_KEY_SIZE, keyring->repository_id,
			 OMB_REPOSITORY_ID_SIZE, purpose, strlen(purpose), out,
			 OMB_KEY_SIZE);
}

omb_coder *
omb_coder_new(const omb_compression *compression)
{
	static const omb_compression none = { OMB_METHOD_NONE, 0 };
	omb_coder *coder = omb_malloc(sizeof(*coder));

	coder->compressor = omb_compressor_new(compression ? compression : &none);
	coder->aead = omb_aead_new();
	return coder;
}

/* Nonce and associated data of a blob, as in the comment of the header. */
static void
describe_blob(uint64_t index, bool last, uint8_t method, size_t raw_len,
			  uint8_t nonce[OMB_NONCE_SIZE], uint8_t associated[16])
{
	memset(nonce, 0, OMB_NONCE_SIZE);
	omb_set_u64(nonce, index);
	memset(associated, 0, 16);
	omb_set_u64(associated, index);
	omb_set_u32(associated + 8, (uint32_t) raw_len);
	associated[12] = method;
	associated[13] = last ? 1 : 0;
}

size_t
omb_coder_encode(omb_coder *coder, const omb_object_key *key, uint64_t index,
				 bool last, const void *plain, size_t len, uint8_t *out,
				 uint8_t *method)
{
	uint8_t nonce[OMB_NONCE_SIZE];
	uint8_t associated[16];
	const void *in = plain;
	size_t size = 0;

	if (len <= OMB_BLOB_MAX)
		size = omb_compress(coder->compressor, plain, len, coder->scratch,
							method);
	if (size > 0)
		in = coder->scratch;
	else
	{
		*method = OMB_METHOD_NONE;
		size = len;
	}
	describe_blob(index, last, *method, len, nonce, associated);
	omb_aead_seal(coder->aead, key->key, nonce, associated, sizeof(associated),
				  in, size, out);
	return size + OMB_TAG_SIZE;
}

omb_status
omb_coder_decode(omb_coder *coder, const omb_object_key *key, uint64_t index,
				 bool last, uint8_t method, const uint8_t *sealed, size_t len,
				 uint8_t *out, size_t raw_len, omb_error *err)
{
	uint8_t nonce[OMB_NONCE_SIZE];
	uint8_t associated[16];

	/* a blob never grows, so these bound every length before use */
	if (raw_len > OMB_BLOB_MAX || len < OMB_TAG_SIZE ||
		len - OMB_TAG_SIZE > raw_len)
		return omb_error_set(err, OMB_DAMAGED,
							 "sizes %zu and %zu of a blob are impossible", len,
							 raw_len);
	describe_blob(index, last, method, raw_len, nonce, associated);
	if (!omb_aead_open(coder->aead, key->key, nonce, associated,
					   sizeof(associated), sealed, len, coder->scratch))
		return omb_error_set(err, OMB_DAMAGED, "the seal of a blob is broken");
	return omb_decompress(coder->compressor, method, coder->scratch,
						  len - OMB_TAG_SIZE, out, raw_len, err);
}

void
omb_coder_free(omb_coder *coder)
{
	if (coder == NULL)
		return;
	omb_compressor_free(coder->compressor);
	omb_aead_free(coder->aead);
	omb_wipe(coder->scratch, sizeof(coder->scratch));
	free(coder);
}
