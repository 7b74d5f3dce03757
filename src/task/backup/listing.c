/*
 * listing.c: the names in a directory, sorted, in one piece of memory.
 */
#include "task/backup/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

void
omb_listing_free(omb_listing *list)
{
	omb_buf_free(&list->text);
	free(list->offset);
	free(list->name);
	memset(list, 0, sizeof(*list));
}

omb_status
omb_listing_read(int fd, const char *path, omb_listing *list, omb_error *err)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	size_t i;

	memset(list, 0, sizeof(*list));
	if (dir == NULL)
	{
		(void) omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
		(void) close(fd);
		return err->status;
	}
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
	{
		if (strcmp(entry->d_name, ".") == 0 ||
			strcmp(entry->d_name, "..") == 0)
			continue;
		if (list->count == list->cap)
		{
			list->cap = list->cap ? 2 * list->cap : 64;
			list->offset =
				omb_realloc(list->offset, list->cap * sizeof(size_t));
		}
		list->offset[list->count++] = list->text.len;
		omb_buf_put(&list->text, entry->d_name, strlen(entry->d_name) + 1);
	}
	if (errno != 0)
		(void) omb_error_set_errno(err, errno,
								   "could not read directory \"%s\"", path);
	(void) closedir(dir);
	list->name = omb_calloc(list->count, sizeof(char *));
	for (i = 0; i < list->count; i++)
		list->name[i] = (const char *) list->text.data + list->offset[i];
	free(list->offset);
	list->offset = NULL;
	if (list->count > 0)
		qsort(list->name, list->count, sizeof(char *), compare_names);
	if (err->status != OMB_OK)
		omb_listing_free(list);
	return err->status;
}

omb_status
omb_listing_open(const char *path, omb_listing *list, bool *vanished,
				 omb_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(list, 0, sizeof(*list));
	*vanished = fd < 0 && errno == ENOENT;
	if (*vanished)
		return OMB_OK;
	if (fd < 0)
		return omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	return omb_listing_read(fd, path, list, err);
}

bool
omb_listing_has(const omb_listing *list, const char *name)
{
	return list->count > 0 && bsearch(&name, list->name, list->count,
									  sizeof(char *), compare_names) != NULL;
}
