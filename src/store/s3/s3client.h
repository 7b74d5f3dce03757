/*
 * s3client.h: speaking S3, as other parts of the S3 store need it.
 */
#ifndef OMB_STORE_S3CLIENT_H
#define OMB_STORE_S3CLIENT_H

#include "store/cloud/cloudclient.h"
#include "store/s3/s3.h"

extern omb_status omb_s3_client_new(const omb_s3_config *config,
									omb_cloud_client **client, omb_error *err);

/* The query for a page of ListObjectsV2, as a provider makes it. */
extern void omb_s3_put_list_query(const omb_cloud_client *client,
								  const char *folder, bool recursive,
								  const char *token, omb_buf *query);

#endif
