/*
 * http.h: HTTP requests over kept connections, one at a time in each thread.
 *
 * A client holds a pool of connections, which threads take and give back, so
 * that as many are open as requests ran at once. A request is done once: what
 * is tried again, and when, is for the caller (store/retry.h).
 *
 * An answer of any status is a success here. A failure says in words what
 * did not work (the name was not found, the connection, the certificate,
 * the time) and, for the caller, of what kind it is. Redirects are not
 * followed. Certificates are always checked. A child process may go on with a
 * client that no thread was using at the fork; it makes new connections. The program must ignore SIGPIPE:
 * TLS may write to a connection that the server has closed.
 */
#ifndef OMB_STORE_HTTP_H
#define OMB_STORE_HTTP_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct omb_http omb_http;

typedef struct omb_http_options
{
	const char *ca_file; /* trusted instead of the system's; NULL */
	/* URL; NULL for what the environment says, "" for none */
	const char *proxy;
	uint32_t connect_seconds;
	uint32_t stall_seconds;		  /* without a byte in either direction */
	bool (*cancelled)(void *arg); /* asked about once a second; NULL */
	void *arg;
} omb_http_options;

typedef enum omb_http_failure
{
	OMB_HTTP_ANSWERED,	/* no failure */
	OMB_HTTP_RESOLVE,	/* the name of the server or proxy */
	OMB_HTTP_CONNECT,	/* nothing was sent */
	OMB_HTTP_TLS,		/* a certificate or a handshake: does not pass */
	OMB_HTTP_PROXY,		/* the proxy refuses: does not pass */
	OMB_HTTP_TIMEOUT,	/* nobody knows whether it was done */
	OMB_HTTP_CUT,		/* reset, or the answer ended too early; same */
	OMB_HTTP_CANCELLED, /* the caller wanted so */
	OMB_HTTP_TOO_LARGE, /* more in the body than can be right */
	OMB_HTTP_OTHER
} omb_http_failure;

/* What to do when a proxy answers 407. */
#define OMB_HTTP_PROXY_HINT                                                \
	"Check proxy_user and proxy_password in the credentials file, or the " \
	"user in https_proxy or http_proxy in the environment."

typedef struct omb_http_request
{
	const char *method; /* GET, HEAD, PUT, POST, DELETE, ... */
	const char *url;
	const char *const *header; /* "Name: value" */
	size_t header_count;
	const void *body; /* stays until the answer is there */
	size_t body_len;
	bool body_in_file; /* the whole of body_file, and not body */
	int body_file;
	const char *user; /* to log in with; NULL */
	const char *password;
	bool digest; /* by digest, which costs another round trip */
	/*
	 * Where the body of an answer 200 or 206 goes; NULL for the response's
	 * own. Other bodies are texts that explain.
	 */
	void *into;
	size_t into_size;
	size_t body_max; /* of the response's own */
} omb_http_request;

/* All zeros is an empty one. */
typedef struct omb_http_response
{
	int status;
	omb_http_failure failure;
	omb_buf header; /* as received */
	omb_buf body;
	size_t received;  /* bytes written to into, also when it then failed */
	uint64_t carried; /* microseconds from the first byte to the last */
} omb_http_response;

/* Options are copied. */
extern omb_http *omb_http_new(const omb_http_options *options);
extern void omb_http_free(omb_http *http);

/*
 * From now on go through this proxy, with a user and a password or NULL; a
 * proxy of NULL is what the options said.
 */
extern void omb_http_set_proxy(omb_http *http, const char *proxy,
							   const char *user, const char *password);

/* Do a request. The response is emptied first; free it after a failure too. */
extern omb_status omb_http_perform(omb_http *http,
								   const omb_http_request *request,
								   omb_http_response *response,
								   omb_error *err);

/* Copy a header's value (cut to fit); false when it is not there. */
extern bool omb_http_header(const omb_http_response *response,
							const char *name, char *out, size_t size);
/* The Date header, as omb_time_now() counts; false when there is none. */
extern bool omb_http_date(const omb_http_response *response, int64_t *time);

/* A time as in headers, the same way; false when it is none. */
extern bool omb_http_time(const char *text, int64_t *time);

extern void omb_http_response_free(omb_http_response *response);

#endif
