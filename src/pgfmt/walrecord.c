/*
 * walrecord.c: finding the ends of transactions and restore points in WAL.
 *
 * Only the first bytes of a record are kept: records of transactions' ends
 * and restore points have no blocks, so their data begins right behind the
 * few headers. Over the rest only the CRC is computed.
 */
#include "pgfmt/walrecord.h"

#include "base/buffer.h"
#include "base/crc32c.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 8192
#define PAGE_HEADER 24
#define PAGE_HEADER_LONG 40
#define PAGE_CONTINUES 0x0001
#define PAGE_LONG 0x0002

#define RECORD_HEADER 24
#define RECORD_CRC 20
#define RECORD_MAX (1024 * 1024 * 1024)
#define KEPT 256

#define RMGR_XLOG 0
#define RMGR_XACT 1
#define XLOG_RESTORE_POINT 0x70
#define XACT_OPERATION 0x70
#define XACT_COMMIT 0x00
#define XACT_ABORT 0x20
#define XACT_COMMIT_PREPARED 0x30
#define XACT_ABORT_PREPARED 0x40

/* Headers behind the record's own, by their first byte. */
#define ID_DATA_SHORT 255
#define ID_DATA_LONG 254
#define ID_ORIGIN 253
#define ID_TOPLEVEL_XID 252

/* PostgreSQL counts microseconds from 2000-01-01. */
#define EPOCH_2000 INT64_C(946684800000000)

typedef enum scan_state
{
	SCAN_SEEKING, /* for the first record that begins */
	SCAN_RECORDS,
	SCAN_SKIPPING, /* nothing more in this segment */
	SCAN_ENDED
} scan_state;

struct omb_wal_scanner
{
	uint64_t segment_size;
	omb_wal_event_visit visit;
	void *arg;
	scan_state state;
	uint64_t next_lsn;
	uint64_t end_lsn;

	/* the record in hand; total 0 when there is none */
	uint64_t start;
	uint32_t total;
	uint32_t have;
	uint32_t crc; /* of what is behind the header */
	uint8_t kept[KEPT];
};

omb_wal_scanner *
omb_wal_scanner_new(uint64_t segment_size, omb_wal_event_visit visit,
					void *arg)
{
	omb_wal_scanner *scanner = omb_calloc(1, sizeof(*scanner));

	scanner->segment_size = segment_size;
	scanner->visit = visit;
	scanner->arg = arg;
	scanner->next_lsn = UINT64_MAX;
	return scanner;
}

/* Where a record's main data begins in kept, or 0 when it has blocks. */
static size_t
find_data(const omb_wal_scanner *scanner, size_t len)
{
	size_t at = RECORD_HEADER;

	while (at < len)
	{
		switch (scanner->kept[at])
		{
			case ID_ORIGIN:
				at += 3;
				break;
			case ID_TOPLEVEL_XID:
				at += 5;
				break;
			case ID_DATA_SHORT:
				return at + 2;
			case ID_DATA_LONG:
				return at + 5;
			default:
				return 0;
		}
	}
	return 0;
}

/* Tell about a complete record if it is one of those. */
static void
report(omb_wal_scanner *scanner, uint64_t end)
{
	uint8_t info = scanner->kept[16];
	uint8_t rmgr = scanner->kept[17];
	size_t len = scanner->total < KEPT ? scanner->total : KEPT;
	size_t data;
	omb_wal_event event;

	memset(&event, 0, sizeof(event));
	event.lsn = scanner->start;
	event.end_lsn = end;
	event.xid = omb_get_u32(scanner->kept + 4);
	if (rmgr == RMGR_XLOG && (info & 0xf0) == XLOG_RESTORE_POINT)
		event.kind = OMB_WAL_RESTORE_POINT;
	else if (rmgr != RMGR_XACT)
		return;
	else
	{
		switch (info & XACT_OPERATION)
		{
			case XACT_COMMIT_PREPARED:
				event.xid = 0;
				event.kind = OMB_WAL_COMMIT;
				break;
			case XACT_COMMIT:
				event.kind = OMB_WAL_COMMIT;
				break;
			case XACT_ABORT_PREPARED:
				event.xid = 0;
				event.kind = OMB_WAL_ABORT;
				break;
			case XACT_ABORT:
				event.kind = OMB_WAL_ABORT;
				break;
			default:
				return;
		}
	}
	data = find_data(scanner, len);
	if (data == 0 || data + 8 > len)
		return;
	event.time =
		(int64_t) (omb_get_u64(scanner->kept + data) + (uint64_t) EPOCH_2000);
	if (event.kind == OMB_WAL_RESTORE_POINT)
	{
		if (data + 8 + OMB_RESTORE_POINT_MAX > len)
			return;
		memcpy(event.name, scanner->kept + data + 8,
			   OMB_RESTORE_POINT_MAX - 1);
	}
	scanner->visit(&event, scanner->arg);
}

/* Take bytes of the record in hand. */
static void
take(omb_wal_scanner *scanner, const uint8_t *bytes, size_t len)
{
	size_t head = 0;

	if (scanner->have < KEPT)
	{
		size_t room = KEPT - scanner->have;

		memcpy(scanner->kept + scanner->have, bytes, len < room ? len : room);
	}
	if (scanner->have < RECORD_HEADER)
	{
		head = RECORD_HEADER - scanner->have;
		if (head > len)
			head = len;
	}
	scanner->crc = omb_crc32c(scanner->crc, bytes + head, len - head);
	scanner->have += (uint32_t) len;
}

static uint64_t
align8(uint64_t n)
{
	return (n + 7) & ~UINT64_C(7);
}

/* The record is complete: is it valid? */
static bool
finish(omb_wal_scanner *scanner, uint64_t end)
{
	uint32_t crc = omb_crc32c(scanner->crc, scanner->kept, RECORD_CRC);

	if (crc != omb_get_u32(scanner->kept + RECORD_CRC))
		return false;
	/* the server counts the padding to the next record in */
	end = align8(end);
	report(scanner, end);
	scanner->end_lsn = end;
	scanner->total = 0;
	return true;
}

/* The records on a page from a place on; false at the end of valid WAL. */
static bool
scan_records(omb_wal_scanner *scanner, uint64_t lsn, const uint8_t *page,
			 size_t at)
{
	while (at < PAGE)
	{
		size_t left = PAGE - at;
		size_t want;

		if (scanner->total == 0)
		{
			scanner->total = omb_get_u32(page + at);
			if (scanner->total == 0)
			{
				/* behind a segment switch there are zeros */
				scanner->state = SCAN_SKIPPING;
				return true;
			}
			if (scanner->total < RECORD_HEADER || scanner->total > RECORD_MAX)
				return false;
			scanner->start = lsn + at;
			scanner->have = 0;
			scanner->crc = 0;
		}
		want = scanner->total - scanner->have;
		if (want > left)
			want = left;
		take(scanner, page + at, want);
		at += want;
		if (scanner->have < scanner->total)
			break;
		if (!finish(scanner, lsn + at))
			return false;
		at = (size_t) align8(at);
	}
	return true;
}

static bool
scan_page(omb_wal_scanner *scanner, uint64_t lsn, const uint8_t *page)
{
	uint16_t info = omb_get_u16(page + 2);
	uint32_t rest = omb_get_u32(page + 16);
	size_t at = (info & PAGE_LONG) ? PAGE_HEADER_LONG : PAGE_HEADER;

	if (omb_get_u16(page) >> 8 != 0xD1 || omb_get_u64(page + 8) != lsn)
		return false;
	if (scanner->state == SCAN_RECORDS && scanner->total != 0 &&
		(!(info & PAGE_CONTINUES) || rest != scanner->total - scanner->have))
	{
		/* the record was never finished; the server began anew here */
		scanner->total = 0;
		scanner->state = SCAN_SEEKING;
	}
	if (scanner->state == SCAN_SEEKING)
	{
		if ((info & PAGE_CONTINUES) && rest > PAGE - at)
			return true;
		if (info & PAGE_CONTINUES)
			at += (size_t) align8(rest);
		scanner->state = SCAN_RECORDS;
	}
	return scan_records(scanner, lsn, page, at);
}

bool
omb_wal_scanner_feed(omb_wal_scanner *scanner, uint64_t lsn,
					 const uint8_t *bytes, size_t len)
{
	size_t at;

	if (lsn != scanner->next_lsn)
	{
		scanner->state = SCAN_SEEKING;
		scanner->total = 0;
	}
	scanner->next_lsn = lsn + len;
	for (at = 0; at + PAGE <= len; at += PAGE)
	{
		if (scanner->state == SCAN_SKIPPING &&
			(lsn + at) % scanner->segment_size == 0)
			scanner->state = SCAN_SEEKING;
		if (scanner->state == SCAN_ENDED)
			return false;
		if (scanner->state == SCAN_SKIPPING)
			continue;
		if (!scan_page(scanner, lsn + at, bytes + at))
		{
			scanner->state = SCAN_ENDED;
			return false;
		}
	}
	return true;
}

uint64_t
omb_wal_scanner_end(const omb_wal_scanner *scanner)
{
	return scanner->end_lsn;
}

void
omb_wal_scanner_free(omb_wal_scanner *scanner)
{
	free(scanner);
}
