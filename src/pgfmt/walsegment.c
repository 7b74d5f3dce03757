/*
 * walsegment.c: checking the header of a WAL segment.
 */
#include "pgfmt/walsegment.h"

#include "base/buffer.h"
#include "pgfmt/lsn.h"
#include "pgfmt/walname.h"

#include <inttypes.h>

#define LONG_HEADER 0x0002
#define PAGE_SIZE_EXPECTED 8192

omb_status
omb_wal_header_check(const uint8_t *bytes, size_t len, const char *name,
					 uint64_t segment_size, uint64_t system_identifier,
					 omb_error *err)
{
	omb_wal_name parsed;
	uint64_t address, identifier, size;
	char got[OMB_LSN_TEXT];
	char wanted[OMB_LSN_TEXT];

	(void) omb_wal_name_parse(name, &parsed);
	if ((parsed.kind != OMB_WAL_SEGMENT && parsed.kind != OMB_WAL_PARTIAL) ||
		parsed.seg >= UINT64_C(0x100000000) / segment_size)
		return omb_error_set(err, OMB_DAMAGED,
							 "\"%.64s\" is not the name of a WAL segment of "
							 "%" PRIu64 " bytes",
							 name, segment_size);
	if (len < OMB_WAL_HEADER_SIZE || omb_get_u16(bytes) >> 8 != 0xD1 ||
		(omb_get_u16(bytes + 2) & LONG_HEADER) == 0)
		return omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" is not a WAL segment", name);
	identifier = omb_get_u64(bytes + 24);
	if (identifier != system_identifier)
		return omb_error_set(err, OMB_REFUSED,
							 "WAL segment \"%s\" belongs to another cluster: "
							 "its system identifier is %" PRIu64
							 " instead of %" PRIu64,
							 name, identifier, system_identifier);
	size = omb_get_u32(bytes + 32);
	if (size != segment_size)
		return omb_error_set(err, OMB_DAMAGED,
							 "WAL segment \"%s\" says that segments have "
							 "%" PRIu64 " bytes instead of %" PRIu64,
							 name, size, segment_size);
	if (omb_get_u32(bytes + 36) != PAGE_SIZE_EXPECTED)
		return omb_error_set(
			err, OMB_UNSUPPORTED,
			"WAL segment \"%s\" has pages of %" PRIu32 " bytes instead of %d",
			name, omb_get_u32(bytes + 36), PAGE_SIZE_EXPECTED);
	address = omb_get_u64(bytes + 8);
	if (address != omb_wal_segno(&parsed, segment_size) * segment_size)
		return omb_error_set(
			err, OMB_DAMAGED,
			"WAL segment \"%s\" holds the WAL of %s instead of %s", name,
			omb_lsn_format(address, got),
			omb_lsn_format(omb_wal_segno(&parsed, segment_size) * segment_size,
						   wanted));
	if (omb_get_u32(bytes + 4) > parsed.timeline)
		return omb_error_set(err, OMB_DAMAGED,
							 "WAL segment \"%s\" holds the later timeline "
							 "%" PRIu32,
							 name, omb_get_u32(bytes + 4));
	return OMB_OK;
}
