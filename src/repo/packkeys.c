/*
 * packkeys.c: keys of packs whose header was read.
 */
#include "repo/packkeys.h"

#include "base/buffer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The first two bytes of a name, which is a hash, choose the place. */
#define PLACES 1024

typedef struct known
{
	bool is_used;
	uint8_t sha256[OMB_SHA256_SIZE];
	omb_object_key key;
} known;

struct omb_pack_keys
{
	pthread_mutex_t lock;
	known place[PLACES];
};

omb_pack_keys *
omb_pack_keys_new(void)
{
	omb_pack_keys *keys = omb_calloc(1, sizeof(*keys));

	(void) pthread_mutex_init(&keys->lock, NULL);
	return keys;
}

static known *
place_of(omb_pack_keys *keys, const uint8_t *sha256)
{
	return &keys->place[(sha256[0] << 8 | sha256[1]) % PLACES];
}

bool
omb_pack_keys_find(omb_pack_keys *keys, const uint8_t sha256[OMB_SHA256_SIZE],
				   omb_object_key *key)
{
	const known *k = place_of(keys, sha256);
	bool found;

	(void) pthread_mutex_lock(&keys->lock);
	found = k->is_used && memcmp(k->sha256, sha256, OMB_SHA256_SIZE) == 0;
	if (found)
		*key = k->key;
	(void) pthread_mutex_unlock(&keys->lock);
	return found;
}

void
omb_pack_keys_note(omb_pack_keys *keys, const uint8_t sha256[OMB_SHA256_SIZE],
				   const omb_object_key *key)
{
	known *k = place_of(keys, sha256);

	(void) pthread_mutex_lock(&keys->lock);
	k->is_used = true;
	memcpy(k->sha256, sha256, OMB_SHA256_SIZE);
	k->key = *key;
	(void) pthread_mutex_unlock(&keys->lock);
}

void
omb_pack_keys_free(omb_pack_keys *keys)
{
	if (keys == NULL)
		return;
	(void) pthread_mutex_destroy(&keys->lock);
	omb_wipe(keys, sizeof(*keys));
	free(keys);
}
