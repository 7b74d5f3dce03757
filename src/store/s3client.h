/*
 * s3client.h: one signed request to a bucket, tried until it has an answer.
 *
 * Here are retries, the region and the clock learned from the server, keys
 * read anew when they have expired, and what went wrong in words.
 */
#ifndef OMB_STORE_S3CLIENT_H
#define OMB_STORE_S3CLIENT_H

#include "store/http.h"
#include "store/s3.h"
#include "store/s3xml.h"

typedef struct omb_s3_client omb_s3_client;

#define OMB_S3_CALL_HEADERS 8

typedef struct omb_s3_call
{
	const char *action; /* "could not <action>", for messages */
	const char *method;
	const char *name;  /* of an object; NULL for the bucket */
	const char *query; /* encoded and sorted; NULL for none */
	/* "name: value" in lower case */
	const char *header[OMB_S3_CALL_HEADERS];
	size_t header_count;
	const void *body;
	size_t body_len;
	/* Reads exactly so many bytes of the object from an offset; or NULL. */
	void *into;
	size_t into_size;
	uint64_t offset;
	bool once; /* not worth more than one try */
} omb_s3_call;

/* All zeros is an empty one. */
typedef struct omb_s3_answer
{
	omb_http_response http;
	omb_s3_error error; /* what the server says; code may be "" */
} omb_s3_answer;

extern omb_status omb_s3_client_new(const omb_s3_config *config,
									omb_s3_client **client, omb_error *err);
extern void omb_s3_client_free(omb_s3_client *client);

/* "s3://bucket/prefix" */
extern const char *omb_s3_client_location(const omb_s3_client *client);
/* "prefix/", or "" */
extern const char *omb_s3_client_prefix(const omb_s3_client *client);
/* The server's clock, as far as it is known. */
extern int64_t omb_s3_client_now(omb_s3_client *client);

/*
 * Do it. OMB_OK means that the server said so. After a failure the answer's
 * http.status is the last one's, or 0. Free the answer in any case.
 */
extern omb_status omb_s3_do(omb_s3_client *client, const omb_s3_call *call,
							omb_s3_answer *answer, omb_error *err);

extern void omb_s3_answer_free(omb_s3_answer *answer);

#endif
