/*
 * copy.c: the workers of a backup.
 *
 * A span is handled in pieces of the size of a blob. Of a piece that the
 * parent has, pages are compared by their fingerprints, or with the parent's
 * own bytes where fingerprints are not known. What is the same stays where it
 * is; changed pages of the whole span share one blob; a piece with many
 * changes is stored whole, so that a restore stays sequential.
 *
 * A page is read while the server may be writing it. With checksums a torn
 * page shows, and is read again: the server's write of 8 kB is over in far
 * less than the pauses below. A page written after the backup began has its
 * LSN behind the start and is replaced by WAL replay whatever it holds. What
 * is still wrong after all attempts is damage, stored as it is and reported.
 */
#include "task/backup/copy.h"

#include "base/file.h"
#include "codec/crc32c.h"
#include "pgfmt/page.h"
#include "task/backup/copybatch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REREADS 8
/* A piece with more extents than this is stored whole. */
#define PIECE_EXTENTS_MAX 8
/* Stands for the pack of the patch in hand until that is stored. */
#define PATCH_PACK 0x7fffffffU

#define BLOCK OMB_FINGERPRINT_BLOCK

/* Read the page again until it is whole; false when it stays wrong. */
static bool
read_page_again(int fd, uint8_t *page, off_t offset, uint32_t block,
				uint64_t start_lsn)
{
	int attempt;

	for (attempt = 0; attempt < REREADS; attempt++)
	{
		/* 0.1 ms, then 0.4, 1.6, 6.4 and at most 25.6 */
		struct timespec pause = { 0,
								  100000L << 2 * (attempt < 4 ? attempt : 4) };

		(void) nanosleep(&pause, NULL);
		/* a file that was cut meanwhile needs the page no more */
		if (omb_pread_full(fd, page, OMB_PAGE_SIZE, offset) != OMB_PAGE_SIZE)
			return true;
		if (omb_page_check(page, block, start_lsn) != OMB_PAGE_BAD)
			return true;
	}
	return false;
}

void
omb_copy_check_pages(omb_copy_unit *unit, const omb_copy_context *context,
					 int item, int fd, uint8_t *data, size_t len,
					 uint64_t offset)
{
	size_t at;

	for (at = 0; at + OMB_PAGE_SIZE <= len; at += OMB_PAGE_SIZE)
	{
		uint32_t block = unit->item[item].first_block +
						 (uint32_t) ((offset + at) / OMB_PAGE_SIZE);
		omb_copy_damage *damage;

		if (omb_page_check(data + at, block, context->start_lsn) !=
				OMB_PAGE_BAD ||
			read_page_again(fd, data + at, (off_t) (offset + at), block,
							context->start_lsn))
			continue;
		if (unit->damaged_count == unit->damaged_cap)
		{
			unit->damaged_cap = unit->damaged_cap ? 2 * unit->damaged_cap : 16;
			unit->damaged = omb_realloc(
				unit->damaged, unit->damaged_cap * sizeof(omb_copy_damage));
		}
		damage = &unit->damaged[unit->damaged_count++];
		damage->item = item;
		damage->block = block;
	}
}

/* ---- storing ---- */

omb_status
omb_copy_store(omb_copy_unit *unit, const omb_copy_context *context,
			   omb_copy_worker *worker, const uint8_t *data, size_t len,
			   const uint64_t *fingerprint, omb_extent *extent)
{
	uint8_t id[OMB_CONTENT_ID_SIZE];

	memset(extent, 0, sizeof(*extent));
	extent->length = len;
	extent->is_zero = omb_is_zero(data, len);
	if (len == 0 || extent->is_zero)
		return OMB_OK;
	omb_content_id(context->fingerprinter, fingerprint,
				   omb_fingerprint_count(len), id);
	if (omb_leftovers_find(context->leftovers, worker->coder, id, len,
						   &extent->blob))
		return OMB_OK;
	if (omb_pack_add_known(worker->writer, data, len, id, &extent->blob,
						   &unit->error) == OMB_OK)
		unit->stored += extent->blob.stored;
	return unit->error.status;
}

/* ---- spans of large files ---- */

/* A span in the work. */
typedef struct span
{
	omb_copy_unit *unit;
	const omb_copy_context *context;
	omb_copy_worker *worker;
	size_t patch_len;
	uint64_t patch_fingerprint[OMB_FINGERPRINT_BLOCKS];
	size_t patch_first; /* the first extent that may be of the patch */
	size_t old_at;		/* where old extents were looked for last, */
	uint64_t old_pos;	/* and where in the span that one begins */
} span;

/*
 * The part of the parent's extents that covers the span from "from", at most
 * to "to". False when there is none or its pack is missing.
 */
static bool
slice(span *s, uint64_t from, uint64_t to, omb_extent *out)
{
	const omb_copy_unit *unit = s->unit;

	if (from < s->old_pos)
	{
		s->old_at = 0;
		s->old_pos = 0;
	}
	while (s->old_at < unit->old_count &&
		   s->old_pos + unit->old[s->old_at].length <= from)
		s->old_pos += unit->old[s->old_at++].length;
	if (s->old_at == unit->old_count)
		return false;
	*out = unit->old[s->old_at];
	if (!out->is_zero)
		out->start += (uint32_t) (from - s->old_pos);
	out->length -= from - s->old_pos;
	if (out->length > to - from)
		out->length = to - from;
	return out->is_zero || out->blob.pack != OMB_COPY_LOST;
}

/* Read what the parent has from "from" to "to" into the worker's memory. */
static bool
read_old(span *s, uint64_t from, uint64_t to)
{
	omb_error ignored = OMB_ERROR_INIT;
	uint8_t *out = s->worker->old;
	omb_extent extent;

	for (; from < to; from += extent.length)
	{
		const uint8_t *plain;

		if (!slice(s, from, to, &extent))
			return false;
		if (extent.is_zero)
			memset(out, 0, (size_t) extent.length);
		else
		{
			const omb_pack_id *pack = omb_parent_pack(
				s->context->parent, extent.blob.pack & ~OMB_COPY_OLD);

			if (omb_blob_reader_get(s->worker->reader, pack->sha256,
									&extent.blob, &plain, &ignored) != OMB_OK)
				return false;
			memcpy(out, plain + extent.start, (size_t) extent.length);
		}
		out += extent.length;
	}
	return true;
}

/*
 * Which blocks of a piece differ from the parent's? False when all must be
 * taken to differ.
 */
static bool
find_changes(span *s, size_t at, size_t len, bool *changed)
{
	const omb_copy_unit *unit = s->unit;
	size_t first = at / BLOCK;
	size_t count = omb_fingerprint_count(len);
	size_t covered =
		unit->old_size > at ?
			(size_t) (unit->old_size - at < len ? unit->old_size - at : len) :
			0;
	bool known = first + omb_fingerprint_count(covered) <= unit->old_known;
	size_t b;

	if (covered == 0 || (!known && !read_old(s, at, at + covered)))
		return false;
	for (b = 0; b < count; b++)
	{
		size_t begin = b * BLOCK;
		size_t size = len - begin < BLOCK ? len - begin : BLOCK;

		if (begin + size > covered)
			changed[b] = true;
		else if (known)
			changed[b] = unit->fingerprint[first + b] !=
						 unit->old_fingerprint[first + b];
		else
			changed[b] = memcmp(s->worker->buffer + begin,
								s->worker->old + begin, size) != 0;
	}
	return true;
}

/* Store the patch and tell its extents where it is. */
static omb_status
flush_patch(span *s)
{
	omb_copy_unit *unit = s->unit;
	omb_extent stored;
	size_t i;

	if (s->patch_len == 0)
		return OMB_OK;
	if (omb_copy_store(unit, s->context, s->worker, s->worker->patch,
					   s->patch_len, s->patch_fingerprint, &stored) != OMB_OK)
		return unit->error.status;
	for (i = s->patch_first; i < unit->part.extent_count; i++)
	{
		omb_extent *extent = &unit->part.extent[i];

		if (extent->is_zero || extent->blob.pack != PATCH_PACK)
			continue;
		extent->blob = stored.blob;
		if (stored.is_zero)
		{
			extent->is_zero = true;
			extent->start = 0;
		}
	}
	s->patch_first = unit->part.extent_count;
	s->patch_len = 0;
	return OMB_OK;
}

static void
add_to_patch(span *s, size_t at, size_t begin, size_t size)
{
	omb_extent extent;

	memset(&extent, 0, sizeof(extent));
	extent.length = size;
	extent.is_zero = omb_is_zero(s->worker->buffer + begin, size);
	if (!extent.is_zero)
	{
		extent.blob.pack = PATCH_PACK;
		extent.start = (uint32_t) s->patch_len;
		memcpy(s->worker->patch + s->patch_len, s->worker->buffer + begin,
			   size);
		s->patch_fingerprint[s->patch_len / BLOCK] =
			s->unit->fingerprint[(at + begin) / BLOCK];
		s->patch_len += size;
	}
	omb_entry_add_extent(&s->unit->part, &extent);
}

/* Would this piece, patched, be in more parts than is good? */
static bool
is_scattered(span *s, size_t at, size_t len, const bool *changed)
{
	size_t count = omb_fingerprint_count(len);
	size_t changes = 0, extents = 0;
	size_t b;

	for (b = 0; b < count; b++)
	{
		changes += changed[b] ? 1 : 0;
		if (changed[b] && (b == 0 || !changed[b - 1]))
			extents++;
	}
	for (b = 0; b < count; b++)
	{
		uint64_t from = at + b * BLOCK;
		uint64_t to = from + BLOCK < at + len ? from + BLOCK : at + len;
		omb_extent extent;
		uint64_t begins;

		if (changed[b])
			continue;
		for (; from < to; from += extent.length)
		{
			if (!slice(s, from, to, &extent))
				return true;
			begins = s->old_pos;
			/* a part of its own, unless the block before is of it too */
			if (b == 0 || changed[b - 1] || begins >= at + b * BLOCK)
				extents++;
		}
	}
	return 2 * changes >= count || extents > PIECE_EXTENTS_MAX;
}

/* A piece of which only some blocks, or none, changed. */
static omb_status
patch_piece(span *s, size_t at, size_t len, const bool *changed)
{
	size_t count = omb_fingerprint_count(len);
	size_t changes = 0;
	size_t b;

	for (b = 0; b < count; b++)
		changes += changed[b] ? 1 : 0;
	if (s->patch_len + changes * BLOCK > OMB_BLOB_MAX &&
		flush_patch(s) != OMB_OK)
		return s->unit->error.status;
	/* a block of less than a page is the last of its file, and of a patch */
	for (b = 0; b < count; b++)
	{
		size_t begin = b * BLOCK;
		size_t size = len - begin < BLOCK ? len - begin : BLOCK;
		uint64_t from = at + begin;
		uint64_t to = from + size;
		omb_extent extent;

		if (changed[b])
			add_to_patch(s, at, begin, size);
		for (; !changed[b] && from < to; from += extent.length)
		{
			(void) slice(s, from, to, &extent);
			omb_entry_add_extent(&s->unit->part, &extent);
		}
	}
	return OMB_OK;
}

/* What was read of a piece is in the worker's buffer. */
static omb_status
handle_piece(span *s, size_t at, size_t len)
{
	omb_copy_unit *unit = s->unit;
	bool changed[OMB_FINGERPRINT_BLOCKS];
	omb_extent extent;

	(void) omb_fingerprint(s->context->fingerprinter, s->worker->buffer, len,
						   unit->fingerprint + at / BLOCK);
	if (unit->old_count > 0 && find_changes(s, at, len, changed) &&
		!is_scattered(s, at, len, changed))
		return patch_piece(s, at, len, changed);
	if (omb_copy_store(unit, s->context, s->worker, s->worker->buffer, len,
					   unit->fingerprint + at / BLOCK, &extent) == OMB_OK)
		omb_entry_add_extent(&unit->part, &extent);
	return unit->error.status;
}

static void
copy_span(omb_copy_unit *unit, const omb_copy_context *context,
		  omb_copy_worker *worker)
{
	span s;
	size_t part = 0;
	size_t n = 0;

	memset(&s, 0, sizeof(s));
	s.unit = unit;
	s.context = context;
	s.worker = worker;
	/* a short piece is the end of a file that was cut meanwhile */
	for (; unit->got < unit->wanted && n == part; unit->got += n)
	{
		size_t left = unit->wanted - unit->got;
		uint64_t offset = unit->offset + unit->got;
		ssize_t rc;

		part = left < OMB_BLOB_MAX ? left : OMB_BLOB_MAX;
		omb_throttle_wait(context->throttle, part);
		rc = omb_pread_full(unit->fd, worker->buffer, part, (off_t) offset);
		if (rc < 0)
		{
			if (unit->is_set)
				unit->item[0].unreadable = errno;
			else
				(void) omb_error_set_errno(&unit->error, errno,
										   "could not read file \"%s\"",
										   unit->item[0].source);
			return;
		}
		n = (size_t) rc;
		if (n == 0)
			break;
		if (context->verify_pages && unit->item[0].is_relation)
			omb_copy_check_pages(unit, context, 0, unit->fd, worker->buffer, n,
								 offset);
		unit->crc32c = omb_crc32c_combine(unit->crc32c,
										  omb_crc32c(0, worker->buffer, n), n);
		if (handle_piece(&s, unit->got, n) != OMB_OK)
			return;
	}
	unit->read = unit->got;
	(void) flush_patch(&s);
}

/* ---- units ---- */

void
omb_copy_process(void *unit_arg, int number, void *arg)
{
	omb_copy_unit *unit = unit_arg;
	const omb_copy_context *context = arg;
	omb_copy_worker *worker = context->worker[number];

	omb_error_clear(&unit->error);
	unit->got = 0;
	unit->crc32c = 0;
	unit->read = 0;
	unit->stored = 0;
	unit->damaged_count = 0;
	unit->part.extent_count = 0;
	if (unit->fd >= 0)
		copy_span(unit, context, worker);
	else
	{
		omb_throttle_wait(context->throttle, unit->planned);
		omb_copy_batch(unit, context, worker);
	}
}

void
omb_copy_item_clear(omb_copy_item *item)
{
	omb_entry_clear(&item->entry);
	free(item->source);
	free(item->fingerprint);
	free(item->old);
	if (item->kept != NULL)
		omb_entry_clear(item->kept);
	free(item->kept);
	memset(item, 0, sizeof(*item));
}

void
omb_copy_unit_clear(omb_copy_unit *unit)
{
	int i;

	for (i = 0; i < OMB_COPY_BATCH; i++)
		omb_copy_item_clear(&unit->item[i]);
	omb_entry_clear(&unit->part);
	free(unit->old);
	free(unit->damaged);
}
