/*
 * webdavclient.h: requests to a WebDAV server.
 */
#ifndef OMB_STORE_WEBDAVCLIENT_H
#define OMB_STORE_WEBDAVCLIENT_H

#include "store/webdav/webdav.h"
#include "store/webdav/webdavxml.h"

extern omb_status omb_dav_client_new(const omb_webdav_config *config,
									 omb_cloud_client **client,
									 omb_error *err);

/* Append the URL of a name. */
extern void omb_dav_url(const omb_cloud_client *client, const char *name,
						omb_buf *out);

/*
 * What is at a name, and directly in it when it is a folder and with is true;
 * NULL for now, or where the server's time goes. OMB_NOT_FOUND only when the
 * folder of the store is there.
 */
extern omb_status omb_dav_find(omb_cloud_client *client, const char *name,
							   bool with, omb_dav_list *list, int64_t *now,
							   omb_error *err);
/* Only whether there is an object, and its size. */
extern omb_status omb_dav_look(omb_cloud_client *client, const char *name,
							   uint64_t *size, omb_error *err);

/*
 * A request without content in either direction. *status is that of the
 * answer, or 0; once: it is not tried again.
 */
extern omb_status omb_dav_do(omb_cloud_client *client, const char *method,
							 const char *action, const char *name,
							 const char *const *header, size_t header_count,
							 bool once, int *status, omb_error *err);

#endif
