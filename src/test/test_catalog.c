/*
 * test_catalog.c: pg_filenode.map and the rows of pg_database.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "codec/crc32c.h"
#include "pgfmt/heap.h"
#include "pgfmt/page.h"
#include "pgfmt/relmap.h"

#include <stdlib.h>

#define MAGIC 0x592717

/* A map of count relations 1260.., whose files are 5000.., as large as size. */
static void
make_map(uint8_t *map, size_t size, uint32_t count)
{
	size_t crc_at = size == 512 ? 504 : 520;
	uint32_t i;

	memset(map, 0, size);
	omb_set_u32(map, MAGIC);
	omb_set_u32(map + 4, count);
	for (i = 0; i < count && 16 + 8 * (size_t) i <= crc_at; i++)
	{
		omb_set_u32(map + 8 + 8 * i, 1260 + i);
		omb_set_u32(map + 12 + 8 * i, 5000 + i);
	}
	omb_set_u32(map + crc_at, omb_crc32c(0, map, crc_at));
}

static omb_status
find(const uint8_t *map, size_t size, uint32_t relation, uint32_t *found)
{
	omb_error err = OMB_ERROR_INIT;

	*found = 0;
	return omb_relmap_find(map, size, relation, found, &err);
}

static void
both_sizes_of_map_are_read(void)
{
	uint8_t map[524];
	uint32_t found;

	make_map(map, 512, 62);
	ok(find(map, 512, OMB_DATABASE_RELATION, &found) == OMB_OK &&
		   found == 5002,
	   "a map of version 15");
	ok(find(map, 512, 1260 + 61, &found) == OMB_OK && found == 5061,
	   "its last mapping");
	make_map(map, 524, 64);
	ok(find(map, 524, OMB_DATABASE_RELATION, &found) == OMB_OK &&
		   found == 5002,
	   "a map of version 16");
	ok(find(map, 524, 1260 + 63, &found) == OMB_OK && found == 5063,
	   "its last mapping");
	ok(find(map, 524, 1, &found) == OMB_NOT_FOUND,
	   "a relation that it does not name");
}

static void
damaged_maps_are_refused(void)
{
	uint8_t map[524];
	uint32_t found;
	size_t len;
	bool good = true;

	make_map(map, 512, 50);
	for (len = 0; len < 508; len++)
		good = good &&
			   find(map, len, OMB_DATABASE_RELATION, &found) == OMB_DAMAGED;
	ok(good, "a map that was cut anywhere");
	map[100] ^= 1;
	ok(find(map, 512, OMB_DATABASE_RELATION, &found) == OMB_DAMAGED,
	   "a changed bit");
	make_map(map, 512, 63);
	ok(find(map, 512, OMB_DATABASE_RELATION, &found) == OMB_UNSUPPORTED,
	   "more mappings than fit");
	make_map(map, 512, UINT32_MAX);
	ok(find(map, 512, OMB_DATABASE_RELATION, &found) == OMB_UNSUPPORTED,
	   "very many mappings");
	make_map(map, 512, 50);
	omb_set_u32(map, MAGIC + 1);
	omb_set_u32(map + 504, omb_crc32c(0, map, 504));
	ok(find(map, 512, OMB_DATABASE_RELATION, &found) == OMB_UNSUPPORTED,
	   "another magic");
}

/* ---- rows ---- */

static uint8_t page[OMB_PAGE_SIZE];
static size_t lower, upper;

static void
new_page(void)
{
	memset(page, 0, sizeof(page));
	lower = 24;
	upper = OMB_PAGE_SIZE;
}

/* The item pointer alone. */
static void
add_item(size_t offset, uint32_t state, size_t len)
{
	omb_set_u32(page + lower,
				(uint32_t) (offset | state << 15 | (uint32_t) len << 17));
	lower += 4;
	omb_set_u16(page + 12, (uint16_t) lower);
}

static void
add_row(uint32_t oid, const char *name, uint8_t header, uint32_t state)
{
	size_t len = (size_t) header + 4 + OMB_NAME_SIZE + 20;

	upper -= (len + 7) / 8 * 8;
	page[upper + 22] = header;
	omb_set_u32(page + upper + header, oid);
	memcpy(page + upper + header + 4, name, strlen(name));
	add_item(upper, state, len);
}

static char seen[1024];

static void
note(uint32_t oid, const char *name, void *arg)
{
	size_t len = strlen(seen);

	(void) snprintf(seen + len, sizeof(seen) - len, "%u=%s ", oid, name);
}

static const char *
rows_seen(void)
{
	seen[0] = '\0';
	omb_database_rows(page, note, NULL);
	return seen;
}

static void
rows_are_visited(void)
{
	new_page();
	is_text(rows_seen(), "", "a page of zeros has none");
	add_row(5, "postgres", 24, 1);
	add_row(1, "template1", 32, 1);
	add_row(6, "dead pointer", 24, 3);
	add_row(7, "redirected", 24, 2);
	add_row(8, "unused", 24, 0);
	add_row(4294967295u, "with space and \"", 24, 1);
	is_text(rows_seen(),
			"5=postgres 1=template1 4294967295=with space and \" ",
			"rows, with and without null bits; other items are skipped");
}

static void
longest_name_is_read(void)
{
	char name[OMB_NAME_SIZE + 1];
	char wanted[128];

	/* 63 is what a server makes; 64 without an end must not be run over */
	memset(name, 'x', sizeof(name));
	name[63] = '\0';
	new_page();
	add_row(9, name, 24, 1);
	(void) snprintf(wanted, sizeof(wanted), "9=%s ", name);
	is_text(rows_seen(), wanted, "63 bytes");
	name[63] = 'x';
	name[64] = '\0';
	new_page();
	add_row(9, name, 24, 1);
	(void) snprintf(wanted, sizeof(wanted), "9=%s ", name);
	is_text(rows_seen(), wanted, "64 bytes");
}

static void
nonsense_is_skipped(void)
{
	new_page();
	add_row(5, "postgres", 24, 1);
	add_item(8190, 1, 100);
	add_item(32767, 1, 32767);
	add_item(8000, 1, 10);
	add_item(8000, 1, 90);
	page[8000 + 22] = 255;
	is_text(rows_seen(), "5=postgres ", "items outside of the page");
	page[upper + 22] = 3;
	is_text(rows_seen(), "", "a row's header that is too small");
	page[upper + 22] = 255;
	is_text(rows_seen(), "", "and one that is larger than the row");
	new_page();
	add_row(5, "postgres", 24, 1);
	omb_set_u16(page + 12, 65535);
	is_text(rows_seen(), "", "a page whose pointers end behind it");
	omb_set_u16(page + 12, 26);
	is_text(rows_seen(), "", "or before the first");
}

int
main(void)
{
	both_sizes_of_map_are_read();
	damaged_maps_are_refused();
	rows_are_visited();
	longest_name_is_read();
	nonsense_is_skipped();
	return tap_done();
}
