/*
 * control.c: the file global/pg_control.
 */
#include "pgfmt/control.h"

#include "base/buffer.h"
#include "codec/crc32c.h"

/* The content fits a disk sector, so that it is written at once. */
#define CONTENT_MAX 512
#define CONTENT_MIN 128
#define CHECKPOINT_OFFSET 32

/*
 * No WAL record is there: records begin at multiples of 8, and no cluster has
 * the segment of LSN 0.
 */
#define INVALID_CHECKPOINT UINT64_C(0xDEAD)

omb_status
omb_control_parse(const uint8_t *bytes, size_t len, omb_control *out,
				  omb_error *err)
{
	size_t at;

	for (at = CONTENT_MIN; at + 4 <= len && at + 4 <= CONTENT_MAX; at += 4)
	{
		if (omb_crc32c(0, bytes, at) != omb_get_u32(bytes + at))
			continue;
		out->system_identifier = omb_get_u64(bytes);
		out->control_version = omb_get_u32(bytes + 8);
		out->catalog_version = omb_get_u32(bytes + 12);
		out->state = omb_get_u32(bytes + 16);
		out->checkpoint_lsn = omb_get_u64(bytes + CHECKPOINT_OFFSET);
		out->crc_offset = at;
		return OMB_OK;
	}
	return omb_error_set(err, OMB_DAMAGED,
						 "file \"pg_control\" has a wrong checksum");
}

omb_status
omb_control_invalidate(uint8_t *bytes, size_t len, omb_error *err)
{
	omb_control control;

	if (omb_control_parse(bytes, len, &control, err) != OMB_OK)
		return err->status;
	omb_set_u64(bytes + CHECKPOINT_OFFSET, INVALID_CHECKPOINT);
	omb_set_u32(bytes + control.crc_offset,
				omb_crc32c(0, bytes, control.crc_offset));
	return OMB_OK;
}
