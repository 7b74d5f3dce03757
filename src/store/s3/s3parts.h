/*
 * s3parts.h: multipart uploads, as a provider does them (omb_cloud_provider).
 */
#ifndef OMB_STORE_S3PARTS_H
#define OMB_STORE_S3PARTS_H

#include "store/cloud/cloudclient.h"

extern omb_status omb_s3_parts_begin(omb_cloud_client *client,
									 omb_cloud_parts *parts, omb_error *err);
extern omb_status omb_s3_parts_send(omb_cloud_client *client,
									omb_cloud_parts *parts, omb_error *err);
extern void omb_s3_parts_finish(const omb_cloud_client *client,
								omb_cloud_parts *parts, omb_cloud_call *call,
								omb_buf *text);
extern bool omb_s3_parts_finished(const omb_cloud_answer *answer);
extern void omb_s3_parts_drop(omb_cloud_client *client,
							  omb_cloud_parts *parts);

/* Abort uploads that nobody has added to for so long. */
extern omb_status omb_s3_sweep(omb_cloud_client *client, uint64_t seconds,
							   bool remove, omb_store_swept *swept,
							   omb_error *err);

#endif
