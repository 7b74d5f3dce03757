/*
 * webdav.h: a store in a folder of a WebDAV server. An object is a file under
 * its own name.
 *
 * How the promises of store/store.h are kept:
 *
 *  - an upload is PUT to tmp/<random> and then moved, with Overwrite: F. Servers
 *    look whether the name is taken and then rename: two who create the same
 *    name in the same instant may not be kept apart. What is durable, only the
 *    server knows.
 *  - absent is said only when the server says so, and has the folder of the
 *    store, which nobody but the administrator makes.
 *  - a folder is never removed: DELETE takes along what somebody is just
 *    putting into it. Folders without objects are not shown.
 *
 * The lock is that of store/sole.h.
 */
#ifndef OMB_STORE_WEBDAV_H
#define OMB_STORE_WEBDAV_H

#include "store/cloud/cloudclient.h"

typedef struct omb_webdav_config
{
	/* The prefix is the path of the folder. A credentials file is required. */
	omb_cloud_options common;
	const char *host; /* with a port, where it is not the usual one */
	bool tls;
	bool allow_plain; /* without TLS, and not to this machine */
} omb_webdav_config;

/* Asks nothing of the server; fails when the description makes no sense. */
extern omb_status omb_store_webdav_new(const omb_webdav_config *config,
									   omb_store **store, omb_error *err);

#endif
