/*
 * chosenfiles.c: the application's files that fit an instant.
 */
#include "task/restore/chosenfiles.h"

#include <stdlib.h>
#include <string.h>

/*
 * Manifests read side by side; of more those in the middle are left out. An
 * instant that is known exactly needs two.
 */
#define SOURCES_MAX 64

typedef struct source
{
	omb_manifest *manifest;
	omb_entry entry; /* at hand */
	bool has_entry;
	bool at_end;
} source;

struct omb_chosen_files
{
	source source[SOURCES_MAX]; /* newest first */
	size_t count;
};

bool
omb_files_choose(const omb_files_facts *facts, size_t count, int64_t from,
				 int64_t until, size_t *chosen, size_t *first)
{
	size_t i = 0;

	if (count == 0)
		return false;
	while (i < count && facts[i].start_time < until)
		i++;
	*chosen = *first = i < count ? i : count - 1;
	/* what began before the instant may have missed what was deleted later */
	while (*first > 0 && (*first == i || facts[*first].stop_time > from))
		(*first)--;
	return true;
}

typedef struct facts_list
{
	omb_repository *repo;
	omb_files_facts *item;
	size_t count;
} facts_list;

static omb_status
add_facts(const char *id, void *arg, omb_error *err)
{
	facts_list *list = arg;
	omb_manifest *manifest;

	if (omb_manifest_open(list->repo, id, &manifest, err) != OMB_OK)
		return err->status;
	if (manifest->info.file_sets > 0)
	{
		list->item =
			omb_realloc(list->item, (list->count + 1) * sizeof(*list->item));
		memcpy(list->item[list->count].id, manifest->info.id,
			   OMB_BACKUP_ID_MAX);
		list->item[list->count].start_time = manifest->info.files_start_time;
		list->item[list->count++].stop_time = manifest->info.files_stop_time;
	}
	omb_manifest_close(manifest);
	return OMB_OK;
}

static omb_status
open_sources(omb_repository *repo, const facts_list *list, size_t chosen,
			 size_t first, omb_chosen_files *files, omb_error *err)
{
	size_t i = chosen;

	for (;;)
	{
		source *s = &files->source[files->count];

		if (omb_manifest_open(repo, list->item[i].id, &s->manifest, err) !=
			OMB_OK)
			return err->status;
		files->count++;
		if (i == first)
			return OMB_OK;
		i--;
		if (files->count == SOURCES_MAX / 2 && i - first >= SOURCES_MAX / 2)
			i = first + SOURCES_MAX / 2 - 1;
	}
}

omb_status
omb_chosen_files_open(omb_repository *repo, int64_t from, int64_t until,
					  omb_chosen_files **out, omb_error *err)
{
	omb_chosen_files *files = omb_calloc(1, sizeof(*files));
	facts_list list;
	size_t chosen, first;

	*out = NULL;
	memset(&list, 0, sizeof(list));
	list.repo = repo;
	if (omb_backup_list(repo, add_facts, &list, err) == OMB_OK)
	{
		if (!omb_files_choose(list.item, list.count, from, until, &chosen,
							  &first))
			(void) omb_error_set(err, OMB_REFUSED,
								 "the repository has no files of the "
								 "application");
		else if (open_sources(repo, &list, chosen, first, files, err) ==
				 OMB_OK)
			*out = files;
	}
	free(list.item);
	if (*out == NULL)
		omb_chosen_files_close(files);
	return err->status;
}

/* Have the next entry of the application's files at hand. */
static omb_status
advance(source *s, omb_error *err)
{
	while (!s->has_entry && !s->at_end)
	{
		if (omb_manifest_next(s->manifest, &s->entry, &s->at_end, err) !=
			OMB_OK)
			return err->status;
		s->has_entry = !s->at_end && s->entry.root == OMB_ROOT_FILES;
		if (!s->has_entry)
			omb_entry_clear(&s->entry);
	}
	return OMB_OK;
}

omb_status
omb_chosen_files_next(omb_chosen_files *files, omb_entry *entry,
					  const omb_manifest **manifest, size_t *number, bool *end,
					  omb_error *err)
{
	source *best = NULL;
	size_t i;

	memset(entry, 0, sizeof(*entry));
	*end = false;
	for (i = 0; i < files->count; i++)
	{
		source *s = &files->source[i];

		if (advance(s, err) != OMB_OK)
			return err->status;
		if (!s->has_entry ||
			(best != NULL &&
			 omb_manifest_compare(OMB_ROOT_FILES, s->entry.path,
								  OMB_ROOT_FILES, best->entry.path) >= 0))
			continue;
		best = s;
		*number = i;
	}
	if (best == NULL)
	{
		*end = true;
		return OMB_OK;
	}
	*entry = best->entry;
	*manifest = best->manifest;
	memset(&best->entry, 0, sizeof(best->entry));
	best->has_entry = false;
	/* what older ones have of the path does not count */
	for (i = 0; i < files->count; i++)
	{
		source *s = &files->source[i];

		if (s->has_entry && strcmp(s->entry.path, entry->path) == 0)
		{
			omb_entry_clear(&s->entry);
			s->has_entry = false;
		}
	}
	return OMB_OK;
}

const omb_backup_info *
omb_chosen_files_info(const omb_chosen_files *files, size_t i)
{
	return i < files->count ? &files->source[i].manifest->info : NULL;
}

void
omb_chosen_files_close(omb_chosen_files *files)
{
	size_t i;

	if (files == NULL)
		return;
	for (i = 0; i < files->count; i++)
	{
		omb_entry_clear(&files->source[i].entry);
		omb_manifest_close(files->source[i].manifest);
	}
	free(files);
}
