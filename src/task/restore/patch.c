/*
 * patch.c: making an existing file what a backup says, by writing only the
 * blocks that differ.
 */
#include "task/restore/patch.h"

#include "base/file.h"
#include "pgfmt/page.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
omb_patch_looks_same(const omb_entry *entry, const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
		   (st.st_mode & 07777) == entry->mode &&
		   (uint64_t) st.st_size == entry->size &&
		   (uint64_t) st.st_mtim.tv_sec * 1000000000 +
				   (uint64_t) st.st_mtim.tv_nsec ==
			   entry->mtime;
}

int
omb_patch_open(const omb_entry *entry, const char *path, bool *existing,
			   omb_error *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	*existing = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
				st.st_nlink == 1;
	if (!*existing)
	{
		if (fd >= 0)
			(void) close(fd);
		if (unlink(path) != 0 && errno != ENOENT)
		{
			(void) omb_error_set_errno(err, errno,
									   "could not remove file \"%s\"", path);
			return -1;
		}
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
				  0600);
	}
	if (fd < 0 || fchmod(fd, entry->mode) != 0)
	{
		(void) omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
		if (fd >= 0)
			(void) close(fd);
		return -1;
	}
	return fd;
}

/* Are these bytes of the file other than zeros? */
static int
has_data(int fd, uint64_t offset, uint64_t len, uint8_t *local, bool *found)
{
	*found = false;
	while (len > 0 && !*found)
	{
		size_t wanted = len < OMB_BLOB_MAX ? (size_t) len : OMB_BLOB_MAX;
		ssize_t got = omb_pread_full(fd, local, wanted, (off_t) offset);

		if (got < 0)
			return -1;
		*found = (size_t) got < wanted || !omb_is_zero(local, wanted);
		offset += wanted;
		len -= wanted;
	}
	return 0;
}

omb_status
omb_patch_compare(int fd, uint64_t offset, const uint8_t *data, uint64_t len,
				  uint8_t *local, omb_patch_mask *differ, omb_error *err)
{
	ssize_t got;
	size_t at;
	bool found;

	*differ = 0;
	if (data == NULL)
	{
		if (has_data(fd, offset, len, local, &found) != 0)
			return omb_error_set_errno(err, errno, "could not read file");
		*differ = found ? 1 : 0;
		return OMB_OK;
	}
	got = omb_pread_full(fd, local, (size_t) len, (off_t) offset);
	if (got < 0)
		return omb_error_set_errno(err, errno, "could not read file");
	for (at = 0; at < len; at += OMB_PATCH_BLOCK)
	{
		size_t block = (size_t) len - at < OMB_PATCH_BLOCK ?
						   (size_t) len - at :
						   OMB_PATCH_BLOCK;

		if (at + block > (size_t) got ||
			memcmp(local + at, data + at, block) != 0)
			*differ |= (omb_patch_mask) 1 << (at / OMB_PATCH_BLOCK);
	}
	return OMB_OK;
}

int
omb_patch_write(int fd, uint64_t offset, const uint8_t *data, size_t len,
				omb_patch_mask differ, uint64_t *written)
{
	size_t at = 0;

	while (at < len)
	{
		size_t end = at;

		/* neighbours in one go */
		while (end < len && (differ >> (end / OMB_PATCH_BLOCK) & 1) != 0)
			end += OMB_PATCH_BLOCK;
		if (end == at)
		{
			at += OMB_PATCH_BLOCK;
			continue;
		}
		if (end > len)
			end = len;
		if (omb_pwrite_full(fd, data + at, end - at, (off_t) (offset + at)) !=
			0)
			return -1;
		*written += end - at;
		at = end;
	}
	return 0;
}

int
omb_patch_zero(int fd, uint64_t offset, uint64_t len)
{
	static const uint8_t zeros[65536];

	if (len == 0 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
							  (off_t) offset, (off_t) len) == 0)
		return 0;
	while (len > 0)
	{
		size_t n = len < sizeof(zeros) ? (size_t) len : sizeof(zeros);

		if (omb_pwrite_full(fd, zeros, n, (off_t) offset) != 0)
			return -1;
		offset += n;
		len -= n;
	}
	return 0;
}
