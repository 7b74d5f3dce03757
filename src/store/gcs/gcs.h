/*
 * gcs.h: a store in a bucket of Google Cloud Storage (store/cloud/cloud.h), by its
 * XML API.
 *
 *  - Requests are signed with an HMAC key (GOOG4-HMAC-SHA256), or carry a
 *    token of a service account (store/gcs/googletoken.h).
 *  - Uploads create only: x-goog-if-generation-match: 0. Amazon's form of it
 *    and the completion of multipart uploads know no such condition here. So
 *    what has more bytes than one part is a resumable upload, which has it.
 *  - The server compares the CRC-32C of whole objects.
 *  - Resumable uploads that never ended cannot be listed. Google forgets them
 *    after a week, so there is nothing to sweep.
 */
#ifndef OMB_STORE_GCS_H
#define OMB_STORE_GCS_H

#include "store/cloud/cloud.h"

/* NULL and 0 are the defaults. All is copied. */
typedef struct omb_gcs_config
{
	omb_cloud_options common;
	const char *bucket;		   /* required */
	const char *endpoint;	   /* "https://host[:port]"; NULL for Google's */
	const char *storage_class; /* NEARLINE, ..; NULL for the bucket's */
	const char *kms_key;	   /* NULL for the bucket's */
} omb_gcs_config;

/* Asks nothing of the server; fails when the description makes no sense. */
extern omb_status omb_store_gcs_new(const omb_gcs_config *config,
									omb_store **store, omb_error *err);

#endif
