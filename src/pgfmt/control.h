/*
 * control.h: the file global/pg_control.
 *
 * Its beginning has been the same since PostgreSQL 9.3:
 *    0  8  system identifier
 *    8  4  version of the file's format
 *   12  4  version of the catalog
 *   16  4  state of the cluster
 *   24  8  time of the last update
 *   32  8  LSN of the last checkpoint record
 * What follows differs between versions and ends with a CRC-32C of all bytes
 * before it; zeros fill the file up to 8 kB. The place of the CRC is found by
 * trying: a wrong place fits by chance once in 2^32.
 */
#ifndef OMB_PGFMT_CONTROL_H
#define OMB_PGFMT_CONTROL_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct omb_control
{
	uint64_t system_identifier;
	uint32_t control_version;
	uint32_t catalog_version;
	uint32_t state;
	uint64_t checkpoint_lsn;
	size_t crc_offset;
} omb_control;

/* OMB_DAMAGED when no CRC fits: torn, damaged or not such a file. */
extern omb_status omb_control_parse(const uint8_t *bytes, size_t len,
									omb_control *out, omb_error *err);

/*
 * Make the checkpoint's LSN one that cannot be, and the CRC fit again. A
 * server that finds backup_label never reads it; one that does not, because
 * somebody removed the label, refuses to start instead of starting from a
 * checkpoint that does not fit the files.
 */
extern omb_status omb_control_invalidate(uint8_t *bytes, size_t len,
										 omb_error *err);

#endif
