/*
 * revision.c: names and listing of the revisions of manifests.
 */
#include "repo/revision.h"

#include "base/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Of so many manifests the next ones are fetched ahead, their ends so long. */
#define EXPECTED 8
#define END_READ ((size_t) 64 * 1024)
/*
 * A longer manifest is not asked for as a whole before it is known to be
 * needed.
 */
#define WHOLE_MAX ((uint64_t) 8 * 1024 * 1024)

typedef struct revision_list
{
	omb_revision *item; /* sorted by id and number */
	size_t count;
	size_t cap;
} revision_list;

struct omb_revision_memory
{
	pthread_mutex_t lock;
	revision_list latest; /* one for each backup */
};

char *
omb_revision_name(const char *id, uint32_t number)
{
	if (number == 1)
		return omb_format(OMB_BACKUP_FOLDER "/%s", id);
	return omb_format(OMB_BACKUP_FOLDER "/%s.%" PRIu32, id, number);
}

bool
omb_revision_parse(const char *name, omb_revision *out)
{
	static const char folder[] = OMB_BACKUP_FOLDER "/";
	const char *dot;
	size_t len;
	uint64_t number = 1;

	if (strncmp(name, folder, sizeof(folder) - 1) != 0)
		return false;
	name += sizeof(folder) - 1;
	dot = strchr(name, '.');
	len = dot ? (size_t) (dot - name) : strlen(name);
	if (len >= OMB_BACKUP_ID_MAX)
		return false;
	memcpy(out->id, name, len);
	out->id[len] = '\0';
	if (dot != NULL && (dot[1] == '0' || !omb_u64_parse(dot + 1, &number) ||
						number < 2 || number > UINT32_MAX - 1))
		return false;
	out->number = (uint32_t) number;
	return omb_backup_id_valid(out->id);
}

static int
compare_revisions(const void *a, const void *b)
{
	const omb_revision *x = a;
	const omb_revision *y = b;
	int order = strcmp(x->id, y->id);

	return order != 0			 ? order :
		   x->number < y->number ? -1 :
		   x->number > y->number ? 1 :
								   0;
}

static void
append(revision_list *list, const omb_revision *revision)
{
	if (list->count == list->cap)
	{
		list->cap = list->cap ? 2 * list->cap : 64;
		list->item = omb_realloc(list->item, list->cap * sizeof(omb_revision));
	}
	list->item[list->count++] = *revision;
}

static omb_status
visit_object(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_revision revision;

	memset(&revision, 0, sizeof(revision));
	if (!entry->is_folder && omb_revision_parse(entry->name, &revision))
	{
		revision.size = entry->size;
		append(arg, &revision);
	}
	return OMB_OK;
}

/* List the folder; nothing is to be freed when that fails. */
static omb_status
list_folder(omb_store *store, revision_list *out, omb_error *err)
{
	size_t i;

	memset(out, 0, sizeof(*out));
	if (omb_store_list(store, OMB_BACKUP_FOLDER, false, visit_object, out,
					   err) != OMB_OK)
	{
		free(out->item);
		return err->status;
	}
	if (out->count > 0)
		qsort(out->item, out->count, sizeof(omb_revision), compare_revisions);
	for (i = 0; i < out->count; i++)
		out->item[i].is_latest =
			i + 1 == out->count ||
			strcmp(out->item[i].id, out->item[i + 1].id) != 0;
	return OMB_OK;
}

/* List the folder, and remember what was found. */
static omb_status
load(omb_repository *repo, revision_list *out, omb_error *err)
{
	omb_revision_memory *memory = repo->revisions;
	size_t i;

	if (list_folder(repo->store, out, err) != OMB_OK)
		return err->status;
	(void) pthread_mutex_lock(&memory->lock);
	memory->latest.count = 0;
	for (i = 0; i < out->count; i++)
	{
		if (out->item[i].is_latest)
			append(&memory->latest, &out->item[i]);
	}
	(void) pthread_mutex_unlock(&memory->lock);
	return OMB_OK;
}

/* Opening a manifest reads its header and its end. */
static void
expect_opening(omb_store *store, const omb_revision *revision)
{
	char *name;
	size_t len =
		revision->size < END_READ ? (size_t) revision->size : END_READ;

	if (!revision->is_latest)
		return;
	name = omb_revision_name(revision->id, revision->number);
	omb_store_expect(store, name, revision->size - len, len);
	if (revision->size > END_READ)
		omb_store_expect(store, name, 0, OMB_OBJECT_HEADER_SIZE);
	free(name);
}

static void
expect_all(omb_store *store, const omb_revision *revision)
{
	char *name = omb_revision_name(revision->id, revision->number);

	omb_store_expect_all(store, name, revision->size);
	free(name);
}

static omb_status
visit_all(omb_repository *repo, bool reading, omb_revision_visit visit,
		  void *arg, omb_error *err)
{
	revision_list list;
	size_t told = 0;
	size_t i;

	if (load(repo, &list, err) != OMB_OK)
		return err->status;
	for (i = 0; i < list.count && err->status == OMB_OK; i++)
	{
		for (; reading && told < list.count && told < i + EXPECTED; told++)
			expect_opening(repo->store, &list.item[told]);
		(void) visit(&list.item[i], arg, err);
	}
	free(list.item);
	return err->status;
}

void
omb_revision_expect(omb_store *store, bool newest)
{
	omb_error ignored = OMB_ERROR_INIT;
	revision_list list;
	size_t i;

	if (!omb_store_is_far(store) ||
		list_folder(store, &list, &ignored) != OMB_OK)
		return;
	if (newest && list.count > 0 &&
		list.item[list.count - 1].size <= WHOLE_MAX)
		expect_all(store, &list.item[list.count - 1]);
	for (i = 0; i < list.count && i < EXPECTED; i++)
		expect_opening(store, &list.item[i]);
	free(list.item);
	/* whoever reads them lists again */
	omb_store_expect_list(store, OMB_BACKUP_FOLDER, false);
}

omb_status
omb_revision_list(omb_repository *repo, omb_revision_visit visit, void *arg,
				  omb_error *err)
{
	return visit_all(repo, false, visit, arg, err);
}

omb_status
omb_revision_list_reading(omb_repository *repo, omb_revision_visit visit,
						  void *arg, omb_error *err)
{
	return visit_all(repo, true, visit, arg, err);
}

static int
compare_id(const void *id, const void *revision)
{
	return strcmp(id, ((const omb_revision *) revision)->id);
}

/* The number that is remembered, 0 when there is none. */
static uint32_t
recall(omb_revision_memory *memory, const char *id)
{
	const omb_revision *found = NULL;
	uint32_t number;

	(void) pthread_mutex_lock(&memory->lock);
	if (memory->latest.count > 0)
		found = bsearch(id, memory->latest.item, memory->latest.count,
						sizeof(omb_revision), compare_id);
	number = found ? found->number : 0;
	(void) pthread_mutex_unlock(&memory->lock);
	return number;
}

omb_status
omb_revision_latest(omb_repository *repo, const char *id, bool refresh,
					uint32_t *number, omb_error *err)
{
	revision_list list;

	*number = refresh ? 0 : recall(repo->revisions, id);
	if (*number != 0)
		return OMB_OK;
	if (load(repo, &list, err) != OMB_OK)
		return err->status;
	free(list.item);
	*number = recall(repo->revisions, id);
	if (*number == 0)
		return omb_error_set(err, OMB_NOT_FOUND,
							 "backup \"%s\" is not in repository \"%s\"", id,
							 repo->store->location);
	return OMB_OK;
}

omb_revision_memory *
omb_revision_memory_new(void)
{
	omb_revision_memory *memory = omb_calloc(1, sizeof(*memory));

	(void) pthread_mutex_init(&memory->lock, NULL);
	return memory;
}

void
omb_revision_memory_clear(omb_revision_memory *memory)
{
	(void) pthread_mutex_lock(&memory->lock);
	memory->latest.count = 0;
	(void) pthread_mutex_unlock(&memory->lock);
}

void
omb_revision_memory_free(omb_revision_memory *memory)
{
	if (memory == NULL)
		return;
	(void) pthread_mutex_destroy(&memory->lock);
	free(memory->latest.item);
	free(memory);
}
