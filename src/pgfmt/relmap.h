/*
 * relmap.h: the file pg_filenode.map.
 *
 * It tells the files of the catalogs that every session needs before it can
 * read a catalog. All integers of 4 bytes (utils/cache/relmapper.c):
 *
 *    0  magic 0x592717
 *    4  number of mappings
 *    8  mappings: oid of the relation, number of its file
 *  504  CRC-32C of all before, then 4 bytes of nothing; up to version 15
 *  520  CRC-32C of all before; from version 16 on
 */
#ifndef OMB_PGFMT_RELMAP_H
#define OMB_PGFMT_RELMAP_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* pg_database */
#define OMB_DATABASE_RELATION 1262

/*
 * The number of the file of a relation. OMB_DAMAGED when it is no such file,
 * OMB_NOT_FOUND when it does not name the relation.
 */
extern omb_status omb_relmap_find(const uint8_t *bytes, size_t len,
								  uint32_t relation, uint32_t *relnumber,
								  omb_error *err);

#endif
