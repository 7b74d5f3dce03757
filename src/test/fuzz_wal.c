/*
 * fuzz_wal.c: WAL segments, timeline histories, pg_control, names of files.
 */
#include "base/buffer.h"
#include "pgfmt/control.h"
#include "pgfmt/page.h"
#include "pgfmt/relfile.h"
#include "pgfmt/timeline.h"
#include "pgfmt/walname.h"
#include "pgfmt/walrecord.h"
#include "pgfmt/walsegment.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
ignore(const omb_wal_event *event, void *arg)
{
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static omb_timeline_path path;
	omb_error err = OMB_ERROR_INIT;
	omb_wal_scanner *scanner;
	omb_control control;
	omb_wal_name name;
	omb_relfile relfile;
	char *text;
	uint64_t lsn = size >= 16 ? omb_get_u64(data + 8) & ~UINT64_C(8191) : 0;

	(void) omb_wal_header_check(data, size, "000000010000000000000001",
								16777216, 1, &err);
	omb_error_clear(&err);
	scanner = omb_wal_scanner_new(16777216, ignore, NULL);
	(void) omb_wal_scanner_feed(scanner, lsn, data, size / 8192 * 8192);
	omb_wal_scanner_free(scanner);
	(void) omb_timeline_parse((const char *) data, size, 5, &path, &err);
	omb_error_clear(&err);
	(void) omb_control_parse(data, size, &control, &err);
	if (size >= OMB_PAGE_SIZE)
		(void) omb_page_check(data, 0, UINT64_MAX);
	text = omb_malloc(size + 1);
	memcpy(text, data, size);
	text[size] = '\0';
	(void) omb_wal_name_parse(text, &name);
	(void) omb_relfile_parse(text, &relfile);
	free(text);
	return 0;
}
