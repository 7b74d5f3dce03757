/*
 * gcsparts.c: resumable uploads.
 *
 * A session is begun with all that is to be known of the object, and has an
 * address of its own, which needs no signature. Parts are sent to it in order,
 * each with its range of bytes; the answer tells up to where the server
 * has them, and bytes that it has already it leaves aside. With the last one
 * the object appears.
 */
#include "store/gcs/gcsclient.h"

#include "base/base64.h"
#include "base/text.h"
#include "codec/crc32c.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* How often the server may have kept only some of what was sent. */
#define REST_MAX 16

void
omb_gcs_put_hash(uint32_t crc, omb_buf *text)
{
	uint8_t raw[4] = { (uint8_t) (crc >> 24), (uint8_t) (crc >> 16),
					   (uint8_t) (crc >> 8), (uint8_t) crc };

	omb_buf_printf(text, "x-goog-hash: crc32c=");
	omb_base64_put(text, raw, sizeof(raw));
}

omb_status
omb_gcs_parts_begin(omb_cloud_client *client, omb_cloud_parts *parts,
					omb_error *err)
{
	const omb_gcs_bucket *b = client->own;
	omb_cloud_call call = { .action = "store object",
							.method = "POST",
							.name = parts->name };
	omb_cloud_answer answer = { 0 };
	char session[2048];
	char *server = omb_format("%s%s/", b->scheme, b->host);

	memcpy(call.header, parts->header,
		   parts->header_count * sizeof(*parts->header));
	call.header_count = parts->header_count;
	call.header[call.header_count++] = "x-goog-resumable: start";
	call.header[call.header_count++] = OMB_GCS_CREATE_ONLY;
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
	{
		/* to no other server than the one that was asked */
		if (omb_http_header(&answer.http, "location", session,
							sizeof(session)) &&
			strlen(session) < sizeof(session) - 1 &&
			strncmp(session, server, strlen(server)) == 0 &&
			omb_cloud_is_word(session))
			omb_buf_printf(&parts->id, "%s", session);
		else
			(void) omb_cloud_nonsense(client, &call, err);
	}
	parts->taken = answer.http.status == 412;
	omb_cloud_answer_free(&answer);
	free(server);
	return err->status;
}

/* "content-range: bytes 0-15/400", of what is sent from an offset on */
static void
put_range(const omb_cloud_parts *parts, uint64_t from, omb_buf *text)
{
	omb_buf_printf(text,
				   "content-range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
				   from, parts->offset + parts->len - 1, parts->size);
}

/* Up to where the server has the object: "range: bytes=0-15" is 16. */
static bool
read_range(const omb_cloud_answer *answer, uint64_t *end)
{
	char text[64];

	*end = 0;
	if (!omb_http_header(&answer->http, "range", text, sizeof(text)))
		return true; /* nothing */
	if (strncmp(text, "bytes=0-", 8) != 0 || !omb_u64_parse(text + 8, end))
		return false;
	(*end)++;
	return true;
}

omb_status
omb_gcs_parts_send(omb_cloud_client *client, omb_cloud_parts *parts,
				   omb_error *err)
{
	uint64_t end = parts->offset + parts->len;
	uint64_t from = parts->offset;
	int turn;

	parts->crc = omb_crc32c(parts->crc, parts->data, parts->len);
	for (turn = 0; turn < REST_MAX && from < end; turn++)
	{
		omb_cloud_call call = { .action = "store a part of object",
								.method = "PUT",
								.name = parts->name,
								.url = omb_buf_text(&parts->id),
								.also_good = 308 };
		omb_cloud_answer answer = { 0 };
		omb_buf range = OMB_BUF_INIT;
		uint64_t has;

		put_range(parts, from, &range);
		call.header[call.header_count++] = omb_buf_text(&range);
		call.body = (const uint8_t *) parts->data + (from - parts->offset);
		call.body_len = (size_t) (end - from);
		if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
		{
			if (answer.http.status != 308 || !read_range(&answer, &has) ||
				has < parts->offset || has > end)
				(void) omb_cloud_nonsense(client, &call, err);
			else
				from = has;
		}
		omb_cloud_answer_free(&answer);
		omb_buf_free(&range);
		if (err->status != OMB_OK)
			return err->status;
	}
	if (from < end)
		(void) omb_error_set(err, OMB_FAILED,
							 "could not store a part of object \"%s\" in "
							 "\"%s\": the server does not keep it",
							 parts->name, client->location);
	return err->status;
}

void
omb_gcs_parts_finish(const omb_cloud_client *client, omb_cloud_parts *parts,
					 omb_cloud_call *call, omb_buf *text)
{
	size_t hash;

	parts->crc = omb_crc32c(parts->crc, parts->data, parts->len);
	put_range(parts, parts->offset, text);
	omb_buf_put_u8(text, '\0');
	hash = text->len;
	omb_gcs_put_hash(parts->crc, text);
	omb_buf_put_u8(text, '\0');
	call->method = "PUT";
	call->url = omb_buf_text(&parts->id);
	call->header[call->header_count++] = (const char *) text->data;
	call->header[call->header_count++] = (const char *) text->data + hash;
	call->body = parts->data;
	call->body_len = parts->len;
}

/* Google answers that with a status of its own. */
void
omb_gcs_parts_drop(omb_cloud_client *client, omb_cloud_parts *parts)
{
	omb_cloud_call call = { .action = "abort an upload of object",
							.method = "DELETE",
							.name = parts->name,
							.url = omb_buf_text(&parts->id),
							.also_good = 499,
							.once = true };
	omb_cloud_answer answer = { 0 };
	omb_error ignored = OMB_ERROR_INIT;

	(void) omb_cloud_do(client, &call, &answer, &ignored);
	omb_cloud_answer_free(&answer);
}
