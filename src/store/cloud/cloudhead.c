/*
 * cloudhead.c: is there an object in the bucket, and which?
 *
 * An answer to HEAD has no body, so that 404 may mean that there is no such
 * object, no such bucket, or a proxy that knows nothing, and 400 or 403
 * anything. Which it is says the answer to GET.
 */
#include "store/cloud/cloudhead.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static void
read_names(const omb_cloud_client *client, const omb_cloud_answer *answer,
		   omb_cloud_found *found)
{
	(void) omb_http_header(&answer->http, "etag", found->etag,
						   sizeof(found->etag));
	(void) omb_http_header(&answer->http, client->provider->mark, found->mark,
						   sizeof(found->mark));
}

static omb_status
contradiction(omb_cloud_client *client, const char *name, omb_error *err)
{
	return omb_error_set(err, OMB_FAILED,
						 "server contradicts itself about object \"%s\" in "
						 "\"%s\"",
						 name, client->location);
}

/* One HEAD. refused: why is not known. */
static omb_status
ask_head(omb_cloud_client *client, const char *name, omb_cloud_found *found,
		 bool *refused, omb_error *err)
{
	omb_cloud_call call = { .action = "look for object",
							.method = "HEAD",
							.name = name };
	omb_cloud_answer answer = { 0 };
	char size[24];

	memset(found, 0, sizeof(*found));
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
	{
		if (!omb_http_header(&answer.http, "content-length", size,
							 sizeof(size)) ||
			!omb_u64_parse(size, &found->size))
			(void) contradiction(client, name, err);
		read_names(client, &answer, found);
	}
	*refused = answer.http.status == 404 || answer.http.status == 403 ||
			   answer.http.status == 400;
	omb_cloud_answer_free(&answer);
	return err->status;
}

/* The size of the whole, from "bytes 0-15/400" and what came. */
static bool
read_size(const omb_cloud_answer *answer, size_t wanted, uint64_t *size)
{
	char range[64];
	char *slash;

	*size = answer->http.body.len;
	if (answer->http.status == 200)
		return true;
	if (!omb_http_header(&answer->http, "content-range", range,
						 sizeof(range)) ||
		strncmp(range, "bytes 0-", 8) != 0)
		return false;
	slash = strchr(range, '/');
	return slash != NULL && omb_u64_parse(slash + 1, size) &&
		   answer->http.body.len == (*size < wanted ? *size : wanted);
}

omb_status
omb_cloud_peek(omb_cloud_client *client, const char *name, size_t len,
			   omb_cloud_found *found, omb_buf *start, omb_error *err)
{
	omb_cloud_call call = { .action = "look for object",
							.method = "GET",
							.name = name };
	omb_cloud_answer answer = { 0 };
	char *range = omb_format("range: bytes=0-%zu", len - 1);
	bool refused;

	memset(found, 0, sizeof(*found));
	call.header[call.header_count++] = range;
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
	{
		if (!read_size(&answer, len, &found->size))
			(void) contradiction(client, name, err);
		else if (answer.http.body.len > 0)
			omb_buf_put(start, answer.http.body.data, answer.http.body.len);
		read_names(client, &answer, found);
	}
	else if (answer.http.status == 416)
	{
		/* nothing can be read of an empty object */
		omb_error_clear(err);
		if (ask_head(client, name, found, &refused, err) == OMB_OK &&
			found->size != 0)
			(void) contradiction(client, name, err);
	}
	else if (answer.http.status == 404 &&
			 strcmp(answer.error.code, client->provider->absent) == 0)
		(void) omb_error_set(err, OMB_NOT_FOUND,
							 "object \"%s\" is not in \"%s\"", name,
							 client->location);
	free(range);
	omb_cloud_answer_free(&answer);
	return err->status;
}

omb_status
omb_cloud_head(omb_cloud_client *client, const char *name,
			   omb_cloud_found *found, omb_error *err)
{
	omb_buf start = OMB_BUF_INIT;
	bool refused;

	if (ask_head(client, name, found, &refused, err) == OMB_OK || !refused)
		return err->status;
	omb_error_clear(err);
	(void) omb_cloud_peek(client, name, 1, found, &start, err);
	omb_buf_free(&start);
	return err->status;
}
