/*
 * page.h: data pages of relations, and their checksums.
 *
 * Header of a page, as far as it matters here (PostgreSQL 8.3 and later):
 * LSN as two 4-byte halves, high one first, at 0 and 4; checksum, 2 bytes at
 * 8; lower 12, upper 14. Integers are in the byte order of the machine, here
 * little-endian.
 *
 * The checksum is that of PostgreSQL's data pages: 32 parallel FNV-1a-like
 * sums over the page taken as 4-byte words, with the checksum field as zero,
 * folded, mixed with the block number and reduced to 1..65535.
 */
#ifndef OMB_PGFMT_PAGE_H
#define OMB_PGFMT_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMB_PAGE_SIZE 8192
/* Pages in a segment file of a relation: 1 GiB. */
#define OMB_PAGE_SEGMENT_BLOCKS 131072

typedef enum omb_page_state
{
	OMB_PAGE_OK,
	OMB_PAGE_NEW,	 /* all zeros */
	OMB_PAGE_RECENT, /* written since start_lsn: WAL replay replaces it */
	OMB_PAGE_BAD
} omb_page_state;

/* block is the number in the relation, not in the segment file. */
extern uint16_t omb_page_checksum(const uint8_t *page, uint32_t block);
extern omb_page_state omb_page_check(const uint8_t *page, uint32_t block,
									 uint64_t start_lsn);
extern bool omb_is_zero(const void *data, size_t len);

#endif
