/*
 * test_packset.c: sets of packs that stay within their limits count the same
 * as one without limits.
 */
#include "test/tap.h"

#include "task/retain/packset.h"

#include <stdlib.h>

#define PACKS 300
#define BLOBS 700
#define USES 20000

static uint8_t name[PACKS][OMB_SHA256_SIZE];
static uint64_t live[PACKS];
static uint32_t live_blobs[PACKS];
static bool used[PACKS][BLOBS];
static uint32_t use_pack[USES];
static omb_blob_ref use_blob[USES];

static void
make_uses(void)
{
	size_t i, k;

	srand(1);
	for (i = 0; i < PACKS; i++)
	{
		for (k = 0; k < OMB_SHA256_SIZE; k++)
			name[i][k] = (uint8_t) (rand() >> 4);
	}
	for (i = 0; i < USES; i++)
	{
		uint32_t p = (uint32_t) rand() % PACKS;
		uint32_t b = (uint32_t) rand() % BLOBS;

		use_pack[i] = p;
		use_blob[i].index = b;
		use_blob[i].stored = 100 + b;
		if (used[p][b])
			continue;
		used[p][b] = true;
		live[p] += 100 + b;
		live_blobs[p]++;
	}
}

/* Count all uses in ranges; how many packs come out right, each once. */
static size_t
count_all(size_t max_packs, size_t max_bytes, size_t *ranges)
{
	omb_pack_set *set = omb_pack_set_new(max_packs, max_bytes);
	size_t right = 0, i;

	*ranges = 0;
	omb_pack_set_first(set);
	do
	{
		(*ranges)++;
		for (i = 0; i < USES; i++)
		{
			(void) omb_pack_set_add(set, name[use_pack[i]]);
			omb_pack_set_count(set, name[use_pack[i]], &use_blob[i]);
		}
		omb_pack_set_sort(set);
		for (i = 0; i < PACKS; i++)
		{
			const omb_set_pack *pack = omb_pack_set_find(set, name[i]);
			uint32_t b;
			bool same;

			if ((pack != NULL) != omb_pack_set_covers(set, name[i]))
				right += 2 * PACKS;
			if (pack == NULL)
				continue;
			same = pack->live == live[i] && pack->live_blobs == live_blobs[i];
			for (b = 0; b < BLOBS; b++)
				same = same && omb_set_pack_has(pack, b) == used[i][b];
			right += same ? 1 : 0;
		}
		for (i = 1; i < omb_pack_set_size(set); i++)
		{
			if (memcmp(omb_pack_set_at(set, i - 1)->sha256,
					   omb_pack_set_at(set, i)->sha256, OMB_SHA256_SIZE) >= 0)
				right += 2 * PACKS;
		}
	} while (omb_pack_set_next(set));
	omb_pack_set_free(set);
	return right;
}

int
main(void)
{
	static const struct
	{
		size_t packs;
		size_t bytes;
	} limits[] = { { 1000, 1 << 20 }, { 100, 1 << 20 }, { 7, 1 << 20 },
				   { 1, 1 << 20 },	  { 1000, 5000 },	{ 1000, 1 },
				   { 2, 1 } };
	omb_pack_set *set;
	omb_blob_ref strange;
	size_t i, ranges;

	make_uses();
	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
	{
		size_t right = count_all(limits[i].packs, limits[i].bytes, &ranges);

		ok(right == PACKS,
		   "%zu packs, %zu bytes: all are counted, in %zu ranges",
		   limits[i].packs, limits[i].bytes, ranges);
		ok((ranges == 1) == (i == 0), "and ranges only when needed");
	}
	set = omb_pack_set_new(10, 1000);
	memset(&strange, 0, sizeof(strange));
	strange.index = UINT32_MAX;
	(void) omb_pack_set_add(set, name[0]);
	omb_pack_set_count(set, name[0], &strange);
	ok(omb_pack_set_find(set, name[0])->is_strange &&
		   !omb_set_pack_has(omb_pack_set_find(set, name[0]), UINT32_MAX),
	   "a blob number that cannot be takes no memory");
	omb_pack_set_free(set);
	return tap_done();
}
