/*
 * walrecord.c: finding the ends of transactions and restore points in WAL.
 *
 * Only the first bytes of a record are kept: records of transactions' ends
 * and restore points have no blocks, so their data begins right behind the
 * few headers. Over the rest only the CRC is computed.
 *
 * WAL goes on as long as the server's own reader would: each record has a
 * right CRC and names the one before it, each page has the expected address,
 * and a record that goes on is continued. A crash may leave a record
 * unfinished; the server marks the page where it began anew.
 */
#include "pgfmt/walrecord.h"

#include "base/buffer.h"
#include "codec/crc32c.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 8192
#define PAGE_HEADER 24
#define PAGE_HEADER_LONG 40
#define PAGE_CONTINUES 0x0001
#define PAGE_LONG 0x0002
#define PAGE_BEGINS_ANEW 0x0008
#define MAGIC_18 0xD118

#define RECORD_HEADER 24
#define RECORD_PREVIOUS 8
#define RECORD_CRC 20
#define RECORD_MAX (1024 * 1024 * 1024)
#define KEPT 256

#define RMGR_XLOG 0
#define RMGR_XACT 1
#define INFO_MASK 0xf0
#define XLOG_SWITCH 0x40
#define XLOG_RESTORE_POINT 0x70
#define XACT_OPERATION 0x70
#define XACT_COMMIT 0x00
#define XACT_ABORT 0x20
#define XACT_COMMIT_PREPARED 0x30
#define XACT_ABORT_PREPARED 0x40
#define XACT_HAS_INFO 0x80

/* What the data of a transaction's end has, in this order. */
#define XACT_HAS_DATABASE (1U << 0)
#define XACT_HAS_SUBXACTS (1U << 1)
#define XACT_HAS_RELATIONS (1U << 2)
#define XACT_HAS_STATISTICS (1U << 8)
#define XACT_HAS_INVALIDATIONS (1U << 3)
#define XACT_HAS_PREPARED (1U << 4)

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
	SCAN_SKIPPING, /* nothing behind the switch to the next segment */
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
	uint64_t last; /* where the last record begins; 0 after a jump */
	uint16_t magic;

	/* the record in hand; total 0 when there is none */
	uint64_t start;
	uint32_t total;
	uint32_t have;
	uint32_t crc; /* of what is behind the header */
	uint8_t kept[OMB_WAL_PREPARED_MAX];
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

static bool
is_record(const omb_wal_scanner *scanner, uint8_t rmgr, uint8_t mask,
		  uint8_t info)
{
	return scanner->kept[17] == rmgr && (scanner->kept[16] & mask) == info;
}

static bool
is_prepared(const omb_wal_scanner *scanner)
{
	return is_record(scanner, RMGR_XACT, XACT_OPERATION,
					 XACT_COMMIT_PREPARED) ||
		   is_record(scanner, RMGR_XACT, XACT_OPERATION, XACT_ABORT_PREPARED);
}

/* How much of the record is kept. Its header must be there. */
static size_t
kept_size(const omb_wal_scanner *scanner)
{
	size_t most = is_prepared(scanner) ? OMB_WAL_PREPARED_MAX : KEPT;

	return scanner->total < most ? scanner->total : most;
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

/* The xid of a prepared transaction from the data behind the time, or 0. */
static uint32_t
find_prepared_xid(const omb_wal_scanner *scanner, size_t data, size_t len)
{
	/* version 18 made the numbers of statistics objects larger */
	const struct
	{
		uint32_t has;
		size_t item_size;
	} lists[] = {
		{ XACT_HAS_SUBXACTS, 4 },
		{ XACT_HAS_RELATIONS, 12 },
		{ XACT_HAS_STATISTICS, scanner->magic >= MAGIC_18 ? 16 : 12 },
		{ XACT_HAS_INVALIDATIONS, 16 },
	};
	omb_cursor cur;
	uint32_t has, xid;
	size_t i;

	if ((scanner->kept[16] & XACT_HAS_INFO) == 0)
		return 0;
	omb_cursor_init(&cur, scanner->kept + data, len - data);
	has = omb_cursor_get_u32(&cur);
	if (has & XACT_HAS_DATABASE)
		(void) omb_cursor_get(&cur, 8);
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
	{
		uint64_t count;

		if ((has & lists[i].has) == 0)
			continue;
		count = omb_cursor_get_u32(&cur);
		if (count > omb_cursor_left(&cur) / lists[i].item_size)
			return 0;
		(void) omb_cursor_get(&cur, (size_t) count * lists[i].item_size);
	}
	if ((has & XACT_HAS_PREPARED) == 0)
		return 0;
	xid = omb_cursor_get_u32(&cur);
	return cur.failed ? 0 : xid;
}

/* Tell about a complete record if it is one of those. */
static void
report(omb_wal_scanner *scanner, uint64_t end)
{
	size_t len = kept_size(scanner);
	size_t data;
	omb_wal_event event;

	memset(&event, 0, sizeof(event));
	event.lsn = scanner->start;
	event.end_lsn = end;
	event.xid = omb_get_u32(scanner->kept + 4);
	if (is_record(scanner, RMGR_XLOG, INFO_MASK, XLOG_RESTORE_POINT))
		event.kind = OMB_WAL_RESTORE_POINT;
	else if (is_record(scanner, RMGR_XACT, XACT_OPERATION, XACT_COMMIT) ||
			 is_record(scanner, RMGR_XACT, XACT_OPERATION,
					   XACT_COMMIT_PREPARED))
		event.kind = OMB_WAL_COMMIT;
	else if (is_record(scanner, RMGR_XACT, XACT_OPERATION, XACT_ABORT) ||
			 is_record(scanner, RMGR_XACT, XACT_OPERATION,
					   XACT_ABORT_PREPARED))
		event.kind = OMB_WAL_ABORT;
	else
		return;
	data = find_data(scanner, len);
	if (data == 0 || data + 8 > len)
		return;
	if (is_prepared(scanner))
		event.xid = find_prepared_xid(scanner, data + 8, len);
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
	size_t kept;

	if (scanner->have < RECORD_HEADER)
	{
		size_t head = RECORD_HEADER - scanner->have;

		if (head > len)
			head = len;
		memcpy(scanner->kept + scanner->have, bytes, head);
		scanner->have += (uint32_t) head;
		bytes += head;
		len -= head;
		if (len == 0)
			return;
	}
	kept = kept_size(scanner);
	if (scanner->have < kept)
	{
		kept -= scanner->have;
		memcpy(scanner->kept + scanner->have, bytes, len < kept ? len : kept);
	}
	scanner->crc = omb_crc32c(scanner->crc, bytes, len);
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

	if (crc != omb_get_u32(scanner->kept + RECORD_CRC) ||
		(scanner->last != 0 &&
		 scanner->last != omb_get_u64(scanner->kept + RECORD_PREVIOUS)))
		return false;
	/* the server counts the padding to the next record in */
	end = align8(end);
	if (is_record(scanner, RMGR_XLOG, INFO_MASK, XLOG_SWITCH))
	{
		/* zeros follow, without headers of pages */
		uint64_t rest = end % scanner->segment_size;

		if (rest != 0)
			end += scanner->segment_size - rest;
		scanner->state = SCAN_SKIPPING;
	}
	else
		report(scanner, end);
	scanner->last = scanner->start;
	scanner->end_lsn = end;
	scanner->total = 0;
	return true;
}

/* The records on a page from a place on; false at the end of valid WAL. */
static bool
scan_records(omb_wal_scanner *scanner, uint64_t lsn, const uint8_t *page,
			 size_t at)
{
	while (at < PAGE && scanner->state == SCAN_RECORDS)
	{
		size_t left = PAGE - at;
		size_t want;

		if (scanner->total == 0)
		{
			scanner->total = omb_get_u32(page + at);
			/* zero where the server had written nothing more */
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
	scanner->magic = omb_get_u16(page);
	if (scanner->state == SCAN_RECORDS)
	{
		/* the record in hand was never finished */
		if (info & PAGE_BEGINS_ANEW)
			scanner->total = 0;
		if (scanner->total != 0 ? !(info & PAGE_CONTINUES) ||
									  rest != scanner->total - scanner->have :
								  (info & PAGE_CONTINUES) != 0)
			return false;
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
		scanner->last = 0;
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
