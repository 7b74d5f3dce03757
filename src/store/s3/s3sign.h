/*
 * s3sign.h: Signature Version 4 of S3 requests, and Google's of that kind. Pure: time, keys and request
 * come from the caller.
 *
 * libcurl signs too, but with the machine's clock, which may be wrong by more
 * than a server accepts, and in the version of Debian 12 without sorting the
 * query.
 */
#ifndef OMB_STORE_S3SIGN_H
#define OMB_STORE_S3SIGN_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SHA-256 as hex digits and a terminator. */
#define OMB_S3_HASH_TEXT 65

typedef struct omb_s3_signing
{
	bool google; /* with the names of Google's cloud instead of Amazon's */
	const char *access_key_id;
	const char *secret_access_key;
	const char *region;
	int64_t time; /* microseconds since 1970 */
	const char *method;
	const char *path;  /* encoded, begins with "/" */
	const char *query; /* encoded and sorted, without "?"; may be "" */
	/*
	 * All headers that are signed, "name: value" with the name in lower case,
	 * sorted; among them host, x-amz-date and x-amz-content-sha256.
	 */
	const char *const *header;
	size_t header_count;
	const char *payload_hash;
} omb_s3_signing;

/* "20130524T000000Z", the value of x-amz-date; out has room for 17. */
extern void omb_s3_date(int64_t time, char *out);

/* Append the value of the header Authorization. */
extern void omb_s3_sign(const omb_s3_signing *signing, omb_buf *out);

/* The payload hash of some bytes. */
extern void omb_s3_hash(const void *data, size_t len,
						char out[OMB_S3_HASH_TEXT]);

/* Append text percent-encoded; keep_slash for paths. */
extern void omb_s3_encode(omb_buf *out, const char *text, bool keep_slash);

#endif
