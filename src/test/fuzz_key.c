/*
 * fuzz_key.c: key slots and recovery codes.
 */
#include "codec/key.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_keyring keyring;
	omb_secret secret;
	omb_error err = OMB_ERROR_INIT;
	char *text = omb_malloc(size + 1);

	memset(&keyring, 0, sizeof(keyring));
	/* not the kind that takes long: the fields are read alike */
	omb_secret_open(&secret);
	(void) omb_slot_open(&secret, data, size, &keyring, &err);
	omb_error_clear(&err);
	memcpy(text, data, size);
	text[size] = '\0';
	(void) omb_recovery_code_read(text, &secret, &err);
	free(text);
	return 0;
}
