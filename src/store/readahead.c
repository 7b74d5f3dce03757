/*
 * readahead.c: reading ahead in an object.
 */
#include "store/readahead.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

#define GROWS 4

/* Have what begins at offset in the window. */
static omb_status
fill(omb_readahead *w, uint64_t object_size, uint64_t offset, size_t len,
	 omb_readahead_fetch fetch, void *arg, omb_error *err)
{
	uint64_t left = object_size - offset;
	size_t size = w->first;

	if (offset == w->next && w->size > 0)
		size = w->size < w->last / GROWS ? w->size * GROWS : w->last;
	w->size = size;
	if (size < len)
		size = len;
	if (size > left)
		size = (size_t) left;
	w->data = omb_realloc(w->data, size);
	w->start = offset;
	w->len = 0;
	if (fetch(arg, offset, w->data, size, err) == OMB_OK)
		w->len = size;
	return err->status;
}

omb_status
omb_readahead_read(omb_readahead *w, uint64_t object_size, uint64_t offset,
				   void *data, size_t len, omb_readahead_fetch fetch,
				   void *arg, omb_error *err)
{
	uint8_t *out = data;

	/* the beginning may be there */
	if (offset >= w->start && offset - w->start < w->len)
	{
		size_t skip = (size_t) (offset - w->start);
		size_t part = w->len - skip < len ? w->len - skip : len;

		memcpy(out, w->data + skip, part);
		out += part;
		offset += part;
		len -= part;
		w->next = offset;
	}
	if (len >= w->last)
		(void) fetch(arg, offset, out, len, err);
	else if (len > 0 &&
			 fill(w, object_size, offset, len, fetch, arg, err) == OMB_OK)
		memcpy(out, w->data, len);
	w->next = offset + len;
	return err->status;
}

void
omb_readahead_free(omb_readahead *w)
{
	free(w->data);
	w->data = NULL;
}
