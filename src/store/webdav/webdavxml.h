/*
 * webdavxml.h: what a WebDAV server answers to PROPFIND. Pure.
 */
#ifndef OMB_STORE_WEBDAVXML_H
#define OMB_STORE_WEBDAVXML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct omb_dav_item
{
	char *path; /* decoded, without server and without "/" at its end */
	bool is_folder;
	bool has_size;
	uint64_t size;
	char etag[128];	  /* as the server writes it; "" when it is weak */
	char changed[64]; /* a time as in headers, or "" */
} omb_dav_item;

/* The resource that was asked about is the first one, others are in it. */
typedef struct omb_dav_list
{
	omb_dav_item *item;
	size_t count;
	size_t cap;
} omb_dav_list;

/*
 * name is the last component of what was asked about, "" for the root. False
 * when the bytes are no such answer; then there is nothing to free.
 */
extern bool omb_dav_parse(const void *data, size_t len, const char *name,
						  omb_dav_list *list);
extern void omb_dav_list_free(omb_dav_list *list);

/* The last component of an item's path. */
extern const char *omb_dav_name(const omb_dav_item *item);

#endif
