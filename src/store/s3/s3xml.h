/*
 * s3xml.h: what S3 servers answer to what only they are asked. Pure.
 *
 * Each function returns false when the bytes are not a whole answer of that
 * kind. Then there is nothing to free.
 */
#ifndef OMB_STORE_S3XML_H
#define OMB_STORE_S3XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One page of ListMultipartUploads. */
typedef struct omb_s3_multipart
{
	char *key;
	char *id;
	int64_t started;
} omb_s3_multipart;

typedef struct omb_s3_multiparts
{
	omb_s3_multipart *item;
	size_t count;
	size_t cap;
	char *next_key; /* for the next page; NULL when this is the last one */
	char *next_id;
} omb_s3_multiparts;

extern bool omb_s3_parse_multiparts(const void *data, size_t len,
									omb_s3_multiparts *out);
extern void omb_s3_multiparts_free(omb_s3_multiparts *list);

/* ListParts: bytes of the parts, and when the newest was written (or 0). */
extern bool omb_s3_parse_parts(const void *data, size_t len, uint64_t *bytes,
							   int64_t *newest);

/* CreateMultipartUpload: the upload's id, in new memory. */
extern bool omb_s3_parse_upload_id(const void *data, size_t len, char **id);

/* DeleteObjects: what became of each key. */
typedef struct omb_s3_fate
{
	char *key;
	bool is_deleted; /* else it was refused */
} omb_s3_fate;

typedef struct omb_s3_fates
{
	omb_s3_fate *item;
	size_t count;
	size_t cap;
} omb_s3_fates;

extern bool omb_s3_parse_deleted(const void *data, size_t len,
								 omb_s3_fates *out);
extern void omb_s3_fates_free(omb_s3_fates *fates);

/* CompleteMultipartUpload: it is complete indeed. */
extern bool omb_s3_parse_completed(const void *data, size_t len);

/* GetObjectRetention */
extern bool omb_s3_parse_retention(const void *data, size_t len,
								   bool *compliance, int64_t *until);
/* GetBucketVersioning, GetBucketObjectLockConfiguration: is it on? */
extern bool omb_s3_parse_versioning(const void *data, size_t len,
									bool *enabled);
extern bool omb_s3_parse_lock_config(const void *data, size_t len,
									 bool *enabled);

#endif
