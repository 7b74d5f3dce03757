/*
 * readahead.h: reading ahead in an object, where each request costs a round trip.
 *
 * What follows the last read is served from a window that is fetched ahead and
 * grows as long as reads follow each other.
 */
#ifndef OMB_STORE_READAHEAD_H
#define OMB_STORE_READAHEAD_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Fetch bytes that are all inside the object. */
typedef omb_status (*omb_readahead_fetch)(void *arg, uint64_t offset,
										  void *data, size_t len,
										  omb_error *err);

/* All zeros, but the first two, is an empty one. */
typedef struct omb_readahead
{
	size_t first; /* size of the first one, and after a jump */
	size_t last;  /* and of the largest */
	uint8_t *data;
	size_t size;	/* of the next one, when it follows */
	uint64_t start; /* of what is there */
	size_t len;
	uint64_t next; /* where the last read ended */
} omb_readahead;

/* Read from an object of so many bytes. */
extern omb_status omb_readahead_read(omb_readahead *window,
									 uint64_t object_size, uint64_t offset,
									 void *data, size_t len,
									 omb_readahead_fetch fetch, void *arg,
									 omb_error *err);
extern void omb_readahead_free(omb_readahead *window);

#endif
