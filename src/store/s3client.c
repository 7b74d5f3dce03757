/*
 * s3client.c: one signed request to a bucket, tried until it has an answer.
 *
 * What is learned from answers (region, clock, new keys) is shared by all
 * threads and used for the next try at once; each may be learned only so often
 * for one request, so that a server which contradicts itself is no endless
 * loop. All else that may pass is tried again after a pause (store/retry.h).
 */
#include "store/s3client.h"

#include "base/text.h"
#include "codec/crypto.h"
#include "store/credentials.h"
#include "store/retry.h"
#include "store/s3sign.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Answers that are kept in memory: a page of a listing, 1000 keys of 1 kB
 * each, percent-encoded. */
#define BODY_MAX ((size_t) 8 * 1024 * 1024)
/* A server's clock that differs by less is not the reason of a refusal. */
#define SKEW (INT64_C(4) * 60 * 1000000)
/* So much read between two cuts is worth going on. */
#define PROGRESS ((size_t) 64 * 1024)
#define HEADERS_MAX (OMB_S3_CALL_HEADERS + 6)

struct omb_s3_client
{
	omb_http *http;
	omb_retry_policy policy;
	char *scheme; /* "https://" */
	char *host;	  /* with port; NULL for Amazon's of the region */
	char *bucket;
	char *prefix;
	char *location;
	char *credentials_file;
	bool virtual_host;
	pthread_mutex_t lock; /* for what follows */
	char *region;
	int64_t clock_offset; /* microseconds */
	bool have_keys;
	omb_credentials keys;
};

/* What one request may learn. */
typedef struct learned
{
	int region;
	bool clock;
	bool keys;
} learned;

/* One try of a request. */
typedef struct attempt
{
	omb_s3_client *client;
	const omb_s3_call *call;
	omb_s3_answer *answer;
	const char *hash;
	char *region;
	char *access_key_id;
	int64_t time; /* that was signed */
	size_t done;  /* bytes read by tries before */
	char *header[HEADERS_MAX + 1];
	size_t header_count;
} attempt;

typedef enum next_step
{
	STEP_DONE,
	STEP_FAIL,
	STEP_PAUSE, /* may pass */
	STEP_AT_ONCE
} next_step;

/* ---- the client ---- */

/* It goes into headers: no byte may end one or begin another. */
static bool
is_word(const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static omb_status
check_config(const omb_s3_config *config, omb_error *err)
{
	const char *host;

	if (config->bucket == NULL || *config->bucket == '\0' ||
		config->bucket[strspn(config->bucket,
							  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
							  "UVWXYZ0123456789.-_")] != '\0')
		return omb_error_set(err, OMB_USAGE, "\"%s\" is no name of a bucket",
							 config->bucket != NULL ? config->bucket : "");
	if (!is_word(config->endpoint) || !is_word(config->storage_class) ||
		!is_word(config->encryption) || !is_word(config->kms_key_id))
		return omb_error_set(err, OMB_USAGE,
							 "endpoint, storage class, encryption and key of "
							 "a bucket must be words of ASCII characters");
	if (config->endpoint != NULL)
	{
		host = strstr(config->endpoint, "://");
		if ((strncmp(config->endpoint, "https://", 8) != 0 &&
			 strncmp(config->endpoint, "http://", 7) != 0) ||
			host[3] == '\0' || strpbrk(host + 3, "/?#@ ") != NULL)
		{
			(void) omb_error_set(err, OMB_USAGE,
								 "endpoint must have the form "
								 "\"https://host[:port]\"");
			return err->status;
		}
	}
	if (config->region != NULL &&
		config->region[strspn(config->region, "abcdefghijklmnopqrstuvwxyz"
											  "0123456789-_")] != '\0')
		return omb_error_set(err, OMB_USAGE, "\"%s\" is no name of a region",
							 config->region);
	return OMB_OK;
}

static uint32_t
or_default(uint32_t value, uint32_t other)
{
	return value != 0 ? value : other;
}

omb_status
omb_s3_client_new(const omb_s3_config *config, omb_s3_client **client,
				  omb_error *err)
{
	omb_http_options http = { 0 };
	omb_s3_client *c;
	const char *host;

	*client = NULL;
	if (check_config(config, err) != OMB_OK)
		return err->status;
	c = omb_calloc(1, sizeof(*c));
	http.ca_file = config->ca_file;
	http.proxy = config->proxy;
	http.connect_seconds = or_default(config->connect_seconds, 10);
	http.stall_seconds = or_default(config->stall_seconds, 60);
	http.cancelled = config->cancelled;
	http.arg = config->arg;
	c->http = omb_http_new(&http);
	c->policy.tries = or_default(config->tries, 8);
	c->policy.first = or_default(config->retry_first, 200);
	c->policy.longest = 20000;
	c->policy.seconds = or_default(config->retry_seconds, 120);
	c->policy.cancelled = config->cancelled;
	c->policy.arg = config->arg;
	host =
		config->endpoint != NULL ? strstr(config->endpoint, "://") + 3 : NULL;
	c->scheme = host != NULL ?
					omb_format("%.*s", (int) (host - config->endpoint),
							   config->endpoint) :
					omb_strdup("https://");
	c->host = host != NULL ? omb_strdup(host) : NULL;
	c->bucket = omb_strdup(config->bucket);
	c->prefix = config->prefix != NULL && *config->prefix != '\0' ?
					omb_format("%s/", config->prefix) :
					omb_strdup("");
	c->location = *c->prefix != '\0' ?
					  omb_format("s3://%s/%s", c->bucket, config->prefix) :
					  omb_format("s3://%s", c->bucket);
	if (config->credentials_file != NULL)
		c->credentials_file = omb_strdup(config->credentials_file);
	/* a certificate for *.host does not hold for a bucket with dots */
	c->virtual_host =
		config->style == OMB_S3_STYLE_VIRTUAL ||
		(config->style == OMB_S3_STYLE_AUTO && c->host == NULL &&
		 strpbrk(c->bucket, "._ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
	c->region = omb_strdup(config->region != NULL && *config->region != '\0' ?
							   config->region :
							   "us-east-1");
	c->clock_offset = config->clock_offset * 1000000;
	(void) pthread_mutex_init(&c->lock, NULL);
	*client = c;
	return OMB_OK;
}

void
omb_s3_client_free(omb_s3_client *client)
{
	if (client == NULL)
		return;
	omb_http_free(client->http);
	omb_credentials_wipe(&client->keys);
	(void) pthread_mutex_destroy(&client->lock);
	free(client->scheme);
	free(client->host);
	free(client->bucket);
	free(client->prefix);
	free(client->location);
	free(client->credentials_file);
	free(client->region);
	free(client);
}

const char *
omb_s3_client_location(const omb_s3_client *client)
{
	return client->location;
}

const char *
omb_s3_client_prefix(const omb_s3_client *client)
{
	return client->prefix;
}

int64_t
omb_s3_client_now(omb_s3_client *client)
{
	int64_t offset;

	(void) pthread_mutex_lock(&client->lock);
	offset = client->clock_offset;
	(void) pthread_mutex_unlock(&client->lock);
	return omb_time_now() + offset;
}

/* ---- one try ---- */

/* By name: "a" comes before "a-b", though ':' is greater than '-'. */
static int
compare_headers(const void *a, const void *b)
{
	const char *x = *(char *const *) a;
	const char *y = *(char *const *) b;
	size_t x_len = strcspn(x, ":");
	size_t y_len = strcspn(y, ":");
	int order = strncmp(x, y, x_len < y_len ? x_len : y_len);

	if (order != 0)
		return order;
	return x_len < y_len ? -1 : x_len > y_len;
}

/* Which server, and the path of the object there, encoded. */
static void
locate(const attempt *a, omb_buf *host, omb_buf *path)
{
	const omb_s3_client *client = a->client;

	if (client->virtual_host)
		omb_buf_printf(host, "%s.", client->bucket);
	if (client->host != NULL)
		omb_buf_printf(host, "%s", client->host);
	else
		omb_buf_printf(host, "s3.%s.amazonaws.com%s", a->region,
					   strncmp(a->region, "cn-", 3) == 0 ? ".cn" : "");
	omb_buf_put_u8(path, '/');
	if (!client->virtual_host)
	{
		omb_s3_encode(path, client->bucket, true);
		if (a->call->name != NULL)
			omb_buf_put_u8(path, '/');
	}
	if (a->call->name != NULL)
	{
		omb_s3_encode(path, client->prefix, true);
		omb_s3_encode(path, a->call->name, true);
	}
}

static void
add_headers(attempt *a, const char *host, const omb_credentials *keys)
{
	const omb_s3_call *call = a->call;
	char date[17];
	size_t i;

	omb_s3_date(a->time, date);
	for (i = 0; i < call->header_count; i++)
		a->header[a->header_count++] = omb_strdup(call->header[i]);
	a->header[a->header_count++] = omb_format("host: %s", host);
	a->header[a->header_count++] = omb_format("x-amz-date: %s", date);
	a->header[a->header_count++] =
		omb_format("x-amz-content-sha256: %s", a->hash);
	if (keys->session_token != NULL)
		a->header[a->header_count++] =
			omb_format("x-amz-security-token: %s", keys->session_token);
	if (call->into != NULL)
		a->header[a->header_count++] = omb_format(
			"range: bytes=%" PRIu64 "-%" PRIu64, call->offset + a->done,
			call->offset + call->into_size - 1);
	qsort(a->header, a->header_count, sizeof(a->header[0]), compare_headers);
}

/* Sign and send it. */
static omb_status
try_once(attempt *a, omb_error *err)
{
	omb_s3_client *client = a->client;
	const omb_s3_call *call = a->call;
	const char *query = call->query != NULL ? call->query : "";
	omb_http_request request = { 0 };
	omb_s3_signing signing = { 0 };
	omb_buf host = OMB_BUF_INIT;
	omb_buf path = OMB_BUF_INIT;
	omb_buf signature = OMB_BUF_INIT;
	const char *const *header = (const char *const *) a->header;
	char *url;

	(void) pthread_mutex_lock(&client->lock);
	if (!client->have_keys &&
		omb_credentials_read(client->credentials_file, &client->keys, err) !=
			OMB_OK)
	{
		(void) pthread_mutex_unlock(&client->lock);
		return err->status;
	}
	client->have_keys = true;
	a->time = omb_time_now() + client->clock_offset;
	a->region = omb_strdup(client->region);
	a->access_key_id = omb_strdup(client->keys.access_key_id);
	locate(a, &host, &path);
	add_headers(a, omb_buf_text(&host), &client->keys);
	signing.access_key_id = client->keys.access_key_id;
	signing.secret_access_key = client->keys.secret_access_key;
	signing.region = a->region;
	signing.time = a->time;
	signing.method = call->method;
	signing.path = omb_buf_text(&path);
	signing.query = query;
	signing.header = header;
	signing.header_count = a->header_count;
	signing.payload_hash = a->hash;
	omb_buf_printf(&signature, "authorization: ");
	omb_s3_sign(&signing, &signature);
	(void) pthread_mutex_unlock(&client->lock);
	a->header[a->header_count++] = omb_strdup(omb_buf_text(&signature));

	url = omb_format("%s%s%s%s%s", client->scheme, omb_buf_text(&host),
					 omb_buf_text(&path), *query != '\0' ? "?" : "", query);
	request.method = call->method;
	request.url = url;
	request.header = header;
	request.header_count = a->header_count;
	request.body = call->body;
	request.body_len = call->body_len;
	if (call->into != NULL)
	{
		request.into = (uint8_t *) call->into + a->done;
		request.into_size = call->into_size - a->done;
	}
	request.body_max = BODY_MAX;
	(void) omb_http_perform(client->http, &request, &a->answer->http, err);
	free(url);
	omb_buf_free(&signature);
	omb_buf_free(&path);
	omb_buf_free(&host);
	return err->status;
}

/* Forget a try; what it read stays. */
static void
end_try(attempt *a)
{
	size_t i;

	for (i = 0; i < a->header_count; i++)
	{
		omb_wipe(a->header[i], strlen(a->header[i]));
		free(a->header[i]);
		a->header[i] = NULL;
	}
	a->header_count = 0;
	free(a->region);
	free(a->access_key_id);
	a->region = NULL;
	a->access_key_id = NULL;
}

/* ---- learning ---- */

/* The bucket is in another region, and the answer says in which. */
static bool
learn_region(attempt *a, learned *known)
{
	char region[64] = "";
	bool good;

	if (a->answer->http.status / 100 != 3 && a->answer->http.status != 400 &&
		a->answer->http.status != 403)
		return false;
	if (!omb_http_header(&a->answer->http, "x-amz-bucket-region", region,
						 sizeof(region)))
		memcpy(region, a->answer->error.region, sizeof(region));
	if (region[0] == '\0' || known->region >= 2 ||
		strcmp(region, a->region) == 0 ||
		region[strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-_")] !=
			'\0')
		return false;
	known->region++;
	(void) pthread_mutex_lock(&a->client->lock);
	good = strcmp(a->client->region, region) != 0;
	if (good)
	{
		free(a->client->region);
		a->client->region = omb_strdup(region);
	}
	(void) pthread_mutex_unlock(&a->client->lock);
	return true;
}

/* The server's clock is far from the time that was signed. */
static bool
learn_clock(attempt *a, learned *known)
{
	int64_t date, difference;

	if (a->answer->http.status != 403 || known->clock ||
		!omb_http_date(&a->answer->http, &date))
		return false;
	difference = date - a->time;
	if (difference < SKEW && difference > -SKEW)
		return false;
	known->clock = true;
	(void) pthread_mutex_lock(&a->client->lock);
	a->client->clock_offset = date - omb_time_now();
	(void) pthread_mutex_unlock(&a->client->lock);
	return true;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Keys were refused: there may be new ones by now. */
static bool
learn_keys(attempt *a, learned *known)
{
	omb_s3_client *client = a->client;
	omb_error ignored = OMB_ERROR_INIT;
	omb_credentials keys;
	bool fresh;

	if (known->keys ||
		(a->answer->http.status != 403 && a->answer->http.status != 400 &&
		 a->answer->http.status != 401))
		return false;
	known->keys = true;
	if (omb_credentials_read(client->credentials_file, &keys, &ignored) !=
		OMB_OK)
		return false;
	(void) pthread_mutex_lock(&client->lock);
	fresh =
		!same_text(keys.access_key_id, a->access_key_id) ||
		!same_text(keys.secret_access_key, client->keys.secret_access_key) ||
		!same_text(keys.session_token, client->keys.session_token);
	if (fresh)
	{
		omb_credentials old = client->keys;

		client->keys = keys;
		keys = old;
	}
	(void) pthread_mutex_unlock(&client->lock);
	omb_credentials_wipe(&keys);
	return fresh;
}

/* ---- what an answer means ---- */

static bool
is_code(const omb_s3_answer *answer, const char *const *code)
{
	for (; *code != NULL; code++)
		if (strcmp(answer->error.code, *code) == 0)
			return true;
	return false;
}

static bool
may_pass(const omb_s3_answer *answer)
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

	return omb_retry_status(answer->http.status) || is_code(answer, passing);
}

/* What the server said, in words. */
static void
explain(const attempt *a, omb_error *err)
{
	static const char *const bad_key[] = { "InvalidAccessKeyId",
										   "SignatureDoesNotMatch",
										   "ExpiredToken",
										   "InvalidToken",
										   "TokenRefreshRequired",
										   "InvalidClientTokenId",
										   NULL };
	static const char *const full[] = { "QuotaExceeded",
										"InsufficientCapacity",
										"XMinioStorageFull", NULL };
	const omb_s3_answer *answer = a->answer;
	const omb_s3_error *e = &answer->error;
	omb_status status = OMB_FAILED;
	char message[sizeof(e->message)];
	char *c;

	memcpy(message, e->message, sizeof(message));
	for (c = message; *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	if (answer->http.status == 416)
		status = OMB_DAMAGED;
	else if (answer->http.status == 507 || is_code(answer, full))
		status = OMB_NO_SPACE;
	(void) omb_error_set(err, status, "server answered %d%s%.60s%s%s",
						 answer->http.status, e->code[0] != '\0' ? " " : "",
						 e->code, message[0] != '\0' ? ": " : "", message);
	if (is_code(answer, bad_key))
		omb_error_hint(err, "Check the access key in the credentials file or "
							"in the environment, and whether it has expired.");
	else if (strcmp(e->code, "NoSuchBucket") == 0)
		omb_error_hint(err, "Check the name of the bucket, or create it.");
	else if (strcmp(e->code, "RequestTimeTooSkewed") == 0)
		omb_error_hint(err, "Set this machine's clock.");
	else if (answer->http.status == 403)
		omb_error_hint(err, "The key needs s3:GetObject, s3:PutObject, "
							"s3:DeleteObject, s3:AbortMultipartUpload and "
							"s3:ListMultipartUploadParts on the objects, and "
							"s3:ListBucket and "
							"s3:ListBucketMultipartUploads on the bucket.");
	else if (answer->http.status / 100 == 3)
		omb_error_hint(err, "Check endpoint, region and style of the target.");
}

/* What a range must look like; else the bytes are not what was asked for. */
static bool
is_range(const attempt *a)
{
	uint64_t wanted = a->call->offset + a->done;
	char text[64];
	char expected[64];

	if (a->answer->http.status == 200)
		return wanted == 0;
	if (!omb_http_header(&a->answer->http, "content-range", text,
						 sizeof(text)))
		return false;
	(void) snprintf(expected, sizeof(expected), "bytes %" PRIu64 "-", wanted);
	return strncmp(text, expected, strlen(expected)) == 0;
}

/* Look at a whole answer: OMB_OK when the server did it. */
static next_step
judge(attempt *a, learned *known, omb_error *err)
{
	omb_s3_answer *answer = a->answer;
	omb_http_response *http = &answer->http;
	bool good = http->status / 100 == 2;

	memset(&answer->error, 0, sizeof(answer->error));
	if (http->body.len > 0 &&
		omb_s3_parse_error(http->body.data, http->body.len, &answer->error))
		good = false; /* whatever the status says */
	if (good && a->call->into != NULL)
	{
		if (!is_range(a))
		{
			(void) omb_error_set(err, OMB_FAILED,
								 "server sent other bytes than asked for");
			return STEP_FAIL;
		}
		a->done += http->received;
		if (a->done == a->call->into_size)
			return STEP_DONE;
		(void) omb_error_set(err, OMB_FAILED,
							 "server sent fewer bytes than asked for");
		return STEP_PAUSE;
	}
	if (good)
		return STEP_DONE;
	if (learn_region(a, known) || learn_clock(a, known) ||
		learn_keys(a, known))
		return STEP_AT_ONCE;
	explain(a, err);
	return may_pass(answer) ? STEP_PAUSE : STEP_FAIL;
}

/* The request failed without an answer. */
static next_step
judge_failure(attempt *a)
{
	switch (a->answer->http.failure)
	{
		case OMB_HTTP_RESOLVE:
		case OMB_HTTP_CONNECT:
		case OMB_HTTP_TIMEOUT:
		case OMB_HTTP_CUT:
			/* what has come is good, the rest is asked for next */
			if (a->call->into != NULL && a->answer->http.received > 0 &&
				is_range(a))
				a->done += a->answer->http.received;
			return STEP_PAUSE;
		default:
			return STEP_FAIL;
	}
}

/* Milliseconds for which the server wants to be left alone. */
static uint64_t
wanted_pause(const omb_s3_answer *answer)
{
	char text[32];
	uint64_t seconds;

	if (answer->http.failure != OMB_HTTP_ANSWERED ||
		!omb_http_header(&answer->http, "retry-after", text, sizeof(text)) ||
		!omb_u64_parse(text, &seconds) || seconds > 3600)
		return 0;
	return seconds * 1000;
}

omb_status
omb_s3_do(omb_s3_client *client, const omb_s3_call *call,
		  omb_s3_answer *answer, omb_error *err)
{
	attempt a = { .client = client, .call = call, .answer = answer };
	learned known = { 0, false, false };
	char hash[OMB_S3_HASH_TEXT];
	omb_retry retry;
	next_step step;
	size_t before;

	omb_s3_hash(call->body_len > 0 ? call->body : "", call->body_len, hash);
	a.hash = hash;
	omb_retry_begin(&retry, &client->policy);
	for (;;)
	{
		before = a.done;
		answer->http.failure = OMB_HTTP_OTHER;
		memset(&answer->error, 0, sizeof(answer->error));
		if (try_once(&a, err) == OMB_OK)
			step = judge(&a, &known, err);
		else
			step = judge_failure(&a);
		end_try(&a);
		if (step == STEP_PAUSE && call->into != NULL &&
			a.done == call->into_size)
		{
			/* all was there when the connection went */
			omb_error_clear(err);
			step = STEP_DONE;
		}
		if (step == STEP_AT_ONCE)
			continue;
		if (step == STEP_DONE)
			return OMB_OK;
		if (step == STEP_FAIL)
			break;
		/* what moves on is not given up */
		if (a.done - before >= PROGRESS)
			omb_retry_begin(&retry, &client->policy);
		if (call->once || !omb_retry_again(&retry, wanted_pause(answer), err))
			break;
	}
	if (err->status != OMB_CANCELLED)
		(void) omb_error_context(err, "could not %s%s%s%s in \"%s\"",
								 call->action, call->name != NULL ? " \"" : "",
								 call->name != NULL ? call->name : "",
								 call->name != NULL ? "\"" : "",
								 client->location);
	return err->status;
}

void
omb_s3_answer_free(omb_s3_answer *answer)
{
	omb_http_response_free(&answer->http);
}
