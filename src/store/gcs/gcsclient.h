/*
 * gcsclient.h: what the files of the Google store share.
 */
#ifndef OMB_STORE_GCSCLIENT_H
#define OMB_STORE_GCSCLIENT_H

#include "store/cloud/cloudclient.h"
#include "store/gcs/googletoken.h"

/* Creating only. */
#define OMB_GCS_CREATE_ONLY "x-goog-if-generation-match: 0"

/* What is particular to one bucket. */
typedef struct omb_gcs_bucket
{
	char *scheme; /* "https://" */
	char *host;	  /* with port */
	char *bucket;
	/* under the client's lock: */
	omb_google_token token;
	unsigned token_keys; /* which keys it was given for */
} omb_gcs_bucket;

/* Resumable uploads, as a provider sends parts (omb_cloud_provider). */
extern omb_status omb_gcs_parts_begin(omb_cloud_client *client,
									  omb_cloud_parts *parts, omb_error *err);
extern omb_status omb_gcs_parts_send(omb_cloud_client *client,
									 omb_cloud_parts *parts, omb_error *err);
extern void omb_gcs_parts_finish(const omb_cloud_client *client,
								 omb_cloud_parts *parts, omb_cloud_call *call,
								 omb_buf *text);
extern void omb_gcs_parts_drop(omb_cloud_client *client,
							   omb_cloud_parts *parts);

/* Append the header that tells the server what to compare with. */
extern void omb_gcs_put_hash(uint32_t crc, omb_buf *text);

#endif
