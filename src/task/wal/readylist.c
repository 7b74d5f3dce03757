/*
 * readylist.c: the WAL files that the server has marked as ready to archive.
 *
 * There may be tens of thousands of marks after a long outage. One reading of
 * the directory keeps the first BATCH in order, as the archiver does.
 */
#include "task/wal/readylist.h"

#include "base/buffer.h"
#include "pgfmt/walname.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 64
#define NAME_MAX_BYTES 64
#define MARK ".ready"

struct omb_ready_list
{
	char *path;
	char name[BATCH][NAME_MAX_BYTES + 1]; /* sorted */
	int count;
	int next;
	char last[NAME_MAX_BYTES + 1]; /* given out; what follows is wanted */
	bool more;					   /* there was no room for all */
};

omb_ready_list *
omb_ready_list_new(const char *wal_dir)
{
	omb_ready_list *list = omb_calloc(1, sizeof(*list));

	list->path = omb_format("%s/archive_status", wal_dir);
	return list;
}

int
omb_ready_compare(const char *a, const char *b)
{
	omb_wal_name name;
	bool history_a = omb_wal_name_parse(a, &name) == OMB_WAL_HISTORY;
	bool history_b = omb_wal_name_parse(b, &name) == OMB_WAL_HISTORY;

	if (history_a != history_b)
		return history_a ? -1 : 1;
	return strcmp(a, b);
}

/* Put a name into the batch, dropping the last one when it is full. */
static void
insert(omb_ready_list *list, const char *name)
{
	int i = list->count;

	if (list->count == BATCH)
	{
		list->more = true;
		if (omb_ready_compare(name, list->name[BATCH - 1]) >= 0)
			return;
		i = BATCH - 1;
	}
	else
		list->count++;
	for (; i > 0 && omb_ready_compare(name, list->name[i - 1]) < 0; i--)
		memcpy(list->name[i], list->name[i - 1], sizeof(list->name[i]));
	memcpy(list->name[i], name, strlen(name) + 1);
}

static void
read_marks(omb_ready_list *list)
{
	DIR *dir = opendir(list->path);
	struct dirent *entry;

	list->count = 0;
	list->next = 0;
	list->more = false;
	/* looking ahead is an extra: when it cannot be done it is not done */
	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
	{
		size_t len = strlen(entry->d_name);
		char name[NAME_MAX_BYTES + 1];
		omb_wal_name parsed;

		if (len <= strlen(MARK) || len - strlen(MARK) > NAME_MAX_BYTES ||
			strcmp(entry->d_name + len - strlen(MARK), MARK) != 0)
			continue;
		len -= strlen(MARK);
		memcpy(name, entry->d_name, len);
		name[len] = '\0';
		if (omb_wal_name_parse(name, &parsed) == OMB_WAL_OTHER)
			continue;
		if (list->last[0] == '\0' || omb_ready_compare(name, list->last) > 0)
			insert(list, name);
	}
	(void) closedir(dir);
}

const char *
omb_ready_list_next(omb_ready_list *list)
{
	if (list->next == list->count && (list->more || list->last[0] == '\0'))
		read_marks(list);
	if (list->next == list->count)
	{
		list->last[0] = '\0';
		return NULL;
	}
	memcpy(list->last, list->name[list->next], sizeof(list->last));
	return list->name[list->next++];
}

bool
omb_ready_list_has(omb_ready_list *list, const char *file)
{
	char *path = omb_format("%s/%s" MARK, list->path, file);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

void
omb_ready_list_free(omb_ready_list *list)
{
	if (list == NULL)
		return;
	free(list->path);
	free(list);
}
