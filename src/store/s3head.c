/*
 * s3head.c: is there an object in the bucket, and which?
 *
 * An answer to HEAD has no body, so that 404 may mean that there is no such
 * object, no such bucket, or a proxy that knows nothing, and 403 anything.
 * Which it is says the answer to GET.
 */
#include "store/s3head.h"

#include "base/text.h"

#include <string.h>

static omb_status
read_found(const omb_s3_answer *answer, const char *name, omb_s3_found *found,
		   omb_error *err)
{
	char size[24];

	if (!omb_http_header(&answer->http, "content-length", size,
						 sizeof(size)) ||
		!omb_u64_parse(size, &found->size))
		return omb_error_set(err, OMB_FAILED,
							 "server did not tell the size of object \"%s\"",
							 name);
	(void) omb_http_header(&answer->http, "etag", found->etag,
						   sizeof(found->etag));
	(void) omb_http_header(&answer->http, OMB_S3_MARK_HEADER, found->mark,
						   sizeof(found->mark));
	return OMB_OK;
}

/* HEAD refused. OMB_OK when GET finds the object after all. */
static omb_status
learn_why(omb_s3_client *client, const char *name, omb_error *err)
{
	omb_s3_call call = { .action = "look for object",
						 .method = "GET",
						 .name = name,
						 .header = { "range: bytes=0-0" },
						 .header_count = 1 };
	omb_s3_answer answer = { 0 };

	(void) omb_s3_do(client, &call, &answer, err);
	if (answer.http.status == 416)
		omb_error_clear(err); /* an empty object */
	else if (answer.http.status == 404 &&
			 strcmp(answer.error.code, "NoSuchKey") == 0)
		(void) omb_error_set(err, OMB_NOT_FOUND,
							 "object \"%s\" is not in \"%s\"", name,
							 omb_s3_client_location(client));
	omb_s3_answer_free(&answer);
	return err->status;
}

omb_status
omb_s3_head(omb_s3_client *client, const char *name, omb_s3_found *found,
			omb_error *err)
{
	omb_s3_call call = { .action = "look for object",
						 .method = "HEAD",
						 .name = name };
	omb_s3_answer answer = { 0 };
	bool refused;
	int turn;

	for (turn = 0; turn < 2; turn++)
	{
		memset(found, 0, sizeof(*found));
		if (omb_s3_do(client, &call, &answer, err) == OMB_OK)
			(void) read_found(&answer, name, found, err);
		refused = answer.http.status == 404 || answer.http.status == 403;
		omb_s3_answer_free(&answer);
		memset(&answer, 0, sizeof(answer));
		if (!refused)
			return err->status;
		omb_error_clear(err);
		/* one that appears in between is looked at once more */
		if (learn_why(client, name, err) != OMB_OK)
			return err->status;
	}
	return omb_error_set(err, OMB_FAILED,
						 "server contradicts itself about object \"%s\" in "
						 "\"%s\"",
						 name, omb_s3_client_location(client));
}
