/*
 * expire.c: removing backups and WAL that no rule keeps.
 *
 * WAL files are listed three times and never kept in memory: to see which
 * backups have all of theirs, to tell the verdicts, and to remove.
 */
#include "task/retain/expire.h"

#include "base/text.h"
#include "repo/revision.h"
#include "repo/walobject.h"
#include "task/retain/early.h"
#include "task/retain/expiremarks.h"
#include "task/retain/facts.h"
#include "task/retain/removal.h"
#include "task/wal/walrange.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* How many backups a text names. */
#define NAMES_SHOWN 3

/* Consecutive segments with one verdict, and what belongs to them. */
typedef struct range
{
	bool open;
	omb_retain_wal verdict;
	omb_wal_name last;
	char first_file[OMB_WAL_NAME_TEXT];
	char last_file[OMB_WAL_NAME_TEXT];
	uint64_t files;
	uint64_t bytes;
} range;

typedef struct expire
{
	const omb_expire_config *config;
	omb_expire_result *result;
	omb_retain_plan plan;
	uint64_t unreadable;
	omb_wal_name last; /* segment counted last */
	range range;
	omb_removal *removal;
	omb_expire_marks *marks;
} expire;

static void
tell(const expire *e, const char *object, const char *name,
	 const char *verdict, const char *reason)
{
	omb_expire_row row;

	row.object = object;
	row.name = name;
	row.verdict = verdict;
	row.reason = reason;
	e->config->row(&row, e->config->arg);
}

/* ---- facts ---- */

/* The facts of a backup; one whose manifest is damaged is told at once. */
static omb_status
add_backup(const char *id, void *arg, omb_error *err)
{
	expire *e = arg;

	switch (omb_facts_add_backup(e->config->repo, id, &e->plan, err))
	{
		case OMB_DAMAGED:
		case OMB_UNSUPPORTED:
		case OMB_WRONG_KEY:
			e->unreadable++;
			tell(e, "backup", id, "unreadable", err->message);
			omb_error_clear(err);
			break;
		default:
			break;
	}
	return err->status;
}

/* ---- does each backup have its WAL? ---- */

static bool
is_same_segment(const omb_wal_name *a, const omb_wal_name *b)
{
	return a->timeline == b->timeline && a->log == b->log && a->seg == b->seg;
}

static omb_status
count_segment(const omb_store_entry *entry, void *arg, omb_error *err)
{
	expire *e = arg;
	omb_wal_object object;
	omb_wal_name name;
	uint64_t first, last;
	size_t i;

	if (!omb_wal_object_parse(entry->name, &object) ||
		omb_wal_name_parse(object.file, &name) != OMB_WAL_SEGMENT ||
		(e->last.kind == OMB_WAL_SEGMENT && is_same_segment(&name, &e->last)))
		return OMB_OK;
	e->last = name;
	for (i = 0; i < e->plan.count; i++)
	{
		omb_retain_backup *backup = &e->plan.backup[i];

		if (backup->timeline == name.timeline && backup->wal_missing > 0 &&
			omb_retain_range(backup, &first, &last) &&
			omb_wal_segno(&name, backup->wal_segment_size) >= first &&
			omb_wal_segno(&name, backup->wal_segment_size) <= last)
			backup->wal_missing--;
	}
	return OMB_OK;
}

static omb_status
count_wal(expire *e, omb_error *err)
{
	uint64_t first, last;
	size_t i;

	for (i = 0; i < e->plan.count; i++)
	{
		omb_retain_backup *backup = &e->plan.backup[i];

		if (omb_retain_range(backup, &first, &last) && last >= first)
			backup->wal_missing = last - first + 1;
	}
	return omb_store_list(e->config->repo->store, OMB_WAL_FOLDER, true,
						  count_segment, e, err);
}

/* ---- lack of space ---- */

/* What cannot be read may need anything: then nothing will be removed. */
static omb_status
drop_early(expire *e, omb_error *err)
{
	const omb_expire_config *config = e->config;
	uint64_t available = 0;
	uint32_t dropped = 0;

	if (config->min_free == 0 || e->unreadable > 0)
		return OMB_OK;
	if ((config->available ? config->available : omb_early_available)(
			config->repo, &available, err) == OMB_OK &&
		omb_early_decide(config->repo, &e->plan, available, config->min_free,
						 &dropped, err) == OMB_OK)
		e->result->backups_early = dropped;
	return err->status;
}

/* ---- telling ---- */

static void
tell_backups(expire *e)
{
	size_t i;

	for (i = 0; i < e->plan.count; i++)
	{
		const omb_retain_backup *backup = &e->plan.backup[i];
		char *reason = omb_format(
			"%s%s", backup->reason,
			backup->damaged_pages > 0 ? " (has damaged pages)" : "");

		if (backup->keep)
			e->result->backups_kept++;
		else
			e->result->backups_dropped++;
		tell(e, "backup", backup->id, backup->keep ? "keep" : "drop", reason);
		free(reason);
	}
}

static void
tell_files(expire *e)
{
	size_t i;

	for (i = 0; i < e->plan.files_count; i++)
	{
		const omb_retain_files *files = &e->plan.files[i];

		*(files->keep ? &e->result->files_kept : &e->result->files_dropped) +=
			1;
		tell(e, "files", files->id, files->keep ? "keep" : "drop",
			 files->reason);
	}
}

static char *
name_range(const char *first, const char *last)
{
	if (strcmp(first, last) == 0)
		return omb_strdup(first);
	return omb_format("%s to %s", first, last);
}

static void
end_range(expire *e)
{
	range *r = &e->range;
	char size[OMB_SIZE_TEXT];
	char *name, *why, *reason;
	bool drop = r->verdict.why == OMB_RETAIN_UNUSED;

	if (!r->open)
		return;
	r->open = false;
	name = name_range(r->first_file, r->last_file);
	why = omb_retain_wal_reason(&e->plan, &r->verdict);
	reason =
		omb_format("%s (%" PRIu64 " file%s, %s)", why, r->files,
				   r->files == 1 ? "" : "s", omb_size_format(r->bytes, size));
	if (drop)
	{
		e->result->wal_dropped += r->files;
		e->result->wal_bytes_dropped += r->bytes;
	}
	else
		e->result->wal_kept += r->files;
	tell(e, "wal", name, drop ? "drop" : "keep", reason);
	free(reason);
	free(why);
	free(name);
}

/*
 * WAL is missing in front of a segment that is there: tell it when backups
 * lead up to it, whose recovery would end there.
 */
static void
tell_gap(expire *e, uint32_t timeline, uint64_t first, uint64_t last)
{
	uint64_t size = e->plan.segment_size;
	char from[OMB_WAL_NAME_TEXT];
	char to[OMB_WAL_NAME_TEXT];
	omb_buf reason = OMB_BUF_INIT;
	uint64_t count = 0;
	char *name;
	size_t i;

	for (i = 0; i < e->plan.count; i++)
	{
		const omb_retain_backup *backup = &e->plan.backup[i];

		if (!backup->keep || !backup->window || backup->timeline > timeline ||
			omb_wal_segno_at(backup->start_lsn, size) > first)
			continue;
		if (count < NAMES_SHOWN)
			omb_buf_printf(&reason, "%s\"%s\"", count == 0 ? "" : ", ",
						   backup->id);
		count++;
	}
	if (count > NAMES_SHOWN)
		omb_buf_printf(&reason, " and %" PRIu64 " more", count - NAMES_SHOWN);
	if (count > 0)
	{
		omb_buf_printf(&reason, " cannot be recovered beyond it");
		omb_wal_name_format(timeline, first, size, from);
		omb_wal_name_format(timeline, last, size, to);
		name = name_range(from, to);
		tell(e, "gap", name, "missing", omb_buf_text(&reason));
		free(name);
	}
	omb_buf_free(&reason);
}

static void
tell_history(expire *e, const char *file, const omb_retain_wal *verdict)
{
	char *reason = omb_retain_wal_reason(&e->plan, verdict);

	e->result->wal_kept++;
	tell(e, "wal", file, "keep", reason);
	free(reason);
}

/* Files come in order of name, within each timeline in order of segment. */
static omb_status
tell_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	expire *e = arg;
	range *r = &e->range;
	uint64_t size = e->plan.segment_size;
	omb_wal_object object;
	omb_wal_name name;
	omb_retain_wal verdict;
	bool follows;

	/* what is none of ours is left alone; verify tells it */
	if (!omb_wal_object_parse(entry->name, &object))
		return OMB_OK;
	(void) omb_wal_name_parse(object.file, &name);
	verdict = omb_retain_wal_decide(&e->plan, &name);
	if (name.kind == OMB_WAL_HISTORY)
	{
		end_range(e);
		tell_history(e, object.file, &verdict);
		return OMB_OK;
	}
	follows = r->files > 0 && r->last.timeline == name.timeline;
	if (follows && size != 0 &&
		omb_wal_segno(&name, size) > omb_wal_segno(&r->last, size) + 1)
	{
		end_range(e);
		tell_gap(e, name.timeline, omb_wal_segno(&r->last, size) + 1,
				 omb_wal_segno(&name, size) - 1);
	}
	if (!r->open || !follows || verdict.why != r->verdict.why ||
		verdict.because != r->verdict.because)
	{
		end_range(e);
		r->open = true;
		r->verdict = verdict;
		(void) memcpy(r->first_file, object.file, OMB_WAL_NAME_TEXT - 1);
		r->files = 0;
		r->bytes = 0;
	}
	(void) memcpy(r->last_file, object.file, OMB_WAL_NAME_TEXT - 1);
	r->last = name;
	r->files++;
	r->bytes += entry->size;
	return OMB_OK;
}

/* Kept backups that lack some of their own WAL. */
static void
tell_incomplete(expire *e)
{
	char from[OMB_WAL_NAME_TEXT];
	char to[OMB_WAL_NAME_TEXT];
	uint64_t first, last;
	size_t i;

	for (i = 0; i < e->plan.count; i++)
	{
		const omb_retain_backup *backup = &e->plan.backup[i];
		char *name, *reason;

		if (!backup->keep || backup->wal_missing == 0 ||
			!omb_retain_range(backup, &first, &last))
			continue;
		omb_wal_name_format(backup->timeline, first, backup->wal_segment_size,
							from);
		omb_wal_name_format(backup->timeline, last, backup->wal_segment_size,
							to);
		name = name_range(from, to);
		reason = omb_format("backup \"%s\" cannot be restored: %" PRIu64
							" of its segments %s missing",
							backup->id, backup->wal_missing,
							backup->wal_missing == 1 ? "is" : "are");
		tell(e, "gap", name, "missing", reason);
		free(reason);
		free(name);
	}
}

static omb_status
tell_all(expire *e, omb_error *err)
{
	tell_backups(e);
	tell_files(e);
	if (omb_store_list(e->config->repo->store, OMB_WAL_FOLDER, true, tell_wal,
					   e, err) != OMB_OK)
		return err->status;
	end_range(e);
	tell_incomplete(e);
	return omb_expire_marks_tell(e->config, &e->plan, &e->marks, err);
}

/* ---- removing ---- */

static omb_retain_backup *
find_backup(expire *e, const char *id)
{
	size_t i;

	for (i = 0; i < e->plan.count; i++)
	{
		if (strcmp(e->plan.backup[i].id, id) == 0)
			return &e->plan.backup[i];
	}
	return NULL;
}

static omb_retain_files *
find_files(expire *e, const char *id)
{
	size_t i;

	for (i = 0; i < e->plan.files_count; i++)
	{
		if (strcmp(e->plan.files[i].id, id) == 0)
			return &e->plan.files[i];
	}
	return NULL;
}

/* A backup whose manifest cannot be removed stays, with all that it needs. */
static void
manifest_done(const char *name, uint64_t size, const omb_error *refused,
			  void *arg)
{
	expire *e = arg;
	omb_retain_backup *backup;
	omb_revision revision;

	if (refused == NULL || !omb_revision_parse(name, &revision))
		return;
	backup = find_backup(e, revision.id);
	e->result->locked++;
	if (backup == NULL)
	{
		omb_retain_files *files = find_files(e, revision.id);

		if (!files->keep)
		{
			files->keep = true;
			e->result->files_dropped--;
			e->result->files_kept++;
			tell(e, "files", files->id, "keep", refused->message);
		}
	}
	else if (!backup->keep)
	{
		backup->keep = true;
		e->result->backups_dropped--;
		e->result->backups_kept++;
		tell(e, "backup", backup->id, "keep", refused->message);
	}
}

static void
wal_done(const char *name, uint64_t size, const omb_error *refused, void *arg)
{
	expire *e = arg;

	if (refused == NULL)
		return;
	e->result->locked++;
	e->result->wal_dropped--;
	e->result->wal_kept++;
	e->result->wal_bytes_dropped -= size;
}

static omb_status
remove_revision(const omb_revision *revision, void *arg, omb_error *err)
{
	expire *e = arg;
	const omb_retain_backup *backup = find_backup(e, revision->id);
	const omb_retain_files *files = find_files(e, revision->id);
	char *name;

	/* one that came since is in neither list */
	if ((backup == NULL || backup->keep) && (files == NULL || files->keep))
		return OMB_OK;
	name = omb_revision_name(revision->id, revision->number);
	(void) omb_removal_add(e->removal, name, revision->size, err);
	free(name);
	return err->status;
}

/*
 * A backup without its WAL must never be listed, not even after a crash:
 * manifests go first, for good, and only then WAL.
 */
static omb_status
remove_backups(expire *e, omb_error *err)
{
	omb_repository *repo = e->config->repo;

	e->removal = omb_removal_new(repo->store, manifest_done, e);
	if (omb_revision_list(repo, remove_revision, e, err) == OMB_OK)
		(void) omb_removal_flush(e->removal, err);
	omb_removal_free(e->removal);
	omb_revision_memory_clear(repo->revisions);
	/* also when an earlier run that was cut short removed them */
	if (err->status == OMB_OK)
		(void) omb_store_settle(repo->store, OMB_BACKUP_FOLDER, err);
	return err->status;
}

static omb_status
remove_wal_file(const omb_store_entry *entry, void *arg, omb_error *err)
{
	const expire *e = arg;
	omb_wal_object object;
	omb_wal_name name;

	if (!omb_wal_object_parse(entry->name, &object))
		return OMB_OK;
	(void) omb_wal_name_parse(object.file, &name);
	if (omb_retain_wal_decide(&e->plan, &name).why == OMB_RETAIN_UNUSED)
		(void) omb_removal_add(e->removal, entry->name, entry->size, err);
	return err->status;
}

static omb_status
remove_wal(expire *e, omb_error *err)
{
	omb_store *store = e->config->repo->store;

	e->removal = omb_removal_new(store, wal_done, e);
	if (omb_store_list(store, OMB_WAL_FOLDER, true, remove_wal_file, e, err) ==
		OMB_OK)
		(void) omb_removal_flush(e->removal, err);
	omb_removal_free(e->removal);
	return err->status;
}

static omb_status
remove_all(expire *e, omb_error *err)
{
	if (e->unreadable > 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "the manifest%s of %" PRIu64
							 " backup%s cannot be read",
							 e->unreadable == 1 ? "" : "s", e->unreadable,
							 e->unreadable == 1 ? "" : "s");
		omb_error_detail(err, "What such a backup needs is not known, so "
							  "nothing was removed.");
		omb_error_hint(err,
					   "Run \"omsupply_backup verify\". When a backup is "
					   "lost for good, move its file away from the "
					   "folder \"" OMB_BACKUP_FOLDER "\" of the repository.");
		return err->status;
	}
	if (remove_backups(e, err) == OMB_OK && remove_wal(e, err) == OMB_OK)
		(void) omb_expire_marks_remove(e->config, e->marks, &e->result->locked,
									   err);
	return err->status;
}

/* Packs that no manifest names any more go under the same lock. */
static omb_status
prune(const omb_expire_config *config, const omb_lock *lock, omb_error *err)
{
	omb_prune_config pruning;
	omb_prune_result *pruned = config->pruned;

	if (config->prune == NULL)
		return OMB_OK;
	pruning = *config->prune;
	pruning.repo = config->repo;
	pruning.lock = lock;
	if (omb_prune(&pruning, pruned, err) == OMB_OK &&
		pruned->packs_missing + pruned->packs_skipped > 0)
	{
		(void) omb_error_set(err, OMB_DAMAGED,
							 "%" PRIu64 " packs are missing, %" PRIu64
							 " are damaged",
							 pruned->packs_missing, pruned->packs_skipped);
		omb_error_detail(err, "What no rule keeps was removed all the same.");
		omb_error_hint(err, "Run \"omsupply_backup verify\".");
	}
	return err->status;
}

omb_status
omb_expire(const omb_expire_config *config, omb_expire_result *result,
		   omb_error *err)
{
	omb_lock *lock = NULL;
	expire e;

	memset(result, 0, sizeof(*result));
	memset(&e, 0, sizeof(e));
	e.config = config;
	e.result = result;
	e.plan.rules = config->rules;
	if (omb_store_lock(config->repo->store, !config->dry_run, &lock, err) ==
			OMB_OK &&
		omb_backup_list(config->repo, add_backup, &e, err) == OMB_OK &&
		omb_facts_timelines(config->repo, &e.plan, err) == OMB_OK &&
		count_wal(&e, err) == OMB_OK)
	{
		omb_retain_decide(&e.plan);
		if (drop_early(&e, err) == OMB_OK)
			omb_retain_decide_files(&e.plan);
		if (err->status == OMB_OK && tell_all(&e, err) == OMB_OK &&
			!config->dry_run && remove_all(&e, err) == OMB_OK)
			(void) prune(config, lock, err);
	}
	omb_store_unlock(lock);
	omb_expire_marks_free(e.marks);
	omb_retain_clear(&e.plan);
	return err->status;
}
