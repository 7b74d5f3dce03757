/*
 * test_page.c: checksums and states of data pages.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "base/file.h"
#include "pgfmt/page.h"

#include <stdlib.h>

#define BLOCK 10
#define FAR UINT64_MAX

static omb_buf page;

static void
read_page(void)
{
	const char *folder = getenv("OMB_TEST_DATA");
	char *file =
		omb_format("%s/pgfmt/page-1259-10", folder ? folder : "src/test/data");
	omb_error err = OMB_ERROR_INIT;

	omb_buf_clear(&page);
	if (omb_file_read(file, OMB_PAGE_SIZE, &page, &err) != OMB_OK)
		ok(false, "%s", err.message);
	free(file);
}

/* The same sum as page.c, the slow way: one lane after the other. */
static uint16_t
slow_checksum(const uint8_t *bytes, uint32_t block)
{
	static const uint32_t starts[32] = {
		0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3,
		0x217E7CD2, 0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA,
		0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC,
		0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
		0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE,
		0xF2CA9FD3, 0x959BD756
	};
	uint32_t result = block;
	int lane, row;

	for (lane = 0; lane < 32; lane++)
	{
		uint32_t sum = starts[lane];

		for (row = 0; row < 66; row++)
		{
			uint32_t word = 0;

			if (row < 64)
				word = omb_get_u32(bytes + row * 128 + lane * 4);
			if (row == 0 && lane == 2)
				word &= 0xffff0000;
			sum ^= word;
			sum = sum * 16777619 ^ sum >> 17;
		}
		result ^= sum;
	}
	return (uint16_t) (result % 65535 + 1);
}

static void
a_page_of_a_server_is_right(void)
{
	uint8_t *copy = omb_malloc(OMB_PAGE_SIZE);

	read_page();
	memcpy(copy, page.data, OMB_PAGE_SIZE);
	is_u64(omb_page_checksum(page.data, BLOCK), omb_get_u16(page.data + 8),
		   "its checksum");
	ok(memcmp(copy, page.data, OMB_PAGE_SIZE) == 0, "it is not changed");
	ok(omb_page_check(page.data, BLOCK, FAR) == OMB_PAGE_OK, "it is good");
	ok(omb_page_check(page.data, BLOCK + 131072, FAR) == OMB_PAGE_BAD,
	   "the same page in another segment file is not");
	free(copy);
}

static void
each_changed_bit_shows(void)
{
	size_t bit, bad = 0;

	read_page();
	for (bit = 0; bit < OMB_PAGE_SIZE * 8; bit += 13)
	{
		page.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
		bad += omb_page_check(page.data, BLOCK, FAR) != OMB_PAGE_BAD;
		page.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	is_u64(bad, 0, "a changed bit is seen");
	memset(page.data + 4096, 0, 4096);
	ok(omb_page_check(page.data, BLOCK, FAR) == OMB_PAGE_BAD,
	   "half a page is seen");
}

static void
random_pages_have_the_sum_of_the_definition(void)
{
	uint8_t *bytes = omb_malloc(OMB_PAGE_SIZE + 8);
	uint32_t state = 7;
	size_t i, j, bad = 0;

	for (i = 0; i < 300; i++)
	{
		/* at each alignment */
		uint8_t *p = bytes + i % 8;

		for (j = 0; j < OMB_PAGE_SIZE; j++)
		{
			state = state * 1103515245 + 12345;
			p[j] = (uint8_t) (state >> 16);
		}
		bad += omb_page_checksum(p, state) != slow_checksum(p, state);
	}
	is_u64(bad, 0, "checksums");
	free(bytes);
}

static void
pages_written_since_the_start_are_not_judged(void)
{
	uint64_t lsn;

	read_page();
	lsn = (uint64_t) omb_get_u32(page.data) << 32 | omb_get_u32(page.data + 4);
	page.data[100] ^= 1;
	ok(omb_page_check(page.data, BLOCK, lsn) == OMB_PAGE_RECENT,
	   "its LSN is the start");
	ok(omb_page_check(page.data, BLOCK, lsn - 1) == OMB_PAGE_RECENT,
	   "its LSN is behind the start");
	ok(omb_page_check(page.data, BLOCK, lsn + 1) == OMB_PAGE_BAD,
	   "its LSN is before the start");
	omb_set_u32(page.data, 1);
	ok(omb_page_check(page.data, BLOCK, UINT64_C(0xffffffff)) ==
		   OMB_PAGE_RECENT,
	   "the high half of the LSN is the first");
}

static void
a_new_page_is_all_zeros(void)
{
	size_t i, bad = 0;

	read_page();
	memset(page.data, 0, OMB_PAGE_SIZE);
	ok(omb_page_check(page.data, BLOCK, FAR) == OMB_PAGE_NEW, "zeros");
	for (i = 0; i < OMB_PAGE_SIZE; i++)
	{
		page.data[i] = 1;
		bad += omb_page_check(page.data, BLOCK, FAR) != OMB_PAGE_BAD;
		page.data[i] = 0;
	}
	is_u64(bad, 0, "one other byte is damage");
}

static void
zeros_are_told_from_others(void)
{
	uint8_t bytes[300] = { 0 };
	size_t len, i, bad = 0;

	for (len = 0; len <= sizeof(bytes); len++)
		bad += !omb_is_zero(bytes, len);
	for (len = 1; len <= sizeof(bytes); len++)
	{
		for (i = 0; i < len; i++)
		{
			bytes[i] = 0x80;
			bad += omb_is_zero(bytes, len);
			bytes[i] = 0;
		}
		if (len < sizeof(bytes))
			bytes[len] = 1;
		bad += !omb_is_zero(bytes, len);
		if (len < sizeof(bytes))
			bytes[len] = 0;
	}
	is_u64(bad, 0, "at each length and place");
}

int
main(void)
{
	a_page_of_a_server_is_right();
	each_changed_bit_shows();
	random_pages_have_the_sum_of_the_definition();
	pages_written_since_the_start_are_not_judged();
	a_new_page_is_all_zeros();
	zeros_are_told_from_others();
	omb_buf_free(&page);
	return tap_done();
}
