/*
 * cloudclient.h: one request to a cloud store, tried until it has an answer.
 *
 * Here is what is the same for all providers: retries, the clock learned from
 * the server, keys read anew when they were refused, and what went wrong in
 * words. What differs (addresses, signatures, names of headers and errors) a
 * provider tells (omb_cloud_provider).
 */
#ifndef OMB_STORE_CLOUDCLIENT_H
#define OMB_STORE_CLOUDCLIENT_H

#include "codec/crypto.h"
#include "store/cloud/cloudxml.h"
#include "store/credentials.h"
#include "store/http.h"
#include "store/retry.h"
#include "store/store.h"

#include <pthread.h>

#define OMB_CLOUD_CALL_HEADERS 12
#define OMB_CLOUD_OPTIONS 6 /* headers that all new objects of a store get */
/* Objects removed by one request. */
#define OMB_CLOUD_BATCH 1000
#define OMB_CLOUD_HEADERS (OMB_CLOUD_CALL_HEADERS + 8)

typedef struct omb_cloud_call
{
	const char *action; /* "could not <action>", for messages */
	const char *method;
	const char *name;  /* of an object; NULL for the bucket */
	const char *query; /* encoded and sorted; NULL for none */
	const char *url;   /* whole, needs no signature; NULL: made of the name */
	/* "name: value" in lower case */
	const char *header[OMB_CLOUD_CALL_HEADERS];
	size_t header_count;
	const void *body;
	size_t body_len;
	bool body_in_file; /* of which this is the length, and not body */
	int body_file;
	/* Reads exactly so many bytes of the object from an offset; or NULL. */
	void *into;
	size_t into_size;
	uint64_t offset;
	int also_good; /* an HTTP status that is success besides 2xx; or 0 */
	bool once;	   /* not worth more than one try */
} omb_cloud_call;

/* All zeros is an empty one. */
typedef struct omb_cloud_answer
{
	omb_http_response http;
	omb_cloud_error error; /* what the server says; code may be "" */
} omb_cloud_answer;

typedef struct omb_cloud_client omb_cloud_client;

/* One try of a call. */
typedef struct omb_cloud_attempt
{
	omb_cloud_client *client;
	const omb_cloud_call *call;
	omb_cloud_answer *answer;
	size_t done;						/* bytes read by tries before */
	int64_t time;						/* that is signed */
	char hash[2 * OMB_SHA256_SIZE + 1]; /* of the body, where it is signed */
	unsigned keys; /* which keys signed it, omb_cloud_client.keys_read */
	char *region;  /* the provider's own: what it took the bucket to be in */
	omb_buf url;   /* made by the provider, as is: */
	char *user;	   /* or NULL; for the server to ask for, as are: */
	char *password;
	bool digest;
	char *header[OMB_CLOUD_HEADERS + 1];
	size_t header_count;
	unsigned learned; /* the provider's own: how often it learned from answers
					   * to this call */
} omb_cloud_attempt;

/* An upload in parts that is under way. */
typedef struct omb_cloud_parts
{
	const char *name;
	const char *mark;		   /* of the upload: random, hex digits */
	const char *const *header; /* of the new object */
	size_t header_count;
	uint64_t size; /* of the object */
	omb_buf id;	   /* given by the server */
	omb_buf list;  /* of the parts that were sent */
	uint32_t crc;  /* CRC-32C of those, where the provider wants it */
	bool taken;	   /* beginning failed because an object is there */
	/* the part to be sent */
	unsigned number; /* from 1 */
	uint64_t offset;
	const void *data;
	size_t len;
} omb_cloud_parts;

/* What is particular to a kind of cloud store. Required, but where said. */
typedef struct omb_cloud_provider
{
	const char *mark;		 /* name of the header for the upload's mark */
	const char *create_only; /* header: fail where an object is there */
	const char *absent;		 /* code of the error: no such object */
	bool signs_body;		 /* omb_cloud_attempt.hash is needed */
	uint64_t part_size;		 /* at least so much is in a part */
	unsigned parts_max;

	/* The keys, from a file or with NULL from the environment. */
	omb_status (*read_keys)(const char *path, omb_credentials *out,
							omb_error *err);
	/*
	 * Make URL and headers of an attempt, with omb_cloud_add_header. The
	 * client is locked and has keys. It may ask a server for a token: then
	 * answer->http tells what that led to.
	 */
	omb_status (*prepare)(omb_cloud_attempt *attempt, omb_error *err);
	/* Does a refusal tell how to do better? Then it is tried at once. NULL */
	bool (*learn)(omb_cloud_attempt *attempt);
	/* Codes of errors that may pass; NULL at their end. */
	const char *const *passing;
	/* Add a hint to what the server said, or a better status. */
	void (*explain)(const omb_cloud_call *call, const omb_cloud_answer *answer,
					omb_error *err);

	/* A page of the objects below a folder; query as for omb_cloud_call. */
	void (*put_list_query)(const omb_cloud_client *client, const char *folder,
						   bool recursive, const char *token, omb_buf *query);
	bool (*parse_page)(const void *data, size_t len, omb_cloud_page *page);

	/* Headers of a whole object's PUT, besides mark and condition. NULL */
	void (*put_headers)(omb_cloud_client *client, const void *data, size_t len,
						omb_cloud_call *call, omb_buf *text);
	omb_status (*parts_begin)(omb_cloud_client *client, omb_cloud_parts *parts,
							  omb_error *err);
	omb_status (*parts_send)(omb_cloud_client *client, omb_cloud_parts *parts,
							 omb_error *err);
	/*
	 * Describe the request that makes the object appear; text holds what it
	 * needs. With last_carries it has the last part, which is not sent before,
	 * and the condition was given at the beginning.
	 */
	void (*parts_finish)(const omb_cloud_client *client,
						 omb_cloud_parts *parts, omb_cloud_call *call,
						 omb_buf *text);
	bool last_carries;
	/* Is it an answer to that, whole and good? NULL: by its status. */
	bool (*parts_finished)(const omb_cloud_answer *answer);
	/* Forget the parts, as far as one try does it. NULL */
	void (*parts_drop)(omb_cloud_client *client, omb_cloud_parts *parts);
	/*
	 * Remove at most OMB_CLOUD_BATCH objects by one request and note which are
	 * gone. OMB_UNSUPPORTED: the server does not know that. NULL
	 */
	omb_status (*remove_batch)(omb_cloud_client *client,
							   const char *const *name, size_t count,
							   bool *gone, omb_error *err);
	/* As the operation of a store. NULL: nothing can be done. */
	omb_status (*sweep)(omb_cloud_client *client, uint64_t seconds,
						bool remove, omb_store_swept *swept, omb_error *err);
	/* As the operations of a store. All NULL: it has none. */
	omb_lock_rule (*lock_rule)(const omb_cloud_client *client);
	omb_status (*object_lock)(omb_cloud_client *client, const char *name,
							  omb_object_lock *lock, omb_error *err);
	omb_status (*set_object_lock)(omb_cloud_client *client, const char *name,
								  const omb_object_lock *lock, omb_error *err);
	omb_status (*lock_place)(omb_cloud_client *client, omb_lock_place *place,
							 omb_error *err);
	/* Free what omb_cloud_client.own points to. */
	void (*free_own)(void *own);
} omb_cloud_provider;

/* What a description of any cloud store says. 0 and NULL are the defaults. */
typedef struct omb_cloud_options
{
	const char *prefix;			  /* without slashes at its ends */
	const char *credentials_file; /* NULL for the environment */
	const char *ca_file;		  /* NULL for the system's authorities */
	const char *proxy;			  /* NULL for the environment's */
	bool sole_user;		/* no other process uses it; store/cloud/cloud.h */
	uint64_t part_size; /* 8 MiB; at least the provider's */
	uint32_t connect_seconds; /* 10 */
	uint32_t stall_seconds;	  /* 60 */
	uint32_t tries;			  /* 8 */
	uint32_t retry_first;	  /* milliseconds; 200 */
	uint32_t retry_seconds;	  /* 120 */
	int64_t clock_offset;	  /* seconds to add to this machine's clock, as far
								* as known; else it is learned */
	bool (*cancelled)(void *arg); /* asked now and then; NULL */
	void *arg;
} omb_cloud_options;

struct omb_cloud_client
{
	const omb_cloud_provider *provider;
	void *own; /* the provider's */
	omb_http *http;
	omb_retry_policy policy;
	char *location; /* "scheme://..", for messages */
	char *prefix;	/* "prefix/", or "" */
	char *credentials_file;
	bool (*cancelled)(void *arg);
	void *arg;
	volatile bool stopped;
	char *option[OMB_CLOUD_OPTIONS]; /* headers of new objects, then NULL */
	bool sole_user;
	uint64_t part_size;
	pthread_mutex_t lock; /* for what follows, and what is in own */
	int64_t clock_offset; /* microseconds, that signatures need */
	int64_t seen_offset;  /* by the last answer that told the time */
	bool clock_seen;
	bool no_batches;	/* the server removes one by one only */
	unsigned keys_read; /* how often; 0: there are none yet */
	int64_t renew_at;	/* not before */
	omb_credentials keys;
};

/* For providers; where is "scheme://container", own the provider's to keep. */
extern omb_cloud_client *omb_cloud_client_new(
	const omb_cloud_provider *provider, void *own, const char *where,
	const omb_cloud_options *options);
/* New objects get this header, when value is none of NULL. */
extern void omb_cloud_client_option(omb_cloud_client *client, const char *name,
									const char *value);
/* Whatever is being asked ends soon, and nothing is asked any more. */
extern void omb_cloud_client_stop(omb_cloud_client *client);
extern void omb_cloud_client_free(omb_cloud_client *client);

/*
 * Cut "https://host[:port]" into "https://" and the host, in new memory.
 * OMB_USAGE when it is none.
 */
extern omb_status omb_cloud_endpoint(const char *endpoint, char **scheme,
									 char **host, omb_error *err);

/*
 * May a secret be sent to that URL as it is? With TLS, or to this machine
 * itself; else OMB_REFUSED.
 */
extern omb_status omb_cloud_is_private(const char *url, omb_error *err);

/* May it be in a header? No byte of it ends one. NULL may. */
extern bool omb_cloud_is_word(const char *text);

/* The server's clock, as far as it is known. */
extern int64_t omb_cloud_client_now(omb_cloud_client *client);
/* As omb_store_clock; false before the first answer that tells the time. */
extern bool omb_cloud_client_clock(omb_cloud_client *client, int64_t *offset);

/*
 * Do it. OMB_OK means that the server said so. After a failure the answer's
 * http.status is the last one's, or 0. Free the answer in any case.
 */
extern omb_status omb_cloud_do(omb_cloud_client *client,
							   const omb_cloud_call *call,
							   omb_cloud_answer *answer, omb_error *err);
extern void omb_cloud_answer_free(omb_cloud_answer *answer);

/* "could not <action> <name> in <location>: the server's answer makes no
 * sense" */
extern omb_status omb_cloud_nonsense(const omb_cloud_client *client,
									 const omb_cloud_call *call,
									 omb_error *err);

/* For providers: a header of an attempt, and all of them sorted by name. */
extern void omb_cloud_add_header(omb_cloud_attempt *attempt, const char *fmt,
								 ...) __attribute__((format(printf, 2, 3)));
extern void omb_cloud_sort_headers(omb_cloud_attempt *attempt);
/* Is the code of an error among these? NULL ends them. */
extern bool omb_cloud_is_code(const omb_cloud_answer *answer,
							  const char *const *code);

#endif
