/*
 * s3remove.c: removing objects from a bucket.
 *
 * Many go in one request (DeleteObjects). What the server does not name as
 * deleted in its answer is removed on its own, which tries again where that
 * helps and finds out why it cannot be.
 */
#include "store/s3remove.h"

#include "base/text.h"
#include "codec/crypto.h"
#include "store/s3head.h"

#include <stdlib.h>
#include <string.h>

/* Keys in one request; the servers' limit. */
#define BATCH 1000

/* DELETE does not tell whether there was anything. */
omb_status
omb_s3_remove(omb_s3_client *client, const char *name, omb_error *err)
{
	omb_s3_call call = { .action = "remove object",
						 .method = "DELETE",
						 .name = name };
	omb_s3_answer answer = { 0 };
	omb_s3_found found;

	if (omb_s3_head(client, name, &found, err) != OMB_OK)
		return err->status;
	(void) omb_s3_do(client, &call, &answer, err);
	omb_s3_answer_free(&answer);
	return err->status;
}

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
write_request(const omb_s3_client *client, const char *const *name,
			  size_t count, omb_buf *out)
{
	size_t i;

	omb_buf_printf(out, "<Delete xmlns=\"http://s3.amazonaws.com/doc/"
						"2006-03-01/\">");
	for (i = 0; i < count; i++)
	{
		omb_buf_printf(out, "<Object><Key>");
		put_escaped(out, omb_s3_client_prefix(client));
		put_escaped(out, name[i]);
		omb_buf_printf(out, "</Key></Object>");
	}
	omb_buf_printf(out, "</Delete>");
}

/* Servers answer in the order that was asked, so the search is short. */
static bool
is_deleted(const omb_s3_fates *fates, const char *prefix, const char *name,
		   size_t *next)
{
	size_t skip = strlen(prefix);
	size_t n;

	for (n = 0; n < fates->count; n++)
	{
		const omb_s3_fate *fate = &fates->item[(*next + n) % fates->count];

		if (strncmp(fate->key, prefix, skip) == 0 &&
			strcmp(fate->key + skip, name) == 0)
		{
			*next = (*next + n + 1) % fates->count;
			return fate->is_deleted;
		}
	}
	return false;
}

/*
 * A server that knows no such request takes it for another one; older ones of
 * Ceph want a permission on the whole bucket.
 */
static bool
is_unknown(const omb_s3_answer *answer)
{
	int status = answer->http.status;

	return status == 400 || status == 403 || status == 405 || status == 411 ||
		   status == 501 ||
		   (status == 404 && strcmp(answer->error.code, "NoSuchBucket") != 0);
}

/* Ask for all; what the server says to be deleted goes to fates. */
static omb_status
ask(omb_s3_client *client, const char *const *name, size_t count,
	omb_s3_fates *fates, omb_error *err)
{
	omb_s3_call call = { .action = "remove objects",
						 .method = "POST",
						 .query = "delete=" };
	omb_s3_answer answer = { 0 };
	omb_buf body = OMB_BUF_INIT;
	uint8_t md5[OMB_MD5_SIZE];
	char digest[OMB_BASE64_TEXT(OMB_MD5_SIZE)];
	char *header = NULL;

	memset(fates, 0, sizeof(*fates));
	write_request(client, name, count, &body);
	/* every server wants this one, though the body is signed */
	if (!omb_md5(body.data, body.len, md5))
	{
		omb_buf_free(&body);
		return omb_error_set(err, OMB_UNSUPPORTED,
							 "libcrypto does not offer MD5");
	}
	header = omb_format("content-md5: %s",
						omb_base64_format(md5, sizeof(md5), digest));
	call.header[call.header_count++] = header;
	call.body = body.data;
	call.body_len = body.len;
	if (omb_s3_do(client, &call, &answer, err) != OMB_OK)
	{
		if (is_unknown(&answer))
			err->status = OMB_UNSUPPORTED;
	}
	else
		/* what makes no sense tells of nothing that was deleted */
		(void) omb_s3_parse_deleted(answer.http.body.data,
									answer.http.body.len, fates);
	free(header);
	omb_s3_answer_free(&answer);
	omb_buf_free(&body);
	return err->status;
}

static omb_status
remove_batch(omb_s3_client *client, const char *const *name, size_t first,
			 size_t count, omb_store_removed removed, void *arg,
			 omb_error *err)
{
	const char *prefix = omb_s3_client_prefix(client);
	omb_s3_fates fates;
	omb_error refused;
	size_t next = 0;
	size_t i;

	if (ask(client, name + first, count, &fates, err) != OMB_OK)
		return err->status;
	for (i = first; i < first + count; i++)
	{
		if (is_deleted(&fates, prefix, name[i], &next) ||
			omb_s3_remove(client, name[i], err) == OMB_OK ||
			err->status == OMB_NOT_FOUND)
		{
			omb_error_clear(err);
			removed(i, NULL, arg);
			continue;
		}
		if (err->status != OMB_REFUSED)
			break;
		refused = *err;
		omb_error_clear(err);
		removed(i, &refused, arg);
	}
	omb_s3_fates_free(&fates);
	return err->status;
}

omb_status
omb_s3_remove_many(omb_s3_client *client, const char *const *name,
				   size_t count, omb_store_removed removed, void *arg,
				   omb_error *err)
{
	size_t first;

	for (first = 0; first < count; first += BATCH)
	{
		size_t part = count - first < BATCH ? count - first : BATCH;

		if (remove_batch(client, name, first, part, removed, arg, err) !=
			OMB_OK)
		{
			/* that has to be said before anything is removed */
			if (err->status == OMB_UNSUPPORTED && first > 0)
				err->status = OMB_FAILED;
			break;
		}
	}
	return err->status;
}
