/*
 * s3remove.c: removing many objects by one request, DeleteObjects.
 */
#include "store/s3/s3remove.h"

#include "base/base64.h"
#include "codec/crypto.h"
#include "store/s3/s3xml.h"

#include <stdlib.h>
#include <string.h>

static void
put_escaped(omb_buf *out, const char *text)
{
	for (; *text != '\0'; text++)
	{
		switch (*text)
		{
			case '&':
				omb_buf_printf(out, "&amp;");
				break;
			case '<':
				omb_buf_printf(out, "&lt;");
				break;
			case '>':
				omb_buf_printf(out, "&gt;");
				break;
			default:
				omb_buf_put(out, text, 1);
		}
	}
}

static void
write_request(const omb_cloud_client *client, const char *const *name,
			  size_t count, omb_buf *out)
{
	size_t i;

	omb_buf_printf(out, "<Delete xmlns=\"http://s3.amazonaws.com/doc/"
						"2006-03-01/\">");
	for (i = 0; i < count; i++)
	{
		omb_buf_printf(out, "<Object><Key>");
		put_escaped(out, client->prefix);
		put_escaped(out, name[i]);
		omb_buf_printf(out, "</Key></Object>");
	}
	omb_buf_printf(out, "</Delete>");
}

/* Servers answer in the order that was asked, so the search is short. */
static void
note_gone(const omb_cloud_client *client, const omb_s3_fates *fates,
		  const char *const *name, size_t count, bool *gone)
{
	size_t skip = strlen(client->prefix);
	size_t next = 0;
	size_t i, n;

	for (i = 0; i < count; i++)
	{
		for (n = 0; n < fates->count; n++)
		{
			const omb_s3_fate *fate = &fates->item[(next + n) % fates->count];

			if (strncmp(fate->key, client->prefix, skip) == 0 &&
				strcmp(fate->key + skip, name[i]) == 0)
			{
				next = (next + n + 1) % fates->count;
				gone[i] = fate->is_deleted;
				break;
			}
		}
	}
}

/*
 * A server that knows no such request takes it for another one; older ones of
 * Ceph want a permission on the whole bucket.
 */
static bool
is_unknown(const omb_cloud_answer *answer)
{
	int status = answer->http.status;

	return status == 400 || status == 403 || status == 405 || status == 411 ||
		   status == 501 ||
		   (status == 404 && strcmp(answer->error.code, "NoSuchBucket") != 0);
}

omb_status
omb_s3_remove_batch(omb_cloud_client *client, const char *const *name,
					size_t count, bool *gone, omb_error *err)
{
	omb_cloud_call call = { .action = "remove objects",
							.method = "POST",
							.query = "delete=" };
	omb_cloud_answer answer = { 0 };
	omb_buf body = OMB_BUF_INIT;
	uint8_t md5[OMB_MD5_SIZE];
	omb_buf header = OMB_BUF_INIT;
	omb_s3_fates fates;

	write_request(client, name, count, &body);
	/* every server wants this one, though the body is signed */
	if (!omb_md5(body.data, body.len, md5))
	{
		omb_buf_free(&body);
		return omb_error_set(err, OMB_UNSUPPORTED,
							 "libcrypto does not offer MD5");
	}
	omb_buf_printf(&header, "content-md5: ");
	omb_base64_put(&header, md5, sizeof(md5));
	call.header[call.header_count++] = omb_buf_text(&header);
	call.body = body.data;
	call.body_len = body.len;
	if (omb_cloud_do(client, &call, &answer, err) != OMB_OK)
	{
		if (is_unknown(&answer))
			err->status = OMB_UNSUPPORTED;
	}
	else if (omb_s3_parse_deleted(answer.http.body.data, answer.http.body.len,
								  &fates))
	{
		/* an answer that makes no sense tells of nothing that is gone */
		note_gone(client, &fates, name, count, gone);
		omb_s3_fates_free(&fates);
	}
	omb_buf_free(&header);
	omb_cloud_answer_free(&answer);
	omb_buf_free(&body);
	return err->status;
}
