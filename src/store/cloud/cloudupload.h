/*
 * cloudupload.h: writing objects to a cloud; see cloud.h for what is promised.
 */
#ifndef OMB_STORE_CLOUDUPLOAD_H
#define OMB_STORE_CLOUDUPLOAD_H

#include "store/cloud/cloudclient.h"

/* What all uploads of a store share. */
typedef struct omb_cloud_uploader omb_cloud_uploader;

extern omb_cloud_uploader *omb_cloud_uploader_new(omb_cloud_client *client);
extern void omb_cloud_uploader_free(omb_cloud_uploader *uploader);

/* As the operations of a store; an omb_upload belongs to store. */
extern omb_upload *omb_cloud_upload_new(omb_cloud_uploader *uploader,
										omb_store *store);
extern omb_status omb_cloud_upload_write(omb_upload *upload, const void *data,
										 size_t len, omb_error *err);
extern omb_status omb_cloud_upload_commit(omb_upload *upload, const char *name,
										  omb_error *err);
extern void omb_cloud_upload_abort(omb_upload *upload);

#endif
