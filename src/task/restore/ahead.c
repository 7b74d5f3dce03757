/*
 * ahead.c: reading entries some way ahead of their use.
 */
#include "task/restore/ahead.h"

#include <stdlib.h>
#include <string.h>

/*
 * From a store far away what comes next is fetched ahead: of so many entries
 * at most, or until so many bytes of blobs wait.
 */
#define AHEAD_ENTRIES 4096
#define AHEAD_BYTES (40 * 1024 * 1024)

/* Packs of a manifest whose header was asked for. */
typedef struct opened_packs
{
	const omb_manifest *manifest;
	bool *is_opened;
} opened_packs;

struct omb_ahead
{
	omb_repository *repo;
	omb_ahead_source source;
	bool is_far;
	omb_ahead_item *item; /* a ring */
	size_t first;
	size_t count;
	size_t most;
	uint64_t bytes; /* of their blobs, as stored */
	bool at_end;
	opened_packs *opened;
	size_t opened_count;
};

omb_ahead *
omb_ahead_new(omb_repository *repo, const omb_ahead_source *source)
{
	omb_ahead *ahead = omb_calloc(1, sizeof(*ahead));

	ahead->repo = repo;
	ahead->source = *source;
	ahead->is_far = omb_store_is_far(repo->store);
	ahead->most = ahead->is_far ? AHEAD_ENTRIES : 1;
	ahead->item = omb_calloc(ahead->most, sizeof(*ahead->item));
	return ahead;
}

static uint64_t
stored_bytes(const omb_entry *entry)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < entry->extent_count; i++)
		if (!entry->extent[i].is_zero)
			bytes += entry->extent[i].blob.stored;
	return bytes;
}

static bool *
find_opened(omb_ahead *ahead, const omb_manifest *manifest)
{
	opened_packs *found;
	size_t i;

	for (i = 0; i < ahead->opened_count; i++)
	{
		if (ahead->opened[i].manifest == manifest)
			return ahead->opened[i].is_opened;
	}
	ahead->opened =
		omb_realloc(ahead->opened, (ahead->opened_count + 1) * sizeof(*found));
	found = &ahead->opened[ahead->opened_count++];
	found->manifest = manifest;
	found->is_opened =
		omb_calloc((size_t) manifest->pack_count + 1, sizeof(bool));
	return found->is_opened;
}

/* Tell the store which bytes of packs the entry is made of. */
static void
expect_blobs(omb_ahead *ahead, const omb_manifest *manifest,
			 const omb_entry *entry)
{
	bool *is_opened = find_opened(ahead, manifest);
	uint32_t last = UINT32_MAX; /* pack */
	char *name = NULL;
	size_t i;

	for (i = 0; i < entry->extent_count; i++)
	{
		const omb_blob_ref *blob = &entry->extent[i].blob;

		if (entry->extent[i].is_zero)
			continue;
		if (blob->pack != last)
		{
			free(name);
			name = omb_pack_name(manifest->pack[blob->pack].sha256);
			last = blob->pack;
			/* its header, once */
			if (!is_opened[last])
				omb_store_expect(ahead->repo->store, name, 0,
								 OMB_OBJECT_HEADER_SIZE);
			is_opened[last] = true;
		}
		omb_store_expect(ahead->repo->store, name, blob->offset, blob->stored);
	}
	free(name);
}

/* Read entries until enough is known of what comes, or the last one. */
static omb_status
look_ahead(omb_ahead *ahead, omb_error *err)
{
	while (!ahead->at_end && ahead->count < ahead->most &&
		   ahead->bytes < AHEAD_BYTES)
	{
		omb_ahead_item *item =
			&ahead->item[(ahead->first + ahead->count) % ahead->most];

		if (ahead->source.next(item, &ahead->at_end, ahead->source.arg, err) !=
				OMB_OK ||
			ahead->at_end)
			break;
		ahead->count++;
		ahead->bytes += stored_bytes(&item->entry);
		if (ahead->is_far &&
			ahead->source.needs_blobs(&item->entry, ahead->source.arg))
			expect_blobs(ahead, item->manifest, &item->entry);
	}
	return err->status;
}

omb_status
omb_ahead_next(omb_ahead *ahead, omb_ahead_item *item, bool *end,
			   omb_error *err)
{
	memset(item, 0, sizeof(*item));
	*end = false;
	if (look_ahead(ahead, err) != OMB_OK)
		return err->status;
	*end = ahead->count == 0;
	if (*end)
		return OMB_OK;
	*item = ahead->item[ahead->first];
	memset(&ahead->item[ahead->first], 0, sizeof(*item));
	ahead->first = (ahead->first + 1) % ahead->most;
	ahead->count--;
	ahead->bytes -= stored_bytes(&item->entry);
	return OMB_OK;
}

void
omb_ahead_tell(omb_ahead *ahead)
{
	omb_error ignored = OMB_ERROR_INIT;

	if (ahead->is_far)
		(void) look_ahead(ahead, &ignored);
}

void
omb_ahead_tell_entry(omb_ahead *ahead, const omb_manifest *manifest,
					 const omb_entry *entry)
{
	if (ahead->is_far)
		expect_blobs(ahead, manifest, entry);
}

void
omb_ahead_free(omb_ahead *ahead)
{
	size_t i;

	for (i = 0; i < ahead->count; i++)
		omb_entry_clear(&ahead->item[(ahead->first + i) % ahead->most].entry);
	for (i = 0; i < ahead->opened_count; i++)
		free(ahead->opened[i].is_opened);
	free(ahead->opened);
	free(ahead->item);
	free(ahead);
}
