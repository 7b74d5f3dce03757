/*
 * cloudxml.h: answers of cloud servers that are XML and alike. Pure.
 *
 * Each function returns false when the bytes are not a whole answer of that
 * kind. Then there is nothing to free.
 */
#ifndef OMB_STORE_CLOUDXML_H
#define OMB_STORE_CLOUDXML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* <Error>, which a server may send with a status that says success. */
typedef struct omb_cloud_error
{
	char code[64];
	char message[256]; /* may be empty */
	char region[64];   /* where the bucket is, or empty */
} omb_cloud_error;

extern bool omb_cloud_parse_error(const void *data, size_t len,
								  omb_cloud_error *error);

typedef struct omb_cloud_item
{
	char *key;
	uint64_t size;
	bool is_folder; /* a common prefix; the key ends with "/" */
} omb_cloud_item;

/* One page of a listing. Keys are decoded. */
typedef struct omb_cloud_page
{
	omb_cloud_item *item;
	size_t count;
	size_t cap;
	char *token; /* for the next page; NULL when this is the last one */
} omb_cloud_page;

extern void omb_cloud_page_free(omb_cloud_page *page);

/* For readers: move an item, which must have a key, to the end of a page. */
extern bool omb_cloud_page_add(omb_cloud_page *page, omb_cloud_item *item,
							   bool is_folder);

/* A page of ListObjectsV2, which Google answers, too. */
extern bool omb_cloud_parse_page(const void *data, size_t len,
								 omb_cloud_page *page);

#endif
