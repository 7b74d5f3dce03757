/*
 * files.c: the application's files of a backup.
 *
 * Wherever it is in doubt whether files are gone or cannot be seen just now,
 * the parent's are taken over: a disk that is not mounted must not look as if
 * all files had been deleted.
 */
#include "task/backup/files.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct omb_files
{
	const omb_files_config *config;
	const omb_file_set **sorted;
	int *fd;
	size_t fd_count;
	struct stat avoid[2];
	size_t avoid_count;
} omb_files;

static void __attribute__((format(printf, 2, 3)))
warn(const omb_files *files, const char *fmt, ...)
{
	char message[1024];
	va_list args;

	va_start(args, fmt);
	(void) vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	files->config->warn(message, files->config->arg);
}

static int
compare_sets(const void *a, const void *b)
{
	return omb_manifest_compare(
		OMB_ROOT_FILES, (*(const omb_file_set *const *) a)->name,
		OMB_ROOT_FILES, (*(const omb_file_set *const *) b)->name);
}

/* Is the path, as it really is, at or below another? */
static bool
is_inside(const char *path, const char *other)
{
	char *inner = realpath(path, NULL);
	char *outer = other ? realpath(other, NULL) : NULL;
	size_t len = outer ? strlen(outer) : 0;
	bool inside = inner != NULL && outer != NULL &&
				  strncmp(inner, outer, len) == 0 &&
				  (inner[len] == '/' || inner[len] == '\0');

	free(inner);
	free(outer);
	return inside;
}

/* Do without a set: keep what the parent has of it, and say why. */
static omb_status
keep_set(omb_files *files, const omb_file_set *set, const char *why,
		 omb_error *err)
{
	uint64_t kept;

	if (omb_gather_keep(files->config->gather, set->name, &kept, err) !=
		OMB_OK)
		return err->status;
	if (kept > 0)
		warn(files,
			 "file set \"%s\" was not backed up: %s; its %" PRIu64
			 " files of the last backup are kept",
			 set->name, why, kept);
	else
		warn(files, "file set \"%s\" was not backed up: %s", set->name, why);
	return OMB_OK;
}

static omb_status
unreadable(const char *path, const char *source, int errnum, void *arg,
		   omb_error *err)
{
	omb_files *files = arg;
	uint64_t kept;
	char *fmt;

	if (omb_gather_keep(files->config->gather, path, &kept, err) != OMB_OK)
		return err->status;
	fmt = kept > 0 ?
			  omb_format("could not read \"%%s\": %s; kept as it was",
						 strerror(errnum)) :
			  omb_format("could not read \"%%s\": %s", strerror(errnum));
	omb_gather_warn_file(files->config->gather, fmt, source);
	free(fmt);
	return OMB_OK;
}

static omb_status
visit_item(const omb_walk_item *item, void *arg, omb_error *err)
{
	omb_files *files = arg;

	return omb_gather_visit(item, files->config->gather, err);
}

static void
warn_file(const char *fmt, const char *path, void *arg)
{
	omb_files *files = arg;

	omb_gather_warn_file(files->config->gather, fmt, path);
}

/* A set whose directory is open. */
static omb_status
walk_set(omb_files *files, const omb_file_set *set, int fd, omb_error *err)
{
	omb_file_walk_config walk;
	omb_walk_item top;
	uint64_t found = 0, kept = 0;

	memset(&top, 0, sizeof(top));
	top.type = OMB_ENTRY_DIRECTORY;
	top.root = OMB_ROOT_FILES;
	top.path = set->name;
	top.source = set->path;
	top.directory = fd;
	if (fstat(fd, &top.st) != 0)
		return keep_set(files, set, strerror(errno), err);
	memset(&walk, 0, sizeof(walk));
	walk.set = set;
	walk.directory = fd;
	walk.avoid = files->avoid;
	walk.avoid_count = files->avoid_count;
	walk.visit = visit_item;
	walk.unreadable = unreadable;
	walk.warn = warn_file;
	walk.arg = files;
	if (visit_item(&top, files, err) != OMB_OK ||
		omb_file_walk(&walk, &found, err) != OMB_OK || found > 0)
		return err->status;
	if (omb_gather_keep(files->config->gather, set->name, &kept, err) ==
			OMB_OK &&
		kept > 0)
		warn(files,
			 "file set \"%s\" was not backed up: directory \"%s\" is empty, "
			 "but was not before; its %" PRIu64
			 " files of the last backup are kept; is its disk mounted? If "
			 "they were removed on purpose, take one backup without the set",
			 set->name, set->path, kept);
	return err->status;
}

static omb_status
gather_set(omb_files *files, const omb_file_set *set, omb_error *err)
{
	const omb_files_config *config = files->config;
	char *why;
	int fd;

	if (is_inside(set->path, config->pgdata))
		return keep_set(files, set, "it is in the data directory", err);
	if (is_inside(set->path, config->repository))
		return keep_set(files, set, "it is in the repository", err);
	fd = open(set->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
	{
		why = omb_format("could not open directory \"%s\": %s", set->path,
						 strerror(errno));
		(void) keep_set(files, set, why, err);
		free(why);
		return err->status;
	}
	files->fd[files->fd_count++] = fd;
	return walk_set(files, set, fd, err);
}

/* A directory that is never entered. */
static void
avoid(omb_files *files, const char *path)
{
	if (path != NULL && stat(path, &files->avoid[files->avoid_count]) == 0)
		files->avoid_count++;
}

omb_status
omb_files_gather(const omb_files_config *config, omb_error *err)
{
	uint64_t told = omb_gather_file_warnings(config->gather);
	omb_files files;
	size_t i;

	memset(&files, 0, sizeof(files));
	files.config = config;
	files.fd = omb_calloc(config->count, sizeof(int));
	files.sorted = omb_calloc(config->count, sizeof(*files.sorted));
	for (i = 0; i < config->count; i++)
		files.sorted[i] = &config->set[i];
	if (config->count > 0)
		qsort(files.sorted, config->count, sizeof(*files.sorted),
			  compare_sets);
	avoid(&files, config->pgdata);
	avoid(&files, config->repository);
	config->info->file_sets = config->count;
	config->info->files_start_time = omb_time_now();
	for (i = 0; i < config->count && err->status == OMB_OK; i++)
	{
		if (i > 0 &&
			strcmp(files.sorted[i]->name, files.sorted[i - 1]->name) == 0)
			(void) omb_error_set(err, OMB_USAGE,
								 "there are two file sets \"%s\"",
								 files.sorted[i]->name);
		else if (omb_file_set_check(files.sorted[i], err) == OMB_OK)
			(void) gather_set(&files, files.sorted[i], err);
	}
	/* units under way need the directories */
	if (err->status == OMB_OK)
		(void) omb_gather_drain(config->gather, err);
	told = omb_gather_file_warnings(config->gather) - told;
	if (err->status == OMB_OK && told > OMB_GATHER_FILE_WARNINGS)
		warn(&files, "%" PRIu64 " more files could not be backed up well",
			 told - OMB_GATHER_FILE_WARNINGS);
	config->info->files_stop_time = omb_time_now();
	/* after a failure the process ends, and what is open with it */
	for (i = 0; i < files.fd_count && err->status == OMB_OK; i++)
		(void) close(files.fd[i]);
	free(files.fd);
	free(files.sorted);
	return err->status;
}
