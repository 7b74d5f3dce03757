/*
 * placeunit.c: a unit of placing files: what workers do with it, and writing.
 */
#include "task/restore/placeunit.h"

#include "base/file.h"
#include "codec/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Start writing back this much early, so that the last sync is short. */
#define WRITEBACK_STEP (4 * 1024 * 1024)
/* What writing past the page cache needs, on any disk. */
#define DIRECT_ALIGN 4096

/* ---- workers ---- */

/* CRC of what an extent is, whose blob is in memory. */
static uint32_t
crc_of_extent(const omb_extent *extent, const uint8_t *plain)
{
	if (extent->is_zero)
		return omb_crc32c_zeros(extent->length);
	return omb_crc32c(0, plain + extent->start, (size_t) extent->length);
}

/* The CRC of a part of a file as it is now. */
static void
check_local(omb_place_unit *u)
{
	size_t len = (size_t) u->length;
	ssize_t got = omb_pread_full(u->fd, u->plain, len, (off_t) u->offset);

	if (got < 0)
		(void) omb_error_set_errno(
			&u->error, errno, "could not read file \"%s\"", u->part[0].path);
	/* one that has become shorter is another */
	if (got == (ssize_t) len)
		u->part[0].crc32c = omb_crc32c(0, u->plain, len);
}

/* Put the bytes of a piece together. */
static omb_status
assemble(const omb_place_context *context, omb_blob_reader *reader,
		 omb_place_unit *u)
{
	uint8_t *out = u->plain;
	size_t i;

	for (i = 0; i < u->extent_count; i++)
	{
		const omb_extent *extent = &u->extent[i];
		const uint8_t *sha256 =
			context->manifest->pack[extent->blob.pack].sha256;
		const uint8_t *plain;

		if (extent->is_zero)
			memset(out, 0, (size_t) extent->length);
		else if (extent->start == 0 && extent->length == extent->blob.raw)
		{
			/* the usual case: a whole blob, which nobody else needs */
			if (omb_blob_reader_read(reader, sha256, &extent->blob, out,
									 &u->error) != OMB_OK)
				return u->error.status;
		}
		else
		{
			if (omb_blob_reader_get(reader, sha256, &extent->blob, &plain,
									&u->error) != OMB_OK)
				return u->error.status;
			memcpy(out, plain + extent->start, (size_t) extent->length);
		}
		/* while it is in the processor's cache */
		u->part[0].crc32c =
			omb_crc32c(u->part[0].crc32c, out, (size_t) extent->length);
		out += extent->length;
	}
	return OMB_OK;
}

static void
process_piece(const omb_place_context *context, int worker, omb_place_unit *u)
{
	u->part[0].crc32c = 0;
	if (u->is_zero)
		u->part[0].crc32c = omb_crc32c_zeros(u->length);
	else if (assemble(context, context->reader[worker], u) != OMB_OK)
		return;
	if (u->existing)
		(void) omb_patch_compare(
			u->fd, u->offset, u->is_zero ? NULL : u->plain, u->length,
			context->local[worker], &u->differ, &u->error);
}

void
omb_place_process(void *unit, int worker, void *arg)
{
	omb_place_unit *u = unit;
	const omb_place_context *context = arg;
	int i;

	omb_error_clear(&u->error);
	if (u->kind == OMB_PLACE_CHECK)
	{
		check_local(u);
		return;
	}
	if (u->kind == OMB_PLACE_PIECE)
		process_piece(context, worker, u);
	else if (u->has_blob)
		(void) omb_blob_reader_read(
			context->reader[worker],
			context->manifest->pack[u->blob.pack].sha256, &u->blob, u->plain,
			&u->error);
	if (u->error.status != OMB_OK)
		(void) omb_error_context(&u->error, "while restoring \"%s\"",
								 u->part[0].path);
	if (u->error.status != OMB_OK || u->kind == OMB_PLACE_PIECE)
		return;
	for (i = 0; i < u->count; i++)
	{
		const omb_entry *entry = &u->part[i].entry;

		u->part[i].crc32c = entry->extent_count > 0 ?
								crc_of_extent(&entry->extent[0], u->plain) :
								0;
	}
}

/* ---- writing ---- */

int
omb_place_open(const omb_place_context *context, const omb_entry *entry,
			   const char *path, bool *existing, omb_error *err)
{
	int fd;

	*existing = false;
	if (context->config->patch)
	{
		fd = omb_patch_open(entry, path, existing, err);
		if (fd >= 0 && *existing && ftruncate(fd, (off_t) entry->size) != 0)
		{
			(void) omb_error_set_errno(err, errno,
									   "could not truncate file \"%s\"", path);
			(void) close(fd);
			fd = -1;
		}
		return fd;
	}
	fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || (entry->mode != 0600 && fchmod(fd, entry->mode) != 0))
	{
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   path);
		if (fd >= 0)
			(void) close(fd);
		return -1;
	}
	return fd;
}

omb_status
omb_place_close(const omb_entry *entry, const char *path, int fd,
				omb_error *err)
{
	struct timespec times[2];

	times[0].tv_sec = times[1].tv_sec = (time_t) (entry->mtime / 1000000000);
	times[0].tv_nsec = times[1].tv_nsec = (long) (entry->mtime % 1000000000);
	/* a file system without times is no reason to fail */
	(void) futimens(fd, times);
	if (close(fd) != 0)
		return omb_error_set_errno(err, errno, "could not close file \"%s\"",
								   path);
	return OMB_OK;
}

void
omb_place_unit_init(omb_place_unit *u)
{
	void *plain;

	if (posix_memalign(&plain, DIRECT_ALIGN, OMB_PLACE_PIECE_MAX) != 0)
		/* ends the process with a message */
		plain = omb_malloc(SIZE_MAX / 2);
	u->plain = plain;
}

void
omb_place_unit_free(omb_place_unit *u)
{
	free(u->extent);
	free(u->plain);
}

bool
omb_place_set_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
}

static void
set_buffered(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		(void) fcntl(fd, F_SETFL, flags & ~O_DIRECT);
}

/* Write a piece of a new file. */
static int
write_new(const omb_place_unit *u)
{
	size_t len = (size_t) u->length;
	size_t direct = 0;

	if (u->is_direct && u->offset % DIRECT_ALIGN == 0)
	{
		direct = len / DIRECT_ALIGN * DIRECT_ALIGN;
		if (direct > 0 &&
			omb_pwrite_full(u->fd, u->plain, direct, (off_t) u->offset) != 0)
		{
			if (errno != EINVAL)
				return -1;
			direct = 0;
		}
	}
	if (direct == len)
		return 0;
	/* the end of a file; or the file system promised what it cannot do */
	set_buffered(u->fd);
	return omb_pwrite_full(u->fd, u->plain + direct, len - direct,
						   (off_t) (u->offset + direct));
}

omb_status
omb_place_write_piece(const omb_place_context *context,
					  const omb_place_unit *u, omb_error *err)
{
	uint64_t end = u->offset + u->length;
	uint64_t from = u->offset / WRITEBACK_STEP * WRITEBACK_STEP;
	int rc = 0;

	/* a new file was made at its full size: zeros stay a hole */
	if (u->is_zero)
	{
		if (u->existing && u->differ != 0)
			rc = omb_patch_zero(u->fd, u->offset, u->length);
	}
	else if (u->existing)
		rc = omb_patch_write(u->fd, u->offset, u->plain, (size_t) u->length,
							 u->differ, &context->result->bytes_written);
	else
	{
		rc = write_new(u);
		context->result->bytes_written += u->length;
	}
	if (rc != 0)
		return omb_error_set_errno(err, errno, "could not write file \"%s\"",
								   u->part[0].path);
	if (!u->is_direct && end / WRITEBACK_STEP != from / WRITEBACK_STEP)
		(void) sync_file_range(u->fd, (off_t) from, WRITEBACK_STEP,
							   SYNC_FILE_RANGE_WRITE);
	return OMB_OK;
}

omb_status
omb_place_write_small(const omb_place_context *context,
					  const omb_place_unit *u, const omb_place_part *p,
					  omb_error *err)
{
	const omb_entry *entry = &p->entry;
	const omb_extent *extent =
		entry->extent_count > 0 ? &entry->extent[0] : NULL;
	omb_patch_mask differ = UINT32_MAX;
	bool existing;
	int fd = omb_place_open(context, entry, p->path, &existing, err);

	if (fd < 0)
		return err->status;
	if (extent != NULL && extent->is_zero)
	{
		if ((existing && ftruncate(fd, 0) != 0) ||
			ftruncate(fd, (off_t) extent->length) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not extend file \"%s\"", p->path);
	}
	else if (extent != NULL)
	{
		const uint8_t *data = u->plain + extent->start;

		if (existing &&
			omb_patch_compare(fd, 0, data, extent->length, context->own,
							  &differ, err) != OMB_OK)
			(void) omb_error_context(err, "while restoring \"%s\"", p->path);
		else if (omb_patch_write(fd, 0, data, (size_t) extent->length, differ,
								 &context->result->bytes_written) != 0)
			(void) omb_error_set_errno(err, errno,
									   "could not write file \"%s\"", p->path);
	}
	if (err->status != OMB_OK)
	{
		(void) close(fd);
		return err->status;
	}
	return omb_place_close(entry, p->path, fd, err);
}
