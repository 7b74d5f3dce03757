/*
 * s3remove.h: removing objects from a bucket, one or many at once.
 */
#ifndef OMB_STORE_S3REMOVE_H
#define OMB_STORE_S3REMOVE_H

#include "store/s3client.h"

/* OMB_NOT_FOUND when there is none. */
extern omb_status omb_s3_remove(omb_s3_client *client, const char *name,
								omb_error *err);

/*
 * As the operation of a store. OMB_UNSUPPORTED, with nothing removed, when the
 * server does not know requests for many.
 */
extern omb_status omb_s3_remove_many(omb_s3_client *client,
									 const char *const *name, size_t count,
									 omb_store_removed removed, void *arg,
									 omb_error *err);

#endif
