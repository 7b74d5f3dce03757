/*
 * s3upload.c: writing objects to a bucket.
 *
 * The name of an object is known when it is complete, and a multipart upload
 * begins with the name. So what has more bytes than one part waits in a
 * temporary file without a name (in TMPDIR or /var/tmp), and an upload needs
 * memory for one part, whatever the size of the object.
 *
 * Parts cost requests, and save having to send all again when the connection
 * is lost. So what would be sent in a few seconds, as fast as the last
 * uploads were, is not cut into parts.
 */
#include "store/s3upload.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crypto.h"
#include "store/s3head.h"
#include "store/s3sign.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PART_SIZE ((uint64_t) 8 * 1024 * 1024)
#define PART_SIZE_MIN ((uint64_t) 5 * 1024 * 1024) /* the servers' */
#define PARTS_MAX 10000							   /* the servers' */
/* Sent whole: what takes so long, and never more, as it is in memory. */
#define WHOLE_SECONDS 4
#define WHOLE_MAX ((uint64_t) 48 * 1024 * 1024)
/* Smaller bodies tell more of the way than of how wide it is. */
#define RATE_BYTES ((size_t) 1024 * 1024)

struct omb_s3_uploader
{
	omb_s3_client *client;
	uint64_t part_size;
	char *option[3]; /* headers of new objects; NULL ends them */
	pthread_mutex_t lock;
	bool plain;	   /* the server cannot create only */
	uint64_t rate; /* bytes a second of the last large body; 0: none yet */
};

typedef struct s3_upload
{
	omb_upload base;
	omb_s3_uploader *uploader;
	omb_buf buffer; /* all of it, or what comes after what is in the file */
	int fd;			/* -1 as long as the buffer is enough */
	uint64_t size;
	char mark[OMB_S3_MARK_TEXT];
} s3_upload;

omb_s3_uploader *
omb_s3_uploader_new(omb_s3_client *client, const omb_s3_config *config)
{
	omb_s3_uploader *uploader = omb_calloc(1, sizeof(*uploader));
	size_t n = 0;

	uploader->client = client;
	uploader->part_size =
		config->part_size != 0 ? config->part_size : PART_SIZE;
	if (uploader->part_size < PART_SIZE_MIN)
		uploader->part_size = PART_SIZE_MIN;
	if (config->storage_class != NULL)
		uploader->option[n++] =
			omb_format("x-amz-storage-class: %s", config->storage_class);
	if (config->encryption != NULL)
		uploader->option[n++] =
			omb_format("x-amz-server-side-encryption: %s", config->encryption);
	if (config->kms_key_id != NULL)
		uploader->option[n++] =
			omb_format("x-amz-server-side-encryption-aws-kms-key-id: %s",
					   config->kms_key_id);
	(void) pthread_mutex_init(&uploader->lock, NULL);
	return uploader;
}

void
omb_s3_uploader_free(omb_s3_uploader *uploader)
{
	size_t i;

	if (uploader == NULL)
		return;
	for (i = 0; i < sizeof(uploader->option) / sizeof(char *); i++)
		free(uploader->option[i]);
	(void) pthread_mutex_destroy(&uploader->lock);
	free(uploader);
}

static bool
is_plain(omb_s3_uploader *uploader)
{
	bool plain;

	(void) pthread_mutex_lock(&uploader->lock);
	plain = uploader->plain;
	(void) pthread_mutex_unlock(&uploader->lock);
	return plain;
}

static void
set_plain(omb_s3_uploader *uploader)
{
	(void) pthread_mutex_lock(&uploader->lock);
	uploader->plain = true;
	(void) pthread_mutex_unlock(&uploader->lock);
}

/* ---- how fast ---- */

static int64_t
now(void)
{
	struct timespec t;

	(void) clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A body was sent since a time, with all that was tried. */
static void
note_rate(omb_s3_uploader *uploader, size_t bytes, int64_t since)
{
	int64_t spent = now() - since + 1;

	if (bytes < RATE_BYTES)
		return;
	(void) pthread_mutex_lock(&uploader->lock);
	uploader->rate = (uint64_t) bytes * 1000000 / (uint64_t) spent;
	(void) pthread_mutex_unlock(&uploader->lock);
}

static bool
is_sent_whole(omb_s3_uploader *uploader, uint64_t size)
{
	uint64_t rate;

	(void) pthread_mutex_lock(&uploader->lock);
	rate = uploader->rate;
	(void) pthread_mutex_unlock(&uploader->lock);
	return size <= uploader->part_size ||
		   (size <= WHOLE_MAX && size / WHOLE_SECONDS <= rate);
}

/* ---- collecting ---- */

omb_upload *
omb_s3_upload_new(omb_s3_uploader *uploader, omb_store *store)
{
	s3_upload *u = omb_calloc(1, sizeof(*u));
	uint8_t mark[(OMB_S3_MARK_TEXT - 1) / 2];

	u->base.store = store;
	u->uploader = uploader;
	u->fd = -1;
	omb_random(mark, sizeof(mark));
	(void) omb_hex_format(mark, sizeof(mark), u->mark);
	return &u->base;
}

static omb_status
open_file(s3_upload *u, omb_error *err)
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
spill(s3_upload *u, omb_error *err)
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
omb_s3_upload_write(omb_upload *upload, const void *data, size_t len,
					omb_error *err)
{
	s3_upload *u = (s3_upload *) upload;
	const uint8_t *at = data;

	u->size += len;
	while (len > 0)
	{
		size_t room = (size_t) u->uploader->part_size - u->buffer.len;
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
omb_s3_upload_abort(omb_upload *upload)
{
	s3_upload *u = (s3_upload *) upload;

	if (u->fd >= 0)
		(void) close(u->fd);
	omb_buf_free(&u->buffer);
	free(u);
}

/* ---- storing ---- */

/* OMB_EXISTS when the name is taken, by another upload than this one. */
static omb_status
look(const s3_upload *u, const char *name, bool *mine, omb_error *err)
{
	omb_s3_found found;

	*mine = false;
	if (omb_s3_head(u->uploader->client, name, &found, err) == OMB_NOT_FOUND)
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
						 omb_s3_client_location(u->uploader->client));
}

static void
add_options(const s3_upload *u, omb_s3_call *call, const char *mark)
{
	size_t i;

	call->header[call->header_count++] = mark;
	for (i = 0; i < sizeof(u->uploader->option) / sizeof(char *); i++)
		if (u->uploader->option[i] != NULL)
			call->header[call->header_count++] = u->uploader->option[i];
}

/*
 * Do the call that makes the object appear, creating only. When the answer
 * leaves open who made the object that is there, look.
 */
static omb_status
appear(s3_upload *u, omb_s3_call *call, omb_error *err)
{
	omb_s3_uploader *uploader = u->uploader;
	size_t headers = call->header_count;
	omb_s3_answer answer = { 0 };
	omb_error first;
	bool mine, settled;
	int turn;

	for (turn = 0; turn < 2; turn++)
	{
		bool plain = is_plain(uploader);

		call->header_count = headers;
		if (!plain)
			call->header[call->header_count++] = "if-none-match: *";
		else if (look(u, call->name, &mine, err) != OMB_OK || mine)
			return err->status;
		if (omb_s3_do(uploader->client, call, &answer, err) == OMB_OK &&
			call->method[1] == 'O' /* POST, which completes */ &&
			!omb_s3_parse_completed(answer.http.body.data,
									answer.http.body.len))
			(void) omb_error_set(err, OMB_FAILED,
								 "could not %s \"%s\" in \"%s\": the answer "
								 "is not whole",
								 call->action, call->name,
								 omb_s3_client_location(uploader->client));
		if (plain || answer.http.status != 501)
			break;
		set_plain(uploader);
		omb_error_clear(err);
		omb_s3_answer_free(&answer);
		memset(&answer, 0, sizeof(answer));
	}
	/*
	 * Taken; or done by a try whose answer was lost, so that the upload is
	 * gone or the name is ours; or nobody knows. Without any answer there is
	 * nobody to ask.
	 */
	settled = err->status == OMB_OK || answer.http.status == 0 ||
			  answer.http.status == 400 || answer.http.status == 403;
	omb_s3_answer_free(&answer);
	if (settled)
		return err->status;
	first = *err;
	omb_error_clear(err);
	if (look(u, call->name, &mine, err) == OMB_EXISTS || mine)
		return err->status;
	*err = first;
	return err->status;
}

/* Have so many bytes of the file in the buffer. */
static omb_status
load(s3_upload *u, uint64_t offset, size_t len, omb_error *err)
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
put_whole(s3_upload *u, const char *name, const char *mark, omb_error *err)
{
	omb_s3_call call = { .action = "store object",
						 .method = "PUT",
						 .name = name,
						 .body = u->buffer.data,
						 .body_len = u->buffer.len };
	int64_t since = now();

	add_options(u, &call, mark);
	if (appear(u, &call, err) == OMB_OK)
		note_rate(u->uploader, u->buffer.len, since);
	return err->status;
}

/* Begin a multipart upload; its id, encoded for queries. */
static omb_status
begin_parts(s3_upload *u, const char *name, const char *mark, omb_buf *id,
			omb_error *err)
{
	omb_s3_call call = { .action = "store object",
						 .method = "POST",
						 .name = name,
						 .query = "uploads=" };
	omb_s3_answer answer = { 0 };
	char *raw = NULL;

	add_options(u, &call, mark);
	if (omb_s3_do(u->uploader->client, &call, &answer, err) == OMB_OK)
	{
		if (omb_s3_parse_upload_id(answer.http.body.data, answer.http.body.len,
								   &raw))
			omb_s3_encode(id, raw, false);
		else
			(void) omb_error_set(err, OMB_FAILED,
								 "could not store object \"%s\" in \"%s\": "
								 "server gave no id for a multipart upload",
								 name,
								 omb_s3_client_location(u->uploader->client));
	}
	free(raw);
	omb_s3_answer_free(&answer);
	return err->status;
}

/* Send a part, which is in the buffer; adds it to the list. */
static omb_status
put_part(s3_upload *u, const char *name, const char *id, unsigned int number,
		 omb_buf *list, omb_error *err)
{
	omb_s3_call call = { .action = "store a part of object",
						 .method = "PUT",
						 .name = name,
						 .body = u->buffer.data,
						 .body_len = u->buffer.len };
	omb_s3_answer answer = { 0 };
	char etag[128];
	int64_t since = now();
	char *query = omb_format("partNumber=%u&uploadId=%s", number, id);

	call.query = query;
	if (omb_s3_do(u->uploader->client, &call, &answer, err) == OMB_OK)
	{
		if (!omb_http_header(&answer.http, "etag", etag, sizeof(etag)) ||
			strpbrk(etag, "<>&") != NULL)
			(void) omb_error_set(err, OMB_FAILED,
								 "could not store a part of object \"%s\" in "
								 "\"%s\": server gave no ETag",
								 name,
								 omb_s3_client_location(u->uploader->client));
		else
		{
			note_rate(u->uploader, u->buffer.len, since);
			omb_buf_printf(list,
						   "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag>"
						   "</Part>",
						   number, etag);
		}
	}
	free(query);
	omb_s3_answer_free(&answer);
	return err->status;
}

/* Send all parts from the file. */
static omb_status
put_parts(s3_upload *u, const char *name, const char *id, omb_buf *list,
		  omb_error *err)
{
	uint64_t part_size = u->uploader->part_size;
	uint64_t offset = 0;
	unsigned int number = 0;

	if (u->size / part_size >= PARTS_MAX)
		part_size = u->size / (PARTS_MAX - 1) + 1;
	while (offset < u->size)
	{
		uint64_t left = u->size - offset;
		size_t len = (size_t) (left < part_size ? left : part_size);

		if (load(u, offset, len, err) != OMB_OK)
			return err->status;
		if (put_part(u, name, id, ++number, list, err) != OMB_OK)
			return err->status;
		offset += len;
	}
	return OMB_OK;
}

/* Take the parts away again; what cannot be is left to sweeping. */
static void
drop_parts(s3_upload *u, const char *name, const char *query)
{
	omb_s3_call call = { .action = "abort an upload of object",
						 .method = "DELETE",
						 .name = name,
						 .query = query,
						 .once = true };
	omb_s3_answer answer = { 0 };
	omb_error ignored = OMB_ERROR_INIT;

	(void) omb_s3_do(u->uploader->client, &call, &answer, &ignored);
	omb_s3_answer_free(&answer);
}

static omb_status
put_in_parts(s3_upload *u, const char *name, const char *mark, omb_error *err)
{
	omb_s3_call call = { .action = "store object",
						 .method = "POST",
						 .name = name };
	omb_buf id = OMB_BUF_INIT;
	omb_buf list = OMB_BUF_INIT;
	char *query;

	if (begin_parts(u, name, mark, &id, err) != OMB_OK)
	{
		omb_buf_free(&id);
		return err->status;
	}
	query = omb_format("uploadId=%s", omb_buf_text(&id));
	omb_buf_printf(&list, "<CompleteMultipartUpload xmlns=\"http://"
						  "s3.amazonaws.com/doc/2006-03-01/\">");
	if (put_parts(u, name, omb_buf_text(&id), &list, err) == OMB_OK)
	{
		omb_buf_printf(&list, "</CompleteMultipartUpload>");
		call.query = query;
		call.body = list.data;
		call.body_len = list.len;
		(void) appear(u, &call, err);
	}
	if (err->status != OMB_OK)
		drop_parts(u, name, query);
	free(query);
	omb_buf_free(&list);
	omb_buf_free(&id);
	return err->status;
}

omb_status
omb_s3_upload_commit(omb_upload *upload, const char *name, omb_error *err)
{
	s3_upload *u = (s3_upload *) upload;
	char *mark = omb_format("%s: %s", OMB_S3_MARK_HEADER, u->mark);
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
	omb_s3_upload_abort(upload);
	return status;
}
