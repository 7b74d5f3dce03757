/*
 * relmap.c: the file pg_filenode.map.
 */
#include "pgfmt/relmap.h"

#include "base/buffer.h"
#include "codec/crc32c.h"

#define MAGIC 0x592717
#define FIRST_MAPPING 8

omb_status
omb_relmap_find(const uint8_t *bytes, size_t len, uint32_t relation,
				uint32_t *relnumber, omb_error *err)
{
	static const size_t crc_places[] = { 504, 520 };
	size_t crc_at = 0;
	uint32_t count;
	size_t i;

	for (i = 0; i < sizeof(crc_places) / sizeof(crc_places[0]); i++)
	{
		if (len >= crc_places[i] + 4 && omb_crc32c(0, bytes, crc_places[i]) ==
											omb_get_u32(bytes + crc_places[i]))
			crc_at = crc_places[i];
	}
	if (crc_at == 0)
		return omb_error_set(err, OMB_DAMAGED,
							 "file \"pg_filenode.map\" has a wrong checksum");
	count = omb_get_u32(bytes + 4);
	if (omb_get_u32(bytes) != MAGIC || count > (crc_at - FIRST_MAPPING) / 8)
		return omb_error_set(err, OMB_UNSUPPORTED,
							 "file \"pg_filenode.map\" has an unknown format");
	for (i = 0; i < count; i++)
	{
		const uint8_t *mapping = bytes + FIRST_MAPPING + 8 * i;

		if (omb_get_u32(mapping) == relation)
		{
			*relnumber = omb_get_u32(mapping + 4);
			return OMB_OK;
		}
	}
	return omb_error_set(err, OMB_NOT_FOUND,
						 "file \"pg_filenode.map\" does not name relation %u",
						 relation);
}
