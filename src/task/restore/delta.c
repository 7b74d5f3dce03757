/*
 * delta.c: comparing a data directory with a backup, and removing what is not
 * in it.
 *
 * Entries of a manifest come in the order of a walk that sorts the names of
 * each directory and goes into a directory before its next neighbour, so both
 * are walked side by side. Memory grows with the largest directory.
 */
#include "task/restore/delta.h"

#include "base/file.h"
#include "task/restore/patch.h"
#include "task/restore/restoremark.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often to empty a directory into which something is still put. */
#define REMOVE_ATTEMPTS 10

typedef struct names
{
	char **item;
	size_t count;
} names;

typedef struct delta
{
	const omb_delta_config *config;
	omb_delta_result *result;
	char *version;	 /* of tablespaces */
	omb_entry entry; /* the next one of the manifest */
	bool end;		 /* there is none in the data directory */
} delta;

/* ---- reading a directory ---- */

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
names_free(names *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		free(list->item[i]);
	free(list->item);
	memset(list, 0, sizeof(*list));
}

/* The sorted names in a directory; none when it is not there. */
static omb_status
names_read(const char *path, names *list, omb_error *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	memset(list, 0, sizeof(*list));
	if (dir == NULL && errno == ENOENT)
		return OMB_OK;
	if (dir == NULL)
		return omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	errno = 0;
	while ((entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0)
		{
			list->item =
				omb_realloc(list->item, (list->count + 1) * sizeof(char *));
			list->item[list->count++] = omb_strdup(entry->d_name);
		}
		errno = 0;
	}
	if (errno != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not read directory \"%s\"", path);
	(void) closedir(dir);
	if (list->count > 0)
		qsort(list->item, list->count, sizeof(char *), compare_names);
	return err->status;
}

/* ---- removing ---- */

/*
 * Count, or remove, a file or a directory with all that is in it. What is
 * mounted there belongs to somebody else. What is gone meanwhile needs no
 * removing, and a directory may get one more file: a process that fetches WAL
 * ahead for the server that ran there may not have ended yet.
 */
static omb_status
remove_tree(const delta *d, const char *path, dev_t device, uint64_t *files,
			uint64_t *bytes, omb_error *err)
{
	struct stat st;
	names list;
	size_t i;
	int attempt;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ?
				   OMB_OK :
				   omb_error_set_errno(err, errno,
									   "could not stat file \"%s\"", path);
	if (!S_ISDIR(st.st_mode))
	{
		++*files;
		/* another name keeps the blocks */
		if (st.st_nlink == 1)
			*bytes += (uint64_t) st.st_blocks * 512;
		if (d->config->remove && unlink(path) != 0 && errno != ENOENT)
			(void) omb_error_set_errno(err, errno,
									   "could not remove file \"%s\"", path);
		return err->status;
	}
	if (st.st_dev != device)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "another file system is mounted at \"%s\", which "
							 "is not in the backup",
							 path);
		omb_error_hint(err, "Unmount it first.");
		return err->status;
	}
	for (attempt = 0; err->status == OMB_OK; attempt++)
	{
		if (names_read(path, &list, err) == OMB_OK)
		{
			for (i = 0; i < list.count && err->status == OMB_OK; i++)
			{
				char *inner = omb_format("%s/%s", path, list.item[i]);

				(void) remove_tree(d, inner, device, files, bytes, err);
				free(inner);
			}
		}
		names_free(&list);
		if (err->status != OMB_OK || !d->config->remove || rmdir(path) == 0 ||
			errno == ENOENT)
			break;
		if (errno != ENOTEMPTY || attempt == REMOVE_ATTEMPTS)
			(void) omb_error_set_errno(
				err, errno, "could not remove directory \"%s\"", path);
	}
	return err->status;
}

/* Something in a space that is not in the backup. */
static omb_status
remove_extra(delta *d, omb_space *space, const char *path, dev_t device,
			 omb_error *err)
{
	uint64_t files = 0;
	uint64_t bytes = 0;

	if (remove_tree(d, path, device, &files, &bytes, err) != OMB_OK)
		return err->status;
	d->result->files_removed += files;
	d->result->bytes_removed += bytes;
	if (!d->config->remove)
		space->freed += bytes;
	d->config->removal(path, bytes, d->config->arg);
	return OMB_OK;
}

/*
 * A tablespace that the backup does not have. Recovery may make it again, in
 * the same place, and must not find old files there.
 */
static omb_status
remove_tablespace(delta *d, const char *link, dev_t device, omb_error *err)
{
	omb_space *pgdata = &d->config->spaces->item[0];
	char *folder = omb_format("%s/%s", link, d->version);
	struct stat st;

	if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
		(void) remove_extra(d, pgdata, folder, st.st_dev, err);
	if (err->status == OMB_OK)
		(void) remove_extra(d, pgdata, link, device, err);
	free(folder);
	return err->status;
}

/* ---- side by side ---- */

static omb_status
next_entry(delta *d, omb_error *err)
{
	omb_entry_clear(&d->entry);
	if (!d->end && omb_manifest_next(d->config->manifest, &d->entry, &d->end,
									 err) == OMB_OK)
		d->end = d->end || d->entry.root != OMB_ROOT_PGDATA;
	return err->status;
}

/* Will the next entry's file need space? */
static bool
needs_space(const delta *d)
{
	return !d->config->remove &&
		   (d->config->leave_out == NULL ||
			!d->config->leave_out(&d->entry, d->config->arg));
}

static void
count_missing(delta *d)
{
	const char *rest;
	omb_space *space =
		omb_spaces_find(d->config->spaces, d->entry.path, &rest);

	if (d->entry.type != OMB_ENTRY_FILE)
		return;
	d->result->files_missing++;
	d->result->bytes_missing += d->entry.size;
	space->bytes += needs_space(d) ? d->entry.size : 0;
}

/* A regular file that is in the backup too. */
static void
count_file(delta *d, omb_space *space, const char *source,
		   const struct stat *st)
{
	uint64_t has = st->st_nlink == 1 ? (uint64_t) st->st_blocks * 512 : 0;

	if (omb_patch_looks_same(&d->entry, source))
	{
		d->result->files_same++;
		d->result->bytes_same += d->entry.size;
		return;
	}
	d->result->files_changed++;
	d->result->bytes_changed += d->entry.size;
	if (d->entry.size > has && needs_space(d))
		space->bytes += d->entry.size - has;
}

/* Is this directory the place of a tablespace, which has a link too? */
static bool
is_space(const delta *d, const struct stat *st)
{
	struct stat other;
	size_t i;

	for (i = 1; i < d->config->spaces->count; i++)
	{
		if (stat(d->config->spaces->item[i].path, &other) == 0 &&
			other.st_dev == st->st_dev && other.st_ino == st->st_ino)
			return true;
	}
	return false;
}

/* Does the link of a tablespace lead to where the tablespace goes? */
static bool
link_fits(const delta *d, const char *path, const char *source)
{
	const char *rest;
	const omb_space *space = omb_spaces_find(d->config->spaces, path, &rest);
	struct stat st, other;

	return stat(source, &st) == 0 && stat(space->path, &other) == 0 &&
		   st.st_dev == other.st_dev && st.st_ino == other.st_ino;
}

static omb_status compare_directory(delta *d, const char *path, dev_t device,
									omb_error *err);

/* Something that is not in the backup. */
static omb_status
handle_extra(delta *d, const char *path, const char *source,
			 const struct stat *st, dev_t device, omb_error *err)
{
	const char *rest;
	omb_space *space = omb_spaces_find(d->config->spaces, path, &rest);

	if (S_ISDIR(st->st_mode) && is_space(d, st))
		return OMB_OK;
	if (S_ISLNK(st->st_mode) && strncmp(path, "pg_tblspc/", 10) == 0 &&
		strchr(path + 10, '/') == NULL)
		return remove_tablespace(d, source, device, err);
	return remove_extra(d, space, source, device, err);
}

/* Something whose name is in the backup. */
static omb_status
handle_both(delta *d, const char *path, const char *source,
			const struct stat *st, dev_t device, omb_error *err)
{
	const char *rest;
	omb_space *space = omb_spaces_find(d->config->spaces, path, &rest);
	omb_entry_type type = d->entry.type;

	if (type == OMB_ENTRY_FILE && S_ISREG(st->st_mode))
	{
		count_file(d, space, source, st);
		return next_entry(d, err);
	}
	if ((type == OMB_ENTRY_DIRECTORY && S_ISDIR(st->st_mode)) ||
		(type == OMB_ENTRY_LINK && S_ISLNK(st->st_mode) &&
		 link_fits(d, path, source)))
	{
		if (next_entry(d, err) == OMB_OK)
			(void) compare_directory(d, path, st->st_dev, err);
		return err->status;
	}
	/* of another kind; of a link only the link is removed */
	if (remove_extra(d, space, source, device, err) != OMB_OK)
		return err->status;
	count_missing(d);
	return next_entry(d, err);
}

static omb_status
compare_name(delta *d, const char *path, const char *source, dev_t device,
			 omb_error *err)
{
	struct stat st;
	int order = -1;

	while (!d->end &&
		   (order = omb_manifest_compare(OMB_ROOT_PGDATA, d->entry.path,
										 OMB_ROOT_PGDATA, path)) < 0)
	{
		count_missing(d);
		if (next_entry(d, err) != OMB_OK)
			return err->status;
	}
	if (lstat(source, &st) != 0)
		/* gone meanwhile */
		return errno == ENOENT ?
				   OMB_OK :
				   omb_error_set_errno(err, errno,
									   "could not stat file \"%s\"", source);
	if (!d->end && order == 0)
		return handle_both(d, path, source, &st, device, err);
	return handle_extra(d, path, source, &st, device, err);
}

/* Names that are none of the backup's business. */
static bool
is_foreign(const delta *d, const char *path, const char *name)
{
	const char *rest;
	const omb_space *space = omb_spaces_find(d->config->spaces, path, &rest);

	if (path[0] == '\0')
		return strcmp(name, "lost+found") == 0;
	if (strcmp(path, "global") == 0)
		return strcmp(name, strrchr(OMB_CONTROL_PATH, '/') + 1) == 0;
	return space->oid != NULL && rest[0] == '\0' &&
		   strcmp(name, d->version) != 0;
}

/* path is in the backup and a directory, or the link to one. */
static omb_status
compare_directory(delta *d, const char *path, dev_t device, omb_error *err)
{
	char *source = omb_spaces_locate(d->config->spaces, path);
	struct stat st;
	names list;
	size_t i;

	/* of a tablespace another file system than that of the link */
	if (stat(source, &st) == 0)
		device = st.st_dev;
	(void) names_read(source, &list, err);
	for (i = 0; i < list.count && err->status == OMB_OK; i++)
	{
		char *inner = path[0] == '\0' ?
						  omb_strdup(list.item[i]) :
						  omb_format("%s/%s", path, list.item[i]);
		char *inner_source = omb_format("%s/%s", source, list.item[i]);

		if (!is_foreign(d, path, list.item[i]))
			(void) compare_name(d, inner, inner_source, device, err);
		free(inner_source);
		free(inner);
	}
	names_free(&list);
	free(source);
	return err->status;
}

char *
omb_version_folder(const omb_backup_info *info)
{
	return omb_format("PG_%u_%u", info->pg_version / 10000,
					  info->catalog_version);
}

omb_status
omb_delta_compare(const omb_delta_config *config, omb_delta_result *result,
				  omb_error *err)
{
	delta d;

	memset(result, 0, sizeof(*result));
	memset(&d, 0, sizeof(d));
	d.config = config;
	d.result = result;
	d.version = omb_version_folder(&config->manifest->info);
	if (next_entry(&d, err) == OMB_OK)
	{
		if (d.end || d.entry.path[0] != '\0')
			(void) omb_error_set(err, OMB_DAMAGED,
								 "the backup does not begin with the data "
								 "directory");
		else if (next_entry(&d, err) == OMB_OK)
			(void) compare_directory(&d, "", 0, err);
	}
	while (err->status == OMB_OK && !d.end)
	{
		count_missing(&d);
		(void) next_entry(&d, err);
	}
	omb_entry_clear(&d.entry);
	free(d.version);
	return err->status;
}
