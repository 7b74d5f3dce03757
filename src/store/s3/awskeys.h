/*
 * awskeys.h: the keys of S3, from where Amazon's own programs take them.
 *
 * The first of these that there is:
 *
 *   the file            store/credentials.h
 *   the environment     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 *                       AWS_SESSION_TOKEN
 *   a web identity      AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN: the
 *                       token is exchanged for keys of the role
 *   the container       AWS_CONTAINER_CREDENTIALS_FULL_URI or .._RELATIVE_URI,
 *                       with AWS_CONTAINER_AUTHORIZATION_TOKEN or .._TOKEN_FILE
 *   the machine         its metadata service, unless AWS_EC2_METADATA_DISABLED
 *                       is "true"; only by its second version, which asks for
 *                       a token first
 *
 * AWS_EC2_METADATA_SERVICE_ENDPOINT and AWS_ENDPOINT_URL_STS name other servers
 * than the usual ones. No proxy is used but for the web identity.
 */
#ifndef OMB_STORE_AWSKEYS_H
#define OMB_STORE_AWSKEYS_H

#include "store/credentials.h"

#include <stddef.h>

/* With a file's path, or NULL. Free with omb_credentials_wipe. */
extern omb_status omb_aws_keys_read(const char *path, omb_credentials *out,
									omb_error *err);

/*
 * What a metadata service or a container's server answers, which is JSON.
 * False when it is no whole set of keys; then there is nothing to free.
 */
extern bool omb_aws_keys_parse(const void *data, size_t len,
							   omb_credentials *out);

/* May keys be asked for there? Others could listen to plain HTTP. */
extern bool omb_aws_container_url_is_safe(const char *url);

#endif
