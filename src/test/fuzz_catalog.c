/*
 * fuzz_catalog.c: pg_filenode.map and pages of pg_database.
 */
#include "base/buffer.h"
#include "codec/crc32c.h"
#include "pgfmt/heap.h"
#include "pgfmt/page.h"
#include "pgfmt/relmap.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use(uint32_t oid, const char *name, void *arg)
{
	if (strlen(name) > OMB_NAME_SIZE)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_error err = OMB_ERROR_INIT;
	uint32_t relnumber;
	uint8_t *copy = omb_malloc(OMB_PAGE_SIZE);

	(void) omb_relmap_find(data, size, OMB_DATABASE_RELATION, &relnumber,
						   &err);
	omb_error_clear(&err);
	/* a page of its own, so that reading past it is seen */
	memset(copy, 0, OMB_PAGE_SIZE);
	memcpy(copy, data, size < OMB_PAGE_SIZE ? size : OMB_PAGE_SIZE);
	omb_database_rows(copy, use, NULL);
	/* behind the checksum, which mutations never guess */
	omb_set_u32(copy + 504, omb_crc32c(0, copy, 504));
	(void) omb_relmap_find(copy, 512, OMB_DATABASE_RELATION, &relnumber, &err);
	free(copy);
	return 0;
}
