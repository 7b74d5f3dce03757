/*
 * filewalk.c: finding the files of a set.
 *
 * A directory is read completely, sorted and closed before what is in it is
 * visited; it is open again for its own names only while none below it is
 * visited. So one descriptor is enough for any depth. Everything is opened
 * below the set's directory without following links.
 */
#include "task/backup/filewalk.h"

#include "base/file.h"
#include "base/glob.h"
#include "task/backup/listing.h"
#include "task/backup/sqlitecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longer paths are not opened by the system, nor read from a manifest. */
#define PATH_BYTES_MAX 4000

typedef struct walker
{
	const omb_file_walk_config *config;
	size_t root_len; /* of the set's path and the slash behind it */
	uint64_t found;
} walker;

/* ---- checks ---- */

static bool
is_plain(const char *text)
{
	const unsigned char *p;

	for (p = (const unsigned char *) text; *p != 0; p++)
	{
		if (*p < 0x20 || *p == 0x7f)
			return false;
	}
	return true;
}

omb_status
omb_file_set_check(const omb_file_set *set, omb_error *err)
{
	size_t i;

	if (set->name[0] == '\0' || strlen(set->name) > OMB_FILE_SET_NAME_MAX ||
		strchr(set->name, '/') != NULL || !is_plain(set->name) ||
		!omb_path_is_safe(set->name))
		return omb_error_set(err, OMB_USAGE,
							 "invalid name of a file set: \"%s\"", set->name);
	if (set->path[0] != '/' || strlen(set->path) >= PATH_MAX)
		return omb_error_set(err, OMB_USAGE,
							 "path \"%s\" of file set \"%s\" is not absolute",
							 set->path, set->name);
	if (set->exclude_count > OMB_FILE_EXCLUDES_MAX)
		return omb_error_set(err, OMB_USAGE,
							 "file set \"%s\" has too many excludes",
							 set->name);
	for (i = 0; i < set->exclude_count; i++)
	{
		if (!omb_glob_valid(set->exclude[i]))
			return omb_error_set(err, OMB_USAGE,
								 "invalid pattern \"%s\" of file set \"%s\"",
								 set->exclude[i], set->name);
	}
	return OMB_OK;
}

/* ---- databases of SQLite ---- */

static const char *const sqlite_logs[] = { "-wal", "-shm", "-journal" };

static bool
has_sqlite_log(const omb_listing *list, const char *name)
{
	bool found = false;
	size_t i;

	for (i = 0; i < 3 && !found; i++)
	{
		char *log = omb_format("%s%s", name, sqlite_logs[i]);

		found = omb_listing_has(list, log);
		free(log);
	}
	return found;
}

/* Is a file in an open directory a database? */
static bool
is_sqlite(int directory, const char *name)
{
	int fd = openat(directory, name,
					O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool is = fd >= 0 && omb_sqlite_is(fd);

	if (fd >= 0)
		(void) close(fd);
	return is;
}

/* Is it the log of a database that is in the same directory? */
static bool
is_sqlite_log(const omb_listing *list, int directory, const char *name)
{
	size_t len = strlen(name);
	bool found = false;
	size_t i;

	for (i = 0; i < 3 && !found; i++)
	{
		size_t end = strlen(sqlite_logs[i]);
		char *database;

		if (len <= end || strcmp(name + len - end, sqlite_logs[i]) != 0)
			continue;
		database = omb_format("%.*s", (int) (len - end), name);
		found =
			omb_listing_has(list, database) && is_sqlite(directory, database);
		free(database);
	}
	return found;
}

/* ---- walking ---- */

static bool
is_excluded(const walker *w, const char *below)
{
	const omb_file_set *set = w->config->set;
	size_t i;

	for (i = 0; i < set->exclude_count; i++)
	{
		if (omb_glob_match(set->exclude[i], below))
			return true;
	}
	return false;
}

static bool
is_avoided(const walker *w, const struct stat *st)
{
	size_t i;

	for (i = 0; i < w->config->avoid_count; i++)
	{
		if (w->config->avoid[i].st_dev == st->st_dev &&
			w->config->avoid[i].st_ino == st->st_ino)
			return true;
	}
	return false;
}

static omb_status
visit(walker *w, omb_walk_item *item, const char *below, const char *source,
	  omb_error *err)
{
	char *path = omb_format("%s/%s", w->config->set->name, below);

	item->root = OMB_ROOT_FILES;
	item->path = path;
	item->source = source;
	item->directory = w->config->directory;
	item->below = w->root_len;
	w->found++;
	(void) w->config->visit(item, w->config->arg, err);
	free(path);
	return err->status;
}

static omb_status
tell_unreadable(walker *w, const char *below, const char *source, int errnum,
				omb_error *err)
{
	char *path = omb_format("%s/%s", w->config->set->name, below);

	(void) w->config->unreadable(path, source, errnum, w->config->arg, err);
	free(path);
	return err->status;
}

static omb_status walk_directory(walker *w, const char *below,
								 const char *source, const struct stat *st,
								 omb_error *err);

/*
 * One name in an open directory; *entered when it is a directory, for which
 * the caller closes this one first.
 */
static omb_status
visit_name(walker *w, const omb_listing *list, int directory, const char *name,
		   const char *below, const char *source, struct stat *st,
		   bool *entered, omb_error *err)
{
	omb_walk_item item;
	char target[PATH_MAX];
	ssize_t len;

	*entered = false;
	memset(&item, 0, sizeof(item));
	if (fstatat(directory, name, &item.st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? OMB_OK :
								 tell_unreadable(w, below, source, errno, err);
	*st = item.st;
	if (S_ISDIR(st->st_mode))
	{
		*entered = true;
		return OMB_OK;
	}
	if (S_ISLNK(st->st_mode))
	{
		len = readlinkat(directory, name, target, sizeof(target) - 1);
		if (len < 0)
			return OMB_OK; /* it has vanished */
		target[len] = '\0';
		item.type = OMB_ENTRY_LINK;
		item.target = target;
		/* links have no mode of their own, on this system */
		item.st.st_mode = 0777;
		return visit(w, &item, below, source, err);
	}
	if (!S_ISREG(st->st_mode))
	{
		w->config->warn("skipped special file \"%s\"", source, w->config->arg);
		return OMB_OK;
	}
	item.type = OMB_ENTRY_FILE;
	item.in_use = has_sqlite_log(list, name) && is_sqlite(directory, name);
	item.is_log = is_sqlite_log(list, directory, name);
	return visit(w, &item, below, source, err);
}

static omb_status
walk_names(walker *w, const char *below, const char *source,
		   const omb_listing *list, omb_error *err)
{
	int directory = -1;
	size_t i;

	for (i = 0; i < list->count && err->status == OMB_OK; i++)
	{
		const char *name = list->name[i];
		char *inner, *inner_source;
		struct stat st;
		bool entered = false;

		if (directory < 0)
			directory = omb_open_below(w->config->directory, below,
									   O_RDONLY | O_DIRECTORY, 0);
		if (directory < 0)
			break; /* it has vanished */
		inner = below[0] == '\0' ? omb_strdup(name) :
								   omb_format("%s/%s", below, name);
		inner_source = omb_format("%s/%s", source, name);
		if (is_excluded(w, inner))
			;
		else if (strlen(inner_source) > PATH_BYTES_MAX)
			w->config->warn("skipped \"%s\", whose path is too long",
							inner_source, w->config->arg);
		else
			(void) visit_name(w, list, directory, name, inner, inner_source,
							  &st, &entered, err);
		if (entered && is_avoided(w, &st))
			w->config->warn("skipped \"%s\", which is the data directory or "
							"the repository",
							inner_source, w->config->arg);
		else if (entered)
		{
			(void) close(directory);
			directory = -1;
			(void) walk_directory(w, inner, inner_source, &st, err);
		}
		free(inner);
		free(inner_source);
	}
	if (directory >= 0)
		(void) close(directory);
	return err->status;
}

static omb_status
walk_directory(walker *w, const char *below, const char *source,
			   const struct stat *st, omb_error *err)
{
	omb_walk_item item;
	omb_listing list;
	omb_error problem = OMB_ERROR_INIT;
	int fd =
		omb_open_below(w->config->directory, below, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return OMB_OK; /* it has vanished */
	if (below[0] != '\0')
	{
		int saved = errno;

		memset(&item, 0, sizeof(item));
		item.type = OMB_ENTRY_DIRECTORY;
		item.st = *st;
		if (visit(w, &item, below, source, err) != OMB_OK)
		{
			if (fd >= 0)
				(void) close(fd);
			return err->status;
		}
		errno = saved;
	}
	if (fd < 0)
		return tell_unreadable(w, below, source, errno, err);
	if (omb_listing_read(fd, source, &list, &problem) != OMB_OK)
		return tell_unreadable(w, below, source, EIO, err);
	(void) walk_names(w, below, source, &list, err);
	omb_listing_free(&list);
	return err->status;
}

omb_status
omb_file_walk(const omb_file_walk_config *config, uint64_t *found,
			  omb_error *err)
{
	walker w;
	struct stat st;

	memset(&w, 0, sizeof(w));
	w.config = config;
	w.root_len = strlen(config->set->path) + 1;
	memset(&st, 0, sizeof(st));
	(void) walk_directory(&w, "", config->set->path, &st, err);
	*found = w.found;
	return err->status;
}
