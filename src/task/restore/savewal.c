/*
 * savewal.c: keeping WAL that is nowhere else before pg_wal is emptied.
 *
 * After a crash the newest segments, at least the last one, were not archived:
 * with them recovery gets to the last commit. Segments that the server made
 * for later use have the content of older ones, which their header shows.
 */
#include "task/restore/savewal.h"

#include "base/file.h"
#include "pgfmt/walname.h"
#include "pgfmt/walsegment.h"
#include "task/wal/walrange.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A segment of this cluster with its own content, not in the repository? */
static omb_status
is_only_copy(omb_wal_finder *finder, const omb_backup_info *info,
			 const char *path, const char *file, bool *only, omb_error *err)
{
	uint8_t header[OMB_WAL_HEADER_SIZE];
	omb_error problem = OMB_ERROR_INIT;
	omb_wal_listed found;
	omb_wal_name name;
	int fd;

	*only = false;
	if (omb_wal_name_parse(file, &name) != OMB_WAL_SEGMENT)
		return OMB_OK;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
	if (omb_read_full(fd, header, sizeof(header)) == sizeof(header) &&
		omb_wal_header_check(header, sizeof(header), file,
							 info->wal_segment_size, info->system_identifier,
							 &problem) == OMB_OK)
	{
		*only = omb_wal_finder_find(finder, file, &found, &problem) ==
				OMB_NOT_FOUND;
		if (problem.status != OMB_OK && problem.status != OMB_NOT_FOUND &&
			problem.status != OMB_EXISTS)
			*err = problem;
	}
	(void) close(fd);
	return err->status;
}

/* A name is taken when an earlier restore saved a file of that name. */
static omb_status
move(const char *path, const char *directory, const char *file, omb_error *err)
{
	char *target = omb_format("%s/%s", directory, file);
	int i;

	if (omb_directory_create(directory, 0700, err) == OMB_OK)
	{
		for (i = 1; access(target, F_OK) == 0; i++)
		{
			free(target);
			target = omb_format("%s/%s.%d", directory, file, i);
		}
		if (rename(path, target) != 0)
		{
			(void) omb_error_set_errno(err, errno,
									   "could not move file \"%s\" to \"%s\"",
									   path, target);
			omb_error_hint(err, "It is the only copy of that WAL. Copy "
								"directory pg_wal to another place and remove "
								"what is in it.");
		}
	}
	free(target);
	return err->status;
}

omb_status
omb_save_wal(omb_repository *repo, const omb_backup_info *info,
			 const char *pgdata, const char *directory, bool apply,
			 uint64_t *count, omb_error *err)
{
	char *folder = omb_format("%s/pg_wal", pgdata);
	char *parent = omb_path_parent(directory);
	omb_wal_finder *finder = omb_wal_finder_new(repo);
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	*count = 0;
	dir = lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) ? opendir(folder) :
														   NULL;
	while (dir != NULL && err->status == OMB_OK &&
		   (entry = readdir(dir)) != NULL)
	{
		char *path = omb_format("%s/%s", folder, entry->d_name);
		bool only;

		if (is_only_copy(finder, info, path, entry->d_name, &only, err) ==
				OMB_OK &&
			only)
		{
			++*count;
			if (apply)
				(void) move(path, directory, entry->d_name, err);
		}
		free(path);
	}
	if (dir != NULL)
		(void) closedir(dir);
	if (apply && *count > 0 && err->status == OMB_OK &&
		omb_directory_sync(directory, err) == OMB_OK)
		(void) omb_directory_sync(parent, err);
	omb_wal_finder_free(finder);
	free(parent);
	free(folder);
	return err->status;
}
