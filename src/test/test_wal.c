/*
 * test_wal.c: headers of WAL segments and scanning of WAL records, over pages
 * that PostgreSQL wrote and over pages made here.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "base/file.h"
#include "codec/crc32c.h"
#include "pgfmt/walrecord.h"
#include "pgfmt/walsegment.h"

#include <stdlib.h>

#define PAGE 8192
#define SEGMENT (1024 * 1024)
#define FIRST UINT64_C(0x500000)
#define CONTINUES 1
#define LONG 2
#define BEGINS_ANEW 8

static omb_buf
read_data(const char *name)
{
	const char *folder = getenv("OMB_TEST_DATA");
	char *path =
		omb_format("%s/pgfmt/%s", folder ? folder : "src/test/data", name);
	omb_buf out = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;

	if (omb_file_read(path, SEGMENT, &out, &err) != OMB_OK)
		ok(false, "%s: %s", path, err.message);
	free(path);
	return out;
}

/* ---- WAL made here ---- */

typedef struct wal
{
	uint8_t *bytes;
	size_t len; /* multiple of a page */
	size_t at;	/* where the next record begins */
	uint64_t last;
	uint16_t magic;
} wal;

static void
wal_begin(wal *w)
{
	memset(w, 0, sizeof(*w));
	w->magic = 0xD110;
}

static void
wal_page(wal *w, uint16_t info, uint32_t rest)
{
	uint64_t lsn = FIRST + w->len;
	bool is_long = lsn % SEGMENT == 0;
	uint8_t *page;

	w->bytes = omb_realloc(w->bytes, w->len + PAGE);
	page = w->bytes + w->len;
	memset(page, 0, PAGE);
	omb_set_u16(page, w->magic);
	omb_set_u16(page + 2, (uint16_t) (info | (is_long ? LONG : 0)));
	omb_set_u32(page + 4, 1);
	omb_set_u64(page + 8, lsn);
	omb_set_u32(page + 16, rest);
	if (is_long)
	{
		omb_set_u64(page + 24, 77);
		omb_set_u32(page + 32, SEGMENT);
		omb_set_u32(page + 36, PAGE);
	}
	w->at = w->len + (is_long ? 40 : 24);
	w->len += PAGE;
}

/* Put the bytes of a record, at most `most` of them; makes pages as needed. */
static void
wal_put(wal *w, const uint8_t *record, size_t len, size_t most)
{
	size_t done = 0;

	while (done < len && done < most)
	{
		size_t n;

		if (w->at == w->len)
			wal_page(w, done > 0 ? CONTINUES : 0,
					 done > 0 ? (uint32_t) (len - done) : 0);
		n = w->len - w->at;
		if (n > len - done)
			n = len - done;
		memcpy(w->bytes + w->at, record + done, n);
		done += n;
		w->at += n;
	}
	w->at = (w->at + 7) & ~(size_t) 7;
}

/* The bytes of a record with main data. */
static omb_buf
make_record(const wal *w, uint8_t rmgr, uint8_t info, uint32_t xid,
			const void *data, size_t len)
{
	omb_buf out = OMB_BUF_INIT;
	bool is_short = len < 256;
	uint32_t crc;

	omb_buf_put_u32(&out, (uint32_t) (24 + (is_short ? 2U : 5U) + len));
	omb_buf_put_u32(&out, xid);
	omb_buf_put_u64(&out, w->last);
	omb_buf_put_u8(&out, info);
	omb_buf_put_u8(&out, rmgr);
	omb_buf_put(&out, "\0\0", 2);
	omb_buf_put_u32(&out, 0);
	omb_buf_put_u8(&out, is_short ? 255 : 254);
	if (is_short)
		omb_buf_put_u8(&out, (uint8_t) len);
	else
		omb_buf_put_u32(&out, (uint32_t) len);
	omb_buf_put(&out, data, len);
	crc = omb_crc32c(0, out.data + 24, out.len - 24);
	omb_set_u32(out.data + 20, omb_crc32c(crc, out.data, 20));
	return out;
}

static uint64_t
wal_record(wal *w, uint8_t rmgr, uint8_t info, uint32_t xid, const void *data,
		   size_t len)
{
	omb_buf record;
	uint64_t lsn;

	if (w->at == w->len)
		wal_page(w, 0, 0);
	lsn = FIRST + w->at;
	record = make_record(w, rmgr, info, xid, data, len);
	wal_put(w, record.data, record.len, record.len);
	w->last = lsn;
	omb_buf_free(&record);
	return lsn;
}

static uint64_t
wal_commit(wal *w, uint32_t xid)
{
	uint8_t time[8] = { 0 };

	omb_set_u64(time, xid);
	return wal_record(w, 1, 0, xid, time, sizeof(time));
}

/* Data of nothing, so large that the next record begins at `at` in a page. */
static void
wal_fill(wal *w, size_t at)
{
	static const uint8_t zeros[2 * PAGE];
	size_t here, len;

	if (w->at == w->len)
		wal_page(w, 0, 0);
	here = w->at % PAGE;
	/* headers of the record, and of the page it goes on to */
	len = at >= here + 24 + 5 + 256 ? at - here - 24 - 5 :
									  PAGE - 24 + at - here - 24 - 5;
	(void) wal_record(w, 0, 0x20, 0, zeros, len);
}

/* ---- what a scan finds ---- */

typedef struct found
{
	int count;
	int commits;
	omb_wal_event last;
	omb_buf text;
} found;

static void
note(const omb_wal_event *event, void *arg)
{
	static const char *const kinds[] = { "commit", "abort", "point" };
	found *f = arg;

	f->count++;
	f->commits += event->kind == OMB_WAL_COMMIT;
	f->last = *event;
	omb_buf_printf(&f->text, "%s %" PRIX64 " %u %" PRId64 "%s%s\n",
				   kinds[event->kind], event->lsn, event->xid, event->time,
				   event->name[0] ? " " : "", event->name);
}

static bool
scan(const uint8_t *bytes, size_t len, uint64_t lsn, size_t piece, found *f,
	 uint64_t *end)
{
	omb_wal_scanner *scanner;
	bool goes_on = true;
	size_t at;

	omb_buf_free(&f->text);
	memset(f, 0, sizeof(*f));
	scanner = omb_wal_scanner_new(SEGMENT, note, f);
	for (at = 0; at < len && goes_on; at += piece)
		goes_on = omb_wal_scanner_feed(scanner, lsn + at, bytes + at,
									   len - at < piece ? len - at : piece);
	*end = omb_wal_scanner_end(scanner);
	omb_wal_scanner_free(scanner);
	return goes_on;
}

static bool
scan_made(const wal *w, found *f, uint64_t *end)
{
	return scan(w->bytes, w->len, FIRST, PAGE, f, end);
}

/* ---- real pages ---- */

static void
pages_of_a_server_give_what_pg_waldump_shows(void)
{
	omb_buf data = read_data("wal-0-3896000");
	found f = { 0 };
	uint64_t end;

	ok(scan(data.data, data.len, 0x3896000, 2 * PAGE, &f, &end),
	   "WAL in the middle of a segment is read");
	is_text(omb_buf_text(&f.text),
			"commit 3896700 3935 1795241528014316\n"
			"commit 3896C80 3936 1795241528015073\n"
			"abort 3896DF0 3937 1795241528015230\n",
			"commits and aborts, of prepared transactions too");
	omb_buf_free(&data);

	data = read_data("wal-0-3F10000");
	ok(scan(data.data, data.len, 0x3F10000, PAGE, &f, &end),
	   "WAL goes on behind a switch");
	is_text(omb_buf_text(&f.text),
			"commit 3F114B8 4290 1795241528214653\n"
			"point 3F114E8 0 1795241528216190 second \"point\" \303\251\n",
			"a restore point");
	is_u64(end, 0x4000000, "a switch ends with the segment");
	omb_buf_free(&f.text);
	omb_buf_free(&data);
}

static void
a_switch_at_the_end_of_a_page_does_not_end_the_wal(void)
{
	omb_buf page = read_data("wal-0-4A00000");
	omb_buf next = read_data("wal-0-4B00000");
	uint8_t *bytes = omb_calloc(1, SEGMENT + PAGE);
	found f = { 0 };
	uint64_t end;

	memcpy(bytes, page.data, PAGE);
	memcpy(bytes + SEGMENT, next.data, PAGE);
	ok(scan(bytes, SEGMENT + PAGE, 0x4A00000, 128 * 1024, &f, &end),
	   "the segment behind a switch is read");
	ok(end > 0x4B00000, "its records are valid");
	free(bytes);
	omb_buf_free(&f.text);
	omb_buf_free(&page);
	omb_buf_free(&next);
}

/* ---- pages made here ---- */

static void
records_across_pages_and_segments(void)
{
	uint8_t *large = omb_calloc(1, 3 * SEGMENT);
	wal w;
	found f = { 0 };
	uint64_t end, lsn;
	size_t i, bad = 0;

	wal_begin(&w);
	(void) wal_commit(&w, 10);
	(void) wal_record(&w, 10, 0, 5, large, 3 * SEGMENT);
	lsn = wal_commit(&w, 11);
	ok(scan_made(&w, &f, &end) == false && f.commits == 2 && f.last.lsn == lsn,
	   "a commit behind a record of three segments");
	is_u64(end, FIRST + w.at, "and nothing behind it");
	for (i = PAGE; i < w.len; i += PAGE)
	{
		(void) scan(w.bytes + i, w.len - i, FIRST + i, 7 * PAGE, &f, &end);
		bad += f.commits != 1 || f.last.xid != 11 || end != FIRST + w.at;
	}
	is_u64(bad, 0, "the same from each page on");

	/* every place at which the header of a record can be cut */
	for (i = 0, bad = 0; i < 64; i += 8)
	{
		wal v;

		wal_begin(&v);
		(void) wal_commit(&v, 10);
		wal_fill(&v, PAGE - 64 + i);
		(void) wal_commit(&v, 12);
		(void) wal_commit(&v, 13);
		(void) scan_made(&v, &f, &end);
		bad += f.commits != 3 || f.last.xid != 13 ||
			   f.last.time != INT64_C(946684800000013) || end != FIRST + v.at;
		free(v.bytes);
	}
	is_u64(bad, 0, "records cut by the end of a page at each place");
	free(large);
	free(w.bytes);
	omb_buf_free(&f.text);
}

static void
an_unfinished_record_is_skipped_where_the_server_began_anew(void)
{
	static const uint8_t data[3 * PAGE];
	wal w;
	omb_buf record;
	found f = { 0 };
	uint64_t end;
	size_t mark;

	wal_begin(&w);
	(void) wal_commit(&w, 20);
	record = make_record(&w, 10, 0, 5, data, sizeof(data));
	wal_put(&w, record.data, record.len, PAGE + 100);
	mark = w.len;
	wal_page(&w, BEGINS_ANEW, 0);
	(void) wal_commit(&w, 21);
	(void) scan_made(&w, &f, &end);
	ok(f.commits == 2 && f.last.xid == 21, "the WAL goes on at the mark");
	(void) scan(w.bytes + PAGE, w.len - PAGE, FIRST + PAGE, PAGE, &f, &end);
	ok(f.commits == 1 && f.last.xid == 21,
	   "also when reading begins in the unfinished record");
	w.bytes[mark + 2] = 0;
	ok(!scan_made(&w, &f, &end) && f.commits == 1,
	   "without the mark the WAL ends");
	omb_buf_free(&record);
	omb_buf_free(&f.text);
	free(w.bytes);
}

static void
the_wal_ends_where_the_server_would_end_it(void)
{
	static const uint8_t data[2 * PAGE];
	wal w;
	found f = { 0 };
	uint64_t end, second, third;
	uint8_t *copy;
	size_t n;

	wal_begin(&w);
	(void) wal_commit(&w, 30);
	second = wal_commit(&w, 31);
	third = wal_commit(&w, 32);
	(void) wal_record(&w, 10, 0, 5, data, sizeof(data));
	(void) wal_commit(&w, 33);
	copy = omb_malloc(w.len);

	memcpy(copy, w.bytes, w.len);
	copy[third - FIRST + 30] ^= 1;
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 2 &&
		   end == third,
	   "at a record with a wrong CRC");

	memcpy(copy, w.bytes, w.len);
	memcpy(copy + (third - FIRST), copy + (second - FIRST),
		   (size_t) (third - second));
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 2,
	   "at a record that names another before it");

	memcpy(copy, w.bytes, w.len);
	memset(copy + (third - FIRST), 0, PAGE - (size_t) (third - FIRST));
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 2,
	   "at zeros");

	memcpy(copy, w.bytes, w.len);
	omb_set_u32(copy + (third - FIRST), 23);
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 2,
	   "at a length below that of a header");
	omb_set_u32(copy + (third - FIRST), 0xffffffff);
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 2,
	   "at a length above every record's");

	memcpy(copy, w.bytes, w.len);
	omb_set_u64(copy + PAGE + 8, FIRST);
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 3,
	   "at a page of another place");
	memcpy(copy, w.bytes, w.len);
	omb_set_u32(copy + PAGE + 16, 8);
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 3,
	   "at a page that continues another record");
	memcpy(copy, w.bytes, w.len);
	copy[PAGE + 1] = 0;
	ok(!scan(copy, w.len, FIRST, w.len, &f, &end) && f.commits == 3,
	   "at a page that is none");

	n = 0;
	while (n < 3 && scan(w.bytes, PAGE, FIRST, PAGE, &f, &end))
		n++;
	ok(n == 3 && f.commits == 3, "it does not end where bytes are lacking");
	free(copy);
	free(w.bytes);
	omb_buf_free(&f.text);
}

static void
a_jump_begins_anew(void)
{
	wal w;
	found f = { 0 };
	omb_wal_scanner *scanner = omb_wal_scanner_new(SEGMENT, note, &f);

	wal_begin(&w);
	(void) wal_commit(&w, 40);
	wal_fill(&w, 4096);
	(void) wal_commit(&w, 41);
	wal_fill(&w, 1024);
	(void) wal_commit(&w, 42);
	(void) omb_wal_scanner_feed(scanner, FIRST, w.bytes, PAGE);
	(void) omb_wal_scanner_feed(scanner, FIRST + 2 * PAGE,
								w.bytes + w.len - PAGE, PAGE);
	ok(f.commits == 2 && f.last.xid == 41,
	   "bytes of another place end the scan");
	(void) omb_wal_scanner_feed(scanner, FIRST + w.len - PAGE,
								w.bytes + w.len - PAGE, PAGE);
	ok(f.commits == 3 && f.last.xid == 42,
	   "a later place is read without what is before it");
	omb_wal_scanner_free(scanner);
	omb_wal_scanner_free(NULL);
	free(w.bytes);
	omb_buf_free(&f.text);
}

/* The data of COMMIT PREPARED with lists of the given lengths. */
static omb_buf
prepared_data(uint32_t has, const uint32_t count[4], size_t statistics_size)
{
	const size_t size[4] = { 4, 12, statistics_size, 16 };
	const uint32_t bit[4] = { 1U << 1, 1U << 2, 1U << 8, 1U << 3 };
	omb_buf out = OMB_BUF_INIT;
	int i;

	omb_buf_put_u64(&out, 5);
	omb_buf_put_u32(&out, has);
	if (has & 1)
		omb_buf_put_u64(&out, 0x1111111111111111);
	for (i = 0; i < 4; i++)
	{
		if ((has & bit[i]) == 0)
			continue;
		omb_buf_put_u32(&out, count[i]);
		memset(omb_buf_reserve(&out, count[i] * size[i]), 0xaa,
			   count[i] * size[i]);
		out.len += count[i] * size[i];
	}
	if (has & (1U << 4))
		omb_buf_put_u32(&out, 4711);
	omb_buf_put(&out, "gid", 4);
	return out;
}

static uint32_t
prepared_xid(uint16_t magic, uint8_t info, const void *data, size_t len)
{
	wal w;
	found f = { 0 };
	uint64_t end;
	uint32_t xid;

	wal_begin(&w);
	w.magic = magic;
	(void) wal_record(&w, 1, info, 0, data, len);
	(void) scan_made(&w, &f, &end);
	xid = f.count == 1 ? f.last.xid : 1;
	free(w.bytes);
	omb_buf_free(&f.text);
	return xid;
}

static void
the_xid_of_a_prepared_transaction_is_behind_its_lists(void)
{
	static const uint32_t none[4] = { 0, 0, 0, 0 };
	static const uint32_t some[4] = { 3, 5, 7, 2 };
	static const uint32_t many[4] = { 1000, 2000, 300, 4000 };
	static const uint32_t too_many[4] = { 300000, 0, 0, 0 };
	const uint32_t all = 0x11f;
	omb_buf data;
	size_t i, bad = 0;

	data = prepared_data(1U << 4, none, 12);
	is_u64(prepared_xid(0xD110, 0xb0, data.data, data.len), 4711, "no lists");
	is_u64(prepared_xid(0xD110, 0xc0, data.data, data.len), 4711,
		   "rolled back");
	is_u64(prepared_xid(0xD110, 0x30, data.data, data.len), 0,
		   "not known without the bit for more data");
	omb_buf_free(&data);
	data = prepared_data(all, some, 12);
	is_u64(prepared_xid(0xD116, 0xb0, data.data, data.len), 4711, "all lists");
	for (i = 8; i < data.len - 4; i++)
		bad += prepared_xid(0xD110, 0xb0, data.data, i) != 0;
	is_u64(bad, 0, "not known when the data is cut");
	omb_buf_free(&data);
	data = prepared_data(all, some, 16);
	is_u64(prepared_xid(0xD118, 0xb0, data.data, data.len), 4711,
		   "all lists of version 18");
	omb_buf_free(&data);
	data = prepared_data(all, many, 12);
	is_u64(prepared_xid(0xD110, 0xb0, data.data, data.len), 4711,
		   "long lists");
	omb_set_u32(data.data + 20, 0xffffffff);
	is_u64(prepared_xid(0xD110, 0xb0, data.data, data.len), 0,
		   "a list longer than the record");
	omb_buf_free(&data);
	data = prepared_data((1U << 4) | (1U << 1), too_many, 12);
	is_u64(prepared_xid(0xD110, 0xb0, data.data, data.len), 0,
		   "not known in a record larger than is kept");
	omb_buf_free(&data);
}

static void
damaged_wal_is_harmless(void)
{
	omb_buf data = read_data("wal-0-3896000");
	omb_buf point = read_data("wal-0-3F10000");
	uint8_t *copy = omb_malloc(2 * PAGE);
	found f = { 0 };
	uint32_t state = 12345;
	uint64_t end;
	int i, j;

	for (i = 0; i < 3000; i++)
	{
		memcpy(copy, data.data, 2 * PAGE);
		if (i & 1)
			memcpy(copy + PAGE, point.data, PAGE);
		for (j = 0; j < 1 + i % 8; j++)
		{
			state = state * 1103515245 + 12345;
			copy[(state >> 8) % (2 * PAGE)] = (uint8_t) state;
			/* headers of pages oftener */
			copy[(state >> 12) % 40 + (state & 1 ? PAGE : 0)] ^= 1;
		}
		(void) scan(copy, 2 * PAGE, 0x3896000, 1 + state % (2 * PAGE), &f,
					&end);
	}
	ok(true, "random changes");
	free(copy);
	omb_buf_free(&f.text);
	omb_buf_free(&data);
	omb_buf_free(&point);
}

/* ---- headers ---- */

static omb_status
check(const uint8_t *bytes, size_t len, const char *name, uint64_t size,
	  uint64_t identifier, omb_error *err)
{
	omb_error_clear(err);
	return omb_wal_header_check(bytes, len, name, size, identifier, err);
}

static void
a_segment_must_fit_its_name(void)
{
	const char *name = "00000001000000000000004A";
	const uint64_t id = UINT64_C(7710503636228918483);
	omb_buf page = read_data("wal-0-4A00000");
	omb_error err = OMB_ERROR_INIT;
	uint64_t identifier = omb_get_u64(page.data + 24);
	size_t len;
	bool good = true;

	ok(identifier > id / 2, "the system identifier of a server");
	ok(check(page.data, PAGE, name, SEGMENT, identifier, &err) == OMB_OK,
	   "the right one is accepted");
	ok(check(page.data, PAGE, "00000001000000000000004A.partial", SEGMENT,
			 identifier, &err) == OMB_OK,
	   "so is a partial one");
	ok(check(page.data, PAGE, "00000009000000000000004A", SEGMENT, identifier,
			 &err) == OMB_OK,
	   "the first of a timeline begins with its parent's");
	ok(check(page.data, PAGE, name, SEGMENT, id, &err) == OMB_REFUSED,
	   "another cluster's: %s", err.message);
	ok(check(page.data, PAGE, name, 2 * SEGMENT, identifier, &err) ==
		   OMB_DAMAGED,
	   "another size: %s", err.message);
	ok(check(page.data, PAGE, "00000001000000000000004B", SEGMENT, identifier,
			 &err) == OMB_DAMAGED,
	   "another place: %s", err.message);
	ok(check(page.data, PAGE, "00000000000000000000004A", SEGMENT, identifier,
			 &err) == OMB_DAMAGED,
	   "a later timeline: %s", err.message);
	ok(check(page.data, PAGE, "00000002.history", SEGMENT, identifier, &err) ==
		   OMB_DAMAGED,
	   "not the name of a segment: %s", err.message);
	omb_set_u64(page.data + 8, UINT64_C(1) << 32);
	ok(check(page.data, PAGE, "000000010000000000001000", SEGMENT, identifier,
			 &err) == OMB_DAMAGED,
	   "a segment number that a log does not have: %s", err.message);
	ok(check(page.data, PAGE, "000000010000000100000000", SEGMENT, identifier,
			 &err) == OMB_OK,
	   "the first segment of the next log");
	for (len = 0; len < OMB_WAL_HEADER_SIZE; len++)
		good = good && check(page.data, len, name, SEGMENT, identifier,
							 &err) == OMB_DAMAGED;
	ok(good, "cut: %s", err.message);
	page.data[36] = 1;
	ok(check(page.data, PAGE, "000000010000000100000000", SEGMENT, identifier,
			 &err) == OMB_UNSUPPORTED,
	   "another page size: %s", err.message);
	page.data[2] = 0;
	ok(check(page.data, PAGE, name, SEGMENT, identifier, &err) == OMB_DAMAGED,
	   "not the first page of a segment: %s", err.message);
	memset(page.data, 0, PAGE);
	ok(check(page.data, PAGE, name, SEGMENT, identifier, &err) == OMB_DAMAGED,
	   "zeros: %s", err.message);
	omb_buf_free(&page);
}

int
main(void)
{
	pages_of_a_server_give_what_pg_waldump_shows();
	a_switch_at_the_end_of_a_page_does_not_end_the_wal();
	records_across_pages_and_segments();
	an_unfinished_record_is_skipped_where_the_server_began_anew();
	the_wal_ends_where_the_server_would_end_it();
	a_jump_begins_anew();
	the_xid_of_a_prepared_transaction_is_behind_its_lists();
	damaged_wal_is_harmless();
	a_segment_must_fit_its_name();
	return tap_done();
}
