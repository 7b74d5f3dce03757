/*
 * webdavupload.c: new objects on a WebDAV server.
 *
 * A PUT is tried as a whole, so the content is kept: in memory when it is
 * small, else in a temporary file without a name (in TMPDIR or /var/tmp). It
 * goes to a random name, which makes trying again harmless, and is then moved.
 * A move whose answer was lost has been done when the random name is gone.
 */
#include "store/webdav/webdavupload.h"

#include "base/file.h"
#include "codec/crypto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MAX ((size_t) 1024 * 1024)
/* How often to make folders that vanish. */
#define MOVE_ATTEMPTS 4

typedef struct dav_upload
{
	omb_upload base;
	omb_cloud_client *client;
	omb_buf buffer;
	int fd; /* of the temporary file, or -1 */
	uint64_t size;
	char temp[64]; /* name on the server */
} dav_upload;

omb_upload *
omb_dav_upload_new(omb_cloud_client *client, omb_store *store)
{
	dav_upload *u = omb_calloc(1, sizeof(*u));
	uint64_t number[2];

	u->base.store = store;
	u->client = client;
	u->fd = -1;
	omb_random(number, sizeof(number));
	(void) snprintf(u->temp, sizeof(u->temp), "tmp/%016" PRIx64 "%016" PRIx64,
					number[0], number[1]);
	return &u->base;
}

/* Move the buffer to the file. */
static omb_status
spill(dav_upload *u, omb_error *err)
{
	const char *folder = getenv("TMPDIR");
	char *path;

	if (u->fd < 0)
	{
		if (folder == NULL || *folder == '\0')
			folder = "/var/tmp";
		path = omb_format("%s/omsupply_backup.XXXXXX", folder);
		u->fd = mkstemp(path);
		if (u->fd < 0 || unlink(path) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not create a temporary file in \"%s\"",
				folder);
		free(path);
	}
	if (err->status == OMB_OK &&
		omb_write_full(u->fd, u->buffer.data, u->buffer.len) != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not write to a temporary file");
	omb_buf_clear(&u->buffer);
	return err->status;
}

omb_status
omb_dav_upload_write(omb_upload *upload, const void *data, size_t len,
					 omb_error *err)
{
	dav_upload *u = (dav_upload *) upload;

	omb_buf_put(&u->buffer, data, len);
	u->size += len;
	return u->buffer.len > MEMORY_MAX ? spill(u, err) : OMB_OK;
}

/* Make the folders of a name; those that are there are fine. */
static omb_status
make_folders(dav_upload *u, const char *name, omb_error *err)
{
	char *path = omb_strdup(name);
	char *slash = path;
	int status;

	while (err->status == OMB_OK && (slash = strchr(slash, '/')) != NULL)
	{
		char next = *++slash;

		*slash = '\0';
		if (omb_dav_do(u->client, "MKCOL", "create folder", path, NULL, 0,
					   false, &status, err) != OMB_OK &&
			err->status != OMB_CANCELLED)
		{
			omb_error failure = *err;
			omb_dav_list found;

			/* 405, or what it is when somebody else was faster (Apache: 403) */
			omb_error_clear(err);
			if (omb_dav_find(u->client, path, false, &found, NULL, err) !=
				OMB_OK)
				*err = failure;
			else
				omb_dav_list_free(&found);
		}
		*slash = next;
	}
	free(path);
	return err->status;
}

static omb_status
send(dav_upload *u, int *status, omb_error *err)
{
	omb_cloud_call call = { .action = "write",
							.method = "PUT",
							.name = u->temp,
							.header = { "content-type: "
										"application/octet-stream" },
							.header_count = 1,
							.body = u->buffer.data,
							.body_len = (size_t) u->size,
							.body_in_file = u->fd >= 0,
							.body_file = u->fd };
	omb_cloud_answer answer = { 0 };

	(void) omb_cloud_do(u->client, &call, &answer, err);
	*status = answer.http.status;
	omb_cloud_answer_free(&answer);
	return err->status;
}

/* The content is at the random name, whole. */
static omb_status
put_temp(dav_upload *u, omb_error *err)
{
	omb_dav_list root;
	uint64_t size = 0;
	int status;

	if (u->fd >= 0 && u->buffer.len > 0 && spill(u, err) != OMB_OK)
		return err->status;
	if (send(u, &status, err) != OMB_OK && (status == 409 || status == 404))
	{
		/* only tmp itself is made, never the folder of the store */
		omb_error_clear(err);
		if (omb_dav_find(u->client, "", false, &root, NULL, err) != OMB_OK)
		{
			if (err->status == OMB_NOT_FOUND)
				err->status = OMB_FAILED;
			return err->status;
		}
		omb_dav_list_free(&root);
		if (make_folders(u, u->temp, err) == OMB_OK)
			(void) send(u, &status, err);
	}
	if (err->status == OMB_OK &&
		omb_dav_look(u->client, u->temp, &size, err) == OMB_OK &&
		size != u->size)
		(void) omb_error_set(
			err, OMB_FAILED,
			"server has kept %" PRIu64 " of %" PRIu64 " bytes", size, u->size);
	if (err->status == OMB_NOT_FOUND)
		err->status = OMB_FAILED;
	return err->status;
}

/* Is the random name still there? */
static bool
has_temp(dav_upload *u, omb_error *err)
{
	uint64_t size;

	if (omb_dav_look(u->client, u->temp, &size, err) == OMB_OK)
		return true;
	if (err->status == OMB_NOT_FOUND)
		omb_error_clear(err);
	return false;
}

static omb_status
move(dav_upload *u, const char *name, omb_error *err)
{
	omb_buf target = OMB_BUF_INIT;
	const char *header[2] = { NULL, "overwrite: F" };
	uint64_t size = 0;
	int status = 0;
	int attempt;

	omb_buf_printf(&target, "destination: ");
	omb_dav_url(u->client, name, &target);
	header[0] = omb_buf_text(&target);
	for (attempt = 0; attempt < MOVE_ATTEMPTS; attempt++)
	{
		omb_error failure;

		/* where a folder is missing Apache answers 500, which may pass */
		if (omb_dav_do(u->client, "MOVE", "name object", u->temp, header, 2,
					   attempt == 0, &status, err) == OMB_OK)
			break;
		failure = *err;
		omb_error_clear(err);
		if (!has_temp(u, err) && err->status == OMB_OK)
		{
			/* an earlier try has moved it */
			if (omb_dav_look(u->client, name, &size, err) == OMB_OK &&
				size != u->size)
				*err = failure;
			break;
		}
		if (err->status == OMB_OK && status == 412)
			(void) omb_error_set(err, OMB_EXISTS,
								 "object \"%s\" exists already", name);
		if (err->status != OMB_OK || make_folders(u, name, err) != OMB_OK)
			break;
		if (attempt + 1 == MOVE_ATTEMPTS)
			*err = failure;
	}
	omb_buf_free(&target);
	if (err->status == OMB_NOT_FOUND)
		err->status = OMB_FAILED;
	return err->status;
}

omb_status
omb_dav_upload_commit(omb_upload *upload, const char *name, omb_error *err)
{
	dav_upload *u = (dav_upload *) upload;
	omb_error ignored = OMB_ERROR_INIT;
	int status;

	if (put_temp(u, err) == OMB_OK && move(u, name, err) != OMB_OK)
		(void) omb_dav_do(u->client, "DELETE", "remove", u->temp, NULL, 0,
						  true, &status, &ignored);
	omb_dav_upload_abort(upload);
	return err->status;
}

void
omb_dav_upload_abort(omb_upload *upload)
{
	dav_upload *u = (dav_upload *) upload;

	/* nothing is on the server before the commit; what that leaves is swept */
	if (u->fd >= 0)
		(void) close(u->fd);
	omb_buf_free(&u->buffer);
	free(u);
}
