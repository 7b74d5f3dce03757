/*
 * mirror.c: copying a repository from one store to another: what goes in which
 * order.
 *
 * The work is done in rounds. Each looks at the source anew and sends what is
 * missing in the order of mirror.h; a round ends early when its time is over,
 * so that WAL that was archived meanwhile does not wait for the packs of a
 * backup. A round that only counts tells what is missing.
 */
#include "task/mirror.h"

#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/manifest.h"
#include "repo/revision.h"
#include "repo/unfinished.h"
#include "repo/walobject.h"
#include "task/mirrorcopy.h"
#include "task/mirrorsend.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REPOSITORY_OBJECT "repository"
/* So many missing objects of a kind are dealt with in one round. */
#define ITEMS_MAX 200000
/* Rounds in a row that send nothing, before it is left at that. */
#define IDLE_ROUNDS_MAX 5

/* From where on WAL is needed. */
typedef struct wal_range
{
	uint32_t timeline;
	uint64_t first; /* log and segment */
	uint64_t last;
	bool is_known;
} wal_range;

typedef struct run
{
	const omb_mirror_config *config;
	omb_repository_facts facts;
	omb_mirror_sender *sender;
	bool is_new; /* the target has no "repository" yet */
	bool fresh;	 /* the target was listed in this run */
	bool capped; /* there is more than was looked at */
	int64_t listed_at;
	uint64_t listed_before; /* objects that the target once had */
	omb_revision *backup;	/* at the source, newest first */
	uint64_t backups;
	omb_mirror_items wal; /* missing at the target, oldest first */
	wal_range hint;		  /* of the newest backup, without a key */
} run;

void
omb_mirror_config_init(omb_mirror_config *config)
{
	memset(config, 0, sizeof(*config));
	config->jobs = 4;
	config->round_seconds = OMB_MIRROR_ROUND;
	config->max_failures = OMB_MIRROR_FAILURES;
}

char *
omb_mirror_list_path(const omb_store *from, const omb_store *to)
{
	uint8_t sha256[OMB_SHA256_SIZE];
	char hex[2 * OMB_SHA256_SIZE + 1];

	if (from->directory == NULL)
		return NULL;
	omb_sha256(to->location, strlen(to->location), sha256);
	(void) omb_hex_format(sha256, sizeof(sha256), hex);
	hex[16] = '\0';
	return omb_format("%s/" OMB_CACHE_FOLDER "/target-%s-list",
					  from->directory, hex);
}

/* ---- what the target has ---- */

typedef struct listing
{
	run *r;
	char *folder; /* of the last object */
	omb_mirror_items folders;
} listing;

static omb_status
note_object(const omb_store_entry *entry, void *arg, omb_error *err)
{
	listing *l = arg;
	const char *slash = strrchr(entry->name, '/');
	size_t len = slash ? (size_t) (slash - entry->name) : 0;

	omb_mirror_sender_note(l->r->sender, entry->name, entry->size);
	if (l->folder == NULL || strlen(l->folder) != len ||
		strncmp(l->folder, entry->name, len) != 0)
	{
		free(l->folder);
		l->folder = omb_format("%.*s", (int) len, entry->name);
		(void) omb_mirror_items_add(&l->folders, l->folder, 0);
	}
	return OMB_OK;
}

/*
 * Somebody may have been killed between putting an object under its name and
 * making that durable; from now on we rely on what we see.
 */
static omb_status
settle_folders(run *r, const omb_mirror_items *folders, omb_error *err)
{
	size_t i;

	for (i = 0; i < folders->count && err->status == OMB_OK; i++)
	{
		char *folder = folders->item[i].name;
		char *slash;

		(void) omb_store_settle(r->config->to, folder, err);
		while (err->status == OMB_OK && (slash = strrchr(folder, '/')) != NULL)
		{
			*slash = '\0';
			(void) omb_store_settle(r->config->to, folder, err);
		}
	}
	return err->status;
}

static omb_status
list_target(run *r, omb_error *err)
{
	listing l;

	memset(&l, 0, sizeof(l));
	l.r = r;
	r->config->progress("listing the target", 0, 0, r->config->arg);
	omb_mirror_set_clear(omb_mirror_sender_known(r->sender));
	if (omb_store_list(r->config->to, "", true, note_object, &l, err) ==
			OMB_OK &&
		!r->config->dry_run)
		(void) settle_folders(r, &l.folders, err);
	omb_mirror_items_clear(&l.folders);
	free(l.folder);
	r->fresh = err->status == OMB_OK;
	r->listed_at = omb_time_now();
	return err->status;
}

/* A target without "repository" may have keys of an earlier run of ours. */
static omb_status
check_stranger(const omb_store_entry *entry, void *arg, omb_error *err)
{
	run *r = arg;
	omb_object *object = NULL;

	if (strncmp(entry->name, "lost+found", 10) == 0)
		return OMB_OK;
	if (strncmp(entry->name, "keys/", 5) == 0 &&
		omb_store_open(r->config->from, entry->name, &object, err) == OMB_OK)
	{
		omb_object_close(object);
		return OMB_OK;
	}
	if (err->status != OMB_OK && err->status != OMB_NOT_FOUND)
		return err->status;
	omb_error_clear(err);
	(void) omb_error_set(err, OMB_REFUSED,
						 "target \"%s\" is neither empty nor a repository",
						 r->config->to->location);
	omb_error_detail(err, "It contains \"%s\".", entry->name);
	omb_error_hint(err, "Give a target that is empty.");
	return err->status;
}

/* The target is empty, or holds the same repository. */
static omb_status
check_target(run *r, omb_error *err)
{
	const char *location = r->config->to->location;
	omb_repository_facts facts;

	if (omb_repository_look(r->config->to, &facts, err) == OMB_OK)
	{
		if (memcmp(facts.id, r->facts.id, sizeof(facts.id)) == 0)
			return OMB_OK;
		(void) omb_error_set(err, OMB_REFUSED,
							 "target \"%s\" holds another repository",
							 location);
		omb_error_hint(err, "Give each repository a target of its own.");
		return err->status;
	}
	if (err->status != OMB_NOT_FOUND)
		return err->status;
	omb_error_clear(err);
	r->is_new = true;
	if (omb_store_list(r->config->to, "", true, check_stranger, r, err) ==
			OMB_OK &&
		r->listed_before > 0 && !r->config->reconcile)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "target \"%s\" is empty, but was not before",
							 location);
		omb_error_hint(err, "Check that its disk or share is mounted. If it "
							"was emptied on purpose, run the mirror with "
							"--reconcile.");
	}
	return err->status;
}

/* Read the list of the target that the last run has left. */
static bool
load_list(run *r)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_mirror_list list;
	int64_t age;

	if (r->config->list_path == NULL ||
		omb_mirror_set_load(omb_mirror_sender_known(r->sender),
							r->config->list_path, r->facts.id, &list,
							&ignored) != OMB_OK)
		return false;
	r->listed_before = list.count;
	r->listed_at = list.listed_at;
	age = omb_time_now() - list.listed_at;
	return !list.is_open && age >= 0 &&
		   age < (int64_t) OMB_MIRROR_LIST_AGE * 1000000;
}

static void
save_list(run *r, bool is_open)
{
	omb_error ignored = OMB_ERROR_INIT;

	/* without it the next run lists the target, and that is all */
	if (r->config->list_path != NULL && !r->config->dry_run)
		(void) omb_mirror_set_save(omb_mirror_sender_known(r->sender),
								   r->config->list_path, r->facts.id, is_open,
								   r->listed_at, &ignored);
}

/* ---- what the source has ---- */

static omb_status
add_backup(const omb_store_entry *entry, void *arg, omb_error *err)
{
	run *r = arg;
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

/* The highest revision of each backup, newest backup first. */
static omb_status
list_backups(run *r, omb_error *err)
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
	return OMB_OK;
}

/* Does the target have this revision of the backup, or a higher one? */
static bool
has_backup(run *r, const omb_revision *backup)
{
	char *name = omb_revision_name(backup->id, backup->number);
	bool has = omb_mirror_set_has(omb_mirror_sender_known(r->sender), name);

	free(name);
	return has;
}

typedef struct folder_visit
{
	run *r;
	omb_mirror_items *items;
} folder_visit;

static omb_status
add_missing(const omb_store_entry *entry, void *arg, omb_error *err)
{
	folder_visit *v = arg;

	if (!omb_mirror_is_object(entry->name) ||
		omb_mirror_set_has(omb_mirror_sender_known(v->r->sender), entry->name))
		return OMB_OK;
	if (v->items->count < ITEMS_MAX)
		(void) omb_mirror_items_add(v->items, entry->name, entry->size);
	else
		v->r->capped = true;
	return OMB_OK;
}

/* Send all of a folder that is missing; true when nothing is missing then. */
static bool
send_folder(run *r, const char *folder, const char *step, omb_error *err)
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

static omb_status
add_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	run *r = arg;
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
	if (omb_mirror_set_has(omb_mirror_sender_known(r->sender), entry->name))
		return OMB_OK;
	if (r->wal.count == ITEMS_MAX)
	{
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

static omb_status
list_wal(run *r, omb_error *err)
{
	omb_mirror_items_clear(&r->wal);
	memset(&r->hint, 0, sizeof(r->hint));
	if (omb_store_list(r->config->from, OMB_WAL_FOLDER, true, add_wal, r,
					   err) == OMB_OK &&
		r->wal.count > 0)
		qsort(r->wal.item, r->wal.count, sizeof(*r->wal.item), compare_wal);
	return err->status;
}

static bool
is_needed(const omb_mirror_item *item, const wal_range *range)
{
	return item->is_history || !range->is_known ||
		   (item->timeline >= range->timeline && item->place >= range->first);
}

/* Bytes of missing WAL from there on. */
static uint64_t
wal_bytes(const run *r, const wal_range *range)
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
send_wal(run *r, const wal_range *range)
{
	omb_mirror_item **item = omb_calloc(r->wal.count + 1, sizeof(*item));
	size_t count = 0;
	bool whole = true;
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
	wal_range wal;
	bool is_there; /* at the target */
} wanted;

static void
set_range(const omb_backup_info *info, wal_range *range)
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
open_wanted(run *r, const omb_revision *backup, wanted *out)
{
	omb_error err = OMB_ERROR_INIT;
	char *name;

	memset(out, 0, sizeof(*out));
	out->is_there = has_backup(r, backup);
	if (omb_manifest_open(r->config->repo, backup->id, &out->manifest, &err) ==
		OMB_OK)
	{
		if (omb_wal_segment_size_valid(out->manifest->info.wal_segment_size))
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
cost_of(run *r, const wanted *w)
{
	uint64_t bytes = wal_bytes(r, &w->wal);
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
send_manifest(run *r, const wanted *w, uint64_t size)
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

/* Send a backup: its WAL and what follows, its packs, its manifest. */
static void
send_backup(run *r, const wanted *w, uint64_t size)
{
	bool whole = send_wal(r, &w->wal);
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

/*
 * Which backup makes the most recent instant restorable soonest: the newest,
 * or the newest that the target has?
 */
static uint64_t
choose_first(run *r)
{
	wanted newest, there;
	uint64_t i = 0, chosen = 0;

	while (i < r->backups && !has_backup(r, &r->backup[i]))
		i++;
	if (i == 0 || i == r->backups)
		return 0;
	if (!open_wanted(r, &r->backup[0], &newest))
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
	if (v->items->count < ITEMS_MAX &&
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
send_unfinished(run *r, omb_error *err)
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

static omb_status
send_by_backup(run *r, omb_error *err)
{
	static const wal_range all;
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
	(void) send_wal(r, &all);
	return send_unfinished(r, err);
}

/* ---- without the key: all packs before any manifest ---- */

static omb_status
send_blindly(run *r, omb_error *err)
{
	static const wal_range all;
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

/* ---- rounds ---- */

static bool
send_repository(run *r)
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

/* Look at the source and send, or count, what is missing. */
static omb_status
do_round(run *r, omb_error *err)
{
	uint64_t i;
	bool missing = false;

	omb_mirror_sender_begin_round(r->sender);
	/* what is listed first is complete in what is listed later */
	if (list_backups(r, err) != OMB_OK)
		return err->status;
	for (i = 0; i < r->backups; i++)
		missing = missing || !has_backup(r, &r->backup[i]);
	if (missing && !r->fresh && list_target(r, err) != OMB_OK)
		return err->status;
	if (!send_folder(r, "keys", "keys", err) || !send_repository(r))
		return err->status;
	(void) send_folder(r, "marks", "marks", err);
	if (err->status != OMB_OK || list_wal(r, err) != OMB_OK)
		return err->status;
	return r->config->repo != NULL ? send_by_backup(r, err) :
									 send_blindly(r, err);
}

static omb_status
count_missing(run *r, omb_error *err)
{
	omb_mirror_sender_count(r->sender, true);
	(void) do_round(r, err);
	omb_mirror_sender_count(r->sender, false);
	return err->status;
}

static omb_status
do_rounds(run *r, omb_mirror_result *result, omb_error *err)
{
	uint64_t objects = 0;
	int idle = 0;

	do
	{
		if (do_round(r, err) != OMB_OK)
			return err->status;
		omb_mirror_sender_result(r->sender, result);
		idle = result->objects == objects ? idle + 1 : 0;
		objects = result->objects;
	} while (omb_mirror_sender_again(r->sender) && idle < IDLE_ROUNDS_MAX);
	return OMB_OK;
}

/* What is missing at the end is an error. */
static omb_status
judge(run *r, const omb_mirror_result *result, omb_error *err)
{
	const omb_error *stop = omb_mirror_sender_stopped(r->sender);
	const omb_error *first = omb_mirror_sender_problem(r->sender);
	char size[OMB_SIZE_TEXT];

	if (result->missing == 0)
		return OMB_OK;
	if (stop != NULL)
	{
		*err = *stop;
		(void) omb_error_context(err, "the mirror was given up");
	}
	else
	{
		(void) omb_error_set(err,
							 result->damaged > 0 ? OMB_DAMAGED : OMB_FAILED,
							 "the copy of the repository is not complete");
		if (result->damaged > 0)
			omb_error_hint(err, "Run: omsupply_backup verify");
	}
	if (first != NULL && stop == NULL)
		omb_error_detail(
			err,
			"%" PRIu64 " objects, %s, %" PRIu64 " backups among "
			"them, are missing at \"%s\". The first failure was: "
			"%s.",
			result->missing, omb_size_format(result->bytes_missing, size),
			result->backups_missing, r->config->to->location, first->message);
	else
		omb_error_detail(err,
						 "%" PRIu64 " objects, %s, %" PRIu64 " backups among "
						 "them, are missing at \"%s\".",
						 result->missing,
						 omb_size_format(result->bytes_missing, size),
						 result->backups_missing, r->config->to->location);
	return err->status;
}

static bool
is_incomplete(const run *r, const omb_mirror_result *result)
{
	return result->failed > 0 || omb_mirror_sender_again(r->sender) ||
		   omb_mirror_sender_stopped(r->sender) != NULL;
}

/* The target is ours, and locked unless nothing is written. */
static omb_status
mirror_locked(run *r, bool have_list, omb_mirror_result *result,
			  omb_error *err)
{
	if ((!have_list || r->config->reconcile || r->is_new) &&
		list_target(r, err) != OMB_OK)
		return err->status;
	if (count_missing(r, err) != OMB_OK)
		return err->status;
	omb_mirror_sender_result(r->sender, result);
	if (r->config->dry_run)
		return OMB_OK;
	if (result->missing > 0)
	{
		save_list(r, true);
		/* what was archived while we worked is for the next run */
		if (do_rounds(r, result, err) == OMB_OK && is_incomplete(r, result))
			(void) count_missing(r, err);
		else
			omb_mirror_sender_forget_count(r->sender);
		omb_mirror_sender_result(r->sender, result);
	}
	result->listed = r->fresh;
	if (err->status == OMB_OK)
		save_list(r, false);
	return err->status == OMB_OK ? judge(r, result, err) : err->status;
}

omb_status
omb_mirror(const omb_mirror_config *config, omb_mirror_result *result,
		   omb_error *err)
{
	omb_lock *lock = NULL;
	bool have_list;
	run r;

	memset(&r, 0, sizeof(r));
	memset(result, 0, sizeof(*result));
	r.config = config;
	if (omb_repository_look(config->from, &r.facts, err) != OMB_OK)
		return err->status;
	r.sender = omb_mirror_sender_new(config, r.facts.id);
	have_list = load_list(&r);
	if (check_target(&r, err) == OMB_OK &&
		(config->dry_run ||
		 omb_store_lock(config->to, false, &lock, err) == OMB_OK))
		(void) mirror_locked(&r, have_list, result, err);
	omb_store_unlock(lock);
	omb_mirror_items_clear(&r.wal);
	free(r.backup);
	omb_mirror_sender_free(r.sender);
	return err->status;
}
