/*
 * sftpupload.c: new objects on an SFTP server.
 *
 * Data is sent as it comes, from a buffer that is always kept half full, so
 * that much is under way at once. Confirmed bytes leave the buffer; after a
 * connection was lost the next one goes on behind them. What the server had
 * confirmed and not synced may be gone by then, if it was its machine that
 * failed: such an object is read back before it gets its name.
 *
 * A rename whose answer was lost has been done when the temporary file is
 * gone, whose name nobody else knows. While it is still there and the name is
 * taken, the bytes tell.
 */
#include "store/sftp/sftpupload.h"

#include "base/file.h"
#include "codec/crc32c.h"
#include "codec/crypto.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER ((size_t) 1024 * 1024)
#define PIECE ((size_t) 256 * 1024)
/* Sent at least before a confirmation is waited for. */
#define BURST_MIN ((size_t) 32 * 1024)
/* How often to make folders that vanish. */
#define MOVE_ATTEMPTS 8

typedef struct sftp_upload
{
	omb_upload base;
	omb_sftp_pool *pool;
	omb_sftp_conn *conn; /* from the first byte that is sent on */
	char *temp;			 /* on the server */
	uint8_t *buffer;
	size_t start;		/* of what is not confirmed */
	size_t end;			/* of what is in the buffer */
	size_t burst;		/* sent at most before something is confirmed: less
						 * after a connection was lost, so that on those which
						 * do not last anything is */
	uint64_t confirmed; /* bytes of the file */
	uint64_t size;
	uint32_t crc;
	bool created;
	bool resumed; /* with another connection: read back */
	const char *name;
	char *path;	 /* of the object */
	bool moving; /* a rename was asked for */
} sftp_upload;

omb_upload *
omb_sftp_upload_new(omb_sftp_pool *pool, omb_store *store)
{
	sftp_upload *u = omb_calloc(1, sizeof(*u));

	u->base.store = store;
	u->pool = pool;
	u->buffer = omb_malloc(BUFFER);
	u->burst = BUFFER;
	return &u->base;
}

/* ---- the temporary file ---- */

/* Each try takes a name of its own. */
static omb_status
create_file(sftp_upload *u, omb_sftp_conn *conn, omb_error *err)
{
	char *folder = omb_sftp_path(u->pool, "tmp");
	uint64_t number;

	omb_random(&number, sizeof(number));
	free(u->temp);
	u->temp = omb_format("%s/%d-%016" PRIx64, folder, getpid(), number);
	if (omb_sftp_open(conn, u->temp, OMB_SFTP_CREATE, NULL, err) ==
		OMB_NOT_FOUND)
	{
		/* only tmp itself is made, never the directory of the store */
		omb_error ignored = OMB_ERROR_INIT;

		if (omb_sftp_prove_absent(u->pool, conn, err) == OMB_NOT_FOUND)
		{
			omb_error_clear(err);
			(void) omb_sftp_mkdir(conn, folder, &ignored);
			(void) omb_sftp_open(conn, u->temp, OMB_SFTP_CREATE, NULL, err);
		}
	}
	u->created = err->status == OMB_OK;
	free(folder);
	return err->status;
}

/* A file system that is full is a failure like others in version 3. */
static void
notice_full(const sftp_upload *u, omb_sftp_conn *conn, omb_error *err)
{
	if (err->status == OMB_FAILED && !omb_sftp_is_lost(conn) &&
		omb_sftp_is_full(conn, omb_sftp_pool_root(u->pool)))
	{
		err->status = OMB_NO_SPACE;
		(void) omb_error_context(err, "no space left at the server");
	}
}

/* Have the temporary file open for writing. */
static omb_status
have_file(sftp_upload *u, omb_sftp_conn *conn, omb_error *err)
{
	const char *opened = omb_sftp_opened(conn);

	if (!u->created)
	{
		if (create_file(u, conn, err) != OMB_OK)
			notice_full(u, conn, err);
		return err->status;
	}
	if (opened != NULL && strcmp(opened, u->temp) == 0)
		return OMB_OK;
	u->resumed = true;
	u->burst = u->burst / 4 > BURST_MIN ? u->burst / 4 : BURST_MIN;
	return omb_sftp_open(conn, u->temp, OMB_SFTP_RESUME, NULL, err);
}

/* Send what is in the buffer; some of it is confirmed then. */
static omb_status
write_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	sftp_upload *u = arg;
	size_t n = 0;
	size_t len;

	if (have_file(u, conn, err) != OMB_OK || u->start == u->end)
		return err->status;
	len = u->end - u->start < u->burst ? u->end - u->start : u->burst;
	if (omb_sftp_write(conn, u->confirmed, u->buffer + u->start, len, &n,
					   err) != OMB_OK)
	{
		notice_full(u, conn, err);
		return err->status;
	}
	u->start += n;
	u->confirmed += n;
	u->burst = u->burst + n < BUFFER ? u->burst + n : BUFFER;
	return OMB_OK;
}

omb_status
omb_sftp_upload_write(omb_upload *upload, const void *data, size_t len,
					  omb_error *err)
{
	sftp_upload *u = (sftp_upload *) upload;
	const uint8_t *from = data;

	u->crc = omb_crc32c(u->crc, data, len);
	u->size += len;
	while (len > 0 && err->status == OMB_OK)
	{
		size_t room = BUFFER - u->end;
		size_t n = len < room ? len : room;

		memcpy(u->buffer + u->end, from, n);
		u->end += n;
		from += n;
		len -= n;
		if (u->end < BUFFER)
			continue;
		while (u->end - u->start > BUFFER / 2 && err->status == OMB_OK)
			(void) omb_sftp_do(u->pool, &u->conn, NULL, write_step, u, err);
		memmove(u->buffer, u->buffer + u->start, u->end - u->start);
		u->end -= u->start;
		u->start = 0;
	}
	return err->status;
}

/* ---- the end ---- */

/* Is a file the object that was written, byte by byte? */
static omb_status
check_content(const sftp_upload *u, omb_sftp_conn *conn, const char *path,
			  bool *same, omb_error *err)
{
	uint8_t *piece = omb_malloc(PIECE);
	omb_sftp_attributes found;
	uint64_t at = 0;
	uint32_t crc = 0;
	size_t n = 0;

	*same = false;
	if (omb_sftp_open(conn, path, OMB_SFTP_READ, &found, err) == OMB_OK &&
		found.size == u->size)
	{
		while (at < u->size && err->status == OMB_OK)
		{
			uint64_t left = u->size - at;

			if (omb_sftp_read(conn, at, piece,
							  left < PIECE ? (size_t) left : PIECE, &n,
							  err) == OMB_OK)
				crc = omb_crc32c(crc, piece, n);
			at += n;
		}
		*same = err->status == OMB_OK && crc == u->crc;
	}
	free(piece);
	return err->status;
}

/* All bytes are on the disk of the server. */
static omb_status
sync_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	sftp_upload *u = arg;
	bool same = false;

	if (have_file(u, conn, err) != OMB_OK ||
		omb_sftp_sync(conn, err) != OMB_OK)
	{
		notice_full(u, conn, err);
		return err->status;
	}
	if (u->resumed && check_content(u, conn, u->temp, &same, err) == OMB_OK &&
		!same)
		return omb_error_set(err, OMB_FAILED,
							 "server has lost bytes of object \"%s\"",
							 u->name);
	return err->status == OMB_OK ? omb_sftp_close(conn, err) : err->status;
}

/* Make the folders of the object, each durable in its parent. */
static omb_status
make_folders(const sftp_upload *u, omb_sftp_conn *conn, omb_error *err)
{
	char *path = omb_strdup(u->path);
	char *slash = path + strlen(omb_sftp_pool_root(u->pool));

	while (err->status == OMB_OK && (slash = strchr(slash + 1, '/')) != NULL)
	{
		omb_sftp_attributes found;
		char *parent;

		*slash = '\0';
		if (omb_sftp_mkdir(conn, path, err) != OMB_OK &&
			!omb_sftp_is_lost(conn))
		{
			omb_error failure = *err;

			omb_error_clear(err);
			if (omb_sftp_stat(conn, path, &found, err) == OMB_NOT_FOUND)
				*err = failure;
		}
		if (err->status == OMB_OK)
		{
			parent = omb_path_parent(path);
			(void) omb_sftp_sync_folder(conn, parent, err);
			free(parent);
		}
		*slash = '/';
	}
	free(path);
	return err->status;
}

static bool
is_there(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	omb_sftp_attributes found;

	if (omb_sftp_stat(conn, path, &found, err) == OMB_OK)
		return true;
	if (err->status == OMB_NOT_FOUND)
		omb_error_clear(err);
	return false;
}

/* The name is taken: by an earlier try to rename, of which nothing is known? */
static omb_status
judge_taken(const sftp_upload *u, omb_sftp_conn *conn, bool unclear,
			omb_error *err)
{
	bool temp = !unclear || is_there(conn, u->temp, err);
	bool same = false;

	if (unclear && err->status == OMB_OK)
		(void) check_content(u, conn, u->path, &same, err);
	if (err->status != OMB_OK)
		return err->status;
	if (!same && temp)
		return omb_error_set(err, OMB_EXISTS, "object \"%s\" exists already",
							 u->name);
	if (!same)
		return omb_error_set(err, OMB_FAILED,
							 "server has lost bytes of object \"%s\"",
							 u->name);
	return temp ? omb_sftp_unlink(conn, u->temp, err) : OMB_OK;
}

/* Move the temporary file to its name. */
static omb_status
move_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	sftp_upload *u = arg;
	bool unclear = again && u->moving;
	int attempt;

	if (!omb_sftp_renames_safely(conn) || unclear)
	{
		if (is_there(conn, u->path, err))
			return judge_taken(u, conn, unclear, err);
		if (err->status != OMB_OK)
			return err->status;
	}
	u->moving = true;
	(void) omb_sftp_rename(conn, u->temp, u->path, err);
	/* removing objects elsewhere may take a folder away that was just made */
	for (attempt = 0; err->status == OMB_NOT_FOUND && attempt < MOVE_ATTEMPTS;
		 attempt++)
	{
		omb_error_clear(err);
		if (make_folders(u, conn, err) == OMB_OK)
			(void) omb_sftp_rename(conn, u->temp, u->path, err);
	}
	if (err->status != OMB_OK && !omb_sftp_is_lost(conn))
	{
		omb_error failure = *err;

		/* version 3 has no word for it */
		omb_error_clear(err);
		if (is_there(conn, u->path, err))
			return judge_taken(u, conn, unclear, err);
		if (err->status == OMB_OK)
		{
			*err = failure;
			if (err->status == OMB_NOT_FOUND)
				err->status = OMB_FAILED;
			notice_full(u, conn, err);
		}
	}
	return err->status;
}

static omb_status
settle_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	sftp_upload *u = arg;
	char *parent = omb_path_parent(u->path);

	(void) omb_sftp_sync_folder(conn, parent, err);
	free(parent);
	return err->status;
}

omb_status
omb_sftp_upload_commit(omb_upload *upload, const char *name, omb_error *err)
{
	sftp_upload *u = (sftp_upload *) upload;

	u->name = name;
	u->path = omb_sftp_path(u->pool, name);
	do
		(void) omb_sftp_do(u->pool, &u->conn, NULL, write_step, u, err);
	while (err->status == OMB_OK && u->start < u->end);
	if (err->status == OMB_OK)
		(void) omb_sftp_do(u->pool, &u->conn, NULL, sync_step, u, err);
	if (err->status == OMB_OK &&
		omb_sftp_do(u->pool, &u->conn, NULL, move_step, u, err) == OMB_OK)
	{
		u->created = false;
		(void) omb_sftp_do(u->pool, &u->conn, NULL, settle_step, u, err);
	}
	if (err->status != OMB_OK && err->status != OMB_EXISTS &&
		err->status != OMB_CANCELLED)
		(void) omb_error_context(err,
								 "could not store object \"%s\" in \"%s\"",
								 name, omb_sftp_pool_location(u->pool));
	omb_sftp_upload_abort(upload);
	return err->status;
}

void
omb_sftp_upload_abort(omb_upload *upload)
{
	sftp_upload *u = (sftp_upload *) upload;
	omb_error ignored = OMB_ERROR_INIT;

	/* one try; what stays is swept later */
	if (u->created && u->conn != NULL && !omb_sftp_is_lost(u->conn) &&
		omb_sftp_close(u->conn, &ignored) == OMB_OK)
		(void) omb_sftp_unlink(u->conn, u->temp, &ignored);
	omb_sftp_give(u->pool, u->conn);
	free(u->temp);
	free(u->path);
	free(u->buffer);
	free(u);
}
