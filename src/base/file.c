/*
 * file.c: whole-file and directory operations.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t
omb_nanoseconds(const struct timespec *time)
{
	return time->tv_sec < 0 ?
			   0 :
			   (uint64_t) time->tv_sec * 1000000000 + (uint64_t) time->tv_nsec;
}

ssize_t
omb_read_full(int fd, void *data, size_t len)
{
	uint8_t *p = data;
	size_t done = 0;

	while (done < len)
	{
		ssize_t n = read(fd, p + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t) n;
	}
	return (ssize_t) done;
}

ssize_t
omb_pread_full(int fd, void *data, size_t len, off_t offset)
{
	uint8_t *p = data;
	size_t done = 0;

	while (done < len)
	{
		ssize_t n = pread(fd, p + done, len - done, offset + (off_t) done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t) n;
	}
	return (ssize_t) done;
}

int
omb_write_full(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0)
	{
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t) n;
	}
	return 0;
}

int
omb_pwrite_full(int fd, const void *data, size_t len, off_t offset)
{
	const uint8_t *p = data;

	while (len > 0)
	{
		ssize_t n = pwrite(fd, p, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t) n;
		offset += n;
	}
	return 0;
}

omb_status
omb_file_read(const char *path, size_t max, omb_buf *out, omb_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t start = out->len;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
	{
		(void) omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
		return err->status = OMB_NOT_FOUND;
	}
	if (fd < 0)
		return omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
	for (;;)
	{
		ssize_t n = omb_read_full(fd, omb_buf_reserve(out, 8192), 8192);

		if (n < 0)
		{
			(void) omb_error_set_errno(err, errno,
									   "could not read file \"%s\"", path);
			break;
		}
		out->len += (size_t) n;
		if (out->len - start > max)
		{
			(void) omb_error_set(err, OMB_DAMAGED,
								 "file \"%s\" is larger than %zu bytes", path,
								 max);
			break;
		}
		if (n < 8192)
		{
			(void) close(fd);
			return OMB_OK;
		}
	}
	(void) close(fd);
	out->len = start;
	return err->status;
}

omb_status
omb_file_replace(const char *path, const void *data, size_t len, mode_t mode,
				 omb_error *err)
{
	char *temporary = omb_format("%s.tmp", path);
	char *parent = omb_path_parent(path);
	int fd;
	omb_status status = OMB_OK;

	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
	{
		status = omb_error_set_errno(
			err, errno, "could not create file \"%s\"", temporary);
		goto done;
	}
	if (omb_write_full(fd, data, len) != 0 || fsync(fd) != 0)
		status = omb_error_set_errno(err, errno, "could not write file \"%s\"",
									 temporary);
	if (close(fd) != 0 && status == OMB_OK)
		status = omb_error_set_errno(err, errno, "could not close file \"%s\"",
									 temporary);
	if (status == OMB_OK && rename(temporary, path) != 0)
		status = omb_error_set_errno(
			err, errno, "could not rename file \"%s\"", temporary);
	if (status != OMB_OK)
		(void) unlink(temporary);
	else
		status = omb_directory_sync(parent, err);

done:
	free(temporary);
	free(parent);
	return status;
}

omb_status
omb_directory_create(const char *path, mode_t mode, omb_error *err)
{
	char *parent;
	omb_status status;

	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return OMB_OK;
	if (errno != ENOENT)
		return omb_error_set_errno(err, errno,
								   "could not create directory \"%s\"", path);
	parent = omb_path_parent(path);
	if (strcmp(parent, path) == 0)
		status = omb_error_set(err, OMB_FAILED,
							   "could not create directory \"%s\"", path);
	else
		status = omb_directory_create(parent, mode, err);
	free(parent);
	if (status != OMB_OK)
		return status;
	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return omb_error_set_errno(err, errno,
								   "could not create directory \"%s\"", path);
	return OMB_OK;
}

omb_status
omb_directory_sync(const char *path, omb_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	omb_status status = OMB_OK;

	if (fd < 0)
		return omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	/* some network file systems refuse to sync a directory with EINVAL */
	if (fsync(fd) != 0 && errno != EINVAL)
		status = omb_error_set_errno(err, errno,
									 "could not sync directory \"%s\"", path);
	(void) close(fd);
	return status;
}

omb_status
omb_directory_is_empty(const char *path, bool *empty, omb_error *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	*empty = true;
	if (dir == NULL && errno == ENOENT)
		return OMB_OK;
	if (dir == NULL)
		return omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	errno = 0;
	while ((entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0 &&
			strcmp(entry->d_name, "lost+found") != 0)
			*empty = false;
		errno = 0;
	}
	if (errno != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not read directory \"%s\"", path);
	(void) closedir(dir);
	return err->status;
}

int
omb_open_below(int directory, const char *path, int flags, mode_t mode)
{
	int at = directory;
	int saved;

	for (;;)
	{
		size_t len = strcspn(path, "/");
		bool last = path[len] == '\0';
		char name[NAME_MAX + 1];
		int next;

		if (len > NAME_MAX)
		{
			next = -1;
			errno = ENAMETOOLONG;
		}
		else
		{
			memcpy(name, path, len);
			name[len] = '\0';
			next = openat(at, len == 0 ? "." : name,
						  (last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW |
							  O_CLOEXEC,
						  mode);
		}
		saved = errno;
		if (at != directory)
			(void) close(at);
		errno = saved;
		if (next < 0 || last)
			return next;
		at = next;
		path += len + 1;
	}
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	/* what vanishes by itself is gone, too */
	return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

omb_status
omb_tree_remove(const char *path, omb_error *err)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 &&
		errno != ENOENT)
		return omb_error_set_errno(err, errno,
								   "could not remove directory \"%s\"", path);
	return OMB_OK;
}

bool
omb_path_is_safe(const char *path)
{
	const char *start = path;

	for (;;)
	{
		size_t len = strcspn(start, "/");

		if (len == 0 || (len == 1 && start[0] == '.') ||
			(len == 2 && start[0] == '.' && start[1] == '.'))
			return false;
		if (start[len] == '\0')
			return true;
		start += len + 1;
	}
}

char *
omb_path_absolute(const char *path)
{
	char *here;
	char *absolute;
	size_t len;

	if (path[0] == '/')
		absolute = omb_strdup(path);
	else
	{
		here = getcwd(NULL, 0);
		absolute = omb_format("%s/%s", here ? here : ".", path);
		free(here);
	}
	len = strlen(absolute);
	while (len > 1 && absolute[len - 1] == '/')
		absolute[--len] = '\0';
	return absolute;
}

char *
omb_path_parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return omb_strdup(".");
	if (slash == path)
		return omb_strdup("/");
	return omb_format("%.*s", (int) (slash - path), path);
}
