/*
 * unfinished.c: journals of the packs of unfinished backups.
 */
#include "repo/unfinished.h"

#include "base/file.h"
#include "repo/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "unfinished-"

struct omb_unfinished
{
	int fd;
	char *path;
};

static char *
journal_path(const omb_repository *repo, const char *id)
{
	return omb_format("%s/" OMB_CACHE_FOLDER "/" PREFIX "%s",
					  omb_repository_directory(repo), id);
}

omb_status
omb_unfinished_begin(omb_repository *repo, const char *id,
					 omb_unfinished **out, omb_error *err)
{
	static const int flags =
		O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC;
	const char *directory = omb_repository_directory(repo);
	omb_unfinished *journal;
	char *path, *folder;
	int fd;

	*out = NULL;
	if (directory == NULL)
		return OMB_OK;
	path = journal_path(repo, id);
	fd = open(path, flags, 0600);
	if (fd < 0 && errno == ENOENT)
	{
		/* only the folder itself: a disk may have been unmounted */
		folder = omb_format("%s/" OMB_CACHE_FOLDER, directory);
		if (mkdir(folder, 0700) == 0 || errno == EEXIST)
			fd = open(path, flags, 0600);
		free(folder);
	}
	if (fd < 0)
	{
		bool exists = errno == EEXIST;

		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   path);
		if (exists)
			err->status = OMB_EXISTS;
		free(path);
		return err->status;
	}
	journal = omb_calloc(1, sizeof(*journal));
	journal->fd = fd;
	journal->path = path;
	*out = journal;
	return OMB_OK;
}

omb_status
omb_unfinished_append(omb_unfinished *journal,
					  const uint8_t sha256[OMB_SHA256_SIZE], omb_error *err)
{
	/* one write in append mode: names of several threads do not mix */
	if (journal != NULL &&
		omb_write_full(journal->fd, sha256, OMB_SHA256_SIZE) != 0)
		return omb_error_set_errno(err, errno, "could not write file \"%s\"",
								   journal->path);
	return OMB_OK;
}

void
omb_unfinished_close(omb_unfinished *journal)
{
	if (journal == NULL)
		return;
	(void) close(journal->fd);
	free(journal->path);
	free(journal);
}

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Visit one journal, unless it was removed meanwhile. */
static omb_status
visit_journal(omb_repository *repo, const char *id, omb_unfinished_visit visit,
			  void *arg, omb_error *err)
{
	char *path = journal_path(repo, id);
	struct stat st;
	int64_t changed_at;

	if (stat(path, &st) != 0)
	{
		if (errno != ENOENT)
			(void) omb_error_set_errno(err, errno,
									   "could not stat file \"%s\"", path);
		free(path);
		return err->status;
	}
	free(path);
	changed_at = (int64_t) st.st_mtim.tv_sec * 1000000 +
				 (int64_t) st.st_mtim.tv_nsec / 1000;
	return visit(id, changed_at, arg, err);
}

omb_status
omb_unfinished_list(omb_repository *repo, omb_unfinished_visit visit,
					void *arg, omb_error *err)
{
	const char *directory = omb_repository_directory(repo);
	char *path;
	DIR *dir;
	struct dirent *entry;
	char(*id)[OMB_BACKUP_ID_MAX] = NULL;
	size_t count = 0, i;

	if (directory == NULL)
		return OMB_OK;
	path = omb_format("%s/" OMB_CACHE_FOLDER, directory);
	dir = opendir(path);
	if (dir == NULL && errno != ENOENT)
		(void) omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	if (dir == NULL)
	{
		free(path);
		return err->status;
	}
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
	{
		const char *rest = entry->d_name + strlen(PREFIX);

		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 ||
			!omb_backup_id_valid(rest))
			continue;
		id = omb_realloc(id, (count + 1) * sizeof(*id));
		memcpy(id[count++], rest, strlen(rest) + 1);
	}
	if (errno != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not read directory \"%s\"", path);
	(void) closedir(dir);
	free(path);
	if (count > 0)
		qsort(id, count, sizeof(*id), compare_ids);
	for (i = 0; i < count && err->status == OMB_OK; i++)
		(void) visit_journal(repo, id[i], visit, arg, err);
	free(id);
	return err->status;
}

omb_status
omb_unfinished_read(omb_repository *repo, const char *id,
					omb_unfinished_pack visit, void *arg, omb_error *err)
{
	uint8_t names[256 * OMB_SHA256_SIZE];
	char *path;
	int fd;
	ssize_t n, i;

	if (omb_repository_directory(repo) == NULL)
		return omb_error_set(err, OMB_NOT_FOUND,
							 "repository \"%s\" keeps no journals",
							 repo->store->location);
	path = journal_path(repo, id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
	{
		bool absent = errno == ENOENT;

		(void) omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
		if (absent)
			err->status = OMB_NOT_FOUND;
		free(path);
		return err->status;
	}
	do
	{
		n = omb_read_full(fd, names, sizeof(names));
		if (n < 0)
			(void) omb_error_set_errno(err, errno,
									   "could not read file \"%s\"", path);
		/* a name that was cut short is none */
		for (i = 0; i + OMB_SHA256_SIZE <= n && err->status == OMB_OK;
			 i += OMB_SHA256_SIZE)
			(void) visit(names + i, arg, err);
	} while (n == (ssize_t) sizeof(names) && err->status == OMB_OK);
	(void) close(fd);
	free(path);
	return err->status;
}

omb_status
omb_unfinished_remove(omb_repository *repo, const char *id, omb_error *err)
{
	char *path;

	if (omb_repository_directory(repo) == NULL)
		return OMB_OK;
	path = journal_path(repo, id);
	if (unlink(path) != 0 && errno != ENOENT)
		(void) omb_error_set_errno(err, errno, "could not remove file \"%s\"",
								   path);
	free(path);
	return err->status;
}
