/*
 * setfile.c: putting one file or link of a set in place.
 *
 * Everything is opened below the directory of the set without following any
 * link, so that neither links that are there nor a manifest that was made to
 * do harm lead elsewhere.
 */
#include "task/restore/setfile.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Blobs kept: small files share them. */
#define BLOBS_KEPT 8
#define BUFFER_SIZE (256 * 1024)

/* Each thread has a name of its own, as several may work in one directory. */
static void
temporary_name(int number, char out[OMB_SET_TEMPORARY])
{
	(void) snprintf(out, OMB_SET_TEMPORARY, ".omsupply_backup.tmp%d", number);
}

void
omb_set_remove_temporary(int fd, int hands)
{
	char name[OMB_SET_TEMPORARY];
	int i;

	for (i = 0; i < hands; i++)
	{
		temporary_name(i, name);
		(void) unlinkat(fd, name, 0);
	}
}

void
omb_set_hand_init(omb_set_hand *hand, omb_repository *repo, int number)
{
	memset(hand, 0, sizeof(*hand));
	hand->root_fd = hand->parent_fd = -1;
	hand->reader = omb_blob_reader_new(repo, BLOBS_KEPT);
	hand->buffer = omb_malloc(BUFFER_SIZE);
	temporary_name(number, hand->temporary);
}

void
omb_set_hand_leave(omb_set_hand *hand)
{
	if (hand->parent != NULL)
		(void) close(hand->parent_fd);
	free(hand->parent);
	hand->parent = NULL;
}

void
omb_set_hand_free(omb_set_hand *hand)
{
	omb_set_hand_leave(hand);
	omb_blob_reader_free(hand->reader);
	free(hand->buffer);
}

const char *
omb_set_below(const omb_entry *entry)
{
	const char *slash = strchr(entry->path, '/');

	return slash ? slash + 1 : "";
}

/* The last name of the entry's path. */
static const char *
name_of(const omb_entry *entry)
{
	const char *below = omb_set_below(entry);
	const char *slash = strrchr(below, '/');

	return slash ? slash + 1 : below;
}

/* ---- directories ---- */

omb_status
omb_set_no_directory(const omb_set_hand *hand, const char *below,
					 omb_error *err)
{
	bool other = errno == ENOTDIR || errno == ELOOP;

	(void) omb_error_set_errno(
		err, errno, "could not open directory \"%s/%s\"", hand->root, below);
	if (other)
		omb_error_detail(err, "Something that is no directory is in its "
							  "place; links are not followed.");
	return err->status;
}

omb_status
omb_set_enter(omb_set_hand *hand, const omb_entry *entry, omb_error *err)
{
	const char *below = omb_set_below(entry);
	const char *slash = strrchr(below, '/');
	size_t len = slash ? (size_t) (slash - below) : 0;

	if (hand->parent != NULL && strlen(hand->parent) == len &&
		memcmp(hand->parent, below, len) == 0)
		return OMB_OK;
	omb_set_hand_leave(hand);
	hand->parent = omb_format("%.*s", (int) len, below);
	hand->parent_fd =
		omb_open_below(hand->root_fd, hand->parent, O_RDONLY | O_DIRECTORY, 0);
	if (hand->parent_fd >= 0)
		return OMB_OK;
	(void) omb_set_no_directory(hand, hand->parent, err);
	free(hand->parent);
	hand->parent = NULL;
	return err->status;
}

static void
set_times(int fd, uint64_t mtime)
{
	struct timespec times[2];

	times[0].tv_sec = times[1].tv_sec = (time_t) (mtime / 1000000000);
	times[0].tv_nsec = times[1].tv_nsec = (long) (mtime % 1000000000);
	/* a file system without times is no reason to fail */
	(void) futimens(fd, times);
}

/* Owner and mode; only the superuser gives files away. */
static int
set_owner(int fd, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct stat st;

	if (geteuid() == 0 && fchown(fd, (uid_t) uid, (gid_t) gid) != 0)
		return -1;
	if (fstat(fd, &st) == 0 && (st.st_mode & 07777) == mode)
		return 0;
	return fchmod(fd, (mode_t) mode);
}

omb_status
omb_set_finish_directory(const omb_set_hand *hand, const char *below,
						 uint32_t mode, uint32_t uid, uint32_t gid,
						 uint64_t mtime, omb_error *err)
{
	int fd = omb_open_below(hand->root_fd, below, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 || set_owner(fd, mode, uid, gid) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not set the mode of directory \"%s/%s\"",
			hand->root, below);
	else
		set_times(fd, mtime);
	if (fd >= 0)
		(void) close(fd);
	return err->status;
}

/* ---- files ---- */

omb_status
omb_set_write(omb_set_hand *hand, const omb_manifest *manifest,
			  const omb_entry *entry, size_t first, size_t end,
			  uint64_t offset, int fd, uint32_t *crc, omb_error *err)
{
	size_t i;

	*crc = 0;
	for (i = first; i < end; i++)
	{
		const omb_extent *extent = &entry->extent[i];
		size_t len = (size_t) extent->length;
		const uint8_t *plain;

		/* zeros stay a hole */
		if (extent->is_zero)
			*crc = omb_crc32c_combine(*crc, omb_crc32c_zeros(extent->length),
									  extent->length);
		else if (omb_blob_reader_get(hand->reader,
									 manifest->pack[extent->blob.pack].sha256,
									 &extent->blob, &plain, err) != OMB_OK)
			return omb_error_context(err, "while restoring \"%s\"",
									 entry->path);
		else
		{
			if (omb_pwrite_full(fd, plain + extent->start, len,
								(off_t) offset) != 0)
				return omb_error_set_errno(
					err, errno, "could not write file \"%s\"", entry->path);
			*crc = omb_crc32c_combine(
				*crc, omb_crc32c(0, plain + extent->start, len), len);
			hand->bytes_written += len;
		}
		offset += extent->length;
	}
	return OMB_OK;
}

int
omb_set_create(omb_set_hand *hand, const omb_entry *entry, const char *name,
			   omb_error *err)
{
	int fd =
		openat(hand->parent_fd, name,
			   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	const char *below = omb_set_below(entry);

	if (fd < 0)
		(void) omb_error_set_errno(
			err, errno, "could not create file \"%s/%s\"", hand->root, below);
	else if (ftruncate(fd, (off_t) entry->size) != 0)
	{
		(void) omb_error_set_errno(
			err, errno, "could not extend file \"%s/%s\"", hand->root, below);
		(void) close(fd);
		(void) unlinkat(hand->parent_fd, name, 0);
		fd = -1;
	}
	return fd;
}

omb_status
omb_set_finish(const omb_set_hand *hand, const omb_entry *entry, uint32_t crc,
			   int fd, omb_error *err)
{
	const char *below = omb_set_below(entry);

	if (crc != entry->crc32c)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" does not have the checksum it had "
							 "when it was backed up",
							 entry->path);
	else if (set_owner(fd, entry->mode, entry->uid, entry->gid) != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not set the mode of file \"%s/%s\"",
								   hand->root, below);
	else
		set_times(fd, entry->mtime);
	if (close(fd) != 0 && err->status == OMB_OK)
		(void) omb_error_set_errno(
			err, errno, "could not close file \"%s/%s\"", hand->root, below);
	return err->status;
}

/* Is the file that is there the entry's? */
static bool
is_same(omb_set_hand *hand, const omb_entry *entry, const char *name)
{
	int fd = openat(hand->parent_fd, name,
					O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint32_t crc = 0;
	uint64_t done = 0;
	struct stat st;
	bool same = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
				st.st_nlink == 1 && (uint64_t) st.st_size == entry->size;

	while (same && done < entry->size)
	{
		ssize_t n =
			omb_pread_full(fd, hand->buffer, BUFFER_SIZE, (off_t) done);

		same = n > 0;
		if (same)
		{
			crc = omb_crc32c(crc, hand->buffer, (size_t) n);
			done += (uint64_t) n;
		}
	}
	same = same && done == entry->size && crc == entry->crc32c;
	if (same &&
		((st.st_mode & 07777) != entry->mode ||
		 omb_nanoseconds(&st.st_mtim) != entry->mtime || geteuid() == 0))
	{
		/* of somebody else: to be replaced */
		same = set_owner(fd, entry->mode, entry->uid, entry->gid) == 0;
		set_times(fd, entry->mtime);
	}
	if (fd >= 0)
		(void) close(fd);
	return same;
}

omb_status
omb_set_place_file(omb_set_hand *hand, const omb_manifest *manifest,
				   const omb_entry *entry, omb_error *err)
{
	const char *name = name_of(entry);
	const char *at = hand->delta ? hand->temporary : name;
	uint32_t crc;
	int fd;

	if (omb_set_enter(hand, entry, err) != OMB_OK)
		return err->status;
	if (hand->delta && is_same(hand, entry, name))
	{
		hand->files_same++;
		return OMB_OK;
	}
	if (hand->delta)
		(void) unlinkat(hand->parent_fd, at, 0);
	fd = omb_set_create(hand, entry, at, err);
	if (fd < 0)
		return err->status;
	if (omb_set_write(hand, manifest, entry, 0, entry->extent_count, 0, fd,
					  &crc, err) == OMB_OK)
		(void) omb_set_finish(hand, entry, crc, fd, err);
	else
		(void) close(fd);
	if (hand->delta && err->status == OMB_OK &&
		renameat(hand->parent_fd, at, hand->parent_fd, name) != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not replace file \"%s/%s\"",
								   hand->root, omb_set_below(entry));
	if (err->status != OMB_OK)
		(void) unlinkat(hand->parent_fd, at, 0);
	return err->status;
}

omb_status
omb_set_place_link(omb_set_hand *hand, const omb_entry *entry, omb_error *err)
{
	const char *name = name_of(entry);
	char target[PATH_MAX];
	struct timespec times[2];
	ssize_t len;

	if (omb_set_enter(hand, entry, err) != OMB_OK)
		return err->status;
	len = readlinkat(hand->parent_fd, name, target, sizeof(target) - 1);
	if (hand->delta && len >= 0)
	{
		target[len] = '\0';
		if (strcmp(target, entry->target) == 0)
		{
			hand->files_same++;
			return OMB_OK;
		}
	}
	if (hand->delta)
		(void) unlinkat(hand->parent_fd, name, 0);
	if (symlinkat(entry->target, hand->parent_fd, name) != 0)
		return omb_error_set_errno(err, errno,
								   "could not create symbolic link \"%s/%s\"",
								   hand->root, omb_set_below(entry));
	/* a file system without times is no reason to fail */
	times[0].tv_sec = times[1].tv_sec = (time_t) (entry->mtime / 1000000000);
	times[0].tv_nsec = times[1].tv_nsec = (long) (entry->mtime % 1000000000);
	(void) utimensat(hand->parent_fd, name, times, AT_SYMLINK_NOFOLLOW);
	if (geteuid() == 0 &&
		fchownat(hand->parent_fd, name, (uid_t) entry->uid, (gid_t) entry->gid,
				 AT_SYMLINK_NOFOLLOW) != 0)
		return omb_error_set_errno(
			err, errno, "could not set the owner of symbolic link \"%s/%s\"",
			hand->root, omb_set_below(entry));
	return OMB_OK;
}
