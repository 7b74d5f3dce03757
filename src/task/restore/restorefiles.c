/*
 * restorefiles.c: putting back the application's files: which, is there
 * anything in the way, is there room; placing them is setplace.c's.
 */
#include "task/restore/restorefiles.h"

#include "base/file.h"
#include "base/text.h"
#include "task/restore/ahead.h"
#include "task/restore/setfile.h"
#include "task/restore/setplace.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

typedef struct restore
{
	const omb_restore_files_config *config;
	omb_restore_files_result *result;
	omb_chosen_files *files;
	omb_set_place *place; /* NULL while checking */
	omb_ahead *ahead;
	char *set;	/* that was checked last, or NULL */
	char *root; /* its directory, or NULL */
	bool root_exists;
} restore;

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

/* ---- all entries ---- */

static omb_status
next_entry(omb_ahead_item *item, bool *end, void *arg, omb_error *err)
{
	restore *r = arg;

	while (omb_chosen_files_next(r->files, &item->entry, &item->manifest,
								 &item->number, end, err) == OMB_OK &&
		   !*end && !is_wanted(r->config->only, &item->entry))
		omb_entry_clear(&item->entry);
	return err->status;
}

static bool
needs_blobs(const omb_entry *entry, void *arg)
{
	const restore *r = arg;

	/* with delta most are the same */
	return r->place != NULL && !r->config->delta;
}

/* Does the thing to do with an item, whose entry it may take. */
typedef omb_status (*item_visit)(restore *r, omb_ahead_item *item,
								 omb_error *err);

/* The oldest of the manifests that added something. */
static void
note_older(omb_restore_files_result *result, const omb_ahead_item *item)
{
	const omb_backup_info *info = &item->manifest->info;

	if (item->number == 0 || item->entry.type == OMB_ENTRY_DIRECTORY ||
		(result->older[0] != '\0' && strcmp(info->id, result->older) >= 0))
		return;
	memcpy(result->older, info->id, sizeof(result->older));
	result->older_time = info->files_start_time;
}

static omb_status
visit_all(restore *r, item_visit visit, omb_error *err)
{
	omb_ahead_source source = { next_entry, needs_blobs, r };
	const omb_restore_files_config *config = r->config;
	const omb_backup_info *info;
	omb_ahead_item item;
	bool end = false;

	if (omb_chosen_files_open(config->repo, config->from, config->until,
							  &r->files, err) != OMB_OK)
		return err->status;
	info = omb_chosen_files_info(r->files, 0);
	memcpy(r->result->backup, info->id, sizeof(r->result->backup));
	r->result->time = info->files_start_time;
	r->ahead = omb_ahead_new(config->repo, &source);
	while (omb_ahead_next(r->ahead, &item, &end, err) == OMB_OK && !end)
	{
		note_older(r->result, &item);
		(void) visit(r, &item, err);
		omb_entry_clear(&item.entry);
	}
	omb_ahead_free(r->ahead);
	return err->status;
}

/* Done with the manifests, which what is under way may need. */
static void
end_visit(restore *r)
{
	omb_chosen_files_close(r->files);
	r->files = NULL;
	free(r->set);
	free(r->root);
	r->set = r->root = NULL;
}

/* Have the directory of the entry's set at hand. */
static omb_status
find_root(restore *r, const omb_entry *entry, omb_error *err)
{
	size_t len = strcspn(entry->path, "/");
	struct stat st;

	if (r->set != NULL && strlen(r->set) == len &&
		memcmp(r->set, entry->path, len) == 0)
		return OMB_OK;
	free(r->set);
	free(r->root);
	r->set = omb_format("%.*s", (int) len, entry->path);
	r->root = root_of(r->config, r->set);
	if (r->root == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "no directory is given for file set \"%s\"",
							 r->set);
		omb_error_hint(err, "Use --files-dir, or --files-map %s=DIR.", r->set);
		return err->status;
	}
	r->root_exists = lstat(r->root, &st) == 0;
	return OMB_OK;
}

/* ---- checking ---- */

static omb_status
check_free(const restore *r, const omb_entry *entry, omb_error *err)
{
	struct stat st;
	char *path, *shown;

	if (r->config->delta || !r->root_exists)
		return OMB_OK;
	path = omb_format("%s/%s", r->root, omb_set_below(entry));
	if (lstat(path, &st) == 0)
	{
		shown = omb_name_show(path);
		(void) omb_error_set(err, OMB_REFUSED, "file \"%s\" is there already",
							 shown);
		omb_error_hint(err, "Choose another directory, or use --delta to "
							"replace files that differ.");
		free(shown);
	}
	free(path);
	return err->status;
}

static omb_status
check_item(restore *r, omb_ahead_item *item, omb_error *err)
{
	omb_restore_files_result *result = r->result;
	const omb_entry *entry = &item->entry;

	if (find_root(r, entry, err) != OMB_OK)
		return err->status;
	result->sets += omb_set_below(entry)[0] == '\0' ? 1 : 0;
	if (entry->type == OMB_ENTRY_DIRECTORY)
		return OMB_OK;
	result->total_files++;
	result->total_bytes += entry->size;
	result->files_added += item->number > 0 ? 1 : 0;
	return check_free(r, entry, err);
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
	if (visit_all(&r, check_item, err) == OMB_OK)
	{
		if (config->only != NULL && result->total_files == 0)
			(void) omb_error_set(err, OMB_NOT_FOUND,
								 "backup \"%s\" has no files \"%s\"",
								 result->backup, config->only);
		else
			(void) check_room(&r, err);
	}
	end_visit(&r);
	return err->status;
}

/* ---- restoring ---- */

static omb_status
place_item(restore *r, omb_ahead_item *item, omb_error *err)
{
	if (find_root(r, &item->entry, err) == OMB_OK)
		(void) omb_set_place_add(r->place, &item->entry, item->manifest,
								 item->number, r->root, err);
	return err->status;
}

static void
show_progress(const char *step, uint64_t bytes, void *arg)
{
	const restore *r = arg;

	r->config->progress(step, bytes, r->result->total_bytes, r->config->arg);
}

static void
note_reading(size_t extents, void *arg)
{
	omb_ahead_used(((restore *) arg)->ahead, extents);
}

omb_status
omb_restore_files(const omb_restore_files_config *config,
				  omb_restore_files_result *result, omb_error *err)
{
	omb_set_place_config placing;
	omb_set_place_result placed;
	restore r;

	memset(&r, 0, sizeof(r));
	r.config = config;
	r.result = result;
	memset(&placing, 0, sizeof(placing));
	placing.repo = config->repo;
	placing.jobs = config->jobs > 0 ? config->jobs : 1;
	placing.delta = config->delta;
	placing.progress = show_progress;
	placing.reading = note_reading;
	placing.arg = &r;
	r.place = omb_set_place_new(&placing);
	if (visit_all(&r, place_item, err) == OMB_OK)
		(void) omb_set_place_end(r.place, err);
	omb_set_place_result_of(r.place, &placed);
	result->files = placed.files;
	result->files_same = placed.files_same;
	result->bytes_written = placed.bytes_written;
	omb_set_place_free(r.place);
	end_visit(&r);
	return err->status;
}
