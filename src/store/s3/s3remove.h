/*
 * s3remove.h: removing many objects by one request.
 */
#ifndef OMB_STORE_S3REMOVE_H
#define OMB_STORE_S3REMOVE_H

#include "store/cloud/cloudclient.h"

/* As omb_cloud_provider.remove_batch. */
extern omb_status omb_s3_remove_batch(omb_cloud_client *client,
									  const char *const *name, size_t count,
									  bool *gone, omb_error *err);

#endif
