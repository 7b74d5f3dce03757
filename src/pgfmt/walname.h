/*
 * walname.h: names of the files in pg_wal.
 *
 *   TTTTTTTTLLLLLLLLSSSSSSSS            segment: timeline, log, segment, each
 *                                       eight upper-case hex digits
 *   TTTTTTTTLLLLLLLLSSSSSSSS.partial    last segment of an old timeline
 *   TTTTTTTTLLLLLLLLSSSSSSSS.OOOOOOOO.backup  backup history
 *   TTTTTTTT.history                    timeline history
 *
 * A log has 4 GiB; segment numbers count from 0 over all logs.
 */
#ifndef OMB_PGFMT_WALNAME_H
#define OMB_PGFMT_WALNAME_H

#include <stdbool.h>
#include <stdint.h>

typedef enum omb_wal_kind
{
	OMB_WAL_SEGMENT,
	OMB_WAL_HISTORY,
	OMB_WAL_BACKUP_HISTORY,
	OMB_WAL_PARTIAL,
	OMB_WAL_OTHER
} omb_wal_kind;

typedef struct omb_wal_name
{
	omb_wal_kind kind;
	uint32_t timeline;
	uint32_t log;
	uint32_t seg;
} omb_wal_name;

#define OMB_WAL_NAME_TEXT 25

extern omb_wal_kind omb_wal_name_parse(const char *name, omb_wal_name *out);
extern uint64_t omb_wal_segno(const omb_wal_name *name, uint64_t segment_size);
extern void omb_wal_name_format(uint32_t timeline, uint64_t segno,
								uint64_t segment_size,
								char out[OMB_WAL_NAME_TEXT]);
/* Segment that holds the byte at lsn; the one that holds the byte before. */
extern uint64_t omb_wal_segno_at(uint64_t lsn, uint64_t segment_size);
extern uint64_t omb_wal_segno_before(uint64_t lsn, uint64_t segment_size);
/* A power of two from 1 MiB to 1 GiB. */
extern bool omb_wal_segment_size_valid(uint64_t segment_size);

#endif
