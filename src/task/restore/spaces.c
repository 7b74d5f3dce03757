/*
 * spaces.c: where the parts of a cluster go when it is restored.
 */
#include "task/restore/spaces.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SPACES_MAX 4096

static omb_space *
add(omb_spaces *spaces, const char *oid, const char *from, const char *path)
{
	omb_space *space;

	spaces->item =
		omb_realloc(spaces->item, (spaces->count + 1) * sizeof(omb_space));
	space = &spaces->item[spaces->count++];
	memset(space, 0, sizeof(*space));
	space->oid = oid ? omb_strdup(oid) : NULL;
	space->from = from ? omb_strdup(from) : NULL;
	space->path = omb_strdup(path);
	return space;
}

void
omb_spaces_init(omb_spaces *spaces, const char *pgdata)
{
	memset(spaces, 0, sizeof(*spaces));
	(void) add(spaces, NULL, NULL, pgdata);
}

void
omb_spaces_clear(omb_spaces *spaces)
{
	size_t i;

	for (i = 0; i < spaces->count; i++)
	{
		free(spaces->item[i].oid);
		free(spaces->item[i].from);
		free(spaces->item[i].path);
	}
	free(spaces->item);
	memset(spaces, 0, sizeof(*spaces));
}

omb_status
omb_spaces_add(omb_spaces *spaces, const char *oid, const char *from,
			   const omb_tablespace_move *move, size_t move_count,
			   omb_error *err)
{
	const char *path = from;
	size_t i;

	for (i = 0; i < move_count; i++)
	{
		if (strcmp(move[i].from, from) == 0)
			path = move[i].to;
	}
	if (path[0] != '/')
		return omb_error_set(err, OMB_USAGE,
							 "tablespace directory \"%s\" is not an absolute "
							 "path",
							 path);
	if (spaces->count > SPACES_MAX)
		return omb_error_set(err, OMB_DAMAGED,
							 "the backup has too many tablespaces");
	(void) add(spaces, oid, from, path);
	return OMB_OK;
}

omb_status
omb_spaces_check(const omb_spaces *spaces, const omb_tablespace_move *move,
				 size_t move_count, omb_error *err)
{
	size_t i, j;

	for (i = 1; i < spaces->count; i++)
	{
		for (j = 1; j < i; j++)
		{
			if (strcmp(spaces->item[i].path, spaces->item[j].path) == 0)
				return omb_error_set(err, OMB_USAGE,
									 "two tablespaces would be restored into "
									 "\"%s\"",
									 spaces->item[i].path);
		}
	}
	for (i = 0; i < move_count; i++)
	{
		bool used = false;

		for (j = 1; j < spaces->count; j++)
			used = used || strcmp(spaces->item[j].path, move[i].to) == 0;
		if (!used)
			return omb_error_set(err, OMB_USAGE,
								 "the backup has no tablespace at \"%s\"",
								 move[i].from);
	}
	return OMB_OK;
}

omb_space *
omb_spaces_find(const omb_spaces *spaces, const char *path, const char **rest)
{
	size_t i;

	*rest = path;
	for (i = 1; i < spaces->count && strncmp(path, "pg_tblspc/", 10) == 0; i++)
	{
		size_t len = strlen(spaces->item[i].oid);

		if (strncmp(path + 10, spaces->item[i].oid, len) == 0 &&
			(path[10 + len] == '/' || path[10 + len] == '\0'))
		{
			*rest = path + 10 + len + (path[10 + len] == '/' ? 1 : 0);
			return &spaces->item[i];
		}
	}
	return &spaces->item[0];
}

char *
omb_spaces_locate(const omb_spaces *spaces, const char *path)
{
	const char *rest;
	const omb_space *space = omb_spaces_find(spaces, path, &rest);

	if (rest[0] == '\0')
		return omb_strdup(space->path);
	return omb_format("%s/%s", space->path, rest);
}

/* ---- room ---- */

/* Bytes free for us in the file system that a path is, or will be, in. */
static omb_status
free_bytes(const char *path, uint64_t *bytes, dev_t *device, omb_error *err)
{
	char *existing = omb_strdup(path);
	struct statvfs fs;
	struct stat st;

	while (stat(existing, &st) != 0 && errno == ENOENT &&
		   strcmp(existing, "/") != 0)
	{
		char *parent = omb_path_parent(existing);

		free(existing);
		existing = parent;
	}
	if (stat(existing, &st) != 0 || statvfs(existing, &fs) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not look at file system of \"%s\"", path);
	else if (access(existing, W_OK | X_OK) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not write to directory \"%s\"", existing);
	else
	{
		*bytes = (uint64_t) fs.f_bavail * fs.f_frsize;
		*device = st.st_dev;
	}
	free(existing);
	return err->status;
}

omb_status
omb_spaces_check_room(const omb_spaces *spaces, omb_error *err)
{
	size_t i, j;

	for (i = 0; i < spaces->count; i++)
	{
		const char *path = spaces->item[i].path;
		uint64_t needed = 0;
		uint64_t available = 0;
		dev_t device = 0;

		if (free_bytes(path, &available, &device, err) != OMB_OK)
			return err->status;
		for (j = 0; j < spaces->count; j++)
		{
			uint64_t ignored = 0;
			dev_t other = 0;

			if (free_bytes(spaces->item[j].path, &ignored, &other, err) !=
				OMB_OK)
				return err->status;
			if (other == device)
			{
				needed += spaces->item[j].bytes;
				available += spaces->item[j].freed;
			}
		}
		if (needed > available)
		{
			char wants[OMB_SIZE_TEXT];
			char has[OMB_SIZE_TEXT];

			(void) omb_error_set(err, OMB_NO_SPACE,
								 "not enough space for \"%s\": %s are needed, "
								 "%s are free",
								 path, omb_size_format(needed, wants),
								 omb_size_format(available, has));
			omb_error_hint(err, "Nothing was changed. The server will need "
								"more for the WAL that it writes.");
			return err->status;
		}
	}
	return OMB_OK;
}

/* ---- making it durable ---- */

/* Since Linux 5.8 syncfs() reports what could not be written. */
static bool
syncfs_reports(void)
{
	struct utsname name;
	unsigned int major, minor;

	return uname(&name) == 0 &&
		   sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
		   (major > 5 || (major == 5 && minor >= 8));
}

static int
sync_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int fd;
	int rc;

	if (type != FTW_F && type != FTW_D && type != FTW_DP)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	(void) close(fd);
	return rc;
}

omb_status
omb_tree_sync(const char *path, omb_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *parent = omb_path_parent(path);

	if (fd < 0)
		(void) omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	else if (syncfs_reports() ? syncfs(fd) != 0 :
								nftw(path, sync_one, 16, FTW_PHYS) != 0)
		(void) omb_error_set_errno(err, errno, "could not sync \"%s\"", path);
	if (fd >= 0)
		(void) close(fd);
	if (err->status == OMB_OK)
		(void) omb_directory_sync(parent, err);
	free(parent);
	return err->status;
}

omb_status
omb_spaces_sync(const omb_spaces *spaces, omb_error *err)
{
	size_t i;

	for (i = 0; i < spaces->count && err->status == OMB_OK; i++)
		(void) omb_tree_sync(spaces->item[i].path, err);
	return err->status;
}
