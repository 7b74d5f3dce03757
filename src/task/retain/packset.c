/*
 * packset.c: a set of packs that stays within its limits.
 *
 * Packs are in an array; a hash table of open addressing leads to them. Names
 * are hashes already, so their first bytes serve as they are.
 */
#include "task/retain/packset.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64
/* What malloc takes for itself, about. */
#define ALLOCATION 32
/* Bits come in steps of that many bytes, 256 blobs, and double. */
#define BITS_MIN 32

struct omb_pack_set
{
	size_t max_packs;
	size_t max_bytes;
	uint8_t from[OMB_SHA256_SIZE];
	uint8_t to[OMB_SHA256_SIZE]; /* not in the range */
	bool is_bounded;			 /* without that there is no to */
	omb_set_pack *pack;
	size_t count;
	size_t cap;
	uint32_t *slot; /* number of the pack + 1, 0 when free */
	size_t slots;	/* a power of two, more than twice count */
	size_t bytes;	/* of all bits */
};

omb_pack_set *
omb_pack_set_new(size_t max_packs, size_t max_bytes)
{
	omb_pack_set *set = omb_calloc(1, sizeof(*set));

	set->max_packs = max_packs;
	set->max_bytes = max_bytes;
	return set;
}

static void
empty(omb_pack_set *set)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		free(set->pack[i].blob);
	set->count = 0;
	set->bytes = 0;
	set->is_bounded = false;
	if (set->slots > 0)
		memset(set->slot, 0, set->slots * sizeof(uint32_t));
}

void
omb_pack_set_free(omb_pack_set *set)
{
	if (set == NULL)
		return;
	empty(set);
	free(set->pack);
	free(set->slot);
	free(set);
}

void
omb_pack_set_first(omb_pack_set *set)
{
	memset(set->from, 0, sizeof(set->from));
	empty(set);
}

bool
omb_pack_set_next(omb_pack_set *set)
{
	if (!set->is_bounded)
		return false;
	memcpy(set->from, set->to, sizeof(set->from));
	empty(set);
	return true;
}

bool
omb_pack_set_covers(const omb_pack_set *set,
					const uint8_t sha256[OMB_SHA256_SIZE])
{
	return memcmp(sha256, set->from, OMB_SHA256_SIZE) >= 0 &&
		   (!set->is_bounded || memcmp(sha256, set->to, OMB_SHA256_SIZE) < 0);
}

/* The slot of a name, or the free one where it would go. */
static size_t
find_slot(const omb_pack_set *set, const uint8_t *sha256)
{
	size_t i = (size_t) omb_get_u64(sha256) & (set->slots - 1);

	while (set->slot[i] != 0 && memcmp(set->pack[set->slot[i] - 1].sha256,
									   sha256, OMB_SHA256_SIZE) != 0)
		i = (i + 1) & (set->slots - 1);
	return i;
}

/* Put all packs into a table of that many slots. */
static void
make_slots(omb_pack_set *set, size_t slots)
{
	size_t i;

	if (slots != set->slots)
	{
		free(set->slot);
		set->slot = omb_calloc(slots, sizeof(uint32_t));
		set->slots = slots;
	}
	else
		memset(set->slot, 0, slots * sizeof(uint32_t));
	for (i = 0; i < set->count; i++)
		set->slot[find_slot(set, set->pack[i].sha256)] = (uint32_t) (i + 1);
}

static int
compare_packs(const void *a, const void *b)
{
	return memcmp(((const omb_set_pack *) a)->sha256,
				  ((const omb_set_pack *) b)->sha256, OMB_SHA256_SIZE);
}

void
omb_pack_set_sort(omb_pack_set *set)
{
	if (set->count == 0)
		return;
	qsort(set->pack, set->count, sizeof(omb_set_pack), compare_packs);
	make_slots(set, set->slots);
}

/* Forget the upper half, and cover that much less. */
static void
halve(omb_pack_set *set)
{
	size_t keep = set->count / 2;
	size_t i;

	qsort(set->pack, set->count, sizeof(omb_set_pack), compare_packs);
	memcpy(set->to, set->pack[keep].sha256, sizeof(set->to));
	set->is_bounded = true;
	for (i = keep; i < set->count; i++)
	{
		if (set->pack[i].blob != NULL)
			set->bytes -= set->pack[i].blob_bits / 8 + ALLOCATION;
		free(set->pack[i].blob);
	}
	set->count = keep;
	make_slots(set, set->slots);
}

omb_set_pack *
omb_pack_set_find(omb_pack_set *set, const uint8_t sha256[OMB_SHA256_SIZE])
{
	size_t i;

	if (set->count == 0 || !omb_pack_set_covers(set, sha256))
		return NULL;
	i = find_slot(set, sha256);
	return set->slot[i] == 0 ? NULL : &set->pack[set->slot[i] - 1];
}

omb_set_pack *
omb_pack_set_add(omb_pack_set *set, const uint8_t sha256[OMB_SHA256_SIZE])
{
	omb_set_pack *pack;

	if (!omb_pack_set_covers(set, sha256))
		return NULL;
	pack = omb_pack_set_find(set, sha256);
	if (pack != NULL)
		return pack;
	if (set->count >= set->max_packs && set->count > 1)
	{
		halve(set);
		if (!omb_pack_set_covers(set, sha256))
			return NULL;
	}
	if (set->count == set->cap)
	{
		set->cap = set->cap ? 2 * set->cap : SLOTS_MIN / 2;
		set->pack = omb_realloc(set->pack, set->cap * sizeof(omb_set_pack));
	}
	if (2 * (set->count + 1) > set->slots)
		make_slots(set, set->slots ? 2 * set->slots : SLOTS_MIN);
	pack = &set->pack[set->count++];
	memset(pack, 0, sizeof(*pack));
	memcpy(pack->sha256, sha256, OMB_SHA256_SIZE);
	set->slot[find_slot(set, sha256)] = (uint32_t) set->count;
	return pack;
}

/* Room for the bit of a blob. */
static void
grow_bits(omb_pack_set *set, omb_set_pack *pack, uint32_t index)
{
	size_t old = pack->blob_bits / 8;
	size_t bytes = old > 0 ? old : BITS_MIN;

	while (bytes * 8 <= index)
		bytes *= 2;
	pack->blob = omb_realloc(pack->blob, bytes);
	memset(pack->blob + old, 0, bytes - old);
	pack->blob_bits = (uint32_t) (bytes * 8);
	set->bytes += bytes - old + (old == 0 ? ALLOCATION : 0);
}

void
omb_pack_set_count(omb_pack_set *set, const uint8_t sha256[OMB_SHA256_SIZE],
				   const omb_blob_ref *blob)
{
	omb_set_pack *pack = omb_pack_set_find(set, sha256);
	uint8_t bit = (uint8_t) (1 << blob->index % 8);

	if (pack == NULL)
		return;
	if (blob->index >= OMB_PACK_BLOBS_MAX)
	{
		pack->is_strange = true;
		return;
	}
	if (blob->index >= pack->blob_bits)
		grow_bits(set, pack, blob->index);
	if ((pack->blob[blob->index / 8] & bit) == 0)
	{
		pack->blob[blob->index / 8] |= bit;
		pack->live += blob->stored;
		pack->live_blobs++;
	}
	while (set->bytes > set->max_bytes && set->count > 1)
		halve(set);
}

bool
omb_set_pack_has(const omb_set_pack *pack, uint32_t index)
{
	return index < pack->blob_bits &&
		   (pack->blob[index / 8] & (1 << index % 8)) != 0;
}

size_t
omb_pack_set_size(const omb_pack_set *set)
{
	return set->count;
}

omb_set_pack *
omb_pack_set_at(omb_pack_set *set, size_t i)
{
	return &set->pack[i];
}
