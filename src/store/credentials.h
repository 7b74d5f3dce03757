/*
 * credentials.h: the keys with which a cloud store is used.
 *
 * From a file of lines
 *
 *   access_key_id=..        S3, Google
 *   secret_access_key=..
 *   session_token=..        S3, only with temporary keys
 *   account_key=..          Azure; or
 *   sas_token=..
 *   user=..                 SFTP, WebDAV, unless the URL says who
 *   password=..
 *   key_file=..             SFTP: a private key, private like this file
 *   passphrase=..           of it
 *
 *   proxy=http://host:port  any of them: the way there, unless the
 *   proxy_user=..           environment says it (https_proxy, http_proxy,
 *   proxy_password=..       no_proxy)
 *
 * (empty lines and lines that begin with "#" are skipped), which nobody but
 * its owner may read. Google's file may also be the JSON of a service account
 * as it is. Without a file from the environment:
 *
 *   S3      AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; what
 *           else there is in store/s3/awskeys.h
 *   Azure   AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN
 *   Google  GOOGLE_ACCESS_KEY_ID, GOOGLE_SECRET_ACCESS_KEY
 *
 * No error text holds a value.
 */
#ifndef OMB_STORE_CREDENTIALS_H
#define OMB_STORE_CREDENTIALS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct omb_credentials
{
	char *access_key_id;
	char *secret_access_key;
	char *session_token; /* or NULL */
	char *account_key;	 /* in base64 */
	char *sas_token;	 /* "name=value&..", encoded, without "?" */
	char *json;			 /* of a service account */
	char *user;
	char *password;
	char *key_file;
	char *passphrase;
	char *proxy;
	char *proxy_user;
	char *proxy_password;
	int64_t expires; /* microseconds since 1970; 0: not known, or never */
} omb_credentials;

/*
 * Read the file; with path NULL the environment. Those of S3 and Google are
 * key and secret, of Azure key or token, of Google the JSON. Free with _wipe.
 */
extern omb_status omb_credentials_read(const char *path, omb_credentials *out,
									   omb_error *err);
extern omb_status omb_credentials_read_azure(const char *path,
											 omb_credentials *out,
											 omb_error *err);
extern omb_status omb_credentials_read_google(const char *path,
											  omb_credentials *out,
											  omb_error *err);

/* Of SFTP and WebDAV; from a file only. */
extern omb_status omb_credentials_read_login(const char *path,
											 omb_credentials *out,
											 omb_error *err);

/* OMB_REFUSED when others can read it; what says what it is. */
extern omb_status omb_check_private(const char *path, const char *what,
									omb_error *err);

/* Are they the same? */
extern bool omb_credentials_same(const omb_credentials *a,
								 const omb_credentials *b);

/* Overwrite and free; all zeros is fine. */
extern void omb_credentials_wipe(omb_credentials *credentials);

#endif
