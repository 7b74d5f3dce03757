/*
 * cloudxml.h: the answers of an S3 server, which are XML. Pure.
 *
 * Each function returns false when the bytes are not a whole answer of that
 * kind. Then there is nothing to free.
 */
#ifndef OMB_STORE_CLOUDXML_H
#define OMB_STORE_CLOUDXML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * For others who read XML: told at the end of each element, its path of names
 * without prefixes ("Error/Code") and the text directly in it. False ends the
 * reading.
 */
typedef bool (*omb_xml_element)(const char *path, const char *text, void *arg);

/* False when it is no whole document, or somebody ended it. */
extern bool omb_xml_read(const void *data, size_t len, omb_xml_element end,
						 void *arg);

/* <Error>, which a server may send with a status that says success. */
typedef struct omb_cloud_error
{
	char code[64];
	char message[256]; /* may be empty */
	char region[64];   /* where the bucket is, or empty */
} omb_cloud_error;

extern bool omb_cloud_parse_error(const void *data, size_t len,
								  omb_cloud_error *error);

/* One page of ListObjectsV2. Keys are decoded. */
typedef struct omb_cloud_item
{
	char *key;
	uint64_t size;
	bool is_folder; /* a common prefix; the key ends with "/" */
} omb_cloud_item;

typedef struct omb_cloud_page
{
	omb_cloud_item *item;
	size_t count;
	size_t cap;
	char *token; /* for the next page; NULL when this is the last one */
} omb_cloud_page;

extern bool omb_cloud_parse_page(const void *data, size_t len,
								 omb_cloud_page *page);
extern void omb_cloud_page_free(omb_cloud_page *page);

/* One page of Azure's List Blobs. Names are as they are. */
extern bool omb_cloud_parse_blobs(const void *data, size_t len,
								  omb_cloud_page *page);

/* One page of ListMultipartUploads. */
typedef struct omb_cloud_multipart
{
	char *key;
	char *id;
	int64_t started;
} omb_cloud_multipart;

typedef struct omb_cloud_multiparts
{
	omb_cloud_multipart *item;
	size_t count;
	size_t cap;
	char *next_key; /* for the next page; NULL when this is the last one */
	char *next_id;
} omb_cloud_multiparts;

extern bool omb_cloud_parse_multiparts(const void *data, size_t len,
									   omb_cloud_multiparts *out);
extern void omb_cloud_multiparts_free(omb_cloud_multiparts *list);

/* ListParts: bytes of the parts, and when the newest was written (or 0). */
extern bool omb_cloud_parse_parts(const void *data, size_t len,
								  uint64_t *bytes, int64_t *newest);

/* CreateMultipartUpload: the upload's id, in new memory. */
extern bool omb_cloud_parse_upload_id(const void *data, size_t len, char **id);

/* DeleteObjects: what became of each key. */
typedef struct omb_cloud_fate
{
	char *key;
	bool is_deleted; /* else it was refused */
} omb_cloud_fate;

typedef struct omb_cloud_fates
{
	omb_cloud_fate *item;
	size_t count;
	size_t cap;
} omb_cloud_fates;

extern bool omb_cloud_parse_deleted(const void *data, size_t len,
									omb_cloud_fates *out);
extern void omb_cloud_fates_free(omb_cloud_fates *fates);

/* AssumeRoleWithWebIdentity: keys for a while. Wipe and free them. */
typedef struct omb_cloud_keys
{
	char *id;
	char *secret;
	char *token;
	int64_t expires; /* microseconds since 1970 */
} omb_cloud_keys;

extern bool omb_cloud_parse_sts(const void *data, size_t len,
								omb_cloud_keys *keys);
/* What the service says instead. */
extern bool omb_cloud_parse_sts_error(const void *data, size_t len,
									  omb_cloud_error *error);

/* GetObjectRetention */
extern bool omb_cloud_parse_retention(const void *data, size_t len,
									  bool *compliance, int64_t *until);
/* GetBucketVersioning, GetBucketObjectLockConfiguration: is it on? */
extern bool omb_cloud_parse_versioning(const void *data, size_t len,
									   bool *enabled);
extern bool omb_cloud_parse_lock_config(const void *data, size_t len,
										bool *enabled);

/* CompleteMultipartUpload: it is complete indeed. */
extern bool omb_cloud_parse_completed(const void *data, size_t len);

#endif
