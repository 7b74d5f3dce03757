/*
 * placeread.c: the whole content of a small file, in memory.
 */
#include "task/restore/placeunit.h"

#include "codec/crc32c.h"

#include <string.h>

omb_status
omb_place_read_entry(omb_blob_reader *reader, const omb_manifest *manifest,
					 const omb_entry *entry, omb_buf *out, omb_error *err)
{
	const uint8_t *plain;
	size_t i;

	for (i = 0; i < entry->extent_count && err->status == OMB_OK; i++)
	{
		const omb_extent *extent = &entry->extent[i];

		if (extent->is_zero)
			memset(omb_buf_reserve(out, (size_t) extent->length), 0,
				   (size_t) extent->length);
		else if (omb_blob_reader_get(reader,
									 manifest->pack[extent->blob.pack].sha256,
									 &extent->blob, &plain, err) == OMB_OK)
			memcpy(omb_buf_reserve(out, (size_t) extent->length),
				   plain + extent->start, (size_t) extent->length);
		if (err->status == OMB_OK)
			out->len += (size_t) extent->length;
	}
	if (err->status == OMB_OK &&
		omb_crc32c(0, out->data, out->len) != entry->crc32c)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" does not have the checksum it had "
							 "when it was backed up",
							 entry->path);
	return err->status;
}

omb_status
omb_place_read(omb_repository *repo, const omb_manifest *manifest,
			   const omb_entry *entry, omb_buf *out, omb_error *err)
{
	omb_blob_reader *reader = omb_blob_reader_new(repo, 1);

	(void) omb_place_read_entry(reader, manifest, entry, out, err);
	omb_blob_reader_free(reader);
	return err->status;
}
