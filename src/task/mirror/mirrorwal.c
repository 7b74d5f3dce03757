/*
 * mirrorwal.c: which WAL the source has and the target lacks.
 */
#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/walobject.h"
#include "task/mirror/mirrorrun.h"

#include <stdlib.h>
#include <string.h>

static omb_status
add_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_mirror_run *r = arg;
	omb_wal_object object;
	omb_wal_name name;
	omb_mirror_item *item;
	uint64_t place;

	if (!omb_wal_object_parse(entry->name, &object) ||
		omb_wal_name_parse(object.file, &name) == OMB_WAL_OTHER)
		return OMB_OK;
	place = (uint64_t) name.log << 32 | name.seg;
	/* a file about each base backup tells where its WAL begins */
	if (name.kind == OMB_WAL_BACKUP_HISTORY &&
		(name.timeline > r->hint.timeline ||
		 (name.timeline == r->hint.timeline && place > r->hint.first)))
	{
		r->hint.is_known = true;
		r->hint.timeline = name.timeline;
		r->hint.first = place;
	}
	if (omb_mirror_set_has(omb_mirror_sender_known(r->sender), entry->name) ||
		(r->config->keep != NULL &&
		 !omb_mirror_keep_wants_wal(r->config->keep, &name)))
		return OMB_OK;
	if (r->wal.count == OMB_MIRROR_ITEMS_MAX)
	{
		r->wal_capped = true;
		omb_mirror_sender_set_again(r->sender);
		return OMB_OK;
	}
	item = omb_mirror_items_add(&r->wal, entry->name, entry->size);
	item->timeline = name.timeline;
	item->is_history = name.kind == OMB_WAL_HISTORY;
	item->place = item->is_history ? 0 : place;
	return OMB_OK;
}

static int
compare_wal(const void *a, const void *b)
{
	const omb_mirror_item *x = a;
	const omb_mirror_item *y = b;

	if (x->is_history != y->is_history)
		return x->is_history ? -1 : 1;
	if (x->timeline != y->timeline)
		return x->timeline < y->timeline ? -1 : 1;
	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* The two newest folders; objects between them are WAL files. */
typedef struct newest_folders
{
	omb_mirror_run *r;
	char *folder[2]; /* the newest first */
} newest_folders;

static void
clear_folders(newest_folders *n)
{
	free(n->folder[0]);
	free(n->folder[1]);
}

/* Entries come in order of name, which is that of age. */
static omb_status
note_folder(const omb_store_entry *entry, void *arg, omb_error *err)
{
	newest_folders *n = arg;

	if (!entry->is_folder)
		return add_wal(entry, n->r, err);
	free(n->folder[1]);
	n->folder[1] = n->folder[0];
	n->folder[0] = omb_strdup(entry->name);
	return OMB_OK;
}

/* Look into the newest folders of the newest timelines. */
static omb_status
list_newest_wal(omb_mirror_run *r, omb_error *err)
{
	newest_folders timelines = { r, { NULL, NULL } };
	int i, k;

	(void) omb_store_list(r->config->from, OMB_WAL_FOLDER, false, note_folder,
						  &timelines, err);
	for (i = 0; i < 2 && timelines.folder[i] != NULL; i++)
	{
		newest_folders logs = { r, { NULL, NULL } };

		if (err->status == OMB_OK)
			(void) omb_store_list(r->config->from, timelines.folder[i], false,
								  note_folder, &logs, err);
		for (k = 0; k < 2 && logs.folder[k] != NULL; k++)
		{
			if (err->status == OMB_OK)
				(void) omb_store_list(r->config->from, logs.folder[k], true,
									  add_wal, r, err);
		}
		clear_folders(&logs);
	}
	clear_folders(&timelines);
	return err->status;
}

omb_status
omb_mirror_list_wal(omb_mirror_run *r, omb_error *err)
{
	omb_mirror_items_clear(&r->wal);
	r->wal_capped = false;
	memset(&r->hint, 0, sizeof(r->hint));
	if (r->quick)
		(void) list_newest_wal(r, err);
	else if (omb_store_list(r->config->from, OMB_WAL_FOLDER, true, add_wal, r,
							err) == OMB_OK)
		r->looked_at = omb_time_now();
	if (err->status == OMB_OK && r->wal.count > 0)
		qsort(r->wal.item, r->wal.count, sizeof(*r->wal.item), compare_wal);
	return err->status;
}
