/*
 * key.h: the ways to the repository key: key file and recovery code.
 *
 * The repository key is random and is stored only wrapped, in slots. A slot
 * is a small object keys/<id> in the text form of base/fields.h:
 *
 *   format=1
 *   kind=file|code|open
 *   version=<version of the repository key it holds>
 *   salt=<32 bytes in hex>
 *   n=, r=, p=              scrypt's costs, for kind code
 *   check=<16 bytes in hex> tells a wrong key from a damaged slot
 *   wrapped=<48 bytes in hex>
 *
 * secret -> 64 bytes: for "file" HKDF-SHA-256 of the 32 random bytes of the
 * key file, for "code" scrypt of the recovery code without dashes, for "open"
 * (an unencrypted repository) HKDF of 32 zero bytes. The first 32 bytes are
 * the wrapping key, the next 16 the check. wrapped = AES-256-GCM of the
 * repository key with a zero nonce (the salt makes the wrapping key unique);
 * associated data: repository id, version (2 bytes), kind as text.
 *
 * A key file is text:
 *
 *   # comment lines
 *   format=1
 *   repository=<id in hex>
 *   key=<32 bytes in hex>
 *
 * A recovery code is 28 characters of Crockford's base 32 in groups of four:
 * 26 of random bits and 2 of checksum (the first 10 bits of the SHA-256 of
 * the 26 characters). Reading takes lower case, leaves out dashes and spaces
 * and takes O for 0, I and L for 1.
 */
#ifndef OMB_CODEC_KEY_H
#define OMB_CODEC_KEY_H

#include "base/buffer.h"
#include "base/error.h"
#include "codec/seal.h"

#include <stdbool.h>

/* 26 characters of code, 2 of checksum, 6 dashes, terminator */
#define OMB_RECOVERY_CODE_TEXT 35

typedef enum omb_secret_kind
{
	OMB_SECRET_FILE,
	OMB_SECRET_CODE,
	OMB_SECRET_OPEN
} omb_secret_kind;

/* Something that can open a slot. Wipe it after use. */
typedef struct omb_secret
{
	omb_secret_kind kind;
	uint8_t key[OMB_KEY_SIZE];		   /* FILE and OPEN (zeros) */
	char code[OMB_RECOVERY_CODE_TEXT]; /* CODE, without dashes */
} omb_secret;

/* New random secrets. */
extern void omb_secret_new_file(omb_secret *secret);
extern void omb_secret_new_code(omb_secret *secret,
								char text[OMB_RECOVERY_CODE_TEXT]);
/* The secret of an unencrypted repository, which everybody knows. */
extern void omb_secret_open(omb_secret *secret);

/*
 * Write and read a key file. Reading refuses a file that others can read, is
 * owned by somebody else or is no regular file (OMB_REFUSED), one that is no
 * key file (OMB_DAMAGED) and one of another repository (OMB_WRONG_KEY).
 * Writing never replaces a file.
 */
extern omb_status omb_key_file_write(const char *path,
									 const omb_secret *secret,
									 const uint8_t *repository_id,
									 omb_error *err);
extern omb_status omb_key_file_read(const char *path,
									const uint8_t *repository_id,
									omb_secret *secret, omb_error *err);

/* A code as typed by a person; OMB_USAGE when it has a typing error. */
extern omb_status omb_recovery_code_read(const char *text, omb_secret *secret,
										 omb_error *err);

/* The content of a new slot for version v of the keyring's keys. */
extern void omb_slot_write(const omb_keyring *keyring, uint16_t version,
						   const omb_secret *secret, omb_buf *out);

/*
 * Open a slot, adding the key it holds to the keyring. OMB_NOT_FOUND when the
 * slot is for another kind of secret, OMB_WRONG_KEY when the secret does not
 * fit, OMB_DAMAGED, OMB_UNSUPPORTED.
 */
extern omb_status omb_slot_open(const omb_secret *secret, const void *data,
								size_t len, omb_keyring *keyring,
								omb_error *err);

#endif
