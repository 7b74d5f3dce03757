/*
 * sftp.h: a store in a directory of an SFTP server. An object is a file under
 * its own name, as in a local directory (store/directory.c).
 *
 * How the promises of store/store.h are kept:
 *
 *  - an upload is written to tmp/<random>, synced (fsync@openssh.com) and
 *    renamed; the directory is synced too where the server lets one open it.
 *    A server that knows no sync makes objects as durable as it likes.
 *  - version 3 of the protocol forbids that a rename replaces a file, and
 *    OpenSSH keeps to that, atomically. On any other server the name is
 *    looked for before, and two who create the same name in the same instant
 *    may not be kept apart there.
 *  - absent is said only when the server says that there is no such file, and
 *    that the directory of the store is there. Nobody but the administrator
 *    makes that directory: where a file system is not mounted, there must be
 *    no empty store.
 *  - who the server is, is always checked: by a fingerprint, or by the keys
 *    of known hosts. A key that is not known is refused.
 *
 * The lock is that of a bucket (store/cloud/cloud.h): a shared one is a note in this
 * process, an exclusive one needs a sole user.
 */
#ifndef OMB_STORE_SFTP_H
#define OMB_STORE_SFTP_H

#include "store/cloud/cloudclient.h"

/* NULL and 0 are the defaults. All is copied. */
typedef struct omb_sftp_config
{
	/*
	 * The prefix is the directory: absolute, without "/" at both ends, or
	 * "~/.." below the one where a login begins. A credentials file is
	 * required.
	 */
	omb_cloud_options common;
	const char *host;		 /* required: name or address */
	const char *port;		 /* 22 */
	const char *user;		 /* of the credentials, or of this process */
	const char *host_key;	 /* "SHA256:.."; or */
	const char *known_hosts; /* a file; ~/.ssh/known_hosts and the system's */
} omb_sftp_config;

/* Does not connect; fails when the description makes no sense. */
extern omb_status omb_store_sftp_new(const omb_sftp_config *config,
									 omb_store **store, omb_error *err);

#endif
