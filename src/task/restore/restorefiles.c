/*
 * restorefiles.c: putting back the application's files.
 *
 * Everything is opened below the directory of its set without following any
 * link, so that neither links that are there nor a manifest that was made to
 * do harm lead elsewhere. A directory gets its mode and time when all that is
 * in it is in place.
 */
#include "task/restore/restorefiles.h"

#include "base/crc32c.h"
#include "base/file.h"
#include "base/text.h"
#include "repo/blobreader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Blobs kept: small files share them. */
#define BLOBS_KEPT 8
#define BUFFER_SIZE (256 * 1024)
/* Under this name a file is written that takes the place of another. */
#define TEMPORARY ".omsupply_backup.tmp"

typedef struct pending
{
	char *path; /* below the set's directory */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t mtime;
} pending;

typedef struct restore
{
	const omb_restore_files_config *config;
	omb_restore_files_result *result;
	omb_blob_reader *reader;
	uint8_t *buffer;

	char *set;	/* at hand, or NULL */
	char *root; /* its directory */
	int root_fd;
	char *parent; /* directory that is open, below root; or NULL */
	int parent_fd;
	pending *directory; /* whose contents are being placed, outermost first */
	size_t depth;
	size_t depth_cap;
} restore;

/* ---- where ---- */

/* Is the entry wanted, or a directory on the way to what is? */
static bool
is_wanted(const char *only, const omb_entry *entry)
{
	size_t len;

	if (only == NULL)
		return true;
	len = strlen(only);
	if (strncmp(entry->path, only, len) == 0 &&
		(entry->path[len] == '\0' || entry->path[len] == '/'))
		return true;
	len = strlen(entry->path);
	return entry->type == OMB_ENTRY_DIRECTORY &&
		   strncmp(only, entry->path, len) == 0 && only[len] == '/';
}

/* The directory of a set, in new memory; NULL without one. */
static char *
root_of(const omb_restore_files_config *config, const char *set)
{
	size_t i;

	for (i = 0; i < config->move_count; i++)
	{
		if (strcmp(config->move[i].set, set) == 0)
			return omb_strdup(config->move[i].to);
	}
	return config->directory == NULL ?
			   NULL :
			   omb_format("%s/%s", config->directory, set);
}

static const char *
below_set(const omb_entry *entry)
{
	const char *slash = strchr(entry->path, '/');

	return slash ? slash + 1 : "";
}

static void
leave_parent(restore *r)
{
	if (r->parent != NULL)
		(void) close(r->parent_fd);
	free(r->parent);
	r->parent = NULL;
}

/* ---- directories ---- */

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

/* The innermost directory is complete. */
static omb_status
finish_directory(restore *r, omb_error *err)
{
	pending *p = &r->directory[--r->depth];
	int fd = omb_open_below(r->root_fd, p->path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 || set_owner(fd, p->mode, p->uid, p->gid) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not set the mode of directory \"%s/%s\"",
			r->root, p->path);
	else
		set_times(fd, p->mtime);
	if (fd >= 0)
		(void) close(fd);
	free(p->path);
	return err->status;
}

static bool
is_in(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	return len == 0 ||
		   (strncmp(path, directory, len) == 0 && path[len] == '/');
}

/* Finish directories that the path is not in. */
static omb_status
leave_directories(restore *r, const char *path, omb_error *err)
{
	while (r->depth > 0 && err->status == OMB_OK &&
		   (path == NULL || !is_in(path, r->directory[r->depth - 1].path)))
		(void) finish_directory(r, err);
	return err->status;
}

static omb_status
leave_set(restore *r, omb_error *err)
{
	if (r->set == NULL)
		return OMB_OK;
	leave_parent(r);
	if (leave_directories(r, NULL, err) == OMB_OK)
	{
		r->config->progress("syncing files to disk", 0, 0, r->config->arg);
		if (syncfs(r->root_fd) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not sync directory \"%s\"", r->root);
	}
	(void) close(r->root_fd);
	free(r->set);
	free(r->root);
	r->set = r->root = NULL;
	return err->status;
}

/* Make the set of the entry the one at hand. */
static omb_status
enter_set(restore *r, const omb_entry *entry, omb_error *err)
{
	size_t len = strcspn(entry->path, "/");

	if (r->set != NULL && strlen(r->set) == len &&
		strncmp(r->set, entry->path, len) == 0)
		return OMB_OK;
	if (leave_set(r, err) != OMB_OK)
		return err->status;
	r->set = omb_format("%.*s", (int) len, entry->path);
	r->root = root_of(r->config, r->set);
	if (omb_directory_create(r->root, 0700, err) != OMB_OK)
		r->root_fd = -1;
	else if ((r->root_fd = open(r->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) <
			 0)
		(void) omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", r->root);
	return err->status;
}

/* Opening a directory failed, as errno tells. */
static omb_status
no_directory(const restore *r, const char *below, omb_error *err)
{
	bool other = errno == ENOTDIR || errno == ELOOP;

	(void) omb_error_set_errno(
		err, errno, "could not open directory \"%s/%s\"", r->root, below);
	if (other)
		omb_error_detail(err, "Something that is no directory is in its "
							  "place; links are not followed.");
	return err->status;
}

/*
 * Open the directory that the entry is in. *skip when there is something else
 * in its place, as a later manifest has it.
 */
static omb_status
enter_parent(restore *r, const omb_entry *entry, size_t number, bool *skip,
			 omb_error *err)
{
	const char *below = below_set(entry);
	const char *slash = strrchr(below, '/');
	char *parent =
		omb_format("%.*s", slash ? (int) (slash - below) : 0, below);

	*skip = false;
	if (r->parent != NULL && strcmp(r->parent, parent) == 0)
	{
		free(parent);
		return OMB_OK;
	}
	leave_parent(r);
	r->parent_fd =
		omb_open_below(r->root_fd, parent, O_RDONLY | O_DIRECTORY, 0);
	if (r->parent_fd >= 0)
	{
		r->parent = parent;
		return OMB_OK;
	}
	if (number > 0 && (errno == ENOTDIR || errno == ELOOP))
		*skip = true;
	else
		(void) no_directory(r, parent, err);
	free(parent);
	return err->status;
}

static omb_status
place_directory(restore *r, const omb_entry *entry, const char *name,
				omb_error *err)
{
	const char *below = below_set(entry);
	pending *p;
	int fd;

	/* the set's own directory is there */
	if (below[0] != '\0' && mkdirat(r->parent_fd, name, 0700) != 0 &&
		errno != EEXIST)
		return omb_error_set_errno(err, errno,
								   "could not create directory \"%s/%s\"",
								   r->root, below);
	fd = omb_open_below(r->root_fd, below, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return no_directory(r, below, err);
	/* its mode may forbid us to write, until all is in place */
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0 &&
		fchmod(fd, 0700) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not set the mode of directory \"%s/%s\"",
			r->root, below);
	(void) close(fd);
	if (err->status != OMB_OK)
		return err->status;
	if (r->depth == r->depth_cap)
	{
		r->depth_cap = r->depth_cap ? 2 * r->depth_cap : 16;
		r->directory =
			omb_realloc(r->directory, r->depth_cap * sizeof(pending));
	}
	p = &r->directory[r->depth++];
	p->path = omb_strdup(below);
	p->mode = entry->mode;
	p->uid = entry->uid;
	p->gid = entry->gid;
	p->mtime = entry->mtime;
	return OMB_OK;
}

/* ---- files ---- */

/* Write the content of an entry to a new file, checking its sum. */
static omb_status
write_content(restore *r, const omb_manifest *manifest, const omb_entry *entry,
			  int fd, omb_error *err)
{
	uint64_t offset = 0;
	uint32_t crc = 0;
	size_t i;

	/* zeros stay holes */
	if (ftruncate(fd, (off_t) entry->size) != 0)
		return omb_error_set_errno(err, errno, "could not extend file \"%s\"",
								   entry->path);
	for (i = 0; i < entry->extent_count; i++)
	{
		const omb_extent *extent = &entry->extent[i];
		const uint8_t *plain;

		if (extent->is_zero)
			crc = omb_crc32c_combine(crc, omb_crc32c_zeros(extent->length),
									 extent->length);
		else if (omb_blob_reader_get(r->reader,
									 manifest->pack[extent->blob.pack].sha256,
									 &extent->blob, &plain, err) != OMB_OK)
			return omb_error_context(err, "while restoring \"%s\"",
									 entry->path);
		else
		{
			size_t len = (size_t) extent->length;

			if (omb_pwrite_full(fd, plain + extent->start, len,
								(off_t) offset) != 0)
				return omb_error_set_errno(
					err, errno, "could not write file \"%s\"", entry->path);
			crc = omb_crc32c_combine(
				crc, omb_crc32c(0, plain + extent->start, len), len);
			r->result->bytes_written += len;
		}
		offset += extent->length;
	}
	if (crc != entry->crc32c)
		return omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" does not have the checksum it had "
							 "when it was backed up",
							 entry->path);
	return OMB_OK;
}

/* Is the file that is there the entry's? */
static bool
is_same(restore *r, const omb_entry *entry, const char *name)
{
	int fd = openat(r->parent_fd, name,
					O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint32_t crc = 0;
	uint64_t done = 0;
	struct stat st;
	bool same = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
				st.st_nlink == 1 && (uint64_t) st.st_size == entry->size;

	while (same && done < entry->size)
	{
		ssize_t n = omb_pread_full(fd, r->buffer, BUFFER_SIZE, (off_t) done);

		same = n > 0;
		if (same)
		{
			crc = omb_crc32c(crc, r->buffer, (size_t) n);
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

static omb_status
place_file(restore *r, const omb_manifest *manifest, const omb_entry *entry,
		   const char *name, omb_error *err)
{
	bool delta = r->config->delta;
	const char *at = delta ? TEMPORARY : name;
	int fd;

	if (delta && is_same(r, entry, name))
	{
		r->result->files_same++;
		return OMB_OK;
	}
	if (delta)
		(void) unlinkat(r->parent_fd, at, 0);
	fd = openat(r->parent_fd, at,
				O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return omb_error_set_errno(err, errno,
								   "could not create file \"%s/%s\"", r->root,
								   below_set(entry));
	if (write_content(r, manifest, entry, fd, err) == OMB_OK)
	{
		if (set_owner(fd, entry->mode, entry->uid, entry->gid) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not set the mode of file \"%s/%s\"",
				r->root, below_set(entry));
		set_times(fd, entry->mtime);
	}
	if (close(fd) != 0 && err->status == OMB_OK)
		(void) omb_error_set_errno(err, errno,
								   "could not close file \"%s/%s\"", r->root,
								   below_set(entry));
	if (delta && err->status == OMB_OK &&
		renameat(r->parent_fd, at, r->parent_fd, name) != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not replace file \"%s/%s\"", r->root,
								   below_set(entry));
	if (err->status != OMB_OK)
		(void) unlinkat(r->parent_fd, at, 0);
	return err->status;
}

static omb_status
place_link(restore *r, const omb_entry *entry, const char *name,
		   omb_error *err)
{
	char target[PATH_MAX];
	struct timespec times[2];
	ssize_t len = readlinkat(r->parent_fd, name, target, sizeof(target) - 1);

	if (r->config->delta && len >= 0)
	{
		target[len] = '\0';
		if (strcmp(target, entry->target) == 0)
		{
			r->result->files_same++;
			return OMB_OK;
		}
	}
	if (r->config->delta)
		(void) unlinkat(r->parent_fd, name, 0);
	if (symlinkat(entry->target, r->parent_fd, name) != 0)
		return omb_error_set_errno(err, errno,
								   "could not create symbolic link \"%s/%s\"",
								   r->root, below_set(entry));
	/* a file system without times is no reason to fail */
	times[0].tv_sec = times[1].tv_sec = (time_t) (entry->mtime / 1000000000);
	times[0].tv_nsec = times[1].tv_nsec = (long) (entry->mtime % 1000000000);
	(void) utimensat(r->parent_fd, name, times, AT_SYMLINK_NOFOLLOW);
	if (geteuid() == 0 &&
		fchownat(r->parent_fd, name, (uid_t) entry->uid, (gid_t) entry->gid,
				 AT_SYMLINK_NOFOLLOW) != 0)
		return omb_error_set_errno(
			err, errno, "could not set the owner of symbolic link \"%s/%s\"",
			r->root, below_set(entry));
	return OMB_OK;
}

static omb_status
place_entry(restore *r, const omb_entry *entry, const omb_manifest *manifest,
			size_t number, omb_error *err)
{
	const char *below = below_set(entry);
	const char *slash = strrchr(below, '/');
	const char *name = slash ? slash + 1 : below;
	bool skip = false;

	if (enter_set(r, entry, err) != OMB_OK ||
		leave_directories(r, below, err) != OMB_OK ||
		(below[0] != '\0' &&
		 enter_parent(r, entry, number, &skip, err) != OMB_OK) ||
		skip)
		return err->status;
	if (entry->type == OMB_ENTRY_DIRECTORY)
		return place_directory(r, entry, name, err);
	if (below[0] == '\0')
		return omb_error_set(err, OMB_DAMAGED,
							 "file set \"%s\" is no directory in the backup",
							 entry->path);
	r->result->files++;
	return entry->type == OMB_ENTRY_LINK ?
			   place_link(r, entry, name, err) :
			   place_file(r, manifest, entry, name, err);
}

/* ---- all entries ---- */

typedef omb_status (*entry_visit)(restore *r, const omb_entry *entry,
								  const omb_manifest *manifest, size_t number,
								  omb_error *err);

static omb_status
visit_all(restore *r, entry_visit visit, omb_error *err)
{
	const omb_restore_files_config *config = r->config;
	omb_restore_files_result *result = r->result;
	omb_chosen_files *files;
	const omb_backup_info *info;
	bool end = false;

	if (omb_chosen_files_open(config->repo, config->from, config->until,
							  &files, err) != OMB_OK)
		return err->status;
	info = omb_chosen_files_info(files, 0);
	memcpy(result->backup, info->id, sizeof(result->backup));
	result->time = info->files_start_time;
	while (!end && err->status == OMB_OK)
	{
		const omb_manifest *manifest;
		omb_entry entry;
		size_t number;

		if (omb_chosen_files_next(files, &entry, &manifest, &number, &end,
								  err) == OMB_OK &&
			!end && is_wanted(config->only, &entry))
		{
			(void) visit(r, &entry, manifest, number, err);
			if (number > 0 && entry.type != OMB_ENTRY_DIRECTORY &&
				(result->older[0] == '\0' ||
				 strcmp(manifest->info.id, result->older) < 0))
			{
				memcpy(result->older, manifest->info.id,
					   sizeof(result->older));
				result->older_time = manifest->info.files_start_time;
			}
		}
		omb_entry_clear(&entry);
	}
	omb_chosen_files_close(files);
	return err->status;
}

static omb_status
check_entry(restore *r, const omb_entry *entry, const omb_manifest *manifest,
			size_t number, omb_error *err)
{
	omb_restore_files_result *result = r->result;
	const char *below = below_set(entry);
	char *set, *root, *path;
	struct stat st;

	set = omb_format("%.*s", (int) strcspn(entry->path, "/"), entry->path);
	root = root_of(r->config, set);
	result->sets += below[0] == '\0' ? 1 : 0;
	if (root == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "no directory is given for file set \"%s\"", set);
		omb_error_hint(err, "Use --files-dir, or --files-map %s=DIR.", set);
	}
	else if (entry->type != OMB_ENTRY_DIRECTORY)
	{
		path = omb_format("%s/%s", root, below);
		if (!r->config->delta && lstat(path, &st) == 0)
		{
			char *shown = omb_name_show(path);

			(void) omb_error_set(err, OMB_REFUSED,
								 "file \"%s\" is there already", shown);
			omb_error_hint(err, "Choose another directory, or use --delta to "
								"replace files that differ.");
			free(shown);
		}
		free(path);
		result->total_files++;
		result->total_bytes += entry->size;
		result->files_added += number > 0 ? 1 : 0;
	}
	free(set);
	free(root);
	return err->status;
}

/* Is there room? Where several file systems are concerned, nobody knows. */
static omb_status
check_room(const restore *r, omb_error *err)
{
	const omb_restore_files_config *config = r->config;
	char need[OMB_SIZE_TEXT], room[OMB_SIZE_TEXT];
	struct statvfs fs;
	char *path;

	if (config->delta || config->directory == NULL || config->move_count > 0)
		return OMB_OK;
	path = omb_strdup(config->directory);
	while (statvfs(path, &fs) != 0 && strlen(path) > 1)
	{
		char *up = omb_path_parent(path);

		free(path);
		path = up;
	}
	if (statvfs(path, &fs) == 0 &&
		(uint64_t) fs.f_bavail * fs.f_frsize < r->result->total_bytes)
		(void) omb_error_set(
			err, OMB_NO_SPACE, "%s are needed in \"%s\", %s are free",
			omb_size_format(r->result->total_bytes, need), config->directory,
			omb_size_format((uint64_t) fs.f_bavail * fs.f_frsize, room));
	free(path);
	return err->status;
}

omb_status
omb_restore_files_check(const omb_restore_files_config *config,
						omb_restore_files_result *result, omb_error *err)
{
	restore r;

	memset(result, 0, sizeof(*result));
	memset(&r, 0, sizeof(r));
	r.config = config;
	r.result = result;
	if (visit_all(&r, check_entry, err) == OMB_OK)
	{
		if (config->only != NULL && result->total_files == 0)
			(void) omb_error_set(err, OMB_NOT_FOUND,
								 "backup \"%s\" has no files \"%s\"",
								 result->backup, config->only);
		else
			(void) check_room(&r, err);
	}
	return err->status;
}

static omb_status
restore_entry(restore *r, const omb_entry *entry, const omb_manifest *manifest,
			  size_t number, omb_error *err)
{
	(void) place_entry(r, entry, manifest, number, err);
	r->config->progress("restoring files", r->result->bytes_written,
						r->result->total_bytes, r->config->arg);
	return err->status;
}

omb_status
omb_restore_files(const omb_restore_files_config *config,
				  omb_restore_files_result *result, omb_error *err)
{
	omb_error later = OMB_ERROR_INIT;
	restore r;

	memset(&r, 0, sizeof(r));
	r.config = config;
	r.result = result;
	r.reader = omb_blob_reader_new(config->repo, BLOBS_KEPT);
	r.buffer = omb_malloc(BUFFER_SIZE);
	if (visit_all(&r, restore_entry, err) == OMB_OK)
		(void) leave_set(&r, err);
	else
		(void) leave_set(&r, &later);
	while (r.depth > 0)
		free(r.directory[--r.depth].path);
	free(r.directory);
	free(r.buffer);
	omb_blob_reader_free(r.reader);
	return err->status;
}
