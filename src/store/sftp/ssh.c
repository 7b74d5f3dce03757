/*
 * ssh.c: reaching an SSH server, waiting for it, and saying what went wrong.
 */
#include "store/sftp/ssh.h"

#include "base/buffer.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

unsigned int
omb_ssh_length(const char *text)
{
	return (unsigned int) strlen(text);
}

omb_sftp_conn *
omb_ssh_new(const omb_sftp_login *login)
{
	omb_sftp_conn *conn = omb_calloc(1, sizeof(*conn));

	conn->login = login;
	conn->server = strcmp(login->port, "22") == 0 ?
					   omb_strdup(login->host) :
					   omb_format("%s:%s", login->host, login->port);
	conn->fd = -1;
	conn->stall_seconds = login->stall_seconds;
	return conn;
}

/* ---- waiting and failing ---- */

bool
omb_ssh_await(const omb_sftp_conn *conn)
{
	int directions = libssh2_session_block_directions(conn->session);
	struct pollfd p = { .fd = conn->fd, .events = POLLIN };
	int rc;

	if ((directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0)
		p.events = (directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0 ?
					   POLLIN | POLLOUT :
					   POLLOUT;
	do
		rc = poll(&p, 1, (int) conn->stall_seconds * 1000);
	while (rc < 0 && errno == EINTR);
	return rc > 0;
}

const char *
omb_ssh_reason(const omb_sftp_conn *conn)
{
	char *text = NULL;

	(void) libssh2_session_last_error(conn->session, &text, NULL, 0);
	return text != NULL && *text != '\0' ? text : "no reason given";
}

omb_status
omb_ssh_explain(omb_sftp_conn *conn, long rc, const char *action,
				const char *path, omb_error *err)
{
	static const struct
	{
		unsigned long code;
		omb_status status;
		const char *text;
	} answers[] = {
		{ LIBSSH2_FX_NO_SUCH_FILE, OMB_NOT_FOUND, "no such file" },
		{ LIBSSH2_FX_NO_SUCH_PATH, OMB_NOT_FOUND, "no such path" },
		{ LIBSSH2_FX_PERMISSION_DENIED, OMB_FAILED, "permission denied" },
		{ LIBSSH2_FX_OP_UNSUPPORTED, OMB_UNSUPPORTED, "not supported" },
		/* how OpenSSH says EINVAL */
		{ LIBSSH2_FX_BAD_MESSAGE, OMB_UNSUPPORTED, "not possible" },
		{ LIBSSH2_FX_FILE_ALREADY_EXISTS, OMB_EXISTS, "exists already" },
		{ LIBSSH2_FX_WRITE_PROTECT, OMB_FAILED, "write protected" },
		{ LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM, OMB_NO_SPACE, "no space left" },
		{ LIBSSH2_FX_QUOTA_EXCEEDED, OMB_NO_SPACE, "quota exceeded" },
	};
	unsigned long code = 0;
	size_t i;

	if (rc == LIBSSH2_ERROR_EAGAIN)
	{
		conn->lost = true;
		return omb_error_set(err, OMB_FAILED,
							 "server \"%s\" did not answer in time",
							 conn->server);
	}
	if (rc == LIBSSH2_ERROR_SFTP_PROTOCOL && conn->sftp != NULL)
		code = libssh2_sftp_last_error(conn->sftp);
	if (code == LIBSSH2_FX_OK || code == LIBSSH2_FX_NO_CONNECTION ||
		code == LIBSSH2_FX_CONNECTION_LOST)
	{
		conn->lost = true;
		return omb_error_set(err, OMB_FAILED,
							 "lost the connection to server \"%s\": %s",
							 conn->server, omb_ssh_reason(conn));
	}
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].code == code)
			break;
	if (i < sizeof(answers) / sizeof(answers[0]))
		(void) omb_error_set(err, answers[i].status,
							 "could not %s \"%s\" on server \"%s\": %s",
							 action, path, conn->server, answers[i].text);
	else
		(void) omb_error_set(err, OMB_FAILED,
							 "could not %s \"%s\" on server \"%s\": server "
							 "answered %lu",
							 action, path, conn->server, code);
	if (code == LIBSSH2_FX_PERMISSION_DENIED ||
		code == LIBSSH2_FX_WRITE_PROTECT)
		omb_error_hint(err, "Check the owner and the permissions of the "
							"directory on the server.");
	return err->status;
}

omb_status
omb_ssh_explain_start(omb_sftp_conn *conn, int rc, omb_error *err)
{
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return omb_ssh_explain(conn, rc, "", "", err);
	return omb_error_set(err, OMB_FAILED,
						 "could not start SSH with server \"%s\": %s",
						 conn->server, omb_ssh_reason(conn));
}

/* ---- connecting ---- */

/* A connected socket, or -1 with errno. */
static int
connect_address(const struct addrinfo *to, uint32_t seconds)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
					to->ai_protocol);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);
	int on = 1;
	int rc;

	if (fd < 0)
		return -1;
	if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
	{
		error = errno;
		if (error == EINPROGRESS)
		{
			do
				rc = poll(&p, 1, (int) seconds * 1000);
			while (rc < 0 && errno == EINTR);
			if (rc == 0)
				error = ETIMEDOUT;
			else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
				error = errno;
		}
	}
	if (error != 0)
	{
		(void) close(fd);
		errno = error;
		return -1;
	}
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	return fd;
}

omb_status
omb_ssh_open_socket(omb_sftp_conn *conn, omb_error *err)
{
	const omb_sftp_login *login = conn->login;
	struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	const struct addrinfo *a;
	int rc = getaddrinfo(login->host, login->port, &wanted, &found);

	if (rc != 0)
	{
		(void) omb_error_set(err, OMB_FAILED,
							 "could not find the address of server \"%s\": %s",
							 conn->server, gai_strerror(rc));
		omb_error_hint(err, "Check the name, and that this machine reaches "
							"the network and its DNS server.");
		return err->status;
	}
	for (a = found; a != NULL && conn->fd < 0; a = a->ai_next)
		conn->fd = connect_address(a, login->connect_seconds);
	if (conn->fd < 0)
		(void) omb_error_set_errno(
			err, errno, "could not connect to server \"%s\"", conn->server);
	freeaddrinfo(found);
	return err->status;
}
