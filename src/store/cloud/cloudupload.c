/*
 * cloudupload.c: writing objects to a cloud.
 *
 * The name of an object is known when it is complete, and an upload in parts
 * begins with the name. So what has more bytes than one part waits in a
 * temporary file without a name (in TMPDIR or /var/tmp), and an upload needs
 * memory for one part, whatever the size of the object.
 *
 * Parts cost requests, and save having to send all again when the connection
 * is lost. So what would be sent in a few seconds, as fast as the last
 * uploads were, is not cut into parts.
 */
#include "store/cloud/cloudupload.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crypto.h"
#include "store/cloud/cloudhead.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Sent whole: what takes so long, and never more, as it is in memory. */
#define WHOLE_SECONDS 4
#define WHOLE_MAX ((uint64_t) 48 * 1024 * 1024)
/* Smaller bodies tell more of the way than of how wide it is. */
#define RATE_BYTES ((size_t) 1024 * 1024)

struct omb_cloud_uploader
{
	omb_cloud_client *client;
	pthread_mutex_t lock;
	bool plain;	   /* the server cannot create only */
	uint64_t rate; /* bytes a second of the last large body; 0: none yet */
};

typedef struct cloud_upload
{
	omb_upload base;
	omb_cloud_uploader *uploader;
	omb_buf buffer; /* all of it, or what comes after what is in the file */
	int fd;			/* -1 as long as the buffer is enough */
	uint64_t size;
	char mark[OMB_CLOUD_MARK_TEXT];
} cloud_upload;

omb_cloud_uploader *
omb_cloud_uploader_new(omb_cloud_client *client)
{
	omb_cloud_uploader *uploader = omb_calloc(1, sizeof(*uploader));

	uploader->client = client;
	(void) pthread_mutex_init(&uploader->lock, NULL);
	return uploader;
}

void
omb_cloud_uploader_free(omb_cloud_uploader *uploader)
{
	if (uploader == NULL)
		return;
	(void) pthread_mutex_destroy(&uploader->lock);
	free(uploader);
}

static bool
is_plain(omb_cloud_uploader *uploader)
{
	bool plain;

	(void) pthread_mutex_lock(&uploader->lock);
	plain = uploader->plain;
	(void) pthread_mutex_unlock(&uploader->lock);
	return plain;
}

static void
set_plain(omb_cloud_uploader *uploader)
{
	(void) pthread_mutex_lock(&uploader->lock);
	uploader->plain = true;
	(void) pthread_mutex_unlock(&uploader->lock);
}

/* ---- how fast ---- */

/* A body was sent since a time, with all that was tried. */
static void
note_rate(omb_cloud_uploader *uploader, size_t bytes, int64_t since)
{
	int64_t spent = omb_time_steady() - since + 1;

	if (bytes < RATE_BYTES)
		return;
	(void) pthread_mutex_lock(&uploader->lock);
	uploader->rate = (uint64_t) bytes * 1000000 / (uint64_t) spent;
	(void) pthread_mutex_unlock(&uploader->lock);
}

static bool
is_sent_whole(omb_cloud_uploader *uploader, uint64_t size)
{
	uint64_t rate;

	(void) pthread_mutex_lock(&uploader->lock);
	rate = uploader->rate;
	(void) pthread_mutex_unlock(&uploader->lock);
	return size <= uploader->client->part_size ||
		   (size <= WHOLE_MAX && size / WHOLE_SECONDS <= rate);
}

/* ---- collecting ---- */

omb_upload *
omb_cloud_upload_new(omb_cloud_uploader *uploader, omb_store *store)
{
	cloud_upload *u = omb_calloc(1, sizeof(*u));
	uint8_t mark[(OMB_CLOUD_MARK_TEXT - 1) / 2];

	u->base.store = store;
	u->uploader = uploader;
	u->fd = -1;
	omb_random(mark, sizeof(mark));
	(void) omb_hex_format(mark, sizeof(mark), u->mark);
	return &u->base;
}

static omb_status
open_file(cloud_upload *u, omb_error *err)
{
	const char *folder = getenv("TMPDIR");
	char *path;

	if (folder == NULL || *folder == '\0')
		folder = "/var/tmp";
	path = omb_format("%s/omsupply_backup.XXXXXX", folder);
	u->fd = mkstemp(path);
	if (u->fd < 0 || unlink(path) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not create a temporary file in \"%s\"", folder);
	free(path);
	return err->status;
}

/* Move the buffer to the file. */
static omb_status
spill(cloud_upload *u, omb_error *err)
{
	if (u->fd < 0 && open_file(u, err) != OMB_OK)
		return err->status;
	if (omb_write_full(u->fd, u->buffer.data, u->buffer.len) != 0)
		return omb_error_set_errno(err, errno,
								   "could not write to a temporary file");
	omb_buf_clear(&u->buffer);
	return OMB_OK;
}

omb_status
omb_cloud_upload_write(omb_upload *upload, const void *data, size_t len,
					   omb_error *err)
{
	cloud_upload *u = (cloud_upload *) upload;
	const uint8_t *at = data;

	u->size += len;
	while (len > 0)
	{
		size_t room = (size_t) u->uploader->client->part_size - u->buffer.len;
		size_t part = len < room ? len : room;

		if (room == 0)
		{
			if (spill(u, err) != OMB_OK)
				return err->status;
			continue;
		}
		omb_buf_put(&u->buffer, at, part);
		at += part;
		len -= part;
	}
	return OMB_OK;
}

void
omb_cloud_upload_abort(omb_upload *upload)
{
	cloud_upload *u = (cloud_upload *) upload;

	if (u->fd >= 0)
		(void) close(u->fd);
	omb_buf_free(&u->buffer);
	free(u);
}

/* ---- storing ---- */

/* OMB_EXISTS when the name is taken, by another upload than this one. */
static omb_status
look(const cloud_upload *u, const char *name, bool *mine, omb_error *err)
{
	omb_cloud_found found;

	*mine = false;
	if (omb_cloud_head(u->uploader->client, name, &found, err) ==
		OMB_NOT_FOUND)
	{
		omb_error_clear(err);
		return OMB_OK;
	}
	if (err->status != OMB_OK)
		return err->status;
	if (strcmp(found.mark, u->mark) == 0 && found.size == u->size)
	{
		*mine = true;
		return OMB_OK;
	}
	return omb_error_set(err, OMB_EXISTS,
						 "object \"%s\" exists already in \"%s\"", name,
						 u->uploader->client->location);
}

/* Headers of the new object. */
static size_t
add_options(const cloud_upload *u, const char *mark, const char **header)
{
	char *const *option = u->uploader->client->option;
	size_t count = 0;
	size_t i;

	header[count++] = mark;
	for (i = 0; i < OMB_CLOUD_OPTIONS && option[i] != NULL; i++)
		header[count++] = option[i];
	return count;
}

/* What is asked to appear may have appeared in a try whose answer was lost. */
static omb_status
whose(cloud_upload *u, const char *name, omb_error *err)
{
	omb_error first = *err;
	bool mine;

	omb_error_clear(err);
	if (look(u, name, &mine, err) == OMB_EXISTS || mine)
		return err->status;
	*err = first;
	return err->status;
}

/*
 * Do the call that makes the object appear, creating only: with the condition
 * of the provider, unless the upload began with that. When the answer
 * leaves open who made the object that is there, look.
 */
static omb_status
appear(cloud_upload *u, omb_cloud_call *call, bool conditional, bool in_parts,
	   omb_error *err)
{
	omb_cloud_uploader *uploader = u->uploader;
	const omb_cloud_provider *provider = uploader->client->provider;
	size_t headers = call->header_count;
	omb_cloud_answer answer = { 0 };
	bool mine, settled;
	int turn;

	for (turn = 0; turn < 2; turn++)
	{
		bool plain = conditional && is_plain(uploader);

		call->header_count = headers;
		if (conditional && !plain)
			call->header[call->header_count++] = provider->create_only;
		else if (plain && (look(u, call->name, &mine, err) != OMB_OK || mine))
			return err->status;
		if (omb_cloud_do(uploader->client, call, &answer, err) == OMB_OK &&
			in_parts && provider->parts_finished != NULL &&
			!provider->parts_finished(&answer))
			(void) omb_error_set(err, OMB_FAILED,
								 "could not %s \"%s\" in \"%s\": the answer "
								 "is not whole",
								 call->action, call->name,
								 uploader->client->location);
		if (plain || !conditional || answer.http.status != 501)
			break;
		set_plain(uploader);
		omb_error_clear(err);
		omb_cloud_answer_free(&answer);
		memset(&answer, 0, sizeof(answer));
	}
	/*
	 * Taken; or done by a try whose answer was lost, so that the upload is
	 * gone or the name is ours; or nobody knows. Without any answer there is
	 * nobody to ask.
	 */
	settled = err->status == OMB_OK || answer.http.status == 0 ||
			  answer.http.status == 403 ||
			  (answer.http.status == 400 && !in_parts);
	omb_cloud_answer_free(&answer);
	return settled ? err->status : whose(u, call->name, err);
}

/* Have so many bytes of the file in the buffer. */
static omb_status
load(cloud_upload *u, uint64_t offset, size_t len, omb_error *err)
{
	ssize_t got;

	omb_buf_clear(&u->buffer);
	got = omb_pread_full(u->fd, omb_buf_reserve(&u->buffer, len), len,
						 (off_t) offset);
	if (got < 0 || (size_t) got != len)
		return omb_error_set_errno(err, got < 0 ? errno : EIO,
								   "could not read a temporary file");
	u->buffer.len = len;
	return OMB_OK;
}

/* What is in the buffer is the object. */
static omb_status
put_whole(cloud_upload *u, const char *name, const char *mark, omb_error *err)
{
	const omb_cloud_provider *provider = u->uploader->client->provider;
	omb_cloud_call call = { .action = "store object",
							.method = "PUT",
							.name = name,
							.body = u->buffer.data,
							.body_len = u->buffer.len };
	omb_buf text = OMB_BUF_INIT;
	int64_t since = omb_time_steady();

	call.header_count = add_options(u, mark, call.header);
	if (provider->put_headers != NULL)
		provider->put_headers(u->uploader->client, u->buffer.data,
							  u->buffer.len, &call, &text);
	if (appear(u, &call, true, false, err) == OMB_OK)
		note_rate(u->uploader, u->buffer.len, since);
	omb_buf_free(&text);
	return err->status;
}

/* Send all parts from the file, but the last one where finishing does it. */
static omb_status
put_parts(cloud_upload *u, omb_cloud_parts *parts, omb_error *err)
{
	omb_cloud_client *client = u->uploader->client;
	const omb_cloud_provider *provider = client->provider;
	uint64_t part_size = client->part_size;
	int64_t since;

	if (u->size / part_size >= provider->parts_max)
		part_size = u->size / (provider->parts_max - 1) + 1;
	for (;;)
	{
		uint64_t left = u->size - parts->offset;

		if (left == 0 && !provider->last_carries)
			return OMB_OK;
		parts->number++;
		parts->len = (size_t) (left < part_size ? left : part_size);
		if (load(u, parts->offset, parts->len, err) != OMB_OK)
			return err->status;
		parts->data = u->buffer.data;
		if (provider->last_carries && parts->len == left)
			return OMB_OK;
		since = omb_time_steady();
		if (provider->parts_send(client, parts, err) != OMB_OK)
			return err->status;
		note_rate(u->uploader, parts->len, since);
		parts->offset += parts->len;
	}
}

static omb_status
put_in_parts(cloud_upload *u, const char *name, const char *mark,
			 omb_error *err)
{
	omb_cloud_client *client = u->uploader->client;
	const omb_cloud_provider *provider = client->provider;
	omb_cloud_call call = { .action = "store object", .name = name };
	const char *header[OMB_CLOUD_OPTIONS + 1];
	omb_cloud_parts parts = {
		.name = name, .mark = u->mark, .header = header, .size = u->size
	};
	omb_buf text = OMB_BUF_INIT;

	parts.header_count = add_options(u, mark, header);
	if (provider->parts_begin(client, &parts, err) == OMB_OK)
	{
		if (put_parts(u, &parts, err) == OMB_OK)
		{
			provider->parts_finish(client, &parts, &call, &text);
			(void) appear(u, &call, !provider->last_carries, true, err);
		}
		if (err->status != OMB_OK && provider->parts_drop != NULL)
			provider->parts_drop(client, &parts);
	}
	else if (parts.taken)
		(void) whose(u, name, err);
	omb_buf_free(&text);
	omb_buf_free(&parts.list);
	omb_buf_free(&parts.id);
	return err->status;
}

omb_status
omb_cloud_upload_commit(omb_upload *upload, const char *name, omb_error *err)
{
	cloud_upload *u = (cloud_upload *) upload;
	char *mark =
		omb_format("%s: %s", u->uploader->client->provider->mark, u->mark);
	omb_status status;

	if (u->fd >= 0)
		(void) spill(u, err);
	if (err->status == OMB_OK && !is_sent_whole(u->uploader, u->size))
		(void) put_in_parts(u, name, mark, err);
	else if (err->status == OMB_OK &&
			 (u->fd < 0 || load(u, 0, (size_t) u->size, err) == OMB_OK))
		(void) put_whole(u, name, mark, err);
	status = err->status;
	free(mark);
	omb_cloud_upload_abort(upload);
	return status;
}
