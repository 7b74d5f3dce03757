/*
 * ssh.h: what the files of an SFTP connection share: libssh2, and waiting for it.
 * Nobody else includes this: others use sftpconn.h.
 *
 * libssh2 is used without blocking, so that the time without a byte can be
 * limited: each call is repeated as long as the socket becomes ready.
 */
#ifndef OMB_STORE_SSH_H
#define OMB_STORE_SSH_H

#include "store/sftp/sftpconn.h"

#include <libssh2.h>
#include <libssh2_sftp.h>

struct omb_sftp_conn
{
	const omb_sftp_login *login; /* only while logging in */
	char *server;				 /* for messages */
	int fd;
	LIBSSH2_SESSION *session;
	LIBSSH2_SFTP *sftp;
	LIBSSH2_SFTP_HANDLE *file;
	char *path;		 /* of the open file */
	uint64_t offset; /* where libssh2 goes on in it */
	uint32_t stall_seconds;
	bool lost;
	bool renames_safely;
	bool cannot_sync;
	bool cannot_sync_folders;
};

/* One that is not connected yet. Whoever fails calls omb_sftp_disconnect(). */
extern omb_sftp_conn *omb_ssh_new(const omb_sftp_login *login);
extern omb_status omb_ssh_open_socket(omb_sftp_conn *conn, omb_error *err);

/* Wait until libssh2 can go on; false when the time is over. */
extern bool omb_ssh_await(const omb_sftp_conn *conn);

/* Afterwards the result is LIBSSH2_ERROR_EAGAIN when the time was over. */
#define OMB_SSH_CALL(conn, result, call) \
	do                                   \
		(result) = (call);               \
	while ((result) == LIBSSH2_ERROR_EAGAIN && omb_ssh_await(conn))

/* The same where NULL is a failure. */
#define OMB_SSH_CALL_POINTER(conn, result, call)          \
	do                                                    \
		(result) = (call);                                \
	while ((result) == NULL &&                            \
		   libssh2_session_last_errno((conn)->session) == \
			   LIBSSH2_ERROR_EAGAIN &&                    \
		   omb_ssh_await(conn))

/* What libssh2 says of the last failure. */
extern const char *omb_ssh_reason(const omb_sftp_conn *conn);
/* A call for a path failed with rc: set the error, and whether it is lost. */
extern omb_status omb_ssh_explain(omb_sftp_conn *conn, long rc,
								  const char *action, const char *path,
								  omb_error *err);
/* The same before there was a session to speak of. */
extern omb_status omb_ssh_explain_start(omb_sftp_conn *conn, int rc,
										omb_error *err);

/* As libssh2 wants it. */
extern unsigned int omb_ssh_length(const char *text);

/*
 * sshhost.c: connect to a host whose key is known, up to the handshake;
 * parameters as of omb_sftp_connect().
 */
extern omb_status omb_ssh_reach_host(const omb_sftp_login *login,
									 int *kind_known, omb_sftp_conn **conn,
									 bool *passes, omb_error *err);

/* sshlogin.c: log in there, and start SFTP. */
extern omb_status omb_ssh_log_in(omb_sftp_conn *conn, bool *passes,
								 omb_error *err);

#endif
