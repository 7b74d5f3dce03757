/*
 * s3parts.c: multipart uploads, and those that never ended.
 */
#include "store/s3/s3parts.h"

#include "store/s3/s3lock.h"
#include "store/s3/s3sign.h"
#include "store/s3/s3xml.h"

#include <stdlib.h>
#include <string.h>

/* ---- one upload ---- */

omb_status
omb_s3_parts_begin(omb_cloud_client *client, omb_cloud_parts *parts,
				   omb_error *err)
{
	omb_cloud_call call = { .action = "store object",
							.method = "POST",
							.name = parts->name,
							.query = "uploads=" };
	omb_cloud_answer answer = { 0 };
	omb_buf lock = OMB_BUF_INIT;
	char *raw = NULL;

	memcpy(call.header, parts->header,
		   parts->header_count * sizeof(*parts->header));
	call.header_count = parts->header_count;
	omb_s3_lock_headers(client, &call, &lock);
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
	{
		if (omb_s3_parse_upload_id(answer.http.body.data, answer.http.body.len,
								   &raw))
			omb_s3_encode(&parts->id, raw, false);
		else
			(void) omb_error_set(err, OMB_FAILED,
								 "could not store object \"%s\" in \"%s\": "
								 "server gave no id for a multipart upload",
								 parts->name, client->location);
	}
	free(raw);
	omb_buf_free(&lock);
	omb_cloud_answer_free(&answer);
	return err->status;
}

omb_status
omb_s3_parts_send(omb_cloud_client *client, omb_cloud_parts *parts,
				  omb_error *err)
{
	omb_cloud_call call = { .action = "store a part of object",
							.method = "PUT",
							.name = parts->name,
							.body = parts->data,
							.body_len = parts->len };
	omb_cloud_answer answer = { 0 };
	omb_buf md5 = OMB_BUF_INIT;
	char etag[128];
	char *query = omb_format("partNumber=%u&uploadId=%s", parts->number,
							 omb_buf_text(&parts->id));

	call.query = query;
	omb_s3_lock_md5(client, &call, &md5);
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
	{
		if (!omb_http_header(&answer.http, "etag", etag, sizeof(etag)) ||
			strpbrk(etag, "<>&") != NULL)
			(void) omb_error_set(err, OMB_FAILED,
								 "could not store a part of object \"%s\" in "
								 "\"%s\": server gave no ETag",
								 parts->name, client->location);
		else
			omb_buf_printf(&parts->list,
						   "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag>"
						   "</Part>",
						   parts->number, etag);
	}
	free(query);
	omb_buf_free(&md5);
	omb_cloud_answer_free(&answer);
	return err->status;
}

void
omb_s3_parts_finish(const omb_cloud_client *client, omb_cloud_parts *parts,
					omb_cloud_call *call, omb_buf *text)
{
	size_t query;

	omb_buf_printf(text, "uploadId=%s", omb_buf_text(&parts->id));
	omb_buf_put_u8(text, '\0');
	query = text->len;
	omb_buf_printf(text,
				   "<CompleteMultipartUpload xmlns=\"http://"
				   "s3.amazonaws.com/doc/2006-03-01/\">%s"
				   "</CompleteMultipartUpload>",
				   omb_buf_text(&parts->list));
	call->method = "POST";
	call->query = (const char *) text->data;
	call->body = text->data + query;
	call->body_len = text->len - query;
}

bool
omb_s3_parts_finished(const omb_cloud_answer *answer)
{
	return omb_s3_parse_completed(answer->http.body.data,
								  answer->http.body.len);
}

/* What cannot be taken away is left to sweeping. */
void
omb_s3_parts_drop(omb_cloud_client *client, omb_cloud_parts *parts)
{
	char *query = omb_format("uploadId=%s", omb_buf_text(&parts->id));
	omb_cloud_call call = { .action = "abort an upload of object",
							.method = "DELETE",
							.name = parts->name,
							.query = query,
							.once = true };
	omb_cloud_answer answer = { 0 };
	omb_error ignored = OMB_ERROR_INIT;

	(void) omb_cloud_do(client, &call, &answer, &ignored);
	omb_cloud_answer_free(&answer);
	free(query);
}

/* ---- sweeping ---- */

/* An upload that nobody has added to for so long is aborted. */
static omb_status
sweep_one(omb_cloud_client *client, const omb_s3_multipart *item,
		  uint64_t seconds, bool remove, omb_store_swept *swept,
		  omb_error *err)
{
	omb_cloud_call call = { .action = "list parts of object",
							.method = "GET" };
	omb_cloud_answer answer = { 0 };
	omb_buf query = OMB_BUF_INIT;
	uint64_t bytes = 0;
	int64_t newest = 0;
	bool done = false;

	call.name = item->key + strlen(client->prefix);
	omb_buf_printf(&query, "uploadId=");
	omb_s3_encode(&query, item->id, false);
	call.query = omb_buf_text(&query);
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK &&
		!omb_s3_parse_parts(answer.http.body.data, answer.http.body.len,
							&bytes, &newest))
		(void) omb_cloud_nonsense(client, &call, err);
	if (newest < item->started)
		newest = item->started;
	/* some servers round times up */
	if (err->status == OMB_OK &&
		(seconds == 0 ||
		 omb_cloud_client_now(client) - newest >= (int64_t) seconds * 1000000))
	{
		done = true;
		if (remove)
		{
			omb_cloud_answer_free(&answer);
			memset(&answer, 0, sizeof(answer));
			call.action = "abort an upload of object";
			call.method = "DELETE";
			done = omb_cloud_do(client, &call, &answer, err) == OMB_OK;
		}
	}
	if (done)
	{
		swept->count++;
		swept->bytes += bytes;
	}
	else if (answer.http.status == 404 &&
			 strcmp(answer.error.code, "NoSuchUpload") == 0)
		omb_error_clear(err); /* it has ended meanwhile */
	omb_cloud_answer_free(&answer);
	omb_buf_free(&query);
	return err->status;
}

static omb_status
fetch_multiparts(omb_cloud_client *client, const char *key, const char *id,
				 omb_s3_multiparts *list, omb_error *err)
{
	omb_cloud_call call = { .action = "list uploads", .method = "GET" };
	omb_cloud_answer answer = { 0 };
	omb_buf query = OMB_BUF_INIT;

	if (key != NULL)
	{
		omb_buf_printf(&query, "key-marker=");
		omb_s3_encode(&query, key, false);
		omb_buf_put_u8(&query, '&');
	}
	omb_buf_printf(&query, "prefix=");
	omb_s3_encode(&query, client->prefix, false);
	if (id != NULL)
	{
		omb_buf_printf(&query, "&upload-id-marker=");
		omb_s3_encode(&query, id, false);
	}
	omb_buf_printf(&query, "&uploads=");
	call.query = omb_buf_text(&query);
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK &&
		!omb_s3_parse_multiparts(answer.http.body.data, answer.http.body.len,
								 list))
		(void) omb_cloud_nonsense(client, &call, err);
	omb_cloud_answer_free(&answer);
	omb_buf_free(&query);
	return err->status;
}

omb_status
omb_s3_sweep(omb_cloud_client *client, uint64_t seconds, bool remove,
			 omb_store_swept *swept, omb_error *err)
{
	const char *prefix = client->prefix;
	omb_s3_multiparts list = { 0 };
	char *key = NULL;
	char *id = NULL;
	size_t i;

	do
	{
		(void) fetch_multiparts(client, key, id, &list, err);
		free(key);
		free(id);
		key = list.next_key;
		id = list.next_id;
		list.next_key = NULL;
		list.next_id = NULL;
		for (i = 0; i < list.count && err->status == OMB_OK; i++)
			if (strncmp(list.item[i].key, prefix, strlen(prefix)) == 0)
				(void) sweep_one(client, &list.item[i], seconds, remove, swept,
								 err);
		omb_s3_multiparts_free(&list);
	} while (err->status == OMB_OK && key != NULL);
	free(key);
	free(id);
	return err->status;
}
