/*
 * directoryupload.c: new objects in a directory.
 *
 * An object is written as tmp/<random>, synced, moved to its name without
 * replacing what is there, and the directory is synced; new directories are
 * synced in their parents. What a crash leaves is at most a file in tmp.
 */
#include "store/directoryupload.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Start writing back this much early, so that the last sync is short. */
#define WRITEBACK_STEP (4 * 1024 * 1024)

/* How often to make folders that vanish. */
#define MOVE_ATTEMPTS 8

typedef struct dir_upload
{
	omb_upload base;
	int fd;
	char *path;
	off_t written;
	off_t started; /* writing back was asked for up to here */
} dir_upload;

/*
 * What root makes must serve the owner of the repository, who could not read
 * or remove it otherwise. Returns 0, or -1 with errno.
 */
static int
give_to_owner(const omb_store *store, const char *path)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	return stat(store->location, &st) == 0 ?
			   lchown(path, st.st_uid, st.st_gid) :
			   -1;
}

omb_status
omb_dir_create(omb_store *store, omb_upload **upload, omb_error *err)
{
	dir_upload *started;
	uint64_t number;
	char *path;
	int fd;

	if (omb_dir_check_root(store, err) != OMB_OK)
		return err->status;
	if (getrandom(&number, sizeof(number), 0) != (ssize_t) sizeof(number))
		return omb_error_set_errno(err, errno, "could not get random bytes");
	path =
		omb_format("%s/tmp/%d-%016" PRIx64, store->location, getpid(), number);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == ENOENT)
	{
		/*
		 * Only tmp itself is made: a repository that is not mounted must not
		 * be mistaken for an empty one.
		 */
		char *tmp = omb_format("%s/tmp", store->location);

		if ((mkdir(tmp, 0700) == 0 && give_to_owner(store, tmp) == 0) ||
			errno == EEXIST)
			fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		free(tmp);
	}
	if (fd < 0 || give_to_owner(store, path) != 0)
	{
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   path);
		if (fd >= 0)
		{
			(void) close(fd);
			(void) unlink(path);
		}
		free(path);
		return err->status;
	}
	started = omb_calloc(1, sizeof(*started));
	started->base.store = store;
	started->fd = fd;
	started->path = path;
	*upload = &started->base;
	return OMB_OK;
}

omb_status
omb_dir_write(omb_upload *upload, const void *data, size_t len, omb_error *err)
{
	dir_upload *started = (dir_upload *) upload;

	if (omb_write_full(started->fd, data, len) != 0)
		return omb_error_set_errno(err, errno, "could not write file \"%s\"",
								   started->path);
	started->written += (off_t) len;
	if (started->written - started->started >= WRITEBACK_STEP)
	{
		/* only a hint; the sync at the end reports any failure */
		(void) sync_file_range(started->fd, started->started,
							   started->written - started->started,
							   SYNC_FILE_RANGE_WRITE);
		started->started = started->written;
	}
	return OMB_OK;
}

/* Move without replacing; 0, or -1 with errno, EEXIST when taken. */
static int
move_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -1;
	/* a file system without that flag: a hard link does not replace either */
	if (link(from, to) != 0)
		return -1;
	(void) unlink(from);
	return 0;
}

/*
 * Make the folders of an object below the root, each made durable in its
 * parent. One that exists may be so new that it is not durable yet: whoever
 * needs it syncs the parent too.
 */
static omb_status
make_folders(const omb_store *store, const char *name, omb_error *err)
{
	char *path = omb_dir_path(store, name);
	char *slash = path + strlen(store->location);
	omb_status status = OMB_OK;

	while (status == OMB_OK && (slash = strchr(slash + 1, '/')) != NULL)
	{
		char *parent;

		*slash = '\0';
		if ((mkdir(path, 0700) != 0 || give_to_owner(store, path) != 0) &&
			errno != EEXIST)
			status = omb_error_set_errno(
				err, errno, "could not create directory \"%s\"", path);
		else
		{
			parent = omb_path_parent(path);
			status = omb_directory_sync(parent, err);
			free(parent);
		}
		*slash = '/';
	}
	free(path);
	return status;
}

static omb_status
finish_upload(dir_upload *started, const char *name, omb_error *err)
{
	char *path = omb_dir_path(started->base.store, name);
	char *parent = omb_path_parent(path);
	int rc;
	int attempt;

	if (fsync(started->fd) != 0)
	{
		(void) omb_error_set_errno(err, errno, "could not sync file \"%s\"",
								   started->path);
		goto done;
	}
	rc = move_new(started->path, path);
	/* removing objects elsewhere may take a folder away that was just made */
	for (attempt = 0; rc != 0 && errno == ENOENT && attempt < MOVE_ATTEMPTS;
		 attempt++)
	{
		omb_error_clear(err);
		if (make_folders(started->base.store, name, err) == OMB_OK)
			rc = move_new(started->path, path);
		else if (access(parent, F_OK) == 0)
			goto done;
		else
			errno = ENOENT;
	}
	if (err->status != OMB_OK)
		goto done;
	if (rc != 0 && errno == EEXIST)
	{
		(void) omb_error_set(err, OMB_EXISTS, "object \"%s\" exists already",
							 name);
		goto done;
	}
	if (rc != 0)
	{
		(void) omb_error_set_errno(err, errno,
								   "could not rename file \"%s\" to \"%s\"",
								   started->path, path);
		goto done;
	}
	free(started->path);
	started->path = NULL;
	(void) omb_directory_sync(parent, err);

done:
	free(path);
	free(parent);
	return err->status;
}

void
omb_dir_abort(omb_upload *upload)
{
	dir_upload *started = (dir_upload *) upload;

	(void) close(started->fd);
	if (started->path != NULL)
		(void) unlink(started->path);
	free(started->path);
	free(started);
}

omb_status
omb_dir_commit(omb_upload *upload, const char *name, omb_error *err)
{
	omb_status status = finish_upload((dir_upload *) upload, name, err);

	omb_dir_abort(upload);
	return status;
}
