/*
 * credentials.h: the keys with which a cloud store is used.
 *
 * From a file of lines
 *
 *   access_key_id=..
 *   secret_access_key=..
 *   session_token=..        only with temporary keys
 *
 * (empty lines and lines that begin with "#" are skipped), which nobody but
 * its owner may read; or from the environment, AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. No error text holds a value.
 */
#ifndef OMB_STORE_CREDENTIALS_H
#define OMB_STORE_CREDENTIALS_H

#include "base/error.h"

#include <stdbool.h>

typedef struct omb_credentials
{
	char *access_key_id;
	char *secret_access_key;
	char *session_token; /* or NULL */
} omb_credentials;

/* Read the file; with path NULL the environment. Free with _wipe. */
extern omb_status omb_credentials_read(const char *path, omb_credentials *out,
									   omb_error *err);

/* Are they the same? */
extern bool omb_credentials_same(const omb_credentials *a,
								 const omb_credentials *b);

/* Overwrite and free; all zeros is fine. */
extern void omb_credentials_wipe(omb_credentials *credentials);

#endif
