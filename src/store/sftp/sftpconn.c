/*
 * sftpconn.c: one connection to an SFTP server: what is done with its files.
 */
#include "store/sftp/sftpconn.h"

#include "base/buffer.h"
#include "store/sftp/ssh.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME_MAX_LEN 1024
/* A file system with less free space is full. */
#define LITTLE_SPACE (UINT64_C(1024) * 1024)

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
initialise(void)
{
	(void) libssh2_init(0);
}

omb_status
omb_sftp_connect(const omb_sftp_login *login, int *kind, omb_sftp_conn **out,
				 bool *passes, omb_error *err)
{
	omb_sftp_conn *conn;
	const char *banner;

	(void) pthread_once(&once, initialise);
	*out = NULL;
	if (omb_ssh_reach_host(login, kind, &conn, passes, err) != OMB_OK)
		return err->status;
	if (omb_ssh_log_in(conn, passes, err) != OMB_OK)
	{
		omb_sftp_disconnect(conn);
		return err->status;
	}
	conn->login = NULL;
	banner = libssh2_session_banner_get(conn->session);
	conn->renames_safely =
		banner != NULL && strstr(banner, "-OpenSSH_") != NULL;
	*out = conn;
	return OMB_OK;
}

void
omb_sftp_disconnect(omb_sftp_conn *conn)
{
	int i;

	if (conn == NULL)
		return;
	if (conn->session != NULL && !conn->lost && conn->sftp != NULL)
	{
		/* say good-bye, but do not wait for long */
		libssh2_session_set_blocking(conn->session, 1);
		libssh2_session_set_timeout(conn->session, 1000);
		if (conn->file != NULL && libssh2_sftp_close(conn->file) == 0)
			conn->file = NULL;
		(void) libssh2_session_disconnect(conn->session, "done");
		libssh2_session_set_blocking(conn->session, 0);
	}
	if (conn->fd >= 0)
		(void) shutdown(conn->fd, SHUT_RDWR);
	/* with the socket shut down none of these waits for long */
	for (i = 0; i < 10 && conn->file != NULL; i++)
		if (libssh2_sftp_close(conn->file) != LIBSSH2_ERROR_EAGAIN)
			conn->file = NULL;
	for (i = 0; i < 10 && conn->sftp != NULL; i++)
		if (libssh2_sftp_shutdown(conn->sftp) != LIBSSH2_ERROR_EAGAIN)
			conn->sftp = NULL;
	for (i = 0; i < 10 && conn->session != NULL; i++)
		if (libssh2_session_free(conn->session) != LIBSSH2_ERROR_EAGAIN)
			conn->session = NULL;
	if (conn->fd >= 0)
		(void) close(conn->fd);
	free(conn->server);
	free(conn->path);
	free(conn);
}

bool
omb_sftp_is_lost(const omb_sftp_conn *conn)
{
	return conn->lost;
}

bool
omb_sftp_is_alive(const omb_sftp_conn *conn)
{
	char byte;
	ssize_t n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return !conn->lost && (n > 0 || (n < 0 && errno == EAGAIN));
}

bool
omb_sftp_renames_safely(const omb_sftp_conn *conn)
{
	return conn->renames_safely;
}

/* ---- names ---- */

static void
convert(const LIBSSH2_SFTP_ATTRIBUTES *from, omb_sftp_attributes *to)
{
	unsigned long type = from->permissions & LIBSSH2_SFTP_S_IFMT;
	bool known = (from->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS) != 0;

	memset(to, 0, sizeof(*to));
	to->is_folder = known && type == LIBSSH2_SFTP_S_IFDIR;
	to->is_file = !known || type == LIBSSH2_SFTP_S_IFREG || type == 0;
	if ((from->flags & LIBSSH2_SFTP_ATTR_SIZE) != 0)
		to->size = from->filesize;
	if ((from->flags & LIBSSH2_SFTP_ATTR_ACMODTIME) != 0)
		to->changed = (int64_t) from->mtime;
}

omb_status
omb_sftp_stat(omb_sftp_conn *conn, const char *path, omb_sftp_attributes *out,
			  omb_error *err)
{
	LIBSSH2_SFTP_ATTRIBUTES attributes;
	int rc;

	memset(&attributes, 0, sizeof(attributes));
	OMB_SSH_CALL(conn, rc,
				 libssh2_sftp_stat_ex(conn->sftp, path, omb_ssh_length(path),
									  LIBSSH2_SFTP_STAT, &attributes));
	if (rc != 0)
		return omb_ssh_explain(conn, rc, "look at", path, err);
	convert(&attributes, out);
	return OMB_OK;
}

omb_status
omb_sftp_list(omb_sftp_conn *conn, const char *path, omb_sftp_visit visit,
			  void *arg, omb_error *err)
{
	LIBSSH2_SFTP_HANDLE *folder;
	char name[NAME_MAX_LEN];
	int rc = 0;

	OMB_SSH_CALL_POINTER(conn, folder,
						 libssh2_sftp_open_ex(conn->sftp, path,
											  omb_ssh_length(path), 0, 0,
											  LIBSSH2_SFTP_OPENDIR));
	if (folder == NULL)
		return omb_ssh_explain(conn, libssh2_session_last_errno(conn->session),
							   "list directory", path, err);
	while (err->status == OMB_OK)
	{
		LIBSSH2_SFTP_ATTRIBUTES attributes;
		omb_sftp_attributes found;

		memset(&attributes, 0, sizeof(attributes));
		OMB_SSH_CALL(
			conn, rc,
			libssh2_sftp_readdir(folder, name, sizeof(name) - 1, &attributes));
		if (rc < 0)
			(void) omb_ssh_explain(conn, rc, "list directory", path, err);
		if (rc <= 0)
			break;
		name[rc] = '\0';
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		convert(&attributes, &found);
		(void) visit(name, &found, arg, err);
	}
	if (conn->lost)
		(void) shutdown(conn->fd, SHUT_RDWR);
	OMB_SSH_CALL(conn, rc, libssh2_sftp_closedir(folder));
	if (rc != 0 && err->status == OMB_OK)
		(void) omb_ssh_explain(conn, rc, "close directory", path, err);
	return err->status;
}

omb_status
omb_sftp_rename(omb_sftp_conn *conn, const char *from, const char *to,
				omb_error *err)
{
	int rc;

	OMB_SSH_CALL(conn, rc,
				 libssh2_sftp_rename_ex(conn->sftp, from, omb_ssh_length(from),
										to, omb_ssh_length(to), 0));
	return rc == 0 ? OMB_OK :
					 omb_ssh_explain(conn, rc, "rename a file to", to, err);
}

omb_status
omb_sftp_unlink(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	int rc;

	OMB_SSH_CALL(
		conn, rc,
		libssh2_sftp_unlink_ex(conn->sftp, path, omb_ssh_length(path)));
	return rc == 0 ? OMB_OK : omb_ssh_explain(conn, rc, "remove", path, err);
}

omb_status
omb_sftp_mkdir(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	int rc;

	OMB_SSH_CALL(
		conn, rc,
		libssh2_sftp_mkdir_ex(conn->sftp, path, omb_ssh_length(path), 0700));
	return rc == 0 ? OMB_OK :
					 omb_ssh_explain(conn, rc, "create directory", path, err);
}

omb_status
omb_sftp_rmdir(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	int rc;

	OMB_SSH_CALL(
		conn, rc,
		libssh2_sftp_rmdir_ex(conn->sftp, path, omb_ssh_length(path)));
	return rc == 0 ? OMB_OK :
					 omb_ssh_explain(conn, rc, "remove directory", path, err);
}

bool
omb_sftp_is_full(omb_sftp_conn *conn, const char *path)
{
	LIBSSH2_SFTP_STATVFS fs;
	int rc;

	memset(&fs, 0, sizeof(fs));
	OMB_SSH_CALL(conn, rc,
				 libssh2_sftp_statvfs(conn->sftp, path, strlen(path), &fs));
	return rc == 0 && fs.f_blocks > 0 &&
		   (fs.f_bavail == 0 || fs.f_bavail < LITTLE_SPACE / fs.f_frsize);
}

/* ---- the open file ---- */

omb_status
omb_sftp_open(omb_sftp_conn *conn, const char *path, omb_sftp_mode mode,
			  omb_sftp_attributes *attributes, omb_error *err)
{
	unsigned long flags =
		mode == OMB_SFTP_READ	? LIBSSH2_FXF_READ :
		mode == OMB_SFTP_CREATE ? LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT |
									  LIBSSH2_FXF_EXCL :
								  LIBSSH2_FXF_READ | LIBSSH2_FXF_WRITE;
	LIBSSH2_SFTP_ATTRIBUTES found;
	int rc;

	if (omb_sftp_close(conn, err) != OMB_OK)
		return err->status;
	OMB_SSH_CALL_POINTER(conn, conn->file,
						 libssh2_sftp_open_ex(conn->sftp, path,
											  omb_ssh_length(path), flags,
											  0600, LIBSSH2_SFTP_OPENFILE));
	if (conn->file == NULL)
		return omb_ssh_explain(
			conn, libssh2_session_last_errno(conn->session),
			mode == OMB_SFTP_CREATE ? "create file" : "open file", path, err);
	conn->path = omb_strdup(path);
	conn->offset = 0;
	if (attributes == NULL)
		return OMB_OK;
	memset(&found, 0, sizeof(found));
	OMB_SSH_CALL(conn, rc, libssh2_sftp_fstat(conn->file, &found));
	if (rc != 0)
		return omb_ssh_explain(conn, rc, "look at", path, err);
	convert(&found, attributes);
	return OMB_OK;
}

const char *
omb_sftp_opened(const omb_sftp_conn *conn)
{
	return conn->file != NULL ? conn->path : NULL;
}

/* What was sent or asked for elsewhere is forgotten. */
static void
go_to(omb_sftp_conn *conn, uint64_t offset)
{
	if (conn->offset != offset)
		libssh2_sftp_seek64(conn->file, offset);
	conn->offset = offset;
}

omb_status
omb_sftp_read(omb_sftp_conn *conn, uint64_t offset, void *data, size_t len,
			  size_t *read, omb_error *err)
{
	ssize_t n;

	go_to(conn, offset);
	OMB_SSH_CALL(conn, n, libssh2_sftp_read(conn->file, data, len));
	if (n < 0)
		return omb_ssh_explain(conn, n, "read file", conn->path, err);
	if (n == 0)
		return omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" on server \"%s\" ends too early",
							 conn->path, conn->server);
	conn->offset += (uint64_t) n;
	*read = (size_t) n;
	return OMB_OK;
}

omb_status
omb_sftp_write(omb_sftp_conn *conn, uint64_t offset, const void *data,
			   size_t len, size_t *written, omb_error *err)
{
	ssize_t n;

	go_to(conn, offset);
	do
		OMB_SSH_CALL(conn, n, libssh2_sftp_write(conn->file, data, len));
	while (n == 0 && omb_ssh_await(conn));
	if (n <= 0)
		return omb_ssh_explain(conn, n < 0 ? n : LIBSSH2_ERROR_EAGAIN,
							   "write file", conn->path, err);
	conn->offset += (uint64_t) n;
	*written = (size_t) n;
	return OMB_OK;
}

omb_status
omb_sftp_sync(omb_sftp_conn *conn, omb_error *err)
{
	int rc;

	if (conn->cannot_sync)
		return OMB_OK;
	OMB_SSH_CALL(conn, rc, libssh2_sftp_fsync(conn->file));
	if (rc == 0)
		return OMB_OK;
	if (omb_ssh_explain(conn, rc, "sync", conn->path, err) != OMB_UNSUPPORTED)
		return err->status;
	omb_error_clear(err);
	conn->cannot_sync = true;
	return OMB_OK;
}

omb_status
omb_sftp_close(omb_sftp_conn *conn, omb_error *err)
{
	int rc;

	if (conn->file == NULL)
		return OMB_OK;
	OMB_SSH_CALL(conn, rc, libssh2_sftp_close(conn->file));
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return omb_ssh_explain(conn, rc, "close file", conn->path, err);
	conn->file = NULL;
	if (rc != 0)
		(void) omb_ssh_explain(conn, rc, "close file", conn->path, err);
	free(conn->path);
	conn->path = NULL;
	return err->status;
}

omb_status
omb_sftp_sync_folder(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	if (conn->cannot_sync || conn->cannot_sync_folders)
		return OMB_OK;
	/* what OpenSSH allows, and few others do */
	if (omb_sftp_open(conn, path, OMB_SFTP_READ, NULL, err) != OMB_OK)
	{
		if (conn->lost || err->status == OMB_NOT_FOUND)
			return err->status;
		omb_error_clear(err);
		conn->cannot_sync_folders = true;
		return OMB_OK;
	}
	if (omb_sftp_sync(conn, err) != OMB_OK)
		return err->status;
	return omb_sftp_close(conn, err);
}
