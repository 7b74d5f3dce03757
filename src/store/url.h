/*
 * url.h: naming stores by URL.
 *
 *   /dir, dir              a directory
 *   file:///dir            the same; %XX stands for a byte
 *   s3://bucket/prefix     ?name=value&name=value for what differs from AWS:
 *                          endpoint, region, style (path, virtual), ca-file,
 *                          storage-class, sse, kms-key, and sole-user=yes
 *                          when no other process uses it (store/cloud/cloud.h)
 *   azblob://account/container/prefix
 *                          ?endpoint, ca-file, access-tier, sole-user
 *   gs://bucket/prefix     ?endpoint, ca-file, storage-class, kms-key, sole-user
 *   sftp://[user@]host[:port]/directory
 *                          ?host-key (SHA256:..), known-hosts, sole-user; a
 *                          directory "~/.." is below the one where a login
 *                          begins (store/sftp/sftp.h)
 *   webdav://host[:port]/folder, webdavs:// with TLS
 *                          ?ca-file, allow-plain, sole-user (store/webdav/webdav.h)
 *
 * A URL is shown in logs, lists of processes and settings, so it holds no
 * secret: these are in the file of credentials.
 */
#ifndef OMB_STORE_URL_H
#define OMB_STORE_URL_H

#include "store/cloud/cloudclient.h"
#include "store/store.h"

#define OMB_URL_OPTIONS_MAX 16

typedef struct omb_url_option
{
	char *name;
	char *value;
} omb_url_option;

/* A URL cut into pieces, with %XX replaced. All texts are owned. */
typedef struct omb_url
{
	char *scheme; /* in lower case; "file" for a plain directory */
	char *user;	  /* of sftp; NULL when none is named */
	char *host;	  /* the bucket of s3; "" for a directory */
	char *path;	  /* of s3 without slashes at both ends; of file as given */
	omb_url_option option[OMB_URL_OPTIONS_MAX];
	size_t option_count;
} omb_url;

/* OMB_USAGE when it is none. */
extern omb_status omb_url_parse(const char *text, omb_url *out,
								omb_error *err);
extern void omb_url_clear(omb_url *url);
/* The value of an option, or NULL. */
extern const char *omb_url_option_get(const omb_url *url, const char *name);

/*
 * The local directory that a location means, in new memory; NULL when it means
 * something else, or nothing.
 */
extern char *omb_url_directory(const char *location);

/*
 * A location with a relative directory made absolute, as it can be given to
 * another process; in new memory.
 */
extern char *omb_url_absolute(const char *location);

/*
 * Open the store at a location: a URL, or a directory. credentials is the
 * file with the secrets, or NULL. OMB_USAGE when the location makes no
 * sense, OMB_UNSUPPORTED for a kind of store that this version lacks.
 * Nothing need be there yet.
 */
extern omb_status omb_store_open_url(const char *location,
									 const char *credentials, omb_store **out,
									 omb_error *err);

/*
 * The same with other defaults for stores in clouds; what the URL says goes
 * before them.
 */
extern omb_status omb_store_open_url_as(const char *location,
										const char *credentials,
										const omb_cloud_options *defaults,
										omb_store **out, omb_error *err);

#endif
