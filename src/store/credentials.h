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

typedef struct omb_credentials
{
	char *access_key_id;
	char *secret_access_key;
	char *session_token; /* or NULL */
} omb_credentials;

/* Read the file; with path NULL the environment. Free with _wipe. */
extern omb_status omb_credentials_read(const char *path, omb_credentials *out,
									   omb_error *err);

/* Overwrite and free; all zeros is fine. */
extern void omb_credentials_wipe(omb_credentials *credentials);

/*
 * Who logs in at an SFTP or WebDAV server, and with what; from a file like
 * that above, of lines
 *
 *   user=..          unless the URL says who
 *   password=..
 *   key_file=..      SSH: a private key, which nobody but its owner may read
 *   passphrase=..    of it
 */
typedef struct omb_login_secrets
{
	char *user; /* NULL for what is not in the file */
	char *password;
	char *key_file;
	char *passphrase;
} omb_login_secrets;

extern omb_status omb_login_secrets_read(const char *path,
										 omb_login_secrets *out,
										 omb_error *err);
extern void omb_login_secrets_wipe(omb_login_secrets *secrets);

/* OMB_REFUSED when others can read it; what says what it is. */
extern omb_status omb_check_private(const char *path, const char *what,
									omb_error *err);

#endif
