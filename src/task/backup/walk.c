/*
 * walk.c: finding what belongs to a base backup.
 *
 * A directory is read completely, sorted, and closed before its entries are
 * visited: one descriptor at a time, and the order of a manifest. Memory
 * grows with the largest directory only. What vanishes meanwhile was dropped
 * by the server and is left to WAL replay.
 */
#include "task/backup/walk.h"

#include "base/file.h"
#include "pgfmt/basebackup.h"
#include "pgfmt/relfile.h"
#include "task/backup/listing.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct walker
{
	const omb_walk_config *config;
	char version_directory[32]; /* "PG_15_202209061" */
	char **tablespace;			/* real paths, to not copy one twice */
	size_t tablespace_count;
} walker;

/*
 * The non-init forks of an unlogged relation are left out: its init fork,
 * which is copied, replaces them after a crash and so after a restore.
 */
static bool
is_unlogged(const omb_listing *list, const omb_relfile *relfile)
{
	char init[32];

	if (relfile->fork == OMB_FORK_INIT)
		return false;
	(void) snprintf(init, sizeof(init), "%u_init", relfile->relnumber);
	return omb_listing_has(list, init);
}

static void
warn(const walker *w, const char *fmt, const char *path)
{
	char *message;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	message = omb_format(fmt, path);
#pragma GCC diagnostic pop
	w->config->warn(message, w->config->warn_arg);
	free(message);
}

static omb_status
visit(const walker *w, omb_walk_item *item, const char *path,
	  const char *source, omb_error *err)
{
	item->path = path;
	item->source = source;
	return w->config->visit(item, w->config->arg, err);
}

static omb_status walk_directory(walker *w, const char *path,
								 const struct stat *st, omb_error *err);

/* A directory that is kept without what is in it, but for some. */
static omb_status
visit_emptied(walker *w, const char *path, const struct stat *st,
			  omb_error *err)
{
	/* sorted; "summaries" is of version 17 and later */
	static const char *const kept[] = { "pg_wal/archive_status",
										"pg_wal/summaries" };
	omb_walk_item item;
	char *source = omb_format("%s/%s", w->config->pgdata, path);
	size_t i;

	memset(&item, 0, sizeof(item));
	item.type = OMB_ENTRY_DIRECTORY;
	item.st = *st;
	(void) visit(w, &item, path, source, err);
	free(source);
	for (i = 0; i < 2 && err->status == OMB_OK && strcmp(path, "pg_wal") == 0;
		 i++)
	{
		source = omb_format("%s/%s", w->config->pgdata, kept[i]);
		if (stat(source, &item.st) == 0)
			(void) visit(w, &item, kept[i], source, err);
		free(source);
	}
	return err->status;
}

/* An entry of pg_tblspc: the link and the part that is this version's. */
static omb_status
visit_tablespace(walker *w, const char *path, const char *source,
				 const struct stat *st, omb_error *err)
{
	omb_walk_item item;
	char target[PATH_MAX];
	ssize_t len;
	char *inside = omb_format("%s/%s", path, w->version_directory);
	char *inside_source = omb_format("%s/%s", source, w->version_directory);

	memset(&item, 0, sizeof(item));
	item.type = OMB_ENTRY_DIRECTORY;
	item.st = *st;
	if (S_ISLNK(st->st_mode))
	{
		len = readlink(source, target, sizeof(target) - 1);
		if (len < 0 && errno == ENOENT)
			goto done;
		if (len < 0)
		{
			(void) omb_error_set_errno(
				err, errno, "could not read symbolic link \"%s\"", source);
			goto done;
		}
		target[len] = '\0';
		item.type = OMB_ENTRY_LINK;
		item.target = target;
		/* the mode of the directory, which is what a restore makes */
		if (stat(source, &item.st) != 0)
		{
			if (errno != ENOENT)
				(void) omb_error_set_errno(
					err, errno, "could not stat directory \"%s\"", target);
			goto done;
		}
	}
	if (visit(w, &item, path, source, err) == OMB_OK &&
		stat(inside_source, &item.st) == 0)
		(void) walk_directory(w, inside, &item.st, err);

done:
	free(inside);
	free(inside_source);
	return err->status;
}

/* A regular file; relation files of no use to a restore are left out. */
static omb_status
visit_file(walker *w, const omb_listing *list, const char *directory,
		   const char *name, const char *path, const char *source,
		   const struct stat *st, omb_error *err)
{
	omb_walk_item item;
	omb_relfile relfile;
	uint32_t tablespace, database;

	memset(&item, 0, sizeof(item));
	item.type = OMB_ENTRY_FILE;
	item.st = *st;
	if (omb_relfile_directory(directory, &tablespace, &database) &&
		omb_relfile_parse(name, &relfile))
	{
		if (relfile.is_temporary || is_unlogged(list, &relfile))
			return OMB_OK;
		item.is_relation = true;
		item.first_block = relfile.segno * w->config->segment_blocks;
	}
	return visit(w, &item, path, source, err);
}

/* Whether a directory is the place of a tablespace, which has a link too. */
static bool
is_tablespace(const walker *w, const char *source)
{
	char *real = realpath(source, NULL);
	bool found = false;
	size_t i;

	for (i = 0; i < w->tablespace_count && real != NULL; i++)
		found = found || strcmp(w->tablespace[i], real) == 0;
	free(real);
	return found;
}

/* One name in a directory. */
static omb_status
visit_name(walker *w, const omb_listing *list, const char *directory,
		   const char *name, omb_error *err)
{
	char *path = directory[0] == '\0' ? omb_strdup(name) :
										omb_format("%s/%s", directory, name);
	char *source = omb_format("%s/%s", w->config->pgdata, path);
	struct stat st;

	if (lstat(source, &st) != 0)
	{
		if (errno != ENOENT)
			(void) omb_error_set_errno(err, errno,
									   "could not stat file \"%s\"", source);
	}
	else if (strcmp(directory, "pg_tblspc") == 0 &&
			 (S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode)))
	{
		/* other names are not the server's */
		if (strspn(name, "0123456789") == strlen(name))
			(void) visit_tablespace(w, path, source, &st, err);
		else
			warn(w, "skipped \"%s\", which is not a tablespace", path);
	}
	else if (omb_exclude_contents(path) &&
			 (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)))
	{
		if (stat(source, &st) == 0 && S_ISDIR(st.st_mode))
			(void) visit_emptied(w, path, &st, err);
	}
	else if (omb_exclude_file(name) || strcmp(path, "global/pg_control") == 0)
		;
	else if (S_ISDIR(st.st_mode))
	{
		if (!is_tablespace(w, source))
			(void) walk_directory(w, path, &st, err);
	}
	else if (S_ISREG(st.st_mode))
		(void) visit_file(w, list, directory, name, path, source, &st, err);
	else if (S_ISLNK(st.st_mode) && stat(source, &st) == 0 &&
			 S_ISREG(st.st_mode))
		(void) visit_file(w, list, directory, name, path, source, &st, err);
	else
		warn(w, "skipped special file \"%s\"", path);
	free(path);
	free(source);
	return err->status;
}

static omb_status
walk_directory(walker *w, const char *path, const struct stat *st,
			   omb_error *err)
{
	char *source = path[0] == '\0' ?
					   omb_strdup(w->config->pgdata) :
					   omb_format("%s/%s", w->config->pgdata, path);
	omb_walk_item item;
	omb_listing list;
	bool vanished;
	size_t i;

	if (omb_listing_open(source, &list, &vanished, err) == OMB_OK && !vanished)
	{
		memset(&item, 0, sizeof(item));
		item.type = OMB_ENTRY_DIRECTORY;
		item.st = *st;
		(void) visit(w, &item, path, source, err);
		for (i = 0; i < list.count && err->status == OMB_OK; i++)
			(void) visit_name(w, &list, path, list.name[i], err);
		omb_listing_free(&list);
	}
	free(source);
	return err->status;
}

/* Note where tablespaces are, so that one inside pgdata is taken once. */
static omb_status
find_tablespaces(walker *w, omb_error *err)
{
	char *path = omb_format("%s/pg_tblspc", w->config->pgdata);
	omb_listing list;
	bool vanished;
	size_t i;

	if (omb_listing_open(path, &list, &vanished, err) == OMB_OK && !vanished)
	{
		w->tablespace = omb_calloc(list.count, sizeof(char *));
		for (i = 0; i < list.count; i++)
		{
			char *link = omb_format("%s/%s", path, list.name[i]);
			struct stat st;

			if (lstat(link, &st) == 0 && S_ISLNK(st.st_mode))
			{
				char *real = realpath(link, NULL);

				if (real != NULL)
					w->tablespace[w->tablespace_count++] = real;
			}
			free(link);
		}
		omb_listing_free(&list);
	}
	free(path);
	return err->status;
}

static int
compare_paths(const void *a, const void *b)
{
	return omb_manifest_compare(OMB_ROOT_CONFIG, *(const char *const *) a,
								OMB_ROOT_CONFIG, *(const char *const *) b);
}

/* Configuration files that live outside the data directory. */
static omb_status
walk_config(walker *w, omb_error *err)
{
	size_t count = w->config->config_count;
	const char **path = omb_calloc(count, sizeof(char *));
	size_t i;

	for (i = 0; i < count; i++)
		path[i] = w->config->config_file[i] + 1;
	if (count > 0)
		qsort(path, count, sizeof(char *), compare_paths);
	for (i = 0; i < count && err->status == OMB_OK; i++)
	{
		omb_walk_item item;

		if ((i > 0 && strcmp(path[i], path[i - 1]) == 0) ||
			!omb_path_is_safe(path[i]))
			continue;
		memset(&item, 0, sizeof(item));
		item.type = OMB_ENTRY_FILE;
		item.root = OMB_ROOT_CONFIG;
		if (stat(path[i] - 1, &item.st) == 0 && S_ISREG(item.st.st_mode))
			(void) visit(w, &item, path[i], path[i] - 1, err);
		else
			warn(w, "could not read configuration file \"%s\"", path[i] - 1);
	}
	free(path);
	return err->status;
}

omb_status
omb_walk(const omb_walk_config *config, omb_error *err)
{
	walker w;
	struct stat st;
	size_t i;

	memset(&w, 0, sizeof(w));
	w.config = config;
	(void) snprintf(w.version_directory, sizeof(w.version_directory),
					"PG_%u_%u", config->pg_version / 10000,
					config->catalog_version);
	if (stat(config->pgdata, &st) != 0)
		return omb_error_set_errno(err, errno,
								   "could not stat data directory \"%s\"",
								   config->pgdata);
	if (find_tablespaces(&w, err) == OMB_OK &&
		walk_directory(&w, "", &st, err) == OMB_OK)
		(void) walk_config(&w, err);
	for (i = 0; i < w.tablespace_count; i++)
		free(w.tablespace[i]);
	free(w.tablespace);
	return err->status;
}
