/*
 * walrange.c: walking over archived WAL along timelines.
 */
#include "task/wal/walrange.h"

#include "base/text.h"
#include "pgfmt/walname.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct timeline_list
{
	uint32_t *timeline;
	size_t count;
} timeline_list;

static omb_status
add_timeline(const omb_store_entry *entry, void *arg, omb_error *err)
{
	timeline_list *list = arg;
	omb_wal_name name;
	char *history;

	if (!entry->is_folder)
		return OMB_OK;
	/* a folder has the eight digits of a history file's name */
	history = omb_format("%s.history", strrchr(entry->name, '/') + 1);
	if (omb_wal_name_parse(history, &name) == OMB_WAL_HISTORY)
	{
		list->timeline =
			omb_realloc(list->timeline, (list->count + 1) * sizeof(uint32_t));
		list->timeline[list->count++] = name.timeline;
	}
	free(history);
	return OMB_OK;
}

omb_status
omb_timelines(omb_repository *repo, uint32_t **timeline, size_t *count,
			  omb_error *err)
{
	timeline_list list = { NULL, 0 };

	(void) omb_store_list(repo->store, OMB_WAL_FOLDER, false, add_timeline,
						  &list, err);
	*timeline = list.timeline;
	*count = list.count;
	return err->status;
}

omb_status
omb_timeline_path_read(omb_repository *repo, uint32_t timeline,
					   omb_timeline_path *path, omb_error *err)
{
	char file[32];
	omb_buf text = OMB_BUF_INIT;

	if (timeline > 1)
	{
		(void) snprintf(file, sizeof(file), "%08X.history", timeline);
		(void) omb_wal_get_small(repo, file, OMB_TIMELINE_FILE_MAX, &text,
								 err);
	}
	if (err->status == OMB_OK)
		(void) omb_timeline_parse((const char *) text.data, text.len, timeline,
								  path, err);
	omb_buf_free(&text);
	return err->status;
}

/* A walk along timelines is in the folders of two of them, and their ends. */
#define FOLDERS 4

struct omb_wal_finder
{
	omb_repository *repo;
	omb_wal_list folder[FOLDERS];
	size_t next; /* that gives way */
};

omb_wal_finder *
omb_wal_finder_new(omb_repository *repo)
{
	omb_wal_finder *finder = omb_calloc(1, sizeof(*finder));

	finder->repo = repo;
	return finder;
}

void
omb_wal_finder_free(omb_wal_finder *finder)
{
	size_t i;

	if (finder == NULL)
		return;
	for (i = 0; i < FOLDERS; i++)
		omb_wal_list_clear(&finder->folder[i]);
	free(finder);
}

/* What is known of a WAL file's folder, or NULL. */
static omb_wal_list *
find_folder(omb_wal_finder *finder, const char *file)
{
	char *folder = omb_wal_folder(file);
	omb_wal_list *found = NULL;
	size_t i;

	for (i = 0; folder != NULL && i < FOLDERS; i++)
		if (finder->folder[i].folder != NULL &&
			strcmp(finder->folder[i].folder, folder) == 0)
			found = &finder->folder[i];
	free(folder);
	return found;
}

omb_status
omb_wal_finder_find(omb_wal_finder *finder, const char *file,
					omb_wal_listed *out, omb_error *err)
{
	omb_wal_list *list = find_folder(finder, file);

	if (list != NULL &&
		omb_wal_list_find(list, file, out, err) != OMB_NOT_FOUND)
		return err->status;
	omb_error_clear(err);
	if (list == NULL)
		list = &finder->folder[finder->next++ % FOLDERS];
	if (omb_wal_list_read(finder->repo->store, file, list, err) == OMB_OK)
		(void) omb_wal_list_find(list, file, out, err);
	return err->status;
}

omb_status
omb_wal_find_on_path(omb_wal_finder *finder, const omb_timeline_path *path,
					 uint64_t segno, uint64_t segment_size,
					 omb_wal_listed *out, omb_error *err)
{
	uint64_t begin = segno * segment_size;
	uint64_t end = begin + segment_size;
	char name[OMB_WAL_NAME_TEXT];
	size_t i;

	/* newest first, among those that have a byte in the segment */
	for (i = path->count; i > 0; i--)
	{
		uint64_t from = i > 1 ? path->entry[i - 2].end : 0;

		if (from >= end || path->entry[i - 1].end <= begin)
			continue;
		omb_error_clear(err);
		omb_wal_name_format(path->entry[i - 1].timeline, segno, segment_size,
							name);
		if (omb_wal_finder_find(finder, name, out, err) != OMB_NOT_FOUND)
			return err->status;
	}
	if (err->status == OMB_OK)
		(void) omb_error_set(err, OMB_NOT_FOUND,
							 "no timeline has the segment");
	return err->status;
}

typedef struct later_state
{
	uint64_t segno;
	uint64_t segment_size;
	bool found;
} later_state;

static omb_status
is_later(const omb_store_entry *entry, void *arg, omb_error *err)
{
	later_state *state = arg;
	omb_wal_object object;
	omb_wal_name name;

	if (omb_wal_object_parse(entry->name, &object) &&
		omb_wal_name_parse(object.file, &name) == OMB_WAL_SEGMENT &&
		omb_wal_segno(&name, state->segment_size) > state->segno)
		state->found = true;
	return OMB_OK;
}

typedef struct folder_state
{
	char text[64]; /* the folder of the segment */
	char *last;	   /* the last folder at or behind it */
} folder_state;

static omb_status
last_folder(const omb_store_entry *entry, void *arg, omb_error *err)
{
	folder_state *state = arg;

	if (entry->is_folder && strcmp(entry->name, state->text) >= 0)
	{
		free(state->last);
		state->last = omb_strdup(entry->name);
	}
	return OMB_OK;
}

omb_status
omb_wal_has_later(omb_repository *repo, uint32_t timeline, uint64_t segno,
				  uint64_t segment_size, bool *later, omb_error *err)
{
	char name[OMB_WAL_NAME_TEXT];
	char folder[32];
	folder_state folders;
	later_state state = { segno, segment_size, false };

	memset(&folders, 0, sizeof(folders));
	omb_wal_name_format(timeline, segno, segment_size, name);
	(void) snprintf(folder, sizeof(folder), OMB_WAL_FOLDER "/%.8s", name);
	(void) snprintf(folders.text, sizeof(folders.text), "%s/%.16s", folder,
					name);
	/* the last folder has the last segments */
	(void) omb_store_list(repo->store, folder, false, last_folder, &folders,
						  err);
	if (err->status == OMB_OK && folders.last != NULL)
		(void) omb_store_list(repo->store, folders.last, false, is_later,
							  &state, err);
	free(folders.last);
	*later = state.found;
	return err->status;
}
