/*
 * listing.h: the names in a directory, sorted, in one piece of memory.
 */
#ifndef OMB_TASK_LISTING_H
#define OMB_TASK_LISTING_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct omb_listing
{
	omb_buf text;	/* terminated names */
	size_t *offset; /* of each name in text, until sorted into name */
	const char **name;
	size_t count;
	size_t cap;
} omb_listing;

/*
 * Read and sort a directory from a descriptor, which is closed; path is for
 * messages. After a failure there is nothing to free.
 */
extern omb_status omb_listing_read(int fd, const char *path, omb_listing *list,
								   omb_error *err);
/* The same by its path; *vanished when it is not there any more. */
extern omb_status omb_listing_open(const char *path, omb_listing *list,
								   bool *vanished, omb_error *err);
extern bool omb_listing_has(const omb_listing *list, const char *name);
extern void omb_listing_free(omb_listing *list);

#endif
