/*
 * s3lock.h: S3's object lock: new objects that are locked, and locks that are
 * looked at and extended.
 *
 * A lock holds a version of an object. DELETE without a version is answered
 * with success all the same, and puts a mark in front of it. Nothing here names
 * a version, so that keys need no right to remove one.
 */
#ifndef OMB_STORE_S3LOCK_H
#define OMB_STORE_S3LOCK_H

#include "store/cloud/cloudclient.h"

/*
 * Add the headers by which a new object of that name is locked, if it is to
 * be. text holds them.
 */
extern void omb_s3_lock_headers(omb_cloud_client *client, omb_cloud_call *call,
								omb_buf *text);
/*
 * Add Content-MD5, which servers want with a body that is to be locked, if the
 * object is. text holds it.
 */
extern void omb_s3_lock_md5(const omb_cloud_client *client,
							omb_cloud_call *call, omb_buf *text);

/* Has the call to do with a lock? */
extern bool omb_s3_lock_is_asked(const omb_cloud_call *call);

/* As of omb_cloud_provider. */
extern void omb_s3_put_headers(omb_cloud_client *client, const void *data,
							   size_t len, omb_cloud_call *call,
							   omb_buf *text);
extern omb_status omb_s3_object_lock(omb_cloud_client *client,
									 const char *name, omb_object_lock *lock,
									 omb_error *err);
extern omb_status omb_s3_set_object_lock(omb_cloud_client *client,
										 const char *name,
										 const omb_object_lock *lock,
										 omb_error *err);
extern omb_status omb_s3_lock_place(omb_cloud_client *client,
									omb_lock_place *place, omb_error *err);

#endif
