/*
 * heap.h: the rows in a page of pg_database.
 *
 * A page of a heap has, after its header of 24 bytes (pgfmt/page.h), item
 * pointers of 4 bytes up to "lower": 15 bits of offset, 2 bits of state (1 is
 * a row), 15 bits of length. A row has the size of its header at 22; behind
 * the header of a row of pg_database are the oid, 4 bytes, and the name, 64
 * bytes filled with zeros.
 */
#ifndef OMB_PGFMT_HEAP_H
#define OMB_PGFMT_HEAP_H

#include <stddef.h>
#include <stdint.h>

#define OMB_NAME_SIZE 64

typedef void (*omb_database_visit)(uint32_t oid, const char *name, void *arg);

/*
 * Visit all rows of the page, of any age: also those of transactions that
 * failed and those that are dead. What is not a page has none.
 */
extern void omb_database_rows(const uint8_t *page, omb_database_visit visit,
							  void *arg);

#endif
