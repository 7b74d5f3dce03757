/*
 * s3client.c: speaking S3: which server, signatures, the region learned from
 * it, listings.
 */
#include "store/s3/awskeys.h"
#include "store/s3/s3client.h"

#include "base/text.h"
#include "store/cloud/cloud.h"
#include "store/s3/s3explain.h"
#include "store/s3/s3lock.h"
#include "store/s3/s3parts.h"
#include "store/s3/s3remove.h"
#include "store/s3/s3sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_SIZE_MIN ((uint64_t) 5 * 1024 * 1024)
#define REGION_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789-_"

/* What is particular to one bucket. */
typedef struct s3_bucket
{
	char *scheme; /* "https://" */
	char *host;	  /* with port; NULL for Amazon's of the region */
	char *bucket;
	bool virtual_host;
	char *region; /* under the client's lock */
	omb_lock_rule lock;
} s3_bucket;

static void
free_bucket(void *own)
{
	s3_bucket *b = own;

	free(b->scheme);
	free(b->host);
	free(b->bucket);
	free(b->region);
	free(b);
}

/* ---- one try ---- */

/* Which server, and the path of the object there, encoded. */
static void
locate(const omb_cloud_attempt *a, omb_buf *host, omb_buf *path)
{
	const omb_cloud_client *client = a->client;
	const s3_bucket *b = client->own;

	if (b->virtual_host)
		omb_buf_printf(host, "%s.", b->bucket);
	if (b->host != NULL)
		omb_buf_printf(host, "%s", b->host);
	else
		omb_buf_printf(host, "s3.%s.amazonaws.com%s", a->region,
					   strncmp(a->region, "cn-", 3) == 0 ? ".cn" : "");
	omb_buf_put_u8(path, '/');
	if (!b->virtual_host)
	{
		omb_s3_encode(path, b->bucket, true);
		if (a->call->name != NULL)
			omb_buf_put_u8(path, '/');
	}
	if (a->call->name != NULL)
	{
		omb_s3_encode(path, client->prefix, true);
		omb_s3_encode(path, a->call->name, true);
	}
}

static omb_status
s3_prepare(omb_cloud_attempt *a, omb_error *err)
{
	const omb_cloud_call *call = a->call;
	const omb_credentials *keys = &a->client->keys;
	const s3_bucket *b = a->client->own;
	const char *query = call->query != NULL ? call->query : "";
	omb_s3_signing signing = { 0 };
	omb_buf host = OMB_BUF_INIT;
	omb_buf path = OMB_BUF_INIT;
	omb_buf signature = OMB_BUF_INIT;
	char date[17];

	omb_s3_date(a->time, date);
	a->region = omb_strdup(b->region);
	locate(a, &host, &path);
	omb_cloud_add_header(a, "host: %s", omb_buf_text(&host));
	omb_cloud_add_header(a, "x-amz-date: %s", date);
	omb_cloud_add_header(a, "x-amz-content-sha256: %s", a->hash);
	if (keys->session_token != NULL)
		omb_cloud_add_header(a, "x-amz-security-token: %s",
							 keys->session_token);
	omb_cloud_sort_headers(a);
	signing.access_key_id = keys->access_key_id;
	signing.secret_access_key = keys->secret_access_key;
	signing.region = a->region;
	signing.time = a->time;
	signing.method = call->method;
	signing.path = omb_buf_text(&path);
	signing.query = query;
	signing.header = (const char *const *) a->header;
	signing.header_count = a->header_count;
	signing.payload_hash = a->hash;
	omb_s3_sign(&signing, &signature);
	omb_cloud_add_header(a, "authorization: %s", omb_buf_text(&signature));
	omb_buf_printf(&a->url, "%s%s%s%s%s", b->scheme, omb_buf_text(&host),
				   omb_buf_text(&path), *query != '\0' ? "?" : "", query);
	omb_buf_free(&signature);
	omb_buf_free(&path);
	omb_buf_free(&host);
	return OMB_OK;
}

/* The bucket is in another region, and the answer says in which. */
static bool
learn_region(omb_cloud_attempt *a)
{
	s3_bucket *b = a->client->own;
	char region[64] = "";

	if (a->answer->http.status / 100 != 3 && a->answer->http.status != 400 &&
		a->answer->http.status != 403)
		return false;
	if (!omb_http_header(&a->answer->http, "x-amz-bucket-region", region,
						 sizeof(region)))
		memcpy(region, a->answer->error.region, sizeof(region));
	if (region[0] == '\0' || a->learned >= 2 ||
		strcmp(region, a->region) == 0 ||
		region[strspn(region, REGION_LETTERS)] != '\0')
		return false;
	a->learned++;
	(void) pthread_mutex_lock(&a->client->lock);
	if (strcmp(b->region, region) != 0)
	{
		free(b->region);
		b->region = omb_strdup(region);
	}
	(void) pthread_mutex_unlock(&a->client->lock);
	return true;
}

static omb_lock_rule
lock_rule(const omb_cloud_client *client)
{
	const s3_bucket *b = client->own;

	return b->lock;
}

void
omb_s3_put_list_query(const omb_cloud_client *client, const char *folder,
					  bool recursive, const char *token, omb_buf *query)
{
	if (token != NULL)
	{
		omb_buf_printf(query, "continuation-token=");
		omb_s3_encode(query, token, false);
		omb_buf_put_u8(query, '&');
	}
	if (!recursive)
		omb_buf_printf(query, "delimiter=%%2F&");
	omb_buf_printf(query, "encoding-type=url&list-type=2&prefix=");
	omb_s3_encode(query, client->prefix, false);
	omb_s3_encode(query, folder, false);
	if (*folder != '\0')
		omb_buf_printf(query, "%%2F");
}

/* ---- the client ---- */

static omb_status
check_config(const omb_s3_config *config, omb_error *err)
{
	if (config->bucket == NULL || *config->bucket == '\0' ||
		config->bucket[strspn(config->bucket,
							  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
							  "UVWXYZ0123456789.-_")] != '\0')
		return omb_error_set(err, OMB_USAGE, "\"%s\" is no name of a bucket",
							 config->bucket != NULL ? config->bucket : "");
	if (!omb_cloud_is_word(config->storage_class) ||
		!omb_cloud_is_word(config->encryption) ||
		!omb_cloud_is_word(config->kms_key_id))
		return omb_error_set(err, OMB_USAGE,
							 "storage class, encryption and key of a bucket "
							 "must be words of ASCII characters");
	if (config->region != NULL &&
		config->region[strspn(config->region, REGION_LETTERS)] != '\0')
		return omb_error_set(err, OMB_USAGE, "\"%s\" is no name of a region",
							 config->region);
	return OMB_OK;
}

static s3_bucket *
new_bucket(const omb_s3_config *config, omb_error *err)
{
	s3_bucket *b = omb_calloc(1, sizeof(*b));

	if (config->endpoint == NULL)
		b->scheme = omb_strdup("https://");
	else if (omb_cloud_endpoint(config->endpoint, &b->scheme, &b->host, err) !=
			 OMB_OK)
	{
		free(b);
		return NULL;
	}
	b->bucket = omb_strdup(config->bucket);
	b->lock = config->lock;
	/* a certificate for *.host does not hold for a bucket with dots */
	b->virtual_host =
		config->style == OMB_S3_STYLE_VIRTUAL ||
		(config->style == OMB_S3_STYLE_AUTO && b->host == NULL &&
		 strpbrk(b->bucket, "._ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
	b->region = omb_strdup(config->region != NULL && *config->region != '\0' ?
							   config->region :
							   "us-east-1");
	return b;
}

omb_status
omb_s3_client_new(const omb_s3_config *config, omb_cloud_client **client,
				  omb_error *err)
{
	static const char *const passing[] = { "SlowDown",
										   "InternalError",
										   "ServiceUnavailable",
										   "RequestTimeout",
										   "Throttling",
										   "ThrottlingException",
										   "RequestLimitExceeded",
										   "OperationAborted",
										   "ConditionalRequestConflict",
										   "IncompleteBody",
										   "BadDigest",
										   "XAmzContentSHA256Mismatch",
										   NULL };
	static const omb_cloud_provider provider = {
		.mark = "x-amz-meta-omb-upload",
		.create_only = "if-none-match: *",
		.absent = "NoSuchKey",
		.signs_body = true,
		.part_size = PART_SIZE_MIN,
		.parts_max = 10000,
		.read_keys = omb_aws_keys_read,
		.prepare = s3_prepare,
		.learn = learn_region,
		.passing = passing,
		.explain = omb_s3_explain,
		.put_list_query = omb_s3_put_list_query,
		.parse_page = omb_cloud_parse_page,
		.put_headers = omb_s3_put_headers,
		.parts_begin = omb_s3_parts_begin,
		.parts_send = omb_s3_parts_send,
		.parts_finish = omb_s3_parts_finish,
		.parts_finished = omb_s3_parts_finished,
		.parts_drop = omb_s3_parts_drop,
		.remove_batch = omb_s3_remove_batch,
		.sweep = omb_s3_sweep,
		.lock_rule = lock_rule,
		.object_lock = omb_s3_object_lock,
		.set_object_lock = omb_s3_set_object_lock,
		.lock_place = omb_s3_lock_place,
		.free_own = free_bucket,
	};
	omb_cloud_client *c;
	s3_bucket *b;
	char *where;

	*client = NULL;
	if (check_config(config, err) != OMB_OK)
		return err->status;
	b = new_bucket(config, err);
	if (b == NULL)
		return err->status;
	where = omb_format("s3://%s", b->bucket);
	c = omb_cloud_client_new(&provider, b, where, &config->common);
	free(where);
	omb_cloud_client_option(c, "x-amz-storage-class", config->storage_class);
	omb_cloud_client_option(c, "x-amz-server-side-encryption",
							config->encryption);
	omb_cloud_client_option(c, "x-amz-server-side-encryption-aws-kms-key-id",
							config->kms_key_id);
	*client = c;
	return OMB_OK;
}

omb_status
omb_store_s3_new(const omb_s3_config *config, omb_store **out, omb_error *err)
{
	omb_cloud_client *client;

	*out = NULL;
	if (omb_s3_client_new(config, &client, err) == OMB_OK)
		*out = omb_store_cloud_new(client);
	return err->status;
}
