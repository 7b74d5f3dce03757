/*
 * directory.c: a store in a directory of a file system.
 *
 * An object is a file under its own name; how it comes to be is in
 * directoryupload.c. What lies in tmp, no reader looks at. The folder cache
 * belongs to whoever uses the directory (repo/unfinished.h): what is in
 * it is no object.
 *
 * The lock is flock() on the file "lock", which is no object; nobody removes
 * it.
 */
#include "store/directory.h"

#include "base/file.h"
#include "store/directoryupload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct dir_object
{
	omb_object base;
	int fd;
	char *path;
} dir_object;

typedef struct dir_lock
{
	omb_lock base;
	int fd; /* -1 for a lock that is none */
} dir_lock;

/* What lies in the root and is no object. */
static bool
is_ours(const char *name)
{
	return strcmp(name, "tmp") == 0 || strcmp(name, "lock") == 0 ||
		   strcmp(name, "cache") == 0;
}

char *
omb_dir_path(const omb_store *store, const char *name)
{
	if (name[0] == '\0')
		return omb_strdup(store->location);
	return omb_format("%s/%s", store->location, name);
}

typedef struct name_list
{
	char **name;
	size_t count;
	size_t cap;
} name_list;

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
name_list_free(name_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		free(list->name[i]);
	free(list->name);
}

/* The sorted names in a directory; none when it is not there. */
static omb_status
read_names(const char *path, name_list *out, omb_error *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	memset(out, 0, sizeof(*out));
	if (dir == NULL && errno == ENOENT)
		return OMB_OK;
	if (dir == NULL)
		return omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
	{
		/* what no object name begins with, "." and ".." among them */
		if (entry->d_name[0] == '.')
			continue;
		if (out->count == out->cap)
		{
			out->cap = out->cap ? 2 * out->cap : 64;
			out->name = omb_realloc(out->name, out->cap * sizeof(char *));
		}
		out->name[out->count++] = omb_strdup(entry->d_name);
	}
	if (errno != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not read directory \"%s\"", path);
	(void) closedir(dir);
	if (err->status != OMB_OK)
	{
		name_list_free(out);
		return err->status;
	}
	if (out->count > 0)
		qsort(out->name, out->count, sizeof(char *), compare_names);
	return OMB_OK;
}

static omb_status
dir_list(omb_store *store, const char *folder, bool recursive,
		 omb_store_visit visit, void *arg, omb_error *err)
{
	char *path = omb_dir_path(store, folder);
	name_list list;
	omb_status status;
	size_t i;

	status = read_names(path, &list, err);
	free(path);
	if (status != OMB_OK)
		return status;
	for (i = 0; i < list.count && status == OMB_OK; i++)
	{
		char *name = folder[0] == '\0' ?
						 omb_strdup(list.name[i]) :
						 omb_format("%s/%s", folder, list.name[i]);
		struct stat st;
		omb_store_entry entry;

		path = omb_dir_path(store, name);
		entry.name = name;
		if (lstat(path, &st) != 0)
		{
			/* removed meanwhile */
			if (errno != ENOENT)
				status = omb_error_set_errno(
					err, errno, "could not stat file \"%s\"", path);
		}
		else if (folder[0] == '\0' && is_ours(name))
			;
		else if (S_ISDIR(st.st_mode) && recursive)
			status = dir_list(store, name, true, visit, arg, err);
		else
		{
			entry.is_folder = S_ISDIR(st.st_mode);
			entry.size = entry.is_folder ? 0 : (uint64_t) st.st_size;
			status = visit(&entry, arg, err);
		}
		free(path);
		free(name);
	}
	name_list_free(&list);
	return status;
}

static omb_status
dir_read(omb_object *object, uint64_t offset, void *data, size_t len,
		 omb_error *err)
{
	dir_object *opened = (dir_object *) object;
	ssize_t n = omb_pread_full(opened->fd, data, len, (off_t) offset);

	if (n < 0)
		return omb_error_set_errno(err, errno, "could not read file \"%s\"",
								   opened->path);
	if ((size_t) n < len)
		return omb_error_set(
			err, OMB_DAMAGED,
			"file \"%s\" ends at byte %" PRIu64 " of %" PRIu64 " expected",
			opened->path, offset + (uint64_t) n, offset + len);
	return OMB_OK;
}

static void
dir_close(omb_object *object)
{
	dir_object *opened = (dir_object *) object;

	(void) close(opened->fd);
	free(opened->path);
	free(opened);
}

omb_status
omb_dir_check_root(omb_store *base, omb_error *err)
{
	omb_dir_store *store = (omb_dir_store *) base;
	struct stat st;

	if (stat(base->location, &st) != 0)
		return omb_error_set_errno(
			err, errno, "could not stat directory \"%s\"", base->location);
	(void) pthread_mutex_lock(&store->lock);
	if (!store->identified)
	{
		store->identified = true;
		store->device = st.st_dev;
		store->inode = st.st_ino;
	}
	else if (store->device != st.st_dev || store->inode != st.st_ino)
	{
		(void) omb_error_set(err, OMB_FAILED,
							 "directory \"%s\" is not the one it was",
							 base->location);
		omb_error_hint(err, "Check that its file system is mounted.");
	}
	(void) pthread_mutex_unlock(&store->lock);
	return err->status;
}

static omb_status
dir_open(omb_store *store, const char *name, omb_object **object,
		 omb_error *err)
{
	char *path = omb_dir_path(store, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	dir_object *opened;

	if (fd < 0 || fstat(fd, &st) != 0)
	{
		bool absent = errno == ENOENT;

		(void) omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
		if (absent)
			err->status = OMB_NOT_FOUND;
		if (fd >= 0)
			(void) close(fd);
		free(path);
		return err->status;
	}
	opened = omb_calloc(1, sizeof(*opened));
	opened->base.store = store;
	opened->base.size = (uint64_t) st.st_size;
	opened->fd = fd;
	opened->path = path;
	if (omb_dir_check_root(store, err) != OMB_OK)
	{
		dir_close(&opened->base);
		return err->status;
	}
	*object = &opened->base;
	return OMB_OK;
}

static omb_status
dir_confirm(omb_store *store, const char *name, omb_error *err)
{
	char *path = omb_dir_path(store, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t root = strlen(store->location);

	if (fd < 0 || fsync(fd) != 0)
		(void) omb_error_set_errno(err, errno, "could not sync file \"%s\"",
								   path);
	if (fd >= 0)
		(void) close(fd);
	while (err->status == OMB_OK && strlen(path) > root)
	{
		*strrchr(path, '/') = '\0';
		(void) omb_directory_sync(path, err);
	}
	free(path);
	return err->status;
}

/*
 * Folders that an object has left empty go with it; whoever needs one makes it
 * again (finish_upload). Cuts path.
 */
static void
remove_empty_folders(const omb_store *store, char *path)
{
	size_t root = strlen(store->location);
	char *slash;

	while ((slash = strrchr(path, '/')) > path + root)
	{
		*slash = '\0';
		if (rmdir(path) != 0)
			return;
	}
}

static omb_status
dir_remove(omb_store *store, const char *name, omb_error *err)
{
	char *path = omb_dir_path(store, name);

	if (unlink(path) != 0)
	{
		bool absent = errno == ENOENT;

		(void) omb_error_set_errno(err, errno, "could not remove file \"%s\"",
								   path);
		if (absent)
			err->status = OMB_NOT_FOUND;
	}
	else
		remove_empty_folders(store, path);
	free(path);
	return err->status;
}

static omb_status
dir_settle(omb_store *store, const char *folder, omb_error *err)
{
	char *path = omb_dir_path(store, folder);
	size_t root = strlen(store->location);

	/* the folder itself may be gone with the last object in it */
	while (access(path, F_OK) != 0 && errno == ENOENT && strlen(path) > root)
		*strrchr(path, '/') = '\0';
	(void) omb_directory_sync(path, err);
	free(path);
	return err->status;
}

/* Count a file in tmp, and remove it, when it is old enough. */
static omb_status
sweep_file(const char *path, time_t before, bool remove,
		   omb_store_swept *swept, omb_error *err)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ?
				   OMB_OK :
				   omb_error_set_errno(err, errno,
									   "could not stat file \"%s\"", path);
	if (!S_ISREG(st.st_mode) || st.st_mtime > before)
		return OMB_OK;
	if (remove && unlink(path) != 0)
		return errno == ENOENT ?
				   OMB_OK :
				   omb_error_set_errno(err, errno,
									   "could not remove file \"%s\"", path);
	swept->count++;
	swept->bytes += (uint64_t) st.st_size;
	return OMB_OK;
}

static omb_status
dir_sweep(omb_store *store, uint64_t seconds, bool remove,
		  omb_store_swept *swept, omb_error *err)
{
	char *folder = omb_dir_path(store, "tmp");
	time_t before = time(NULL) - (time_t) seconds;
	name_list list;
	size_t i;

	if (omb_dir_check_root(store, err) == OMB_OK &&
		read_names(folder, &list, err) == OMB_OK)
	{
		for (i = 0; i < list.count && err->status == OMB_OK; i++)
		{
			char *path = omb_format("%s/%s", folder, list.name[i]);

			(void) sweep_file(path, before, remove, swept, err);
			free(path);
		}
		name_list_free(&list);
	}
	free(folder);
	return err->status;
}

/*
 * Open the lock file; *fd is -1 when the directory cannot be written to and
 * has none that we may read.
 */
static omb_status
open_lock(omb_store *store, const char *path, int *fd, omb_error *err)
{
	struct stat st;
	int errnum;

	if (omb_dir_check_root(store, err) != OMB_OK)
		return err->status;
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd >= 0)
	{
		/* made by root, it must serve the owner of the repository too */
		if (geteuid() == 0 && stat(store->location, &st) == 0 &&
			fchown(*fd, st.st_uid, st.st_gid) != 0)
		{
			(void) omb_error_set_errno(
				err, errno, "could not set the owner of file \"%s\"", path);
			(void) close(*fd);
		}
		return err->status;
	}
	errnum = errno;
	if (errnum == EROFS || errnum == EACCES)
	{
		*fd = open(path, O_RDONLY | O_CLOEXEC);
		if (*fd >= 0 || access(store->location, W_OK) != 0)
			return OMB_OK;
	}
	return omb_error_set_errno(err, errnum, "could not open file \"%s\"",
							   path);
}

static omb_status
dir_lock_take(omb_store *store, bool exclusive, omb_lock **lock,
			  omb_error *err)
{
	char *path = omb_dir_path(store, "lock");
	dir_lock *taken;
	int fd = -1;

	if (open_lock(store, path, &fd, err) != OMB_OK)
		;
	else if (fd < 0 && exclusive)
		(void) omb_error_set(err, OMB_FAILED,
							 "directory \"%s\" cannot be written to",
							 store->location);
	else if (fd >= 0 &&
			 flock(fd, LOCK_NB | (exclusive ? LOCK_EX : LOCK_SH)) != 0)
	{
		if (errno == EWOULDBLOCK)
			(void) omb_error_set(err, OMB_BUSY, "repository \"%s\" is in use",
								 store->location);
		else
			(void) omb_error_set_errno(err, errno,
									   "could not lock file \"%s\"", path);
		(void) close(fd);
	}
	free(path);
	if (err->status != OMB_OK)
		return err->status;
	taken = omb_calloc(1, sizeof(*taken));
	taken->base.store = store;
	taken->fd = fd;
	*lock = &taken->base;
	return OMB_OK;
}

static void
dir_unlock(omb_lock *lock)
{
	dir_lock *taken = (dir_lock *) lock;

	if (taken->fd >= 0)
		(void) close(taken->fd);
	free(taken);
}

static void
dir_free(omb_store *store)
{
	(void) pthread_mutex_destroy(&((omb_dir_store *) store)->lock);
	free(store->location);
	free(store);
}

omb_store *
omb_store_directory_new(const char *path)
{
	static const omb_store_ops ops = {
		.list = dir_list,
		.open = dir_open,
		.read = dir_read,
		.close = dir_close,
		.create = omb_dir_create,
		.write = omb_dir_write,
		.commit = omb_dir_commit,
		.abort = omb_dir_abort,
		.confirm = dir_confirm,
		.remove = dir_remove,
		.settle = dir_settle,
		.sweep = dir_sweep,
		.lock = dir_lock_take,
		.unlock = dir_unlock,
		.free = dir_free,
	};
	omb_dir_store *store = omb_calloc(1, sizeof(*store));

	store->base.ops = &ops;
	store->base.location = omb_path_absolute(path);
	store->base.directory = store->base.location;
	(void) pthread_mutex_init(&store->lock, NULL);
	return &store->base;
}
