/*
 * gcs.c: speaking to Google Cloud Storage.
 */
#include "store/gcs/gcs.h"

#include "base/text.h"
#include "codec/crc32c.h"
#include "store/gcs/gcsclient.h"
#include "store/s3/s3client.h"
#include "store/s3/s3sign.h"

#include <stdlib.h>
#include <string.h>

/* Parts that are not the last one have a multiple of 256 KiB. */
#define PART_SIZE_MIN ((uint64_t) 8 * 1024 * 1024)
/* A token that ends in less is not used, in microseconds. */
#define TOKEN_LEFT (INT64_C(60) * 1000000)

static void
free_bucket(void *own)
{
	omb_gcs_bucket *b = own;

	omb_google_token_wipe(&b->token);
	free(b->scheme);
	free(b->host);
	free(b->bucket);
	free(b);
}

/* ---- one try ---- */

static void
sign(omb_cloud_attempt *a, const char *path)
{
	const omb_cloud_call *call = a->call;
	const omb_gcs_bucket *b = a->client->own;
	omb_s3_signing signing = { .google = true };
	omb_buf signature = OMB_BUF_INIT;
	char date[17];

	omb_s3_date(a->time, date);
	omb_cloud_add_header(a, "host: %s", b->host);
	omb_cloud_add_header(a, "x-goog-date: %s", date);
	omb_cloud_add_header(a, "x-goog-content-sha256: %s", a->hash);
	omb_cloud_sort_headers(a);
	signing.access_key_id = a->client->keys.access_key_id;
	signing.secret_access_key = a->client->keys.secret_access_key;
	signing.region = "auto";
	signing.time = a->time;
	signing.method = call->method;
	signing.path = path;
	signing.query = call->query != NULL ? call->query : "";
	signing.header = (const char *const *) a->header;
	signing.header_count = a->header_count;
	signing.payload_hash = a->hash;
	omb_s3_sign(&signing, &signature);
	omb_cloud_add_header(a, "authorization: %s", omb_buf_text(&signature));
	omb_buf_free(&signature);
}

/* Have a token that is good for a while. */
static omb_status
have_token(omb_cloud_attempt *a, omb_error *err)
{
	omb_cloud_client *client = a->client;
	omb_gcs_bucket *b = client->own;

	if (omb_cloud_is_private(omb_buf_text(&a->url), err) != OMB_OK)
		return err->status;
	if (b->token.text == NULL || b->token_keys != client->keys_read ||
		b->token.until - a->time < TOKEN_LEFT)
	{
		if (omb_google_token_get(client->http, client->keys.json,
								 &client->clock_offset, &b->token,
								 &a->answer->http, err) != OMB_OK)
		{
			/* it says nothing of the object */
			a->answer->http.status = 0;
			return err->status;
		}
		b->token_keys = client->keys_read;
	}
	omb_cloud_add_header(a, "authorization: Bearer %s", b->token.text);
	return OMB_OK;
}

static omb_status
gcs_prepare(omb_cloud_attempt *a, omb_error *err)
{
	const omb_cloud_call *call = a->call;
	const omb_gcs_bucket *b = a->client->own;
	size_t path;

	omb_buf_printf(&a->url, "%s%s", b->scheme, b->host);
	path = a->url.len;
	omb_buf_printf(&a->url, "/%s", b->bucket);
	if (call->name != NULL)
	{
		omb_buf_put_u8(&a->url, '/');
		omb_s3_encode(&a->url, a->client->prefix, true);
		omb_s3_encode(&a->url, call->name, true);
	}
	if (a->client->keys.json == NULL)
		sign(a, omb_buf_text(&a->url) + path);
	else if (have_token(a, err) != OMB_OK)
		return err->status;
	if (call->query != NULL)
		omb_buf_printf(&a->url, "?%s", call->query);
	return OMB_OK;
}

/* A token may have been taken back before its time. */
static bool
learn_token(omb_cloud_attempt *a)
{
	omb_gcs_bucket *b = a->client->own;
	bool had_one;

	if (a->answer->http.status != 401 || a->learned > 0)
		return false;
	a->learned++;
	(void) pthread_mutex_lock(&a->client->lock);
	had_one = b->token.text != NULL;
	omb_google_token_wipe(&b->token);
	(void) pthread_mutex_unlock(&a->client->lock);
	return had_one;
}

static void
gcs_explain(const omb_cloud_call *call, const omb_cloud_answer *answer,
			omb_error *err)
{
	static const char *const bad_key[] = { "InvalidSecurity",
										   "SignatureDoesNotMatch",
										   "InvalidAccessKeyId",
										   "AuthenticationRequired", NULL };

	if (omb_cloud_is_code(answer, bad_key))
		omb_error_hint(err, "Check the key in the credentials file, and "
							"whether it still exists.");
	else if (strcmp(answer->error.code, "NoSuchBucket") == 0)
		omb_error_hint(err, "Check the name of the bucket, or create it.");
	else if (answer->http.status == 403 &&
			 strstr(answer->error.message, "cannot be deleted") != NULL)
		err->status = OMB_REFUSED; /* a retention policy, or a hold */
	else if (answer->http.status == 403 || answer->http.status == 401)
		omb_error_hint(err,
					   "The account of the key needs storage.objects.create, "
					   "get, list and delete on the bucket (the role Storage "
					   "Object User); to restore, get and list are enough.");
	else if (answer->http.status / 100 == 3)
		omb_error_hint(err, "Check the endpoint of the target.");
}

static void
put_headers(omb_cloud_client *client, const void *data, size_t len,
			omb_cloud_call *call, omb_buf *text)
{
	omb_gcs_put_hash(omb_crc32c(0, data, len), text);
	call->header[call->header_count++] = omb_buf_text(text);
}

/* ---- the client ---- */

static omb_status
check_config(const omb_gcs_config *config, omb_error *err)
{
	if (config->bucket == NULL || *config->bucket == '\0' ||
		config->bucket[strspn(config->bucket,
							  "abcdefghijklmnopqrstuvwxyz0123456789-_.")] !=
			'\0')
		return omb_error_set(err, OMB_USAGE,
							 "the name of a bucket of Google has lower-case "
							 "letters, digits, \"-\", \"_\" and \".\" only");
	if (!omb_cloud_is_word(config->storage_class) ||
		!omb_cloud_is_word(config->kms_key))
		return omb_error_set(err, OMB_USAGE,
							 "storage class and key of a bucket must be words "
							 "of ASCII characters");
	return OMB_OK;
}

static omb_status
new_client(const omb_gcs_config *config, omb_cloud_client **client,
		   omb_error *err)
{
	static const char *const passing[] = {
		"SlowDown",			  "InternalError",
		"ServiceUnavailable", "RequestTimeout",
		"OperationAborted",	  "IncompleteBody",
		"BadDigest",		  NULL
	};
	static const omb_cloud_provider provider = {
		.mark = "x-goog-meta-omb-upload",
		.create_only = OMB_GCS_CREATE_ONLY,
		.absent = "NoSuchKey",
		.signs_body = true,
		.part_size = PART_SIZE_MIN,
		.parts_max = UINT32_MAX,
		.read_keys = omb_credentials_read_google,
		.prepare = gcs_prepare,
		.learn = learn_token,
		.passing = passing,
		.explain = gcs_explain,
		.put_list_query = omb_s3_put_list_query,
		.parse_page = omb_cloud_parse_page,
		.put_headers = put_headers,
		.parts_begin = omb_gcs_parts_begin,
		.parts_send = omb_gcs_parts_send,
		.parts_finish = omb_gcs_parts_finish,
		.last_carries = true,
		.parts_drop = omb_gcs_parts_drop,
		.free_own = free_bucket,
	};
	omb_gcs_bucket *b;
	char *scheme, *host, *where;

	if (omb_cloud_endpoint(config->endpoint != NULL ?
							   config->endpoint :
							   "https://storage.googleapis.com",
						   &scheme, &host, err) != OMB_OK)
		return err->status;
	b = omb_calloc(1, sizeof(*b));
	b->scheme = scheme;
	b->host = host;
	b->bucket = omb_strdup(config->bucket);
	where = omb_format("gs://%s", b->bucket);
	*client = omb_cloud_client_new(&provider, b, where, &config->common);
	free(where);
	omb_cloud_client_option(*client, "x-goog-storage-class",
							config->storage_class);
	omb_cloud_client_option(*client, "x-goog-encryption-kms-key-name",
							config->kms_key);
	return OMB_OK;
}

omb_status
omb_store_gcs_new(const omb_gcs_config *config, omb_store **out,
				  omb_error *err)
{
	omb_cloud_client *client = NULL;

	*out = NULL;
	if (check_config(config, err) == OMB_OK &&
		new_client(config, &client, err) == OMB_OK)
		*out = omb_store_cloud_new(client);
	return err->status;
}
