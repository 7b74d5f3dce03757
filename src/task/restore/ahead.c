/*
 * ahead.c: reading entries some way ahead of their use.
 *
 * Blobs are told in the order of their use. What was told and is not used yet
 * is bounded, so that one of two who read at once cannot take all the room that
 * the store has for both: in bytes as stored, which is what the network
 * carries, and in bytes of files, because of what compresses well little is
 * needed at a time.
 */
#include "task/restore/ahead.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* From a store far away, so many entries at most. */
#define AHEAD_ENTRIES 4096
#define AHEAD_STORED (UINT64_C(72) * 1024 * 1024)
#define AHEAD_ALONE (UINT64_C(96) * 1024 * 1024)
#define AHEAD_PLAIN (UINT64_C(640) * 1024 * 1024)
/* More is told when so much was used: many blobs become few requests. */
#define STEP_STORED (UINT64_C(8) * 1024 * 1024)
#define STEP_PLAIN (UINT64_C(96) * 1024 * 1024)

/* Packs of a manifest whose header was asked for. */
typedef struct opened_packs
{
	const omb_manifest *manifest;
	bool *is_opened;
} opened_packs;

/* Extents of which those before told were told. */
typedef struct extents
{
	const omb_manifest *manifest;
	const omb_extent *item;
	size_t count; /* 0 when their blobs are not needed */
	size_t told;
} extents;

typedef struct waiting
{
	omb_ahead_item item;
	extents extents;
} waiting;

/* Adds up extents; neighbours often share a blob, which counts once. */
typedef struct sum
{
	uint64_t stored;
	uint64_t plain;
	const omb_manifest *manifest;
	omb_blob_ref last;
} sum;

struct omb_ahead
{
	omb_repository *repo;
	omb_ahead_source source;
	bool is_far;
	uint64_t stored; /* that may wait */
	waiting *ring;
	size_t first;
	size_t count;
	size_t most;
	size_t telling; /* of the ring: those before were told */
	bool at_end;
	omb_error failed; /* of reading an entry: nothing comes behind it */
	/* of the entry that was taken last */
	extents hand;
	omb_extent *hand_extent;
	size_t hand_used;
	sum told; /* since the beginning */
	sum used;
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
	ahead->stored = AHEAD_STORED;
	ahead->most = ahead->is_far ? AHEAD_ENTRIES : 1;
	ahead->ring = omb_calloc(ahead->most, sizeof(*ahead->ring));
	return ahead;
}

static waiting *
waiting_at(omb_ahead *ahead, size_t i)
{
	return &ahead->ring[(ahead->first + i) % ahead->most];
}

/* ---- telling ---- */

static void
add_up(sum *s, const omb_manifest *manifest, const omb_extent *extent)
{
	const omb_blob_ref *blob = &extent->blob;

	if (extent->is_zero)
		return;
	s->plain += extent->length;
	if (s->manifest == manifest && s->last.pack == blob->pack &&
		s->last.index == blob->index)
		return;
	s->stored += blob->stored;
	s->manifest = manifest;
	s->last = *blob;
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

/* Tell the store which bytes of a pack an extent is made of. */
static void
expect_blob(omb_ahead *ahead, const omb_manifest *manifest,
			const omb_extent *extent)
{
	bool *is_opened = find_opened(ahead, manifest);
	const omb_blob_ref *blob = &extent->blob;
	char *name;

	if (extent->is_zero)
		return;
	name = omb_pack_name(manifest->pack[blob->pack].sha256);
	/* its header, once */
	if (!is_opened[blob->pack])
		omb_store_expect(ahead->repo->store, name, 0, OMB_OBJECT_HEADER_SIZE);
	is_opened[blob->pack] = true;
	omb_store_expect(ahead->repo->store, name, blob->offset, blob->stored);
	free(name);
}

/*
 * Read one more entry, unless that was the last one or there is no room. Once
 * that failed it fails for ever: no entry may be left out.
 */
static omb_status
read_entry(omb_ahead *ahead, omb_error *err)
{
	waiting *w = waiting_at(ahead, ahead->count);
	const omb_entry *entry = &w->item.entry;

	if (ahead->at_end || ahead->count == ahead->most)
		return OMB_OK;
	if (ahead->failed.status == OMB_OK)
	{
		memset(w, 0, sizeof(*w));
		(void) ahead->source.next(&w->item, &ahead->at_end, ahead->source.arg,
								  &ahead->failed);
	}
	if (ahead->failed.status != OMB_OK)
		*err = ahead->failed;
	if (err->status != OMB_OK || ahead->at_end)
		return err->status;
	ahead->count++;
	w->extents.manifest = w->item.manifest;
	w->extents.item = entry->extent;
	if (ahead->is_far && ahead->source.needs_blobs(entry, ahead->source.arg))
		w->extents.count = entry->extent_count;
	return OMB_OK;
}

/* Whose extents are to be told next; NULL for nobody's. */
static extents *
next_to_tell(omb_ahead *ahead, omb_error *err)
{
	if (ahead->hand.told < ahead->hand.count)
		return &ahead->hand;
	for (;; ahead->telling++)
	{
		extents *e;

		if (ahead->telling == ahead->count &&
			(read_entry(ahead, err) != OMB_OK ||
			 ahead->telling == ahead->count))
			return NULL;
		e = &waiting_at(ahead, ahead->telling)->extents;
		if (e->told < e->count)
			return e;
	}
}

/* Tell until so much waits. */
static omb_status
tell(omb_ahead *ahead, uint64_t stored, uint64_t plain, omb_error *err)
{
	while (ahead->told.stored - ahead->used.stored < stored &&
		   ahead->told.plain - ahead->used.plain < plain)
	{
		extents *e = next_to_tell(ahead, err);
		const omb_extent *extent;

		if (e == NULL)
			break;
		extent = &e->item[e->told++];
		add_up(&ahead->told, e->manifest, extent);
		expect_blob(ahead, e->manifest, extent);
	}
	return err->status;
}

static omb_status
look_ahead(omb_ahead *ahead, omb_error *err)
{
	if (!ahead->is_far ||
		ahead->told.stored - ahead->used.stored >
			ahead->stored - STEP_STORED ||
		ahead->told.plain - ahead->used.plain > AHEAD_PLAIN - STEP_PLAIN)
		return OMB_OK;
	return tell(ahead, ahead->stored, AHEAD_PLAIN, err);
}

/* ---- use ---- */

/* Count extents of the entry in hand as used, each once. */
static void
use(omb_ahead *ahead, size_t count)
{
	extents *hand = &ahead->hand;

	for (; count > 0 && ahead->hand_used < hand->count; count--)
	{
		/* they are needed now: nobody has to be told any more */
		if (ahead->hand_used == hand->told)
			add_up(&ahead->told, hand->manifest, &hand->item[hand->told++]);
		add_up(&ahead->used, hand->manifest, &hand->item[ahead->hand_used++]);
	}
}

/* Take an entry into the hand, of which only the extents are kept. */
static void
take(omb_ahead *ahead, const waiting *w)
{
	free(ahead->hand_extent);
	ahead->hand_extent = NULL;
	ahead->hand = w->extents;
	ahead->hand_used = 0;
	if (w->extents.count > 0)
	{
		ahead->hand_extent = omb_malloc(w->extents.count * sizeof(omb_extent));
		memcpy(ahead->hand_extent, w->extents.item,
			   w->extents.count * sizeof(omb_extent));
		ahead->hand.item = ahead->hand_extent;
	}
}

omb_status
omb_ahead_next(omb_ahead *ahead, omb_ahead_item *item, bool *end,
			   omb_error *err)
{
	waiting *w;

	memset(item, 0, sizeof(*item));
	*end = false;
	/* what the caller failed at comes first */
	if (err->status == OMB_OK && ahead->failed.status != OMB_OK)
		*err = ahead->failed;
	if (err->status != OMB_OK)
		return err->status;
	use(ahead, SIZE_MAX);
	if ((ahead->count == 0 && read_entry(ahead, err) != OMB_OK) ||
		look_ahead(ahead, err) != OMB_OK)
		return err->status;
	*end = ahead->count == 0;
	if (*end)
		return OMB_OK;
	w = waiting_at(ahead, 0);
	take(ahead, w);
	*item = w->item;
	memset(w, 0, sizeof(*w));
	ahead->first = (ahead->first + 1) % ahead->most;
	ahead->count--;
	if (ahead->telling > 0)
		ahead->telling--;
	return OMB_OK;
}

void
omb_ahead_used(omb_ahead *ahead, size_t count)
{
	omb_error ignored = OMB_ERROR_INIT;

	use(ahead, count);
	/* an entry that cannot be read is reported with the next one */
	(void) look_ahead(ahead, &ignored);
}

void
omb_ahead_alone(omb_ahead *ahead)
{
	ahead->stored = AHEAD_ALONE;
}

void
omb_ahead_tell(omb_ahead *ahead, uint64_t bytes)
{
	omb_error ignored = OMB_ERROR_INIT;

	if (ahead->is_far)
		(void) tell(ahead, bytes, AHEAD_PLAIN, &ignored);
}

void
omb_ahead_tell_entry(omb_ahead *ahead, const omb_manifest *manifest,
					 const omb_entry *entry)
{
	size_t i;

	if (!ahead->is_far)
		return;
	for (i = 0; i < entry->extent_count; i++)
		expect_blob(ahead, manifest, &entry->extent[i]);
}

void
omb_ahead_free(omb_ahead *ahead)
{
	size_t i;

	for (i = 0; i < ahead->count; i++)
		omb_entry_clear(&waiting_at(ahead, i)->item.entry);
	for (i = 0; i < ahead->opened_count; i++)
		free(ahead->opened[i].is_opened);
	free(ahead->opened);
	free(ahead->hand_extent);
	free(ahead->ring);
	free(ahead);
}
