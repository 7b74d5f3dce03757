/*
 * fuzz_record.c: WAL records with any content, under right page headers and
 * CRCs, which random bytes do not have.
 *
 * Input: magic's low byte, info, resource manager, where on the page the
 * record begins; then what follows the record's header. Whatever it holds, a
 * commit behind it must be found, or behind a segment switch nothing.
 */
#include "base/buffer.h"
#include "codec/crc32c.h"
#include "pgfmt/walrecord.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 8192
#define SEGMENT 1048576
#define BEGIN UINT64_C(0x5002000)
#define PAGES 48
#define XID 4711

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct wal
{
	uint8_t page[PAGES * PAGE];
	size_t len;
	size_t at;
	uint8_t magic;
} wal;

static void
put(wal *w, const uint8_t *record, size_t len)
{
	size_t done = 0;

	while (done < len)
	{
		size_t n;

		if (w->at == w->len)
		{
			uint8_t *page = w->page + w->len;

			omb_set_u16(page, (uint16_t) (0xD100 | w->magic));
			omb_set_u16(page + 2, done > 0 ? 1 : 0);
			omb_set_u64(page + 8, BEGIN + w->len);
			omb_set_u32(page + 16, done > 0 ? (uint32_t) (len - done) : 0);
			w->at += 24;
			w->len += PAGE;
		}
		n = w->len - w->at;
		if (n > len - done)
			n = len - done;
		memcpy(w->page + w->at, record + done, n);
		done += n;
		w->at += n;
	}
	w->at = (w->at + 7) & ~(size_t) 7;
}

/* A record that begins at `at` of the page and follows the one at `last`. */
static void
put_record(wal *w, uint64_t last, uint32_t xid, uint8_t info, uint8_t rmgr,
		   const uint8_t *body, size_t len)
{
	uint8_t *record = omb_calloc(1, 24 + len);

	omb_set_u32(record, (uint32_t) (24 + len));
	omb_set_u32(record + 4, xid);
	omb_set_u64(record + 8, last);
	record[16] = info;
	record[17] = rmgr;
	if (len > 0)
		memcpy(record + 24, body, len);
	omb_set_u32(record + 20, omb_crc32c(omb_crc32c(0, body, len), record, 20));
	put(w, record, 24 + len);
	free(record);
}

static void
note(const omb_wal_event *event, void *arg)
{
	/* terminated whatever the record holds */
	if (strlen(event->name) >= OMB_RESTORE_POINT_MAX)
		abort();
	*(omb_wal_event *) arg = *event;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t commit[10] = { 255, 8 };
	static const uint8_t none[PAGE];
	static wal w;
	omb_wal_scanner *scanner;
	omb_wal_event event;
	uint64_t first, second;
	bool is_switch;

	if (size < 4 || size > (PAGES - 4) * (PAGE - 24))
		return 0;
	memset(&w, 0, sizeof(w));
	w.magic = data[0];
	/* something before it, which ends at a multiple of 32 */
	put_record(&w, 0, 0, 0x20, 0, none, (size_t) data[3] * 32 + 8);
	first = BEGIN + (w.at == w.len ? w.at + 24 : w.at);
	put_record(&w, BEGIN + 24, 1, data[1], data[2], data + 4, size - 4);
	second = BEGIN + (w.at == w.len ? w.at + 24 : w.at);
	put_record(&w, first, XID, 0, 1, commit, sizeof(commit));

	memset(&event, 0, sizeof(event));
	scanner = omb_wal_scanner_new(SEGMENT, note, &event);
	(void) omb_wal_scanner_feed(scanner, BEGIN, w.page, w.len);
	is_switch = data[2] == 0 && (data[1] & 0xf0) == 0x40;
	if (is_switch ? event.lsn == second :
					event.lsn != second || event.xid != XID ||
						omb_wal_scanner_end(scanner) != BEGIN + w.at)
		abort();
	omb_wal_scanner_free(scanner);
	return 0;
}
