/*
 * walsegment.h: the header of a WAL segment's first page.
 *
 * Bytes (access/xlog_internal.h, PostgreSQL 9.3 and later):
 *    0  2  magic, 0xD1xx: differs with each major version
 *    2  2  bits: 0x0002 for this long form
 *    4  4  timeline
 *    8  8  LSN of the page
 *   16  4  bytes of a record that began before, to be found on this page
 *   24  8  system identifier
 *   32  4  segment size
 *   36  4  page size
 */
#ifndef OMB_PGFMT_WALSEGMENT_H
#define OMB_PGFMT_WALSEGMENT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define OMB_WAL_HEADER_SIZE 40

/*
 * Do these first bytes belong to the segment (or .partial) of that name, size
 * and cluster? OMB_REFUSED for another cluster's, OMB_UNSUPPORTED for pages of
 * other than 8 kB, OMB_DAMAGED for nonsense.
 * The timeline inside may be older than that of the name: the first segment
 * of a timeline begins with a copy of its parent's.
 */
extern omb_status omb_wal_header_check(const uint8_t *bytes, size_t len,
									   const char *name, uint64_t segment_size,
									   uint64_t system_identifier,
									   omb_error *err);

#endif
