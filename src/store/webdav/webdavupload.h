/*
 * webdavupload.h: new objects on a WebDAV server.
 */
#ifndef OMB_STORE_WEBDAVUPLOAD_H
#define OMB_STORE_WEBDAVUPLOAD_H

#include "store/webdav/webdavclient.h"

/* Operations of a store (store/store.h), whose client this is. */
extern omb_upload *omb_dav_upload_new(omb_cloud_client *client,
									  omb_store *store);
extern omb_status omb_dav_upload_write(omb_upload *upload, const void *data,
									   size_t len, omb_error *err);
extern omb_status omb_dav_upload_commit(omb_upload *upload, const char *name,
										omb_error *err);
extern void omb_dav_upload_abort(omb_upload *upload);

#endif
