/*
 * fuzz_manifest.c: entries and tail of a manifest, facts of a WAL file.
 */
#include "repo/manifest.h"
#include "repo/walobject.h"

#include <stdlib.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_extent_state *state = omb_extent_state_new();
	omb_backup_info info;
	omb_wal_facts facts;
	omb_pack_id *pack;
	uint32_t count;
	omb_error err = OMB_ERROR_INIT;
	omb_entry entry;
	size_t at;

	/* the same bytes as records of different length, one after the other */
	for (at = 0; at + 1 < size; at += 1 + data[at])
	{
		size_t len = size - at - 1;

		if (data[at] < len)
			len = data[at];
		if (omb_entry_decode(data + at + 1, len, 100, state, &entry))
			omb_entry_clear(&entry);
	}
	if (omb_entry_decode(data, size, 100, state, &entry))
		omb_entry_clear(&entry);
	omb_extent_state_free(state);
	(void) omb_manifest_parse_tail(data, size, &info, &pack, &count, &err);
	omb_backup_info_clear(&info);
	free(pack);
	omb_error_clear(&err);
	(void) omb_wal_facts_read(data, size, &facts, &err);
	return 0;
}
