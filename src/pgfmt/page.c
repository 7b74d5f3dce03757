/*
 * page.c: data pages of relations, and their checksums.
 *
 * The 32 sums are independent, so that a compiler turns the inner loop into
 * vector instructions; the same body is compiled twice and the processor
 * decides which one runs.
 */
#include "pgfmt/page.h"

#include <string.h>

#define SUMS 32
#define WORDS (OMB_PAGE_SIZE / 4)
#define PRIME 16777619U

/* Starting values of the sums, part of PostgreSQL's on-disk format. */
static const uint32_t starts[SUMS] = {
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3,
	0x217E7CD2, 0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA,
	0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC,
	0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE,
	0xF2CA9FD3, 0x959BD756
};

static inline __attribute__((always_inline)) uint32_t
sum_words(const uint32_t *word)
{
	uint32_t sum[SUMS];
	uint32_t result = 0;
	int i, j;

	memcpy(sum, starts, sizeof(sum));
	for (i = 0; i < WORDS; i += SUMS)
	{
		for (j = 0; j < SUMS; j++)
		{
			uint32_t mixed = sum[j] ^ word[i + j];

			sum[j] = mixed * PRIME ^ mixed >> 17;
		}
	}
	/* two rounds of zeros at the end */
	for (i = 0; i < 2; i++)
	{
		for (j = 0; j < SUMS; j++)
			sum[j] = sum[j] * PRIME ^ sum[j] >> 17;
	}
	for (j = 0; j < SUMS; j++)
		result ^= sum[j];
	return result;
}

static uint32_t
sum_plain(const uint32_t *word)
{
	return sum_words(word);
}

#if defined(__x86_64__)
static __attribute__((target("avx2"))) uint32_t
sum_avx2(const uint32_t *word)
{
	return sum_words(word);
}
#endif

uint16_t
omb_page_checksum(const uint8_t *page, uint32_t block)
{
	uint32_t word[WORDS];
	uint32_t sum;

	memcpy(word, page, OMB_PAGE_SIZE);
	/* the checksum is the first half of the word at byte 8 */
	word[2] &= 0xffff0000U;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		sum = sum_avx2(word);
	else
#endif
		sum = sum_plain(word);
	return (uint16_t) ((sum ^ block) % 65535 + 1);
}

static uint32_t
get_u32(const uint8_t *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 |
		   (uint32_t) p[3] << 24;
}

bool
omb_is_zero(const void *data, size_t len)
{
	const uint8_t *p = data;

	/* compare with itself one byte on; memcmp is the fastest loop there is */
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

omb_page_state
omb_page_check(const uint8_t *page, uint32_t block, uint64_t start_lsn)
{
	uint16_t upper = (uint16_t) (page[14] | page[15] << 8);
	uint16_t stored = (uint16_t) (page[8] | page[9] << 8);
	uint64_t lsn = (uint64_t) get_u32(page) << 32 | get_u32(page + 4);

	if (upper == 0)
		return omb_is_zero(page, OMB_PAGE_SIZE) ? OMB_PAGE_NEW : OMB_PAGE_BAD;
	if (lsn >= start_lsn)
		return OMB_PAGE_RECENT;
	return omb_page_checksum(page, block) == stored ? OMB_PAGE_OK :
													  OMB_PAGE_BAD;
}
