/*
 * gatherset.c: what is special about files of sets: keeping what the parent has
 * of them, and databases of SQLite.
 */
#include "task/backup/gatherstate.h"

#include "base/file.h"
#include "task/backup/sqlitecopy.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The parent's file as it would be in this manifest; NULL when some of it is
 * lost.
 */
omb_entry *
omb_gather_keep_entry(const omb_gather *gather, const omb_entry *old)
{
	omb_entry *kept;
	size_t i;

	if (!omb_parent_is_whole(gather->config.parent, old))
		return NULL;
	kept = omb_calloc(1, sizeof(*kept));
	*kept = *old;
	kept->path = omb_strdup(old->path);
	kept->target = old->target ? omb_strdup(old->target) : NULL;
	kept->damaged = NULL;
	kept->damaged_count = 0;
	kept->extent = NULL;
	kept->extent_count = kept->extent_cap = 0;
	for (i = 0; i < old->extent_count; i++)
	{
		omb_extent extent = omb_gather_old_extent(gather, &old->extent[i]);

		omb_entry_add_extent(kept, &extent);
	}
	return kept;
}

/* An entry of the parent's as it is; *kept counts files. */
omb_status
omb_gather_add_kept(omb_gather *gather, const omb_entry *old,
					const uint64_t *fingerprint, uint64_t *kept,
					omb_error *err)
{
	omb_entry *entry = omb_gather_keep_entry(gather, old);
	omb_copy_item *item;

	if (entry == NULL)
	{
		omb_gather_warn_file(gather,
							 "file \"%s\" cannot be kept: what the last "
							 "backup has of it is lost",
							 old->path);
		return OMB_OK;
	}
	if (omb_gather_add_item(gather, 0, omb_gather_weight(old), &item, err) ==
		OMB_OK)
	{
		memset(item, 0, sizeof(*item));
		item->entry = *entry;
		memset(entry, 0, sizeof(*entry));
		item->source = omb_strdup(item->entry.path);
		item->is_taken = true;
		if (fingerprint != NULL)
			omb_gather_keep_fingerprint(item, old, fingerprint);
		*kept += old->type == OMB_ENTRY_FILE ? 1 : 0;
	}
	omb_entry_clear(entry);
	free(entry);
	return err->status;
}

omb_status
omb_gather_keep(omb_gather *gather, const char *path, uint64_t *files,
				omb_error *err)
{
	const uint64_t *fingerprint;
	const omb_entry *old;

	*files = 0;
	while (err->status == OMB_OK &&
		   (old = omb_parent_next_below(gather->config.parent, OMB_ROOT_FILES,
										path, &fingerprint)) != NULL)
		(void) omb_gather_add_kept(gather, old, fingerprint, files, err);
	return err->status;
}

/* Sizes of databases of SQLite are multiples of this. */
#define SQLITE_PAGE_MIN 512

/* The path of an item without any link in it, in new memory; or NULL. */
static char *
real_path(const omb_walk_item *item)
{
	const char *below = item->source + item->below;
	const char *slash = strrchr(below, '/');
	char *parent =
		omb_format("%.*s", slash ? (int) (slash - below) : 0, below);
	int fd = omb_open_below(item->directory, parent, O_PATH | O_DIRECTORY, 0);
	char *link = omb_format("/proc/self/fd/%d", fd);
	char target[PATH_MAX];
	ssize_t len = fd < 0 ? -1 : readlink(link, target, sizeof(target) - 1);

	if (fd >= 0)
		(void) close(fd);
	free(link);
	free(parent);
	return len <= 0 ? NULL :
					  omb_format("%.*s/%s", (int) len, target,
								 slash ? slash + 1 : below);
}

/*
 * Of a database of SQLite a consistent copy is taken instead of the file,
 * which may change while it is read. *failed when it is one and there is no
 * copy.
 */
void
omb_gather_copy_database(omb_gather *gather, omb_walk_item *item,
						 const omb_entry *old, bool *failed)
{
	omb_error problem = OMB_ERROR_INIT;
	omb_copy_item probe;
	struct stat st;
	int fd;

	*failed = false;
	if (item->root != OMB_ROOT_FILES || item->type != OMB_ENTRY_FILE ||
		(!item->in_use &&
		 (item->st.st_size == 0 || item->st.st_size % SQLITE_PAGE_MIN != 0)))
		return;
	memset(&probe, 0, sizeof(probe));
	omb_gather_fill_item(&probe, item);
	fd = omb_copy_open(&probe, &st);
	omb_copy_item_clear(&probe);
	if (fd < 0)
		return;
	if (omb_sqlite_is(fd))
	{
		char *path = real_path(item);

		if (path != NULL &&
			omb_sqlite_copy(path, &item->copy, &problem) == OMB_OK &&
			fstat(item->copy, &st) == 0)
		{
			item->has_copy = true;
			item->st.st_size = st.st_size;
		}
		else
		{
			char *fmt =
				omb_format("could not copy database \"%%s\": %s; %s",
						   strrchr(problem.message, ':') ?
							   strrchr(problem.message, ':') + 2 :
							   problem.message,
						   old ? "kept as it was" : "copied as a plain file");

			*failed = true;
			free(gather->plain_database);
			gather->plain_database = omb_strdup(item->path);
			gather->database_kept = old != NULL;
			omb_gather_warn_file(gather, fmt, item->source);
			free(fmt);
		}
		free(path);
	}
	(void) close(fd);
}

/* The log of a database goes with it only when there is no copy. */
bool
omb_gather_needs_log(const omb_gather *gather, const omb_walk_item *item)
{
	const char *dash = strrchr(item->path, '-');
	size_t len = (size_t) (dash - item->path);

	return gather->plain_database != NULL &&
		   strlen(gather->plain_database) == len &&
		   strncmp(gather->plain_database, item->path, len) == 0;
}
