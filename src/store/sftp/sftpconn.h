/*
 * sftpconn.h: one connection to an SFTP server.
 *
 * Everything is tried once. A connection that was lost (or did not answer in
 * time) is good for nothing but being closed; whether what was asked for last
 * was done then is not known. Paths are those of the server. A connection has
 * at most one open file, and serves one thread at a time. The program must
 * ignore SIGPIPE.
 */
#ifndef OMB_STORE_SFTPCONN_H
#define OMB_STORE_SFTPCONN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct omb_sftp_conn omb_sftp_conn;

typedef struct omb_sftp_login
{
	const char *host;
	const char *port;
	const char *user;
	const char *host_key;	 /* "SHA256:..", or NULL */
	const char *known_hosts; /* a file; NULL for the usual ones */
	const char *key_file;	 /* private, or NULL */
	const char *passphrase;	 /* of it, or NULL */
	const char *password;	 /* or NULL */
	uint32_t connect_seconds;
	uint32_t stall_seconds; /* without a byte in either direction */
} omb_sftp_login;

typedef struct omb_sftp_attributes
{
	bool is_folder;
	bool is_file;
	uint64_t size;
	int64_t changed; /* seconds since 1970 */
} omb_sftp_attributes;

typedef enum omb_sftp_mode
{
	OMB_SFTP_READ,	 /* a directory too, to sync it */
	OMB_SFTP_CREATE, /* a new file, to write */
	OMB_SFTP_RESUME	 /* write to one that is there */
} omb_sftp_mode;

/* Anything but OMB_OK ends the listing, which then returns it. */
typedef omb_status (*omb_sftp_visit)(const char *name,
									 const omb_sftp_attributes *attributes,
									 void *arg, omb_error *err);

/*
 * Connect, check the host's key and log in. *kind is the kind of key that the
 * host was known by last time, 0 at first. *passes tells whether a failure
 * may pass.
 */
extern omb_status omb_sftp_connect(const omb_sftp_login *login, int *kind,
								   omb_sftp_conn **conn, bool *passes,
								   omb_error *err);
extern void omb_sftp_disconnect(omb_sftp_conn *conn);

extern bool omb_sftp_is_lost(const omb_sftp_conn *conn);
/* Not used, is it still there? */
extern bool omb_sftp_is_alive(const omb_sftp_conn *conn);
/* It is known that a rename never replaces. */
extern bool omb_sftp_renames_safely(const omb_sftp_conn *conn);

/* OMB_NOT_FOUND is what the server says here, about this path only. */
extern omb_status omb_sftp_stat(omb_sftp_conn *conn, const char *path,
								omb_sftp_attributes *out, omb_error *err);
/* Names "." and ".." are left out; in no order. */
extern omb_status omb_sftp_list(omb_sftp_conn *conn, const char *path,
								omb_sftp_visit visit, void *arg,
								omb_error *err);
extern omb_status omb_sftp_rename(omb_sftp_conn *conn, const char *from,
								  const char *to, omb_error *err);
extern omb_status omb_sftp_unlink(omb_sftp_conn *conn, const char *path,
								  omb_error *err);
extern omb_status omb_sftp_mkdir(omb_sftp_conn *conn, const char *path,
								 omb_error *err);
extern omb_status omb_sftp_rmdir(omb_sftp_conn *conn, const char *path,
								 omb_error *err);
/* Does the file system with this directory have next to no space? */
extern bool omb_sftp_is_full(omb_sftp_conn *conn, const char *path);

/*
 * Open a file in the place of the one that is open. attributes may be NULL.
 */
extern omb_status omb_sftp_open(omb_sftp_conn *conn, const char *path,
								omb_sftp_mode mode,
								omb_sftp_attributes *attributes,
								omb_error *err);
/* The path of the open file, or NULL. */
extern const char *omb_sftp_opened(const omb_sftp_conn *conn);
/*
 * Read some bytes, at least one; OMB_DAMAGED at the end of the file. More is
 * asked for ahead, the more the larger len is: read on where it ended.
 */
extern omb_status omb_sftp_read(omb_sftp_conn *conn, uint64_t offset,
								void *data, size_t len, size_t *read,
								omb_error *err);
/*
 * Send all bytes, and return when the server has confirmed the first *written
 * of them, at least one. Go on with the rest, and what comes behind it, at
 * offset + *written: what was sent is not sent again.
 */
extern omb_status omb_sftp_write(omb_sftp_conn *conn, uint64_t offset,
								 const void *data, size_t len, size_t *written,
								 omb_error *err);
/* Sync the open file, as far as the server can; all was written. */
extern omb_status omb_sftp_sync(omb_sftp_conn *conn, omb_error *err);
extern omb_status omb_sftp_close(omb_sftp_conn *conn, omb_error *err);
/* Make the entries of a directory durable, as far as the server can. */
extern omb_status omb_sftp_sync_folder(omb_sftp_conn *conn, const char *path,
									   omb_error *err);

#endif
