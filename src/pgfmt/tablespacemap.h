/*
 * tablespacemap.h: the file tablespace_map of a base backup.
 *
 * A line "<oid> <path>" for each tablespace; in the path a backslash is put
 * before newline, carriage return and backslash.
 */
#ifndef OMB_PGFMT_TABLESPACEMAP_H
#define OMB_PGFMT_TABLESPACEMAP_H

#include "base/buffer.h"

/* Append a line. */
extern void omb_tablespace_map_add(omb_buf *out, const char *oid,
								   const char *path);

#endif
