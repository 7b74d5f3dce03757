/*
 * sftpupload.h: new objects on an SFTP server.
 */
#ifndef OMB_STORE_SFTPUPLOAD_H
#define OMB_STORE_SFTPUPLOAD_H

#include "store/sftp/sftppool.h"
#include "store/store.h"

/* Operations of a store (store/store.h), whose pool this is. */
extern omb_upload *omb_sftp_upload_new(omb_sftp_pool *pool, omb_store *store);
extern omb_status omb_sftp_upload_write(omb_upload *upload, const void *data,
										size_t len, omb_error *err);
extern omb_status omb_sftp_upload_commit(omb_upload *upload, const char *name,
										 omb_error *err);
extern void omb_sftp_upload_abort(omb_upload *upload);

#endif
