/*
 * fingerprint.c: fingerprints of pages and ids of blobs.
 */
#include "codec/fingerprint.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SECRET_KEYS 6

struct omb_fingerprinter
{
	uint8_t secret[SECRET_KEYS * OMB_KEY_SIZE];
};

omb_fingerprinter *
omb_fingerprinter_new(const omb_keyring *keyring)
{
	omb_fingerprinter *fingerprinter = omb_malloc(sizeof(*fingerprinter));
	char purpose[] = "omsupply_backup fingerprint 0";
	int i;

	for (i = 0; i < SECRET_KEYS; i++)
	{
		purpose[sizeof(purpose) - 2] = (char) ('0' + i);
		omb_keyring_derive(keyring, purpose,
						   fingerprinter->secret + i * OMB_KEY_SIZE);
	}
	return fingerprinter;
}

void
omb_fingerprinter_free(omb_fingerprinter *fingerprinter)
{
	if (fingerprinter == NULL)
		return;
	omb_wipe(fingerprinter, sizeof(*fingerprinter));
	free(fingerprinter);
}

size_t
omb_fingerprint_count(uint64_t size)
{
	return (size_t) ((size + OMB_FINGERPRINT_BLOCK - 1) /
					 OMB_FINGERPRINT_BLOCK);
}

size_t
omb_fingerprint(const omb_fingerprinter *fingerprinter, const void *data,
				size_t len, uint64_t *out)
{
	const uint8_t *next = data;
	size_t count = 0;

	while (len > 0)
	{
		size_t part =
			len < OMB_FINGERPRINT_BLOCK ? len : OMB_FINGERPRINT_BLOCK;

		out[count++] = XXH3_64bits_withSecret(
			next, part, fingerprinter->secret, sizeof(fingerprinter->secret));
		next += part;
		len -= part;
	}
	return count;
}

void
omb_content_id(const omb_fingerprinter *fingerprinter,
			   const uint64_t *fingerprint, size_t count,
			   uint8_t out[OMB_CONTENT_ID_SIZE])
{
	XXH128_canonical_t canonical;

	/* the length of the last block is in its fingerprint already */
	XXH128_canonicalFromHash(
		&canonical, XXH3_128bits_withSecret(
						fingerprint, count * sizeof(*fingerprint),
						fingerprinter->secret, sizeof(fingerprinter->secret)));
	memcpy(out, canonical.digest, OMB_CONTENT_ID_SIZE);
}
