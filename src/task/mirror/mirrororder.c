/*
 * mirrororder.c: what is missing at the target, and in which order it goes.
 */
#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/manifest.h"
#include "repo/unfinished.h"
#include "repo/walobject.h"
#include "task/mirror/mirrorcopy.h"
#include "task/mirror/mirrorrun.h"

#include <stdlib.h>
#include <string.h>

#define REPOSITORY_OBJECT "repository"

/* ---- what the source has ---- */

static omb_status
add_backup(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_mirror_run *r = arg;
	omb_revision revision;

	if (!omb_revision_parse(entry->name, &revision))
		return OMB_OK;
	revision.size = entry->size;
	r->backup = omb_realloc(r->backup, (r->backups + 1) * sizeof(*r->backup));
	r->backup[r->backups++] = revision;
	return OMB_OK;
}

static int
compare_backups(const void *a, const void *b)
{
	const omb_revision *x = a;
	const omb_revision *y = b;
	int order = strcmp(y->id, x->id);

	if (order != 0)
		return order;
	return x->number > y->number ? -1 : x->number < y->number;
}

/* Only what the rules of the target keep. */
static omb_status
choose_wanted(omb_mirror_run *r, omb_error *err)
{
	omb_mirror_keep *keep = r->config->keep;
	uint64_t i, kept = 0;

	if (omb_mirror_keep_look(keep, r->config->repo, r->backup,
							 (size_t) r->backups, err) != OMB_OK)
		return err->status;
	for (i = 0; i < r->backups; i++)
	{
		if (omb_mirror_keep_wants(keep, r->backup[i].id))
			r->backup[kept++] = r->backup[i];
	}
	r->backups = kept;
	return OMB_OK;
}

/* The highest revision of each backup, newest backup first. */
static omb_status
list_backups(omb_mirror_run *r, omb_error *err)
{
	uint64_t i, kept = 0;

	r->backups = 0;
	if (omb_store_list(r->config->from, OMB_BACKUP_FOLDER, false, add_backup,
					   r, err) != OMB_OK)
		return err->status;
	if (r->backups > 0)
		qsort(r->backup, r->backups, sizeof(*r->backup), compare_backups);
	for (i = 0; i < r->backups; i++)
	{
		if (i == 0 || strcmp(r->backup[i].id, r->backup[kept - 1].id) != 0)
			r->backup[kept++] = r->backup[i];
	}
	r->backups = kept;
	if (r->config->keep != NULL && choose_wanted(r, err) != OMB_OK)
		return err->status;
	kept = r->backups;
	r->is_limited = r->config->newest > 0 && r->config->newest < kept;
	r->backups = r->is_limited ? r->config->newest : kept;
	return OMB_OK;
}

/* Does the target have this revision of the backup, or a higher one? */
static bool
has_backup(omb_mirror_run *r, const omb_revision *backup)
{
	char *name = omb_revision_name(backup->id, backup->number);
	bool has = omb_mirror_set_has(omb_mirror_sender_known(r->sender), name);

	free(name);
	return has;
}

typedef struct folder_visit
{
	omb_mirror_run *r;
	omb_mirror_items *items;
} folder_visit;

static omb_status
add_missing(const omb_store_entry *entry, void *arg, omb_error *err)
{
	folder_visit *v = arg;

	if (!omb_mirror_is_object(entry->name) ||
		omb_mirror_set_has(omb_mirror_sender_known(v->r->sender), entry->name))
		return OMB_OK;
	if (v->items->count < OMB_MIRROR_ITEMS_MAX)
		(void) omb_mirror_items_add(v->items, entry->name, entry->size);
	else
		v->r->capped = true;
	return OMB_OK;
}

/* Send all of a folder that is missing; true when nothing is missing then. */
static bool
send_folder(omb_mirror_run *r, const char *folder, const char *step,
			omb_error *err)
{
	omb_mirror_items items;
	folder_visit v;
	bool whole = true;
	size_t i;

	memset(&items, 0, sizeof(items));
	v.r = r;
	v.items = &items;
	r->capped = false;
	if (omb_store_list(r->config->from, folder, true, add_missing, &v, err) ==
		OMB_OK)
		omb_mirror_send_all(r->sender, step, &items);
	for (i = 0; i < items.count; i++)
	{
		if (items.item[i].state == OMB_MIRROR_WAITING ||
			items.item[i].state == OMB_MIRROR_FAILED)
			whole = false;
	}
	omb_mirror_items_clear(&items);
	if (r->capped)
		omb_mirror_sender_set_again(r->sender);
	return whole && !r->capped && err->status == OMB_OK;
}

/* ---- WAL ---- */

static bool
is_needed(const omb_mirror_item *item, const omb_mirror_wal *range)
{
	return item->is_history || !range->is_known ||
		   (item->timeline >= range->timeline && item->place >= range->first);
}

/* Bytes of missing WAL from there on. */
static uint64_t
wal_bytes(const omb_mirror_run *r, const omb_mirror_wal *range)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < r->wal.count; i++)
	{
		if (is_needed(&r->wal.item[i], range))
			bytes += r->wal.item[i].size;
	}
	return bytes;
}

/*
 * Send missing WAL from there on. True when all that the backup itself needs
 * is there then.
 */
static bool
send_wal(omb_mirror_run *r, const omb_mirror_wal *range)
{
	omb_mirror_item **item = omb_calloc(r->wal.count + 1, sizeof(*item));
	size_t count = 0;
	bool whole = !r->wal_capped || omb_mirror_sender_counting(r->sender);
	size_t i;

	for (i = 0; i < r->wal.count; i++)
	{
		if (is_needed(&r->wal.item[i], range))
			item[count++] = &r->wal.item[i];
	}
	omb_mirror_send(r->sender, "WAL", item, count);
	for (i = 0; i < count; i++)
	{
		if (item[i]->state != OMB_MIRROR_THERE &&
			(!range->is_known || item[i]->place <= range->last))
			whole = false;
	}
	free(item);
	return whole;
}

/* ---- with the key: backup by backup ---- */

/* A backup and what it needs. */
typedef struct wanted
{
	omb_manifest *manifest;
	omb_mirror_wal wal;
	bool is_there; /* at the target */
	bool is_base;
} wanted;

static void
set_range(const omb_backup_info *info, omb_mirror_wal *range)
{
	omb_wal_name name;
	char text[OMB_WAL_NAME_TEXT];

	range->timeline = info->start_timeline;
	omb_wal_name_format(
		info->start_timeline,
		omb_wal_segno_at(info->start_lsn, info->wal_segment_size),
		info->wal_segment_size, text);
	(void) omb_wal_name_parse(text, &name);
	range->first = (uint64_t) name.log << 32 | name.seg;
	omb_wal_name_format(
		info->stop_timeline,
		omb_wal_segno_before(info->stop_lsn, info->wal_segment_size),
		info->wal_segment_size, text);
	(void) omb_wal_name_parse(text, &name);
	range->last = (uint64_t) name.log << 32 | name.seg;
	range->is_known = true;
}

/* False when its manifest cannot be read: that was told. */
static bool
open_wanted(omb_mirror_run *r, const omb_revision *backup, wanted *out)
{
	omb_error err = OMB_ERROR_INIT;
	char *name;

	memset(out, 0, sizeof(*out));
	out->is_there = has_backup(r, backup);
	if (omb_manifest_open(r->config->repo, backup->id, &out->manifest, &err) ==
		OMB_OK)
	{
		out->is_base = omb_backup_is_base(&out->manifest->info);
		if (out->is_base &&
			omb_wal_segment_size_valid(out->manifest->info.wal_segment_size))
			set_range(&out->manifest->info, &out->wal);
		return true;
	}
	name = omb_revision_name(backup->id, backup->number);
	if (err.status == OMB_NOT_FOUND)
		omb_mirror_sender_set_again(r->sender);
	else if (!out->is_there && omb_mirror_sender_counting(r->sender))
	{
		omb_mirror_item item, *list = &item;

		memset(&item, 0, sizeof(item));
		item.name = name;
		item.size = backup->size;
		omb_mirror_send(r->sender, "", &list, 1);
	}
	else if (!out->is_there)
		omb_mirror_sender_fail(r->sender, name, &err,
							   err.status == OMB_DAMAGED);
	free(name);
	return false;
}

static void
list_packs(const omb_manifest *manifest, omb_mirror_items *items)
{
	uint32_t i;

	for (i = 0; i < manifest->pack_count; i++)
	{
		char *name = omb_pack_name(manifest->pack[i].sha256);

		(void) omb_mirror_items_add(items, name, manifest->pack[i].size);
		free(name);
	}
}

/* Bytes to copy until everything from this backup on can be restored. */
static uint64_t
cost_of(omb_mirror_run *r, const wanted *w)
{
	uint64_t bytes = w->is_base ? wal_bytes(r, &w->wal) : 0;
	omb_mirror_items packs;
	size_t i;

	if (w->is_there)
		return bytes;
	memset(&packs, 0, sizeof(packs));
	list_packs(w->manifest, &packs);
	for (i = 0; i < packs.count; i++)
	{
		if (!omb_mirror_set_has(omb_mirror_sender_known(r->sender),
								packs.item[i].name))
			bytes += packs.item[i].size;
	}
	omb_mirror_items_clear(&packs);
	return bytes;
}

static void
send_manifest(omb_mirror_run *r, const wanted *w, uint64_t size)
{
	omb_mirror_items manifest;
	char *name =
		omb_revision_name(w->manifest->info.id, w->manifest->revision);

	memset(&manifest, 0, sizeof(manifest));
	(void) omb_mirror_items_add(&manifest, name, size);
	omb_mirror_send_all(r->sender, "manifests", &manifest);
	omb_mirror_items_clear(&manifest);
	free(name);
}

/*
 * Send a backup: its WAL and what follows, its packs, its manifest. The
 * application's files need no WAL.
 */
static void
send_backup(omb_mirror_run *r, const wanted *w, uint64_t size)
{
	bool whole = !w->is_base || send_wal(r, &w->wal);
	omb_mirror_items packs;
	size_t i;

	if (w->is_there)
		return;
	memset(&packs, 0, sizeof(packs));
	list_packs(w->manifest, &packs);
	omb_mirror_send_all(r->sender, "packs", &packs);
	for (i = 0; i < packs.count; i++)
		whole = whole && packs.item[i].state == OMB_MIRROR_THERE;
	omb_mirror_items_clear(&packs);
	if (whole)
		send_manifest(r, w, size);
}

/* Does it hold the application's files only? */
static bool
is_files(const omb_mirror_run *r, const omb_revision *backup)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_manifest *manifest;
	bool files;

	if (omb_manifest_open(r->config->repo, backup->id, &manifest, &ignored) !=
		OMB_OK)
		return false;
	files = !omb_backup_is_base(&manifest->info);
	omb_manifest_close(manifest);
	return files;
}

/*
 * Which backup makes the most recent instant restorable soonest: the newest,
 * or the newest that the target has?
 */
static uint64_t
choose_first(omb_mirror_run *r)
{
	wanted newest, there;
	uint64_t first = 0, i, chosen;

	while (first < r->backups && is_files(r, &r->backup[first]))
		first++;
	i = chosen = first;
	while (i < r->backups && (!has_backup(r, &r->backup[i]) ||
							  (i > first && is_files(r, &r->backup[i]))))
		i++;
	if (i == first || i >= r->backups)
		return first;
	if (!open_wanted(r, &r->backup[first], &newest))
		return i;
	if (open_wanted(r, &r->backup[i], &there))
	{
		if (cost_of(r, &there) < cost_of(r, &newest))
			chosen = i;
		omb_manifest_close(there.manifest);
	}
	omb_manifest_close(newest.manifest);
	return chosen;
}

static omb_status
add_unfinished_pack(const uint8_t sha256[OMB_SHA256_SIZE], void *arg,
					omb_error *err)
{
	folder_visit *v = arg;
	omb_object *object;
	char *name = omb_pack_name(sha256);

	/* a journal may name what was removed since */
	if (v->items->count < OMB_MIRROR_ITEMS_MAX &&
		!omb_mirror_set_has(omb_mirror_sender_known(v->r->sender), name))
	{
		if (omb_store_open(v->r->config->from, name, &object, err) == OMB_OK)
		{
			(void) omb_mirror_items_add(v->items, name, object->size);
			omb_object_close(object);
		}
		else
			omb_error_clear(err);
	}
	free(name);
	return OMB_OK;
}

static omb_status
add_unfinished(const char *id, int64_t changed_at, void *arg, omb_error *err)
{
	folder_visit *v = arg;

	if (omb_unfinished_read(v->r->config->repo, id, add_unfinished_pack, v,
							err) == OMB_NOT_FOUND)
		omb_error_clear(err);
	return err->status;
}

/* Packs of the backup that is being taken need not wait for its manifest. */
static omb_status
send_unfinished(omb_mirror_run *r, omb_error *err)
{
	omb_mirror_items packs;
	folder_visit v;

	memset(&packs, 0, sizeof(packs));
	v.r = r;
	v.items = &packs;
	if (omb_unfinished_list(r->config->repo, add_unfinished, &v, err) ==
		OMB_OK)
		omb_mirror_send_all(r->sender, "packs", &packs);
	omb_mirror_items_clear(&packs);
	return err->status;
}

/*
 * Packs of a backup that the target has were there once; that they still are
 * is known when the target was listed. What prune has written anew at the
 * target needs other packs.
 */
static void
replace_lost_packs(omb_mirror_run *r, const omb_revision *backup)
{
	omb_mirror_items packs;
	wanted w;
	char *name = omb_revision_name(backup->id, backup->number);
	uint64_t size = 0;

	if (omb_mirror_set_find(omb_mirror_sender_known(r->sender), name, &size) &&
		size > 0 && open_wanted(r, backup, &w))
	{
		memset(&packs, 0, sizeof(packs));
		list_packs(w.manifest, &packs);
		omb_mirror_send_all(r->sender, "packs", &packs);
		omb_mirror_items_clear(&packs);
		omb_manifest_close(w.manifest);
	}
	free(name);
}

/* WAL that no backup of those to be copied needs stays here. */
static void
send_other_wal(omb_mirror_run *r)
{
	omb_mirror_wal range;
	wanted w;

	memset(&range, 0, sizeof(range));
	if (r->is_limited)
	{
		uint64_t oldest = r->backups - 1;

		while (oldest > 0 && is_files(r, &r->backup[oldest]))
			oldest--;
		if (!open_wanted(r, &r->backup[oldest], &w))
			return;
		range = w.wal;
		omb_manifest_close(w.manifest);
	}
	(void) send_wal(r, &range);
}

static omb_status
send_by_backup(omb_mirror_run *r, omb_error *err)
{
	uint64_t first, i, turn;

	omb_revision_memory_clear(r->config->repo->revisions);
	first = choose_first(r);
	for (turn = 0; turn <= r->backups; turn++)
	{
		wanted w;

		i = turn == 0 ? first : turn - 1;
		if (i >= r->backups || (turn > 0 && has_backup(r, &r->backup[i])))
			continue;
		if (!open_wanted(r, &r->backup[i], &w))
			continue;
		send_backup(r, &w, r->backup[i].size);
		omb_manifest_close(w.manifest);
	}
	for (i = 0; i < r->backups && r->fresh; i++)
		replace_lost_packs(r, &r->backup[i]);
	send_other_wal(r);
	return send_unfinished(r, err);
}

/* ---- without the key: all packs before any manifest ---- */

static omb_status
send_blindly(omb_mirror_run *r, omb_error *err)
{
	static const omb_mirror_wal all;
	omb_mirror_items manifests;
	bool whole;
	uint64_t i;

	r->hint.last = UINT64_MAX;
	(void) send_wal(r, &r->hint);
	whole = send_wal(r, &all);
	whole = send_folder(r, "packs", "packs", err) && whole;
	if (err->status != OMB_OK ||
		(!whole && !omb_mirror_sender_counting(r->sender)))
		return err->status;
	memset(&manifests, 0, sizeof(manifests));
	for (i = 0; i < r->backups; i++)
	{
		char *name;

		if (has_backup(r, &r->backup[i]))
			continue;
		name = omb_revision_name(r->backup[i].id, r->backup[i].number);
		(void) omb_mirror_items_add(&manifests, name, r->backup[i].size);
		free(name);
	}
	omb_mirror_send_all(r->sender, "manifests", &manifests);
	omb_mirror_items_clear(&manifests);
	return OMB_OK;
}

/* ---- a round ---- */

static bool
send_repository(omb_mirror_run *r)
{
	omb_mirror_items items;
	bool there;

	memset(&items, 0, sizeof(items));
	(void) omb_mirror_items_add(&items, REPOSITORY_OBJECT, 0);
	omb_mirror_send_all(r->sender, "keys", &items);
	there = items.item[0].state == OMB_MIRROR_THERE;
	omb_mirror_items_clear(&items);
	return there;
}

omb_status
omb_mirror_round(omb_mirror_run *r, omb_error *err)
{
	uint64_t i;
	bool missing = false;

	omb_mirror_sender_begin_round(r->sender);
	r->began = omb_time_now();
	/* what is listed first is complete in what is listed later */
	if (list_backups(r, err) != OMB_OK)
		return err->status;
	r->has_backup = false;
	for (i = 0; i < r->backups; i++)
	{
		if (has_backup(r, &r->backup[i]))
			r->has_backup = true;
		else
			missing = true;
	}
	/* what a backup needs may be older */
	r->quick = r->quick && !missing && !r->fresh;
	if (missing && !r->fresh && omb_mirror_list_target(r, err) != OMB_OK)
		return err->status;
	if (!send_folder(r, "keys", "keys", err) || !send_repository(r))
		return err->status;
	(void) send_folder(r, "marks", "marks", err);
	if (err->status != OMB_OK || omb_mirror_list_wal(r, err) != OMB_OK)
		return err->status;
	return r->config->repo != NULL ? send_by_backup(r, err) :
									 send_blindly(r, err);
}
