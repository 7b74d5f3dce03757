/*
 * s3upload.h: writing objects to a bucket; see s3.h for what is promised.
 */
#ifndef OMB_STORE_S3UPLOAD_H
#define OMB_STORE_S3UPLOAD_H

#include "store/s3client.h"

/* What all uploads of a store share. */
typedef struct omb_s3_uploader omb_s3_uploader;

extern omb_s3_uploader *omb_s3_uploader_new(omb_s3_client *client,
											const omb_s3_config *config);
extern void omb_s3_uploader_free(omb_s3_uploader *uploader);

/* As the operations of a store; an omb_upload belongs to store. */
extern omb_upload *omb_s3_upload_new(omb_s3_uploader *uploader,
									 omb_store *store);
extern omb_status omb_s3_upload_write(omb_upload *upload, const void *data,
									  size_t len, omb_error *err);
extern omb_status omb_s3_upload_commit(omb_upload *upload, const char *name,
									   omb_error *err);
extern void omb_s3_upload_abort(omb_upload *upload);

#endif
