/*
 * http.c: HTTP over libcurl, which no other file than libcurl.h knows.
 */
#include "store/http.h"

#include "base/file.h"
#include "codec/crypto.h"
#include "store/libcurl.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Headers of an answer; ours are below 2 kB. */
#define HEADER_MAX (64 * 1024)
/* A text that explains a failure. */
#define ERROR_BODY_MAX (64 * 1024)

typedef struct omb_http_handle
{
	CURL *curl;
	curl_socket_t socket; /* of its connection */
} omb_http_handle;

struct omb_http
{
	omb_http_options options;
	const omb_libcurl *lib; /* NULL when it cannot be loaded */
	char *ca_file;
	char *proxy;
	char *own_proxy; /* instead; NULL for none */
	char *proxy_user;
	char *proxy_password;
	pthread_mutex_t lock;
	omb_http_handle **idle; /* each with its open connection */
	size_t idle_count;
	size_t idle_cap;
	pid_t pid; /* whose connections these are */
};

/* What the callbacks of one request share. */
typedef struct exchange
{
	omb_http *http;
	omb_http_handle *handle;
	const omb_http_request *request;
	omb_http_response *response;
	size_t sent;
	bool too_large;
	bool cancelled;
} exchange;

omb_http *
omb_http_new(const omb_http_options *options)
{
	omb_http *http = omb_calloc(1, sizeof(*http));
	omb_error ignored = OMB_ERROR_INIT;

	/* the first request tells why not */
	http->lib = omb_libcurl_load(&ignored);
	http->options = *options;
	if (options->ca_file != NULL)
		http->ca_file = omb_strdup(options->ca_file);
	if (options->proxy != NULL)
		http->proxy = omb_strdup(options->proxy);
	(void) pthread_mutex_init(&http->lock, NULL);
	http->pid = getpid();
	return http;
}

static void
free_handle(omb_http *http, omb_http_handle *handle)
{
	http->lib->easy_cleanup(handle->curl);
	free(handle);
}

void
omb_http_free(omb_http *http)
{
	size_t i;

	if (http == NULL)
		return;
	for (i = 0; i < http->idle_count; i++)
		free_handle(http, http->idle[i]);
	free(http->idle);
	free(http->ca_file);
	free(http->proxy);
	omb_http_set_proxy(http, NULL, NULL, NULL);
	(void) pthread_mutex_destroy(&http->lock);
	free(http);
}

static void
set_text(char **text, const char *value)
{
	if (*text != NULL)
		omb_wipe(*text, strlen(*text));
	free(*text);
	*text = value != NULL ? omb_strdup(value) : NULL;
}

void
omb_http_set_proxy(omb_http *http, const char *proxy, const char *user,
				   const char *password)
{
	(void) pthread_mutex_lock(&http->lock);
	set_text(&http->own_proxy, proxy);
	set_text(&http->proxy_user, user);
	set_text(&http->proxy_password, password);
	(void) pthread_mutex_unlock(&http->lock);
}

/* curl copies what it is told. */
static void
tell_proxy(omb_http *http, CURL *curl)
{
	const omb_libcurl *lib = http->lib;
	const char *proxy;

	(void) pthread_mutex_lock(&http->lock);
	proxy = http->own_proxy != NULL ? http->own_proxy : http->proxy;
	if (proxy != NULL)
		(void) lib->easy_setopt(curl, CURLOPT_PROXY, proxy);
	if (http->proxy_user != NULL)
	{
		(void) lib->easy_setopt(curl, CURLOPT_PROXYAUTH,
								(long) (CURLAUTH_BASIC | CURLAUTH_DIGEST));
		(void) lib->easy_setopt(curl, CURLOPT_PROXYUSERNAME, http->proxy_user);
		(void) lib->easy_setopt(
			curl, CURLOPT_PROXYPASSWORD,
			http->proxy_password != NULL ? http->proxy_password : "");
	}
	(void) pthread_mutex_unlock(&http->lock);
}

/* A handle with a connection that is still open, or a new one. */
static omb_http_handle *
take_handle(omb_http *http, omb_error *err)
{
	omb_http_handle *handle = NULL;

	if (omb_libcurl_load(err) == NULL)
		return NULL;
	(void) pthread_mutex_lock(&http->lock);
	if (http->pid != getpid())
	{
		/*
		 * After a fork the connections are the parent's, and their numbers
		 * may be those of other files by now: forget them as they are.
		 */
		http->idle_count = 0;
		http->pid = getpid();
	}
	if (http->idle_count > 0)
		handle = http->idle[--http->idle_count];
	(void) pthread_mutex_unlock(&http->lock);
	if (handle == NULL)
	{
		handle = omb_calloc(1, sizeof(*handle));
		handle->socket = CURL_SOCKET_BAD;
		handle->curl = http->lib->easy_init();
		if (handle->curl == NULL)
		{
			(void) omb_error_set(err, OMB_FAILED, "could not start libcurl");
			free(handle);
			return NULL;
		}
	}
	return handle;
}

static void
give_handle(omb_http *http, omb_http_handle *handle)
{
	http->lib->easy_reset(handle->curl); /* keeps the connection */
	(void) pthread_mutex_lock(&http->lock);
	if (http->idle_count == http->idle_cap)
	{
		http->idle_cap = http->idle_cap ? 2 * http->idle_cap : 8;
		http->idle =
			omb_realloc(http->idle, http->idle_cap * sizeof(*http->idle));
	}
	http->idle[http->idle_count++] = handle;
	(void) pthread_mutex_unlock(&http->lock);
}

static int
on_socket(void *arg, curl_socket_t s, curlsocktype purpose)
{
	((omb_http_handle *) arg)->socket = s;
	return CURL_SOCKOPT_OK;
}

static int
on_close(void *arg, curl_socket_t s)
{
	omb_http_handle *handle = arg;

	if (handle->socket == s)
		handle->socket = CURL_SOCKET_BAD;
	return close(s);
}

/*
 * Some servers (Ceph's) send header and body of an answer apart and wait with
 * the body until the header is acknowledged, which the kernel delays on
 * a connection that is kept: 40 ms for each answer. So acknowledge at once.
 */
static void
acknowledge(const omb_http_handle *handle)
{
#ifdef TCP_QUICKACK
	int on = 1;

	if (handle->socket != CURL_SOCKET_BAD)
		(void) setsockopt(handle->socket, IPPROTO_TCP, TCP_QUICKACK, &on,
						  sizeof(on));
#endif
}

/* A new status line begins a new header: of the answer after "100". */
static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
	exchange *x = arg;
	omb_buf *header = &x->response->header;
	size_t len = size * count;

	if (len > 5 && strncmp(data, "HTTP/", 5) == 0)
	{
		omb_buf_clear(header);
		acknowledge(x->handle);
	}
	if (header->len + len > HEADER_MAX)
	{
		x->too_large = true;
		return 0;
	}
	omb_buf_put(header, data, len);
	return len;
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	exchange *x = arg;
	omb_http_response *response = x->response;
	size_t len = size * count;
	long status = 0;
	size_t max;

	(void) x->http->lib->easy_getinfo(x->handle->curl, CURLINFO_RESPONSE_CODE,
									  &status);
	if (x->request->into != NULL && (status == 200 || status == 206))
	{
		if (len > x->request->into_size - response->received)
		{
			x->too_large = true;
			return 0;
		}
		memcpy((uint8_t *) x->request->into + response->received, data, len);
		response->received += len;
		return len;
	}
	max = status / 100 == 2 ? x->request->body_max : ERROR_BODY_MAX;
	if (len > max - response->body.len)
	{
		if (status / 100 != 2)
			return len; /* the beginning explains enough */
		x->too_large = true;
		return 0;
	}
	omb_buf_put(&response->body, data, len);
	return len;
}

static size_t
on_send(char *out, size_t size, size_t count, void *arg)
{
	exchange *x = arg;
	size_t left = x->request->body_len - x->sent;
	size_t len = size * count < left ? size * count : left;

	if (len > 0 && x->request->body_in_file)
	{
		ssize_t n =
			omb_pread_full(x->request->body_file, out, len, (off_t) x->sent);

		if (n < 0 || (size_t) n < len)
			return CURL_READFUNC_ABORT;
	}
	else if (len > 0)
		memcpy(out, (const uint8_t *) x->request->body + x->sent, len);
	x->sent += len;
	return len;
}

/* The server wants the body again, on a new connection. */
static int
on_seek(void *arg, curl_off_t offset, int origin)
{
	exchange *x = arg;

	if (origin != SEEK_SET || offset < 0 ||
		(size_t) offset > x->request->body_len)
		return CURL_SEEKFUNC_FAIL;
	x->sent = (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

static int
on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	exchange *x = arg;

	if (x->http->options.cancelled == NULL ||
		!x->http->options.cancelled(x->http->options.arg))
		return 0;
	x->cancelled = true;
	return 1;
}

/* What was asked for, as curl wants it. */
static void
set_request(exchange *x, struct curl_slist *headers)
{
	const omb_http_options *options = &x->http->options;
	const omb_libcurl *lib = x->http->lib;
	const omb_http_request *request = x->request;
	CURL *curl = x->handle->curl;

	(void) lib->easy_setopt(curl, CURLOPT_URL, request->url);
	(void) lib->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void) lib->easy_setopt(curl, CURLOPT_HTTP_VERSION,
							(long) CURL_HTTP_VERSION_1_1);
	(void) lib->easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	(void) lib->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void) lib->easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	(void) lib->easy_setopt(curl, CURLOPT_SSLVERSION,
							(long) CURL_SSLVERSION_TLSv1_2);
	(void) lib->easy_setopt(curl, CURLOPT_USERAGENT, "omsupply_backup");
	(void) lib->easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	(void) lib->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT,
							(long) options->connect_seconds);
	(void) lib->easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	(void) lib->easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
							(long) options->stall_seconds);
	(void) lib->easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
	(void) lib->easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
	if (x->http->ca_file != NULL)
	{
		(void) lib->easy_setopt(curl, CURLOPT_CAINFO, x->http->ca_file);
		(void) lib->easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	tell_proxy(x->http, curl);
	(void) lib->easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	(void) lib->easy_setopt(curl, CURLOPT_HEADERDATA, x);
	(void) lib->easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	(void) lib->easy_setopt(curl, CURLOPT_WRITEDATA, x);
	(void) lib->easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, on_socket);
	(void) lib->easy_setopt(curl, CURLOPT_SOCKOPTDATA, x->handle);
	(void) lib->easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	(void) lib->easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, x->handle);
	(void) lib->easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	(void) lib->easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void) lib->easy_setopt(curl, CURLOPT_XFERINFODATA, x);

	if (request->user != NULL)
	{
		(void) lib->easy_setopt(
			curl, CURLOPT_HTTPAUTH,
			(long) (request->digest ? CURLAUTH_DIGEST : CURLAUTH_BASIC));
		(void) lib->easy_setopt(curl, CURLOPT_USERNAME, request->user);
		(void) lib->easy_setopt(curl, CURLOPT_PASSWORD, request->password);
	}
	if (strcmp(request->method, "HEAD") == 0)
		(void) lib->easy_setopt(curl, CURLOPT_NOBODY, 1L);
	else if (strcmp(request->method, "PUT") == 0 ||
			 strcmp(request->method, "POST") == 0 || request->body_len > 0)
	{
		/* POST in curl's way would add a Content-Type to what is signed */
		(void) lib->easy_setopt(curl, CURLOPT_UPLOAD, 1L);
		(void) lib->easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
								(curl_off_t) request->body_len);
		(void) lib->easy_setopt(curl, CURLOPT_READFUNCTION, on_send);
		(void) lib->easy_setopt(curl, CURLOPT_READDATA, x);
		(void) lib->easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
		(void) lib->easy_setopt(curl, CURLOPT_SEEKDATA, x);
		(void) lib->easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	}
	else
		(void) lib->easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

/* The part of the URL that says which server, for messages. */
static char *
server_of(const char *url)
{
	const char *start = strstr(url, "://");
	size_t len;

	start = start != NULL ? start + 3 : url;
	len = strcspn(start, "/?");
	return omb_format("%.*s", (int) len, start);
}

static omb_http_failure
kind_of(CURLcode code)
{
	switch (code)
	{
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
			return OMB_HTTP_RESOLVE;
		case CURLE_COULDNT_CONNECT:
			return OMB_HTTP_CONNECT;
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_ISSUER_ERROR:
			return OMB_HTTP_TLS;
		case CURLE_OPERATION_TIMEDOUT:
			return OMB_HTTP_TIMEOUT;
		case CURLE_GOT_NOTHING:
		case CURLE_PARTIAL_FILE:
		case CURLE_RECV_ERROR:
		case CURLE_SEND_ERROR:
		case CURLE_SEND_FAIL_REWIND:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_UNSUPPORTED_PROTOCOL: /* not HTTP what came */
		case CURLE_WEIRD_SERVER_REPLY:
		case CURLE_HTTP2:
			return OMB_HTTP_CUT;
		default:
			return OMB_HTTP_OTHER;
	}
}

/* From the first byte of the answer to the last. */
static uint64_t
time_carried(const exchange *x)
{
	curl_off_t first = 0;
	curl_off_t last = 0;

	(void) x->http->lib->easy_getinfo(x->handle->curl,
									  CURLINFO_STARTTRANSFER_TIME_T, &first);
	(void) x->http->lib->easy_getinfo(x->handle->curl, CURLINFO_TOTAL_TIME_T,
									  &last);
	return last > first ? (uint64_t) (last - first) : 0;
}

static omb_status
explain(const exchange *x, CURLcode code, const char *reason, omb_error *err)
{
	char *server = server_of(x->request->url);
	const char *text =
		reason[0] != '\0' ? reason : x->http->lib->easy_strerror(code);
	long connect_status = 0;

	if (x->cancelled)
	{
		x->response->failure = OMB_HTTP_CANCELLED;
		(void) omb_error_set(err, OMB_CANCELLED, "stopped on request");
		free(server);
		return err->status;
	}
	if (x->too_large)
	{
		x->response->failure = OMB_HTTP_TOO_LARGE;
		(void) omb_error_set(err, OMB_FAILED,
							 "\"%s\" sent more than was asked for", server);
		free(server);
		return err->status;
	}
	x->response->failure = kind_of(code);
	(void) x->http->lib->easy_getinfo(
		x->handle->curl, CURLINFO_HTTP_CONNECTCODE, &connect_status);
	if (connect_status / 100 == 4)
	{
		/* the proxy's refusal does not pass */
		x->response->failure = OMB_HTTP_PROXY;
		(void) omb_error_set(err, OMB_FAILED,
							 "the proxy did not connect to server \"%s\": it "
							 "answered %ld",
							 server, connect_status);
		/* some say 401 where 407 is meant */
		if (connect_status == 407 || connect_status == 401)
			omb_error_hint(err, OMB_HTTP_PROXY_HINT);
		free(server);
		return err->status;
	}
	switch (x->response->failure)
	{
		case OMB_HTTP_RESOLVE:
			(void) omb_error_set(
				err, OMB_FAILED,
				"could not find the address of server \"%s\": %s", server,
				text);
			omb_error_hint(err, "Check the name, and that this machine "
								"reaches the Internet and its DNS server.");
			break;
		case OMB_HTTP_CONNECT:
			(void) omb_error_set(err, OMB_FAILED,
								 "could not connect to server \"%s\": %s",
								 server, text);
			break;
		case OMB_HTTP_TLS:
			(void) omb_error_set(err, OMB_FAILED,
								 "could not verify the certificate of server "
								 "\"%s\": %s",
								 server, text);
			omb_error_hint(err,
						   "Check the server's name and this machine's "
						   "clock. For a server with its own authority, "
						   "give the authority's certificate as CA file.");
			break;
		case OMB_HTTP_TIMEOUT:
			(void) omb_error_set(err, OMB_FAILED,
								 "server \"%s\" did not answer in time: %s",
								 server, text);
			break;
		case OMB_HTTP_CUT:
			(void) omb_error_set(err, OMB_FAILED,
								 "lost the connection to server \"%s\": %s",
								 server, text);
			break;
		default:
			(void) omb_error_set(err, OMB_FAILED,
								 "request to server \"%s\" failed: %s", server,
								 text);
			break;
	}
	free(server);
	return err->status;
}

omb_status
omb_http_perform(omb_http *http, const omb_http_request *request,
				 omb_http_response *response, omb_error *err)
{
	char reason[CURL_ERROR_SIZE] = "";
	const omb_libcurl *lib = http->lib;
	struct curl_slist *headers = NULL;
	exchange x = { .http = http, .request = request, .response = response };
	CURLcode code;
	long status = 0;
	size_t i;

	response->status = 0;
	response->failure = OMB_HTTP_OTHER;
	response->received = 0;
	response->carried = 0;
	omb_buf_clear(&response->header);
	omb_buf_clear(&response->body);
	x.handle = take_handle(http, err);
	if (x.handle == NULL)
		return err->status;
	/* asking before sending costs a round trip, and a second where a server
	 * does not know how to answer */
	headers = lib->slist_append(headers, "Expect:");
	for (i = 0; i < request->header_count; i++)
		headers = lib->slist_append(headers, request->header[i]);
	set_request(&x, headers);
	(void) lib->easy_setopt(x.handle->curl, CURLOPT_ERRORBUFFER, reason);
	code = lib->easy_perform(x.handle->curl);
	(void) lib->easy_getinfo(x.handle->curl, CURLINFO_RESPONSE_CODE, &status);
	response->status = (int) status;
	response->carried = time_carried(&x);
	if (code == CURLE_OK && status > 0)
		response->failure = OMB_HTTP_ANSWERED;
	else
		(void) explain(&x, code, reason, err);
	give_handle(http, x.handle);
	lib->slist_free_all(headers);
	return err->status;
}

bool
omb_http_header(const omb_http_response *response, const char *name, char *out,
				size_t size)
{
	const char *at = (const char *) response->header.data;
	const char *end = at + response->header.len;
	size_t name_len = strlen(name);

	while (at != NULL && at < end)
	{
		const char *stop = memchr(at, '\n', (size_t) (end - at));
		size_t len = (size_t) ((stop != NULL ? stop : end) - at);

		if (len > name_len && at[name_len] == ':' &&
			strncasecmp(at, name, name_len) == 0)
		{
			const char *value = at + name_len + 1;
			size_t left = len - name_len - 1;

			while (left > 0 && (*value == ' ' || *value == '\t'))
			{
				value++;
				left--;
			}
			while (left > 0 && strchr(" \t\r", value[left - 1]) != NULL)
				left--;
			if (left >= size)
				left = size - 1;
			memcpy(out, value, left);
			out[left] = '\0';
			return true;
		}
		at += len + 1;
	}
	return false;
}

bool
omb_http_date(const omb_http_response *response, int64_t *time)
{
	char text[64];

	return omb_http_header(response, "date", text, sizeof(text)) &&
		   omb_http_time(text, time);
}

bool
omb_http_time(const char *text, int64_t *time)
{
	omb_error ignored = OMB_ERROR_INIT;
	const omb_libcurl *lib = omb_libcurl_load(&ignored);
	time_t seconds = lib != NULL ? lib->getdate(text, NULL) : -1;

	if (seconds == (time_t) -1)
		return false;
	*time = (int64_t) seconds * 1000000;
	return true;
}

void
omb_http_response_free(omb_http_response *response)
{
	omb_buf_free(&response->header);
	omb_buf_free(&response->body);
}
