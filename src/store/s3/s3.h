/*
 * s3.h: a store in a bucket of Amazon S3 or of a server that speaks as it
 * does (store/cloud/cloud.h).
 *
 *  - What has more bytes than one part is a multipart upload. The server
 *    checks the SHA-256 of everything it gets.
 *  - Uploads are asked to create only (If-None-Match: *). Where a server does
 *    not know that, the object is looked for before, and two who create the
 *    same name in the same instant are not kept apart.
 */
#ifndef OMB_STORE_S3_H
#define OMB_STORE_S3_H

#include "store/cloud/cloud.h"

typedef enum omb_s3_style
{
	OMB_S3_STYLE_AUTO,	 /* virtual host at Amazon, path elsewhere */
	OMB_S3_STYLE_PATH,	 /* https://endpoint/bucket/key */
	OMB_S3_STYLE_VIRTUAL /* https://bucket.endpoint/key */
} omb_s3_style;

/* NULL and 0 are the defaults. All is copied. */
typedef struct omb_s3_config
{
	omb_cloud_options common;
	const char *bucket;	  /* required */
	const char *endpoint; /* "https://host[:port]"; NULL for Amazon's */
	const char *region;	  /* us-east-1; learned when it is another */
	omb_s3_style style;
	const char *storage_class; /* STANDARD_IA, ..; NULL for the bucket's */
	const char *encryption;	   /* AES256, aws:kms; NULL for the bucket's */
	const char *kms_key_id;	   /* with aws:kms */
	omb_lock_rule lock;		   /* of new objects */
} omb_s3_config;

/* Asks nothing of the server; fails when the description makes no sense. */
extern omb_status omb_store_s3_new(const omb_s3_config *config,
								   omb_store **store, omb_error *err);

#endif
