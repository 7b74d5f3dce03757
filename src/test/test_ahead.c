/*
 * test_ahead.c: what a store far away is told before it is needed.
 */
#include "test/tap.h"

#include "store/memory.h"
#include "task/restore/ahead.h"

#include <stdlib.h>

#define MIB ((uint64_t) 1024 * 1024)
#define PACKS 3
#define TOLD_MAX 100000

/* ---- a store that notes what it is told ---- */

static struct
{
	char pack; /* the first digit of its name */
	uint64_t offset;
} told[TOLD_MAX];
static size_t told_count;
static uint64_t told_bytes;
static unsigned headers;

static void
note_expected(omb_store *store, const char *name, uint64_t offset, size_t len)
{
	if (offset == 0)
		headers++;
	else if (told_count < TOLD_MAX)
	{
		told[told_count].pack = name[6];
		told[told_count++].offset = offset;
		told_bytes += len;
	}
}

/* ---- entries ---- */

typedef struct world
{
	omb_store *store;
	omb_store_ops ops;
	omb_repository repo;
	omb_pack_id pack[PACKS];
	omb_manifest manifest;
	/* each entry's blobs lie in one pack */
	unsigned entries;
	size_t blobs;
	uint32_t stored;
	bool share;		   /* all of an entry are one blob */
	unsigned unneeded; /* the number of one whose blobs nobody reads, from 1 */
	unsigned fails; /* the number of one that cannot be read the first time */
	unsigned number;
} world;

/* A world with so many entries of so many blobs of so many bytes as stored. */
static void
begin(world *w, bool is_far, unsigned entries, size_t blobs, uint32_t stored)
{
	uint32_t i;

	memset(w, 0, sizeof(*w));
	w->store = omb_store_memory_new();
	w->ops = *w->store->ops;
	w->ops.expect = is_far ? note_expected : NULL;
	w->store->ops = &w->ops;
	w->repo.store = w->store;
	for (i = 0; i < PACKS; i++)
		memset(w->pack[i].sha256, (int) (i << 4), OMB_SHA256_SIZE);
	w->manifest.pack = w->pack;
	w->manifest.pack_count = PACKS;
	w->entries = entries;
	w->blobs = blobs;
	w->stored = stored;
	told_count = 0;
	told_bytes = 0;
	headers = 0;
}

static omb_status
next_entry(omb_ahead_item *item, bool *end, void *arg, omb_error *err)
{
	world *w = arg;
	omb_extent extent;
	size_t i;

	*end = w->number == w->entries;
	if (*end)
		return OMB_OK;
	w->number++;
	if (w->number == w->fails)
		return omb_error_set(err, OMB_FAILED, "the line is cut");
	memset(&item->entry, 0, sizeof(item->entry));
	item->entry.type = OMB_ENTRY_FILE;
	item->entry.mode = w->number;
	item->manifest = &w->manifest;
	memset(&extent, 0, sizeof(extent));
	extent.length = OMB_BLOB_MAX;
	extent.blob.pack = w->number % PACKS;
	for (i = 0; i < w->blobs; i++)
	{
		extent.blob.index =
			(uint32_t) (w->number / PACKS * w->blobs + (w->share ? 0 : i));
		extent.blob.stored = w->stored;
		extent.blob.offset = 64 + extent.blob.index * w->stored;
		omb_entry_add_extent(&item->entry, &extent);
	}
	return OMB_OK;
}

static bool
needs_blobs(const omb_entry *entry, void *arg)
{
	return entry->mode != ((const world *) arg)->unneeded;
}

static omb_ahead *
new_ahead(world *w)
{
	omb_ahead_source source = { next_entry, needs_blobs, w };

	return omb_ahead_new(&w->repo, &source);
}

static void
end(world *w, omb_ahead *ahead)
{
	omb_ahead_free(ahead);
	omb_store_free(w->store);
}

/* Go through all entries as they come; tells how many. */
static unsigned
read_all(omb_ahead *ahead)
{
	omb_error err = OMB_ERROR_INIT;
	omb_ahead_item item;
	unsigned count = 0;
	bool at_end = false;

	while (omb_ahead_next(ahead, &item, &at_end, &err) == OMB_OK && !at_end)
	{
		if (item.entry.mode == count + 1)
			count++;
		omb_entry_clear(&item.entry);
	}
	return err.status == OMB_OK ? count : 0;
}

/* Was each blob of the entries told once, in their order? */
static bool
all_in_order(const world *w)
{
	size_t i;

	if (told_count != w->entries * w->blobs)
		return false;
	for (i = 0; i < told_count; i++)
	{
		size_t number = i / w->blobs + 1;
		size_t index = number / PACKS * w->blobs + i % w->blobs;

		if (told[i].pack != (char) ('0' + number % PACKS) ||
			told[i].offset != 64 + index * w->stored)
			return false;
	}
	return true;
}

/* ---- cases ---- */

static void
a_large_entry_is_told_bit_by_bit(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_ahead_item item;
	omb_ahead *ahead;
	bool at_end;
	bool bounded = true;
	uint64_t first, used = 0;
	size_t i;
	world w;

	begin(&w, true, 2, 4096, OMB_BLOB_MAX);
	ahead = new_ahead(&w);
	(void) omb_ahead_next(ahead, &item, &at_end, &err);
	first = told_bytes;
	ok(first >= 32 * MIB && first <= 80 * MIB,
	   "of 512 MiB the first %u are told", (unsigned) (first / MIB));
	for (i = 0; i < 2 * w.blobs; i += 8)
	{
		if (i == w.blobs)
		{
			ok(told_count > w.blobs,
			   "the next entry's are told before it is its turn");
			used = told_bytes;
			omb_ahead_used(ahead, 1000);
			is_u64(told_bytes, used, "more than there are are not used");
			omb_entry_clear(&item.entry);
			(void) omb_ahead_next(ahead, &item, &at_end, &err);
		}
		omb_ahead_used(ahead, 8);
		used = (i + 8) * OMB_BLOB_MAX;
		bounded =
			bounded && told_bytes <= used + first &&
			(told_bytes >= used + first / 2 || told_count == 2 * w.blobs);
	}
	ok(bounded, "and as many more as are used");
	omb_entry_clear(&item.entry);
	ok(omb_ahead_next(ahead, &item, &at_end, &err) == OMB_OK && at_end,
	   "these were all");
	ok(all_in_order(&w), "each blob was told once, in order");
	is_u64(headers, 2, "and the header of each pack");
	end(&w, ahead);
}

static void
who_does_not_say_what_is_used_gets_all_entries(void)
{
	omb_ahead *ahead;
	world w;

	begin(&w, true, 10000, 2, OMB_BLOB_MAX);
	ahead = new_ahead(&w);
	is_u64(read_all(ahead), 10000, "all entries come, in order");
	ok(all_in_order(&w), "each blob was told once, in order");
	end(&w, ahead);
}

static void
what_compresses_well_is_bounded_too(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_ahead_item item;
	omb_ahead *ahead;
	bool at_end;
	world w;

	begin(&w, true, 1, 16384, 1024);
	ahead = new_ahead(&w);
	(void) omb_ahead_next(ahead, &item, &at_end, &err);
	ok(told_count * OMB_BLOB_MAX >= 256 * MIB &&
		   told_count * OMB_BLOB_MAX <= 1024 * MIB,
	   "%zu of 16384 are told", told_count);
	omb_entry_clear(&item.entry);
	end(&w, ahead);
}

static void
a_blob_counts_once(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_ahead_item item;
	omb_ahead *ahead;
	bool at_end;
	world w;

	begin(&w, true, 1, 1000, OMB_BLOB_MAX);
	w.share = true;
	ahead = new_ahead(&w);
	(void) omb_ahead_next(ahead, &item, &at_end, &err);
	is_u64(told_count, 1000, "extents of one blob do not fill the room");
	omb_entry_clear(&item.entry);
	ok(omb_ahead_next(ahead, &item, &at_end, &err) == OMB_OK && at_end,
	   "and no entry follows");
	end(&w, ahead);
}

static void
what_nobody_reads_is_not_told(void)
{
	omb_ahead *ahead;
	world w;

	begin(&w, true, 3, 10, 1000);
	w.unneeded = 2;
	ahead = new_ahead(&w);
	is_u64(read_all(ahead), 3, "all entries come");
	is_u64(told_count, 20, "and the blobs of two were told");
	end(&w, ahead);
	begin(&w, false, 3, 10, 1000);
	ahead = new_ahead(&w);
	omb_ahead_tell(ahead, MIB);
	is_u64(read_all(ahead), 3, "all come from a store that is near");
	is_u64(told_count + headers, 0, "which is told nothing");
	end(&w, ahead);
}

static void
a_first_bit_is_told_alone(void)
{
	omb_ahead *ahead;
	world w;

	begin(&w, true, 100, 4, OMB_BLOB_MAX);
	ahead = new_ahead(&w);
	omb_ahead_tell(ahead, 3 * MIB);
	is_u64(told_bytes, 3 * MIB, "as much as was wanted");
	omb_ahead_tell(ahead, 5 * MIB);
	is_u64(told_bytes, 5 * MIB, "and then the rest of more");
	end(&w, ahead);
}

static void
who_is_alone_has_more_room(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_ahead_item item;
	omb_ahead *ahead;
	uint64_t before;
	bool at_end;
	world w;

	begin(&w, true, 1, 2000, OMB_BLOB_MAX);
	ahead = new_ahead(&w);
	ok(omb_ahead_next(ahead, &item, &at_end, &err) == OMB_OK && !at_end,
	   "a large entry");
	before = told_bytes;
	omb_ahead_used(ahead, 1);
	is_u64(told_bytes, before, "no more is told at once");
	omb_ahead_alone(ahead);
	omb_ahead_used(ahead, 1);
	ok(told_bytes >= before + 16 * MIB && told_bytes < 128 * MIB,
	   "but when nobody else reads");
	omb_entry_clear(&item.entry);
	end(&w, ahead);
}

/* Of so many blobs each: of few all entries are looked at together. */
static void
an_entry_that_cannot_be_read_ends_it(size_t blobs)
{
	omb_error err = OMB_ERROR_INIT;
	omb_ahead_item item;
	omb_ahead *ahead;
	bool at_end = false;
	unsigned count = 0;
	world w;

	begin(&w, true, 5, blobs, OMB_BLOB_MAX);
	w.fails = 4;
	ahead = new_ahead(&w);
	while (omb_ahead_next(ahead, &item, &at_end, &err) == OMB_OK && !at_end)
	{
		count++;
		/* here it is noticed first */
		omb_ahead_used(ahead, SIZE_MAX);
		omb_entry_clear(&item.entry);
	}
	ok(err.status == OMB_FAILED && !at_end && count < 4,
	   "the failure is told, before the entry is passed");
	is_text(err.message, "the line is cut", "as it was");
	omb_error_clear(&err);
	ok(omb_ahead_next(ahead, &item, &at_end, &err) == OMB_FAILED,
	   "and nothing comes behind it");
	end(&w, ahead);
}

static void
an_error_of_the_caller_stays(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_ahead_item item;
	omb_ahead *ahead;
	bool at_end = true;
	int far;
	world w;

	for (far = 0; far < 2; far++)
	{
		begin(&w, far == 1, 5, 1, 1000);
		ahead = new_ahead(&w);
		(void) omb_error_set(&err, OMB_DAMAGED, "a seal is broken");
		ok(omb_ahead_next(ahead, &item, &at_end, &err) == OMB_DAMAGED &&
			   !at_end && strcmp(err.message, "a seal is broken") == 0,
		   "an error before is not forgotten");
		omb_error_clear(&err);
		is_u64(read_all(ahead), 5, "and no entry is lost by it");
		end(&w, ahead);
	}
}

int
main(void)
{
	a_large_entry_is_told_bit_by_bit();
	who_does_not_say_what_is_used_gets_all_entries();
	what_compresses_well_is_bounded_too();
	a_blob_counts_once();
	what_nobody_reads_is_not_told();
	a_first_bit_is_told_alone();
	who_is_alone_has_more_room();
	an_entry_that_cannot_be_read_ends_it(200);
	an_entry_that_cannot_be_read_ends_it(100);
	an_error_of_the_caller_stays();
	return tap_done();
}
