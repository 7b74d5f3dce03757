/*
 * copy.c: the workers of a backup.
 *
 * A page is read while the server may be writing it. With checksums a torn
 * page shows, and is read again: the server's write of 8 kB is over in far
 * less than the pauses below. A page written after the backup began has its
 * LSN behind the start and is replaced by WAL replay whatever it holds. What
 * is still wrong after all attempts is damage, stored as it is and reported.
 */
#include "task/copy.h"

#include "base/crc32c.h"
#include "base/file.h"
#include "pgfmt/page.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REREADS 8

static uint64_t
nanoseconds(const struct timespec *time)
{
	return time->tv_sec < 0 ?
			   0 :
			   (uint64_t) time->tv_sec * 1000000000 + (uint64_t) time->tv_nsec;
}

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

/* Check the pages of what was read from an offset of a relation file. */
static void
check_pages(omb_copy_unit *unit, const omb_copy_context *context, int item,
			int fd, uint8_t *data, size_t len, uint64_t offset)
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
		if (unit->damaged_count < OMB_COPY_DAMAGED_MAX)
		{
			damage = &unit->damaged[unit->damaged_count++];
			damage->item = item;
			damage->block = block;
		}
	}
}

/* Store bytes of the buffer as a blob, or as zeros. */
static omb_status
store(omb_copy_unit *unit, omb_pack_writer *writer, size_t len,
	  omb_extent *extent)
{
	memset(extent, 0, sizeof(*extent));
	extent->length = len;
	extent->is_zero = omb_is_zero(unit->buffer, len);
	if (len == 0 || extent->is_zero)
		return OMB_OK;
	if (omb_pack_add(writer, unit->buffer, len, &extent->blob, &unit->error) ==
		OMB_OK)
		unit->stored += extent->blob.stored;
	return unit->error.status;
}

static void
copy_piece(omb_copy_unit *unit, const omb_copy_context *context,
		   omb_pack_writer *writer)
{
	ssize_t n = omb_pread_full(unit->fd, unit->buffer, unit->wanted,
							   (off_t) unit->offset);

	if (n < 0)
	{
		(void) omb_error_set_errno(&unit->error, errno,
								   "could not read file \"%s\"",
								   unit->item[0].source);
		return;
	}
	unit->got = (size_t) n;
	unit->read = unit->got;
	if (context->verify_pages && unit->item[0].is_relation)
		check_pages(unit, context, 0, unit->fd, unit->buffer, unit->got,
					unit->offset);
	unit->crc32c = omb_crc32c(0, unit->buffer, unit->got);
	(void) store(unit, writer, unit->got, &unit->extent);
}

/* Read a small file behind what is in the buffer already. */
static void
read_small(omb_copy_unit *unit, const omb_copy_context *context, int number,
		   size_t used)
{
	omb_copy_item *item = &unit->item[number];
	uint8_t *data = unit->buffer + used;
	struct stat st;
	ssize_t n = 0;
	int fd = open(item->source, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
	{
		item->vanished = true;
		return;
	}
	if (fd < 0 || fstat(fd, &st) != 0 ||
		(n = omb_pread_full(fd, data, (size_t) item->entry.size, 0)) < 0)
	{
		(void) omb_error_set_errno(&unit->error, errno,
								   "could not read file \"%s\"", item->source);
		if (fd >= 0)
			(void) close(fd);
		return;
	}
	/* it may have shrunk; what it grew by is in the WAL */
	item->entry.size = (uint64_t) n;
	item->entry.mtime = nanoseconds(&st.st_mtim);
	item->entry.ctime = nanoseconds(&st.st_ctim);
	item->entry.inode = (uint64_t) st.st_ino;
	if (context->verify_pages && item->is_relation)
		check_pages(unit, context, number, fd, data, (size_t) n, 0);
	item->entry.crc32c = omb_crc32c(0, data, (size_t) n);
	unit->read += (uint64_t) n;
	(void) close(fd);
}

static void
copy_batch(omb_copy_unit *unit, const omb_copy_context *context,
		   omb_pack_writer *writer)
{
	size_t used = 0;
	omb_extent shared;
	int i;

	for (i = 0; i < unit->count; i++)
	{
		omb_copy_item *item = &unit->item[i];

		if (item->entry.type != OMB_ENTRY_FILE)
			continue;
		if (item->entry.size > 0)
			read_small(unit, context, i, used);
		if (unit->error.status != OMB_OK)
			return;
		if (!item->vanished)
			used += (size_t) item->entry.size;
	}
	if (store(unit, writer, used, &shared) != OMB_OK)
		return;
	used = 0;
	for (i = 0; i < unit->count; i++)
	{
		omb_copy_item *item = &unit->item[i];
		omb_extent extent = shared;

		if (item->entry.type != OMB_ENTRY_FILE || item->vanished)
			continue;
		extent.start = extent.is_zero ? 0 : (uint32_t) used;
		extent.length = item->entry.size;
		omb_entry_add_extent(&item->entry, &extent);
		used += (size_t) item->entry.size;
	}
}

void
omb_copy_process(void *arg, int worker, void *context_arg)
{
	omb_copy_unit *unit = arg;
	const omb_copy_context *context = context_arg;

	omb_error_clear(&unit->error);
	unit->read = 0;
	unit->stored = 0;
	unit->damaged_count = 0;
	if (unit->fd >= 0)
	{
		omb_throttle_wait(context->throttle, unit->wanted);
		copy_piece(unit, context, context->writer[worker]);
	}
	else
	{
		omb_throttle_wait(context->throttle, unit->planned);
		copy_batch(unit, context, context->writer[worker]);
	}
}
