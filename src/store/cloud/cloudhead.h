/*
 * cloudhead.h: is there an object in the bucket, and which?
 */
#ifndef OMB_STORE_CLOUDHEAD_H
#define OMB_STORE_CLOUDHEAD_H

#include "store/cloud/cloudclient.h"

/* 128 random bits as hex digits, and a terminator. */
#define OMB_CLOUD_MARK_TEXT 33

typedef struct omb_cloud_found
{
	uint64_t size;
	char etag[128];					/* as the server writes it; may be "" */
	char mark[OMB_CLOUD_MARK_TEXT]; /* of its upload, or "" */
} omb_cloud_found;

/*
 * Look at an object. OMB_NOT_FOUND only when the server says that there is no
 * object of that name, in a bucket that is there.
 */
extern omb_status omb_cloud_head(omb_cloud_client *client, const char *name,
								 omb_cloud_found *found, omb_error *err);

/*
 * The same with at most len bytes of the beginning, which are appended to
 * start: one request for a small object.
 */
extern omb_status omb_cloud_peek(omb_cloud_client *client, const char *name,
								 size_t len, omb_cloud_found *found,
								 omb_buf *start, omb_error *err);

#endif
