/*
 * target.c: the store that a repository is mirrored to, before it is used.
 */
#include "program/target.h"

#include "base/file.h"
#include "store/url.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

omb_status
omb_target_make(const char *location, omb_error *err)
{
	char *path = omb_url_directory(location);
	char *parent;
	struct stat st;

	if (path != NULL && stat(path, &st) != 0)
	{
		parent = omb_path_parent(path);
		if (stat(parent, &st) != 0)
		{
			(void) omb_error_set(err, OMB_FAILED,
								 "directory \"%s\" does not exist", parent);
			omb_error_hint(err, "Check that the disk or share of the target "
								"is mounted.");
		}
		else if (omb_directory_create(path, 0700, err) == OMB_OK)
			(void) omb_directory_sync(parent, err);
		free(parent);
	}
	free(path);
	return err->status;
}

omb_status
omb_target_check_different(const omb_store *from, const omb_store *to,
						   omb_error *err)
{
	struct stat a, b;
	bool same = strcmp(from->location, to->location) == 0;

	if (from->directory != NULL && to->directory != NULL &&
		stat(from->directory, &a) == 0 && stat(to->directory, &b) == 0)
		same = a.st_dev == b.st_dev && a.st_ino == b.st_ino;
	if (same)
		return omb_error_set(err, OMB_USAGE,
							 "\"%s\" cannot be mirrored to itself",
							 from->location);
	return OMB_OK;
}
