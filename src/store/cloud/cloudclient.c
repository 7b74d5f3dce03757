/*
 * cloudclient.c: one request to a cloud store, tried until it has an answer.
 *
 * What is learned from answers (clock, new keys, what the provider knows) is
 * shared by all threads and used for the next try at once; each may be learned
 * only so often for one call, so that a server which contradicts itself
 * is no endless loop. All else that may pass is tried again after a pause
 * (store/retry.h).
 */
#include "store/cloud/cloudclient.h"

#include "base/text.h"
#include "codec/crypto.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Answers that are kept in memory: a page of a listing, 5000 names of 1 kB
 * each. */
#define BODY_MAX ((size_t) 16 * 1024 * 1024)
#define PART_SIZE ((uint64_t) 8 * 1024 * 1024)
/* A server's clock that differs by less is not the reason of a refusal. */
#define SKEW (INT64_C(4) * 60 * 1000000)
/* So much read between two cuts is worth going on. */
#define PROGRESS ((size_t) 64 * 1024)

/* Keys are renewed so long before their end, and tried so often. */
#define RENEW_BEFORE (INT64_C(5) * 60 * 1000000)
#define RENEW_PAUSE (INT64_C(30) * 1000000)

/* What one call has learned. */
typedef struct learned
{
	bool clock;
	bool keys;
} learned;

typedef enum next_step
{
	STEP_DONE,
	STEP_FAIL,
	STEP_PAUSE, /* may pass */
	STEP_AT_ONCE
} next_step;

/* ---- the client ---- */

bool
omb_cloud_is_word(const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

omb_status
omb_cloud_endpoint(const char *endpoint, char **scheme, char **host,
				   omb_error *err)
{
	const char *at = strstr(endpoint, "://");

	*scheme = NULL;
	*host = NULL;
	if ((strncmp(endpoint, "https://", 8) != 0 &&
		 strncmp(endpoint, "http://", 7) != 0) ||
		at[3] == '\0' || strpbrk(at + 3, "/?#@ ") != NULL ||
		!omb_cloud_is_word(endpoint))
		return omb_error_set(err, OMB_USAGE,
							 "endpoint must have the form "
							 "\"https://host[:port]\"");
	*scheme = omb_format("%.*s", (int) (at + 3 - endpoint), endpoint);
	*host = omb_strdup(at + 3);
	return OMB_OK;
}

omb_status
omb_cloud_is_private(const char *url, omb_error *err)
{
	static const char *const own[] = { "127.0.0.1", "localhost", "[::1]" };
	size_t i;

	if (strncmp(url, "https://", 8) == 0)
		return OMB_OK;
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
	{
		size_t len = strlen(own[i]);

		if (strncmp(url, "http://", 7) == 0 &&
			strncmp(url + 7, own[i], len) == 0 &&
			strchr(":/", url[7 + len]) != NULL)
			return OMB_OK;
	}
	(void) omb_error_set(err, OMB_REFUSED,
						 "a token may not be sent without TLS");
	omb_error_hint(err, "Give an endpoint that begins with https://, or use "
						"keys, which sign and are not sent.");
	return err->status;
}

static uint32_t
or_default(uint32_t value, uint32_t other)
{
	return value != 0 ? value : other;
}

static bool
is_cancelled(void *arg)
{
	omb_cloud_client *client = arg;

	return client->stopped ||
		   (client->cancelled != NULL && client->cancelled(client->arg));
}

omb_cloud_client *
omb_cloud_client_new(const omb_cloud_provider *provider, void *own,
					 const char *where, const omb_cloud_options *options)
{
	omb_cloud_client *c = omb_calloc(1, sizeof(*c));
	omb_http_options http = { 0 };

	c->provider = provider;
	c->own = own;
	http.ca_file = options->ca_file;
	http.proxy = options->proxy;
	http.connect_seconds = or_default(options->connect_seconds, 10);
	http.stall_seconds = or_default(options->stall_seconds, 60);
	c->cancelled = options->cancelled;
	c->arg = options->arg;
	http.cancelled = is_cancelled;
	http.arg = c;
	c->http = omb_http_new(&http);
	c->policy.tries = or_default(options->tries, 8);
	c->policy.first = or_default(options->retry_first, 200);
	c->policy.longest = 20000;
	c->policy.seconds = or_default(options->retry_seconds, 120);
	c->policy.cancelled = is_cancelled;
	c->policy.arg = c;
	c->prefix = options->prefix != NULL && *options->prefix != '\0' ?
					omb_format("%s/", options->prefix) :
					omb_strdup("");
	c->location = *c->prefix != '\0' ?
					  omb_format("%s/%s", where, options->prefix) :
					  omb_strdup(where);
	c->sole_user = options->sole_user;
	c->part_size = options->part_size != 0 ? options->part_size : PART_SIZE;
	if (c->part_size < provider->part_size)
		c->part_size = provider->part_size;
	if (options->credentials_file != NULL)
		c->credentials_file = omb_strdup(options->credentials_file);
	c->clock_offset = options->clock_offset * 1000000;
	(void) pthread_mutex_init(&c->lock, NULL);
	return c;
}

void
omb_cloud_client_stop(omb_cloud_client *client)
{
	client->stopped = true;
}

void
omb_cloud_client_free(omb_cloud_client *client)
{
	size_t i;

	if (client == NULL)
		return;
	for (i = 0; i < OMB_CLOUD_OPTIONS; i++)
		free(client->option[i]);
	client->provider->free_own(client->own);
	omb_http_free(client->http);
	omb_credentials_wipe(&client->keys);
	(void) pthread_mutex_destroy(&client->lock);
	free(client->prefix);
	free(client->location);
	free(client->credentials_file);
	free(client);
}

void
omb_cloud_client_option(omb_cloud_client *client, const char *name,
						const char *value)
{
	size_t i = 0;

	if (value == NULL)
		return;
	while (client->option[i] != NULL)
		i++;
	if (i == OMB_CLOUD_OPTIONS - 1)
		abort(); /* a provider's mistake */
	client->option[i] = omb_format("%s: %s", name, value);
}

int64_t
omb_cloud_client_now(omb_cloud_client *client)
{
	int64_t offset;

	(void) pthread_mutex_lock(&client->lock);
	offset = client->clock_offset;
	(void) pthread_mutex_unlock(&client->lock);
	return omb_time_now() + offset;
}

bool
omb_cloud_client_clock(omb_cloud_client *client, int64_t *offset)
{
	bool seen;

	(void) pthread_mutex_lock(&client->lock);
	seen = client->clock_seen;
	*offset = client->seen_offset;
	(void) pthread_mutex_unlock(&client->lock);
	return seen;
}

/* ---- one try ---- */

void
omb_cloud_add_header(omb_cloud_attempt *attempt, const char *fmt, ...)
{
	char *text;
	va_list args;

	if (attempt->header_count == OMB_CLOUD_HEADERS)
		abort(); /* a provider's mistake */
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	attempt->header[attempt->header_count++] = text;
}

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

void
omb_cloud_sort_headers(omb_cloud_attempt *attempt)
{
	qsort(attempt->header, attempt->header_count, sizeof(attempt->header[0]),
		  compare_headers);
}

/* New keys were read; the client is locked. */
static void
use_keys(omb_cloud_client *client)
{
	const omb_credentials *keys = &client->keys;

	client->keys_read++;
	omb_http_set_proxy(client->http, keys->proxy, keys->proxy_user,
					   keys->proxy_password);
}

/*
 * Keys that expire are renewed before they do; the client is locked. When that
 * fails the old ones are used as long as they hold, and it is tried again.
 */
static omb_status
renew_keys(omb_cloud_client *client, omb_error *err)
{
	int64_t time = omb_time_now();
	int64_t left = client->keys.expires - time - client->clock_offset;
	omb_credentials keys;

	if (client->keys.expires == 0 || left > RENEW_BEFORE ||
		(left > 0 && time < client->renew_at))
		return OMB_OK;
	client->renew_at = time + RENEW_PAUSE;
	if (client->provider->read_keys(client->credentials_file, &keys, err) ==
		OMB_OK)
	{
		omb_credentials_wipe(&client->keys);
		client->keys = keys;
		use_keys(client);
	}
	else if (left > 0)
		omb_error_clear(err);
	return err->status;
}

/* Have keys, and all that is sent but the body. */
static omb_status
prepare(omb_cloud_attempt *a, omb_error *err)
{
	omb_cloud_client *client = a->client;
	const omb_cloud_call *call = a->call;
	size_t i;

	for (i = 0; i < call->header_count; i++)
		omb_cloud_add_header(a, "%s", call->header[i]);
	if (call->into != NULL)
		omb_cloud_add_header(a, "range: bytes=%" PRIu64 "-%" PRIu64,
							 call->offset + a->done,
							 call->offset + call->into_size - 1);
	if (call->url != NULL)
	{
		omb_buf_printf(&a->url, "%s", call->url);
		return OMB_OK;
	}
	(void) pthread_mutex_lock(&client->lock);
	if (client->keys_read > 0)
		(void) renew_keys(client, err);
	else if (client->provider->read_keys(client->credentials_file,
										 &client->keys, err) == OMB_OK)
		use_keys(client);
	a->keys = client->keys_read;
	a->time = omb_time_now() + client->clock_offset;
	if (err->status == OMB_OK)
		(void) client->provider->prepare(a, err);
	(void) pthread_mutex_unlock(&client->lock);
	return err->status;
}

/* Sign and send it. */
static omb_status
try_once(omb_cloud_attempt *a, omb_error *err)
{
	const omb_cloud_call *call = a->call;
	omb_http_request request = { 0 };

	if (prepare(a, err) != OMB_OK)
		return err->status;
	request.method = call->method;
	request.url = omb_buf_text(&a->url);
	request.header = (const char *const *) a->header;
	request.header_count = a->header_count;
	request.body = call->body;
	request.body_len = call->body_len;
	request.body_in_file = call->body_in_file;
	request.body_file = call->body_file;
	request.user = a->user;
	request.password = a->password;
	request.digest = a->digest;
	if (call->into != NULL)
	{
		request.into = (uint8_t *) call->into + a->done;
		request.into_size = call->into_size - a->done;
	}
	request.body_max = BODY_MAX;
	return omb_http_perform(a->client->http, &request, &a->answer->http, err);
}

static void
wipe(char *text)
{
	omb_wipe(text, strlen(text));
	free(text);
}

/* Forget a try; what it read stays. */
static void
end_try(omb_cloud_attempt *a)
{
	size_t i;

	for (i = 0; i < a->header_count; i++)
	{
		wipe(a->header[i]);
		a->header[i] = NULL;
	}
	a->header_count = 0;
	/* may hold a token */
	if (a->url.data != NULL)
		omb_wipe(a->url.data, a->url.cap);
	omb_buf_free(&a->url);
	free(a->region);
	a->region = NULL;
	free(a->user);
	a->user = NULL;
	if (a->password != NULL)
		wipe(a->password);
	a->password = NULL;
}

/* ---- learning ---- */

/* What time it is for the server, whether that matters now or not. */
static void
see_clock(omb_cloud_client *client, const omb_http_response *http)
{
	int64_t date;

	if (!omb_http_date(http, &date))
		return;
	(void) pthread_mutex_lock(&client->lock);
	client->seen_offset = date - omb_time_now() / 1000000 * 1000000;
	client->clock_seen = true;
	(void) pthread_mutex_unlock(&client->lock);
}

/* The server's clock is far from the time that was signed. */
static bool
learn_clock(omb_cloud_attempt *a, learned *known)
{
	int64_t date, difference;

	if (a->answer->http.status != 403 || known->clock ||
		a->call->url != NULL || !omb_http_date(&a->answer->http, &date))
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

/* Keys were refused: there may be new ones by now. */
static bool
learn_keys(omb_cloud_attempt *a, learned *known)
{
	omb_cloud_client *client = a->client;
	omb_error ignored = OMB_ERROR_INIT;
	omb_credentials keys;
	bool fresh;

	if (known->keys || a->call->url != NULL ||
		(a->answer->http.status != 403 && a->answer->http.status != 400 &&
		 a->answer->http.status != 401))
		return false;
	known->keys = true;
	if (client->provider->read_keys(client->credentials_file, &keys,
									&ignored) != OMB_OK)
		return false;
	(void) pthread_mutex_lock(&client->lock);
	fresh = client->keys_read != a->keys; /* another thread has seen to it */
	if (!fresh && !omb_credentials_same(&keys, &client->keys))
	{
		omb_credentials old = client->keys;

		client->keys = keys;
		keys = old;
		use_keys(client);
		fresh = true;
	}
	(void) pthread_mutex_unlock(&client->lock);
	omb_credentials_wipe(&keys);
	return fresh;
}

/* ---- what an answer means ---- */

bool
omb_cloud_is_code(const omb_cloud_answer *answer, const char *const *code)
{
	for (; *code != NULL; code++)
		if (strcmp(answer->error.code, *code) == 0)
			return true;
	return false;
}

/* What the server said, in words. */
static void
explain(const omb_cloud_attempt *a, omb_error *err)
{
	const omb_cloud_answer *answer = a->answer;
	const omb_cloud_error *e = &answer->error;
	omb_status status = OMB_FAILED;
	char message[sizeof(e->message)];
	char *c;

	memcpy(message, e->message, sizeof(message));
	for (c = message; *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	if (answer->http.status == 416)
		status = OMB_DAMAGED;
	else if (answer->http.status == 507)
		status = OMB_NO_SPACE;
	(void) omb_error_set(err, status, "server answered %d%s%.60s%s%s",
						 answer->http.status, e->code[0] != '\0' ? " " : "",
						 e->code, message[0] != '\0' ? ": " : "", message);
	a->client->provider->explain(a->call, answer, err);
	/* some proxies say 401 where 407 is meant */
	if (answer->http.status == 407 ||
		(answer->http.status == 401 && a->client->keys.proxy != NULL))
		omb_error_hint(err, OMB_HTTP_PROXY_HINT);
}

/* What a range must look like; else the bytes are not what was asked for. */
static bool
is_range(const omb_cloud_attempt *a)
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

/*
 * What the server says of an error, in the body or, where there is none, in a
 * header. True when it is one, whatever the status says.
 */
static bool
read_error(omb_cloud_answer *answer)
{
	omb_http_response *http = &answer->http;
	bool found;

	memset(&answer->error, 0, sizeof(answer->error));
	found =
		http->body.len > 0 &&
		omb_cloud_parse_error(http->body.data, http->body.len, &answer->error);
	if (answer->error.code[0] == '\0' && http->status / 100 != 2)
		(void) omb_http_header(http, "x-ms-error-code", answer->error.code,
							   sizeof(answer->error.code));
	return found;
}

/* Look at a whole answer: OMB_OK when the server did it. */
static next_step
judge(omb_cloud_attempt *a, learned *known, omb_error *err)
{
	const omb_cloud_provider *provider = a->client->provider;
	omb_cloud_answer *answer = a->answer;
	omb_http_response *http = &answer->http;
	bool good = http->status / 100 == 2 || http->status == a->call->also_good;

	if (read_error(answer))
		good = false;
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
	if ((provider->learn != NULL && a->call->url == NULL &&
		 provider->learn(a)) ||
		learn_clock(a, known) || learn_keys(a, known))
		return STEP_AT_ONCE;
	explain(a, err);
	return omb_retry_status(http->status) ||
				   omb_cloud_is_code(answer, provider->passing) ?
			   STEP_PAUSE :
			   STEP_FAIL;
}

/* The request failed without an answer. */
static next_step
judge_failure(omb_cloud_attempt *a)
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
wanted_pause(const omb_cloud_answer *answer)
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
omb_cloud_do(omb_cloud_client *client, const omb_cloud_call *call,
			 omb_cloud_answer *answer, omb_error *err)
{
	omb_cloud_attempt a = { .client = client, .call = call, .answer = answer };
	learned known = { false, false };
	uint8_t digest[OMB_SHA256_SIZE];
	omb_retry retry;
	next_step step;
	size_t before;

	/* once, and not while others wait to sign theirs */
	if (client->provider->signs_body && call->url == NULL)
	{
		omb_sha256(call->body_len > 0 ? call->body : "", call->body_len,
				   digest);
		(void) omb_hex_format(digest, sizeof(digest), a.hash);
	}
	omb_retry_begin(&retry, &client->policy);
	for (;;)
	{
		before = a.done;
		answer->http.status = 0;
		answer->http.received = 0;
		answer->http.failure = OMB_HTTP_OTHER;
		memset(&answer->error, 0, sizeof(answer->error));
		if (try_once(&a, err) == OMB_OK)
		{
			see_clock(client, &answer->http);
			step = judge(&a, &known, err);
		}
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
omb_cloud_answer_free(omb_cloud_answer *answer)
{
	omb_http_response_free(&answer->http);
}

omb_status
omb_cloud_nonsense(const omb_cloud_client *client, const omb_cloud_call *call,
				   omb_error *err)
{
	return omb_error_set(err, OMB_FAILED,
						 "could not %s%s%s%s in \"%s\": the server's answer "
						 "makes no sense",
						 call->action, call->name != NULL ? " \"" : "",
						 call->name != NULL ? call->name : "",
						 call->name != NULL ? "\"" : "", client->location);
}
