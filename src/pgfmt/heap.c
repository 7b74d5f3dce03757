/*
 * heap.c: the rows in a page of pg_database.
 */
#include "pgfmt/heap.h"

#include "base/buffer.h"
#include "pgfmt/page.h"

#include <string.h>

#define PAGE_HEADER 24
#define LOWER_AT 12
#define HEADER_SIZE_AT 22
#define ROW_HEADER_MIN 23
#define STATE_ROW 1

static void
visit_row(const uint8_t *row, size_t len, omb_database_visit visit, void *arg)
{
	char name[OMB_NAME_SIZE + 1];
	size_t header;

	if (len < ROW_HEADER_MIN)
		return;
	header = row[HEADER_SIZE_AT];
	if (header < ROW_HEADER_MIN || header + 4 + OMB_NAME_SIZE > len)
		return;
	memcpy(name, row + header + 4, OMB_NAME_SIZE);
	name[OMB_NAME_SIZE] = '\0';
	if (name[0] != '\0')
		visit(omb_get_u32(row + header), name, arg);
}

void
omb_database_rows(const uint8_t *page, omb_database_visit visit, void *arg)
{
	size_t lower = omb_get_u16(page + LOWER_AT);
	size_t at;

	if (lower > OMB_PAGE_SIZE)
		return;
	for (at = PAGE_HEADER; at + 4 <= lower; at += 4)
	{
		uint32_t item = omb_get_u32(page + at);
		size_t offset = item & 0x7fff;
		size_t len = item >> 17;

		if ((item >> 15 & 3) == STATE_ROW && offset + len <= OMB_PAGE_SIZE)
			visit_row(page + offset, len, visit, arg);
	}
}
