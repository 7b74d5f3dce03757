/*
 * packkeys.h: keys of packs whose header was read, for who opens them again: in
 * a store far away reading 64 bytes takes as long as reading a million.
 */
#ifndef OMB_REPO_PACKKEYS_H
#define OMB_REPO_PACKKEYS_H

#include "codec/crypto.h"
#include "codec/seal.h"

/* May be used by several threads at once. */
typedef struct omb_pack_keys omb_pack_keys;

extern omb_pack_keys *omb_pack_keys_new(void);
/* The key of the pack of that name; false when it is not known. */
extern bool omb_pack_keys_find(omb_pack_keys *keys,
							   const uint8_t sha256[OMB_SHA256_SIZE],
							   omb_object_key *key);
/* Some are forgotten when there are many. */
extern void omb_pack_keys_note(omb_pack_keys *keys,
							   const uint8_t sha256[OMB_SHA256_SIZE],
							   const omb_object_key *key);
/* Wipes them. NULL is fine. */
extern void omb_pack_keys_free(omb_pack_keys *keys);

#endif
