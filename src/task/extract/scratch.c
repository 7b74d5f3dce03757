/*
 * scratch.c: directories for a while.
 */
#include "task/extract/scratch.h"

#include "base/buffer.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PREFIX "omsupply_backup-scratch-"

/* A process that was just killed may still write for a moment. */
#define REMOVE_TRIES 100

static omb_status
remove_tree(const char *path, omb_error *err)
{
	const struct timespec pause = { 0, 20 * 1000 * 1000 };
	int i;

	for (i = 0; i < REMOVE_TRIES; i++)
	{
		omb_error_clear(err);
		if (omb_tree_remove(path, err) == OMB_OK)
			break;
		(void) nanosleep(&pause, NULL);
	}
	return err->status;
}

/* Remove a directory that was left, unless somebody works in it. */
static void
remove_left(const char *path)
{
	omb_error ignored = OMB_ERROR_INIT;
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
		flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void) remove_tree(path, &ignored);
	omb_error_clear(&ignored);
	(void) close(fd);
}

static void
remove_all_left(const char *base)
{
	DIR *dir = opendir(base);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		char *path;

		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		path = omb_format("%s/%s", base, entry->d_name);
		remove_left(path);
		free(path);
	}
	if (dir != NULL)
		(void) closedir(dir);
}

omb_status
omb_scratch_make(const char *base, omb_scratch *scratch, omb_error *err)
{
	struct stat held, there;
	char *folder;

	scratch->fd = -1;
	if (base == NULL)
		base = getenv("TMPDIR");
	if (base == NULL || base[0] == '\0')
		base = "/var/tmp";
	folder = omb_path_absolute(base);
	remove_all_left(folder);
	do
	{
		if (scratch->fd >= 0)
			(void) close(scratch->fd);
		free(scratch->path);
		scratch->path = omb_format("%s/" PREFIX "XXXXXX", folder);
		if (mkdtemp(scratch->path) == NULL)
		{
			(void) omb_error_set_errno(
				err, errno, "could not create a directory in \"%s\"", folder);
			break;
		}
		scratch->fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* between its making and the lock another process may remove it */
	} while (scratch->fd < 0 || flock(scratch->fd, LOCK_EX | LOCK_NB) != 0 ||
			 fstat(scratch->fd, &held) != 0 ||
			 stat(scratch->path, &there) != 0 || held.st_ino != there.st_ino);
	if (err->status != OMB_OK)
	{
		free(scratch->path);
		scratch->path = NULL;
	}
	free(folder);
	return err->status;
}

omb_status
omb_scratch_remove(omb_scratch *scratch, omb_error *err)
{
	if (scratch->path != NULL)
		(void) remove_tree(scratch->path, err);
	if (scratch->fd >= 0)
		(void) close(scratch->fd);
	free(scratch->path);
	memset(scratch, 0, sizeof(*scratch));
	scratch->fd = -1;
	return err->status;
}
