/*
 * walrecord.h: finding the ends of transactions and restore points in WAL.
 *
 * Records (access/xlogrecord.h): 24 bytes of header (total length 4, xid 4,
 * LSN of the record before 8, info 1, resource manager 1, 2 zero, CRC-32C of
 * the rest and then of the first 20 bytes), then the headers of blocks and
 * data, then data. They begin at multiples of 8 and go on behind the header
 * of the next page.
 */
#ifndef OMB_PGFMT_WALRECORD_H
#define OMB_PGFMT_WALRECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMB_RESTORE_POINT_MAX 64

/*
 * The end of a prepared transaction is logged by another one; its own xid is
 * in the record's data, behind lists that grow with what it did. It is not
 * known when the record is larger than this.
 */
#define OMB_WAL_PREPARED_MAX (1024 * 1024)

typedef enum omb_wal_event_kind
{
	OMB_WAL_COMMIT,
	OMB_WAL_ABORT,
	OMB_WAL_RESTORE_POINT
} omb_wal_event_kind;

typedef struct omb_wal_event
{
	omb_wal_event_kind kind;
	uint64_t lsn;					  /* where the record begins */
	uint64_t end_lsn;				  /* where it ends */
	int64_t time;					  /* microseconds since 1970 UTC */
	uint32_t xid;					  /* 0 when not known, see below */
	char name[OMB_RESTORE_POINT_MAX]; /* of a restore point */
} omb_wal_event;

typedef void (*omb_wal_event_visit)(const omb_wal_event *event, void *arg);

typedef struct omb_wal_scanner omb_wal_scanner;

extern omb_wal_scanner *omb_wal_scanner_new(uint64_t segment_size,
											omb_wal_event_visit visit,
											void *arg);
/*
 * Bytes that begin at lsn, whole pages of 8 kB. What follows on the bytes
 * before continues; anything else begins anew with the first record that
 * begins there. False once the WAL does not go on (a record or page that is
 * not valid): where recovery would end.
 */
extern bool omb_wal_scanner_feed(omb_wal_scanner *scanner, uint64_t lsn,
								 const uint8_t *bytes, size_t len);
/*
 * End of the last valid record; 0 when there was none. The record of a segment
 * switch ends with its segment.
 */
extern uint64_t omb_wal_scanner_end(const omb_wal_scanner *scanner);
extern void omb_wal_scanner_free(omb_wal_scanner *scanner);

#endif
