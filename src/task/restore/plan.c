/*
 * plan.c: which backup and which timeline lead to a recovery target.
 *
 * A target is found by reading archived WAL, so that a restore that cannot
 * reach it fails before hours of copying and not after. The server stops
 *   at a time  before the first commit or abort that is later than it,
 *   at an xid  behind the commit or abort of that transaction,
 *   at a name  behind the restore point of that name,
 *   at an LSN  at the first record at or behind it,
 * and fails when the WAL ends before.
 */
#include "task/restore/plan.h"

#include "base/text.h"
#include "pgfmt/lsn.h"
#include "pgfmt/walname.h"
#include "repo/gap.h"
#include "task/wal/walrange.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A segment's facts are within so many bytes of its object. */
#define FACTS 1024
/* Segments whose facts, and that as a whole, are asked for ahead. */
#define AHEAD_FACTS 32
#define AHEAD_WHOLE 4

/* Clocks of commit and archiving are one machine's, but may be set back. */
#define CLOCK_SLACK 60000000

typedef struct backup_facts
{
	char id[OMB_BACKUP_ID_MAX];
	uint64_t start_lsn;
	uint64_t stop_lsn;
	uint32_t timeline;
	int64_t stop_time;
	uint64_t wal_segment_size;
} backup_facts;

typedef struct backup_array
{
	omb_repository *repo;
	backup_facts *item;
	size_t count;
} backup_array;

static omb_status
add_backup(const char *id, void *arg, omb_error *err)
{
	backup_array *array = arg;
	omb_manifest *manifest;
	backup_facts *item;

	if (omb_manifest_open(array->repo, id, &manifest, err) != OMB_OK)
		return err->status;
	if (!omb_backup_is_base(&manifest->info))
	{
		omb_manifest_close(manifest);
		return OMB_OK;
	}
	array->item =
		omb_realloc(array->item, (array->count + 1) * sizeof(backup_facts));
	item = &array->item[array->count++];
	memcpy(item->id, manifest->info.id, sizeof(item->id));
	item->start_lsn = manifest->info.start_lsn;
	item->stop_lsn = manifest->info.stop_lsn;
	item->timeline = manifest->info.stop_timeline;
	item->stop_time = manifest->info.stop_time;
	item->wal_segment_size = manifest->info.wal_segment_size;
	omb_manifest_close(manifest);
	return OMB_OK;
}

/* The path that recovery from the backup follows. */
static omb_status
choose_timeline(omb_repository *repo, const backup_facts *backup,
				const omb_target *target, omb_plan *plan, omb_error *err)
{
	uint32_t *timeline = NULL;
	size_t count = 0;
	size_t i;
	bool found = false;

	if (target->timeline != OMB_TIMELINE_LATEST)
	{
		plan->timeline = target->timeline == OMB_TIMELINE_CURRENT ?
							 backup->timeline :
							 target->timeline;
		if (omb_timeline_path_read(repo, plan->timeline, &plan->path, err) ==
			OMB_NOT_FOUND)
			return omb_error_set(err, OMB_REFUSED,
								 "timeline %u is not in the repository",
								 plan->timeline);
		if (err->status == OMB_OK &&
			!omb_timeline_contains(&plan->path, backup->timeline,
								   backup->stop_lsn))
			(void) omb_error_set(
				err, OMB_REFUSED,
				"timeline %u does not go through backup \"%s\"",
				plan->timeline, backup->id);
		return err->status;
	}
	if (omb_timelines(repo, &timeline, &count, err) != OMB_OK)
		return err->status;
	for (i = count; i > 0 && !found && err->status == OMB_OK; i--)
	{
		if (timeline[i - 1] < backup->timeline)
			break;
		(void) omb_timeline_path_read(repo, timeline[i - 1], &plan->path, err);
		if (err->status == OMB_NOT_FOUND &&
			timeline[i - 1] != backup->timeline)
			omb_error_clear(err);
		else if (err->status == OMB_OK)
			found = omb_timeline_contains(&plan->path, backup->timeline,
										  backup->stop_lsn);
		plan->timeline = timeline[i - 1];
	}
	free(timeline);
	if (err->status == OMB_OK && !found)
		(void) omb_error_set(err, OMB_REFUSED,
							 "the repository has no WAL of backup \"%s\"",
							 backup->id);
	return err->status;
}

/* A restore point's record is short; it may begin in the page before. */
#define POINT_SPAN 8192

/* Looking for a target in WAL. */
typedef struct search
{
	const omb_target *target;
	uint64_t from; /* end of the backup: what is before does not count */
	bool found;
	uint64_t lsn;
	int64_t time;
	int64_t last_time; /* of the last transaction seen */
	int64_t before;	   /* of the last one at or before a target LSN, */
	int64_t after;	   /* and of the first one behind it; 0 for none */
	bool saw_prepared;
	bool near;	   /* segments are read, no longer their facts only */
	uint64_t told; /* the first segment of which the store was not told */
} search;

static void
look_at(const omb_wal_event *event, void *arg)
{
	search *s = arg;
	bool hit = false;

	if (s->found || event->end_lsn < s->from)
		return;
	if (event->kind != OMB_WAL_RESTORE_POINT)
	{
		s->last_time = event->time;
		if (event->xid == 0)
			s->saw_prepared = true;
	}
	if (s->target->kind == OMB_TARGET_LSN && event->time != 0)
	{
		if (event->end_lsn <= s->target->lsn)
			s->before = event->time;
		else if (s->after == 0)
			s->after = event->time;
	}
	switch (s->target->kind)
	{
		case OMB_TARGET_TIME:
			hit = event->kind != OMB_WAL_RESTORE_POINT &&
				  event->time > s->target->time;
			break;
		case OMB_TARGET_XID:
			hit = event->kind != OMB_WAL_RESTORE_POINT &&
				  event->xid == s->target->xid;
			break;
		case OMB_TARGET_NAME:
			hit = event->kind == OMB_WAL_RESTORE_POINT &&
				  strcmp(event->name, s->target->name) == 0;
			break;
		default:
			break;
	}
	if (hit)
	{
		s->found = true;
		s->lsn = event->end_lsn;
		s->time = event->time;
	}
}

/* Far away what will be read of the next segments is asked for together. */
static void
tell_next(omb_repository *repo, omb_wal_finder *finder, const omb_plan *plan,
		  uint64_t segno, uint64_t size, search *s)
{
	uint64_t end = segno + (s->near ? AHEAD_WHOLE : AHEAD_FACTS);
	omb_error ignored = OMB_ERROR_INIT;

	if (!omb_store_is_far(repo->store))
		return;
	if (s->told < segno)
		s->told = segno;
	while (s->told < end)
	{
		omb_wal_listed next;

		if (omb_wal_find_on_path(finder, &plan->path, s->told, size, &next,
								 &ignored) != OMB_OK)
		{
			/* once is enough */
			s->told = UINT64_MAX;
			return;
		}
		omb_wal_expect(repo, &next, s->near ? next.size : FACTS);
		s->told++;
	}
}

/* Feed one archived segment to the scanner; *ended when WAL stops in it. */
static omb_status
scan_segment(omb_repository *repo, const omb_wal_object *object,
			 uint64_t begin, omb_wal_scanner *scanner, const search *s,
			 bool *ended, omb_error *err)
{
	omb_wal_reader *reader;
	const uint8_t *data;
	size_t len;

	if (omb_wal_open(repo, object, &reader, err) != OMB_OK)
		return err->status;
	while (!s->found && omb_wal_next(reader, &data, &len, err) == OMB_OK &&
		   len > 0)
	{
		if (!omb_wal_scanner_feed(scanner, begin, data, len))
		{
			*ended = true;
			break;
		}
		begin += len;
	}
	omb_wal_close(reader);
	return err->status;
}

/* Does the segment end before anything later than time can be in it? */
static omb_status
is_before(omb_repository *repo, const omb_wal_object *object, int64_t time,
		  bool *before, omb_error *err)
{
	omb_wal_reader *reader;

	if (omb_wal_open(repo, object, &reader, err) != OMB_OK)
		return err->status;
	*before = omb_wal_reader_facts(reader)->archived_at < time - CLOCK_SLACK;
	omb_wal_close(reader);
	return OMB_OK;
}

/* Need a segment be read that cannot have the target? */
static bool
may_have(const omb_target *target, uint64_t segno, uint64_t size)
{
	return target->kind != OMB_TARGET_NAME || target->lsn < POINT_SPAN ||
		   segno >= omb_wal_segno_at(target->lsn - POINT_SPAN, size);
}

/* A segment is missing: the end of the archive, or a gap in it? */
static omb_status
check_gap(omb_repository *repo, const omb_plan *plan, uint64_t segno,
		  uint64_t size, bool *gap, omb_error *err)
{
	omb_error_clear(err);
	return omb_wal_has_later(repo, omb_timeline_at(&plan->path, segno * size),
							 segno, size, gap, err);
}

/*
 * Walk the WAL from the backup on until the target is found or the archive
 * ends. Segments must follow one another without a gap.
 */
static omb_status
search_wal(omb_repository *repo, const backup_facts *backup, omb_plan *plan,
		   search *s, bool *gap, omb_error *err)
{
	uint64_t size = backup->wal_segment_size;
	uint64_t segno = omb_wal_segno_at(backup->start_lsn, size);
	uint64_t last_needed = omb_wal_segno_before(s->from, size);
	bool scans = s->target->kind == OMB_TARGET_TIME ||
				 s->target->kind == OMB_TARGET_XID ||
				 s->target->kind == OMB_TARGET_NAME;
	omb_wal_scanner *scanner = omb_wal_scanner_new(size, look_at, s);
	omb_wal_finder *finder = omb_wal_finder_new(repo);
	bool ended = false;

	*gap = false;
	s->near = s->target->kind != OMB_TARGET_TIME;
	if (s->target->kind == OMB_TARGET_LSN)
		last_needed = omb_wal_segno_before(s->target->lsn, size);
	for (; !s->found && !ended && err->status == OMB_OK; segno++)
	{
		omb_wal_listed found;
		bool before = false;

		if (omb_wal_find_on_path(finder, &plan->path, segno, size, &found,
								 err) == OMB_NOT_FOUND)
		{
			(void) check_gap(repo, plan, segno, size, gap, err);
			break;
		}
		if (err->status != OMB_OK)
			break;
		memcpy(plan->last_segment, found.object.file, OMB_WAL_NAME_TEXT);
		if (scans && segno >= omb_wal_segno_at(s->from, size) &&
			may_have(s->target, segno, size))
		{
			tell_next(repo, finder, plan, segno, size, s);
			if (s->target->kind == OMB_TARGET_TIME &&
				is_before(repo, &found.object, s->target->time, &before,
						  err) != OMB_OK)
				break;
			if (before)
				continue;
			if (!s->near)
			{
				s->near = true;
				s->told = segno;
				tell_next(repo, finder, plan, segno, size, s);
			}
			(void) scan_segment(repo, &found.object, segno * size, scanner, s,
								&ended, err);
		}
		else if (s->target->kind == OMB_TARGET_LSN && segno + 1 >= last_needed)
		{
			/* when that was, for files that are to fit */
			omb_wal_expect(repo, &found, found.size);
			if (scan_segment(repo, &found.object, segno * size, scanner, s,
							 &before, err) == OMB_OK &&
				segno == last_needed)
			{
				s->found = true;
				s->lsn = s->target->lsn;
			}
		}
		else if (s->target->kind == OMB_TARGET_IMMEDIATE &&
				 segno >= last_needed)
			s->found = true;
	}
	omb_wal_finder_free(finder);
	omb_wal_scanner_free(scanner);
	return err->status;
}

/* WAL is missing: did the server give it up? */
static void
explain_gap(omb_repository *repo, const omb_plan *plan, omb_error *err)
{
	omb_error ignored = OMB_ERROR_INIT;
	char text[OMB_TIME_TEXT];
	omb_gap gap;
	bool found = false;

	if (omb_gap_behind(repo, plan->last_segment, &gap, &found, &ignored) ==
			OMB_OK &&
		found)
		omb_error_detail(err,
						 "WAL is missing behind segment \"%s\": the server "
						 "gave up \"%s\" to \"%s\" at %s because it could "
						 "not be archived.",
						 plan->last_segment, gap.first, gap.last,
						 omb_time_format(gap.until, text));
	else
		omb_error_detail(err,
						 "WAL is missing behind segment \"%s\", although "
						 "later segments are there.",
						 plan->last_segment);
}

/* Is all WAL there that the backup itself needs? */
static bool
reached_end(const backup_facts *backup, const omb_plan *plan)
{
	uint64_t size = backup->wal_segment_size;
	omb_wal_name name;

	return omb_wal_name_parse(plan->last_segment, &name) == OMB_WAL_SEGMENT &&
		   omb_wal_segno(&name, size) >=
			   omb_wal_segno_before(backup->stop_lsn, size);
}

static omb_status
unreachable(omb_repository *repo, const omb_target *target,
			const omb_plan *plan, const backup_facts *backup, const search *s,
			bool gap, omb_error *err)
{
	char text[OMB_TIME_TEXT];
	char lsn[OMB_LSN_TEXT];

	switch (target->kind)
	{
		case OMB_TARGET_TIME:
			(void) omb_error_set(err, OMB_REFUSED,
								 "time %s cannot be reached: no later "
								 "transaction is in the archived WAL",
								 omb_time_format(target->time, text));
			break;
		case OMB_TARGET_LSN:
			(void) omb_error_set(
				err, OMB_REFUSED,
				"LSN %s cannot be reached: the archived WAL ends before",
				omb_lsn_format(target->lsn, lsn));
			break;
		case OMB_TARGET_XID:
			(void) omb_error_set(err, OMB_REFUSED,
								 "transaction %u is not in the archived WAL "
								 "after any backup",
								 target->xid);
			break;
		case OMB_TARGET_NAME:
			if (target->mark != NULL)
				(void) omb_error_set(
					err, OMB_REFUSED,
					"mark \"%s\" at LSN %s cannot be reached: the archived "
					"WAL ends before",
					target->mark, omb_lsn_format(target->lsn, lsn));
			else
				(void) omb_error_set(
					err, OMB_REFUSED,
					"restore point \"%s\" is not in the archived "
					"WAL after any backup",
					target->name);
			break;
		default:
			(void) omb_error_set(err, OMB_REFUSED,
								 "the WAL of backup \"%s\" is not complete",
								 backup->id);
			break;
	}
	if (gap)
		explain_gap(repo, plan, err);
	else if (s->last_time != 0)
		omb_error_detail(
			err,
			"The WAL of timeline %u ends with segment \"%s\"; its last "
			"transaction ended at %s.",
			plan->timeline, plan->last_segment,
			omb_time_format(s->last_time, text));
	else
		omb_error_detail(err,
						 "The WAL of timeline %u ends with segment \"%s\".",
						 plan->timeline, plan->last_segment);
	if (target->kind == OMB_TARGET_END && reached_end(backup, plan))
		omb_error_hint(err, "The WAL behind an old backup goes before the "
							"backup does. --target-immediate restores the "
							"state at which it ended.");
	else
		omb_error_hint(err, "Choose an earlier target, or none to recover to "
							"the end of the archived WAL.");
	return err->status;
}

/* Is the backup complete before the target, as far as that can be told? */
static bool
early_enough(const backup_facts *backup, const omb_target *target)
{
	if (target->kind == OMB_TARGET_TIME)
		return backup->stop_time <= target->time;
	if (target->kind == OMB_TARGET_LSN ||
		(target->kind == OMB_TARGET_NAME && target->lsn != 0))
		return backup->stop_lsn <= target->lsn;
	return true;
}

static omb_status
no_backup(const backup_array *array, const char *wanted,
		  const omb_target *target, omb_error *err)
{
	char text[OMB_TIME_TEXT];

	if (array->count == 0 && wanted != NULL)
		return omb_error_set(err, OMB_REFUSED,
							 "\"%s\" holds the application's files only and "
							 "is no base backup",
							 wanted);
	if (array->count == 0)
		return omb_error_set(err, OMB_REFUSED, "the repository has no backup");
	if (wanted != NULL)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "backup \"%s\" ended after the target", wanted);
		omb_error_hint(err, "Leave out --backup to have one chosen.");
		return err->status;
	}
	(void) omb_error_set(err, OMB_REFUSED,
						 target->kind == OMB_TARGET_TIME || target->lsn != 0 ?
							 "no backup ended before the target" :
							 "no backup leads to the target");
	omb_error_detail(err, "The oldest backup, \"%s\", ended at %s.",
					 array->item[0].id,
					 omb_time_format(array->item[0].stop_time, text));
	return err->status;
}

/* Between which times the target lies. */
static void
find_instant(const backup_facts *backup, const omb_target *target,
			 const search *s, omb_plan *plan)
{
	plan->not_before = plan->not_after = s->time;
	if (target->kind == OMB_TARGET_TIME)
		plan->not_before = plan->not_after = target->time;
	if (target->kind == OMB_TARGET_IMMEDIATE)
		plan->not_before = plan->not_after = backup->stop_time;
	if (target->kind == OMB_TARGET_LSN)
	{
		plan->not_before = s->before != 0 ? s->before : backup->stop_time;
		plan->not_after = s->after != 0 ? s->after : INT64_MAX;
	}
	if (target->kind == OMB_TARGET_END || plan->not_after == 0)
		plan->not_before = plan->not_after = INT64_MAX;
}

/* Try one backup; *good when it leads to the target. */
static omb_status
try_backup(omb_repository *repo, const backup_facts *backup,
		   const omb_target *target, omb_plan *plan, bool *good,
		   omb_error *err)
{
	search s;
	bool gap = false;

	memset(&s, 0, sizeof(s));
	memset(plan, 0, sizeof(*plan));
	s.target = target;
	s.from = backup->stop_lsn;
	memcpy(plan->backup, backup->id, sizeof(plan->backup));
	*good = false;
	if (choose_timeline(repo, backup, target, plan, err) != OMB_OK ||
		search_wal(repo, backup, plan, &s, &gap, err) != OMB_OK)
		return err->status;
	plan->target_lsn = s.lsn;
	plan->target_time = s.time;
	find_instant(backup, target, &s, plan);
	*good = s.found || (target->kind == OMB_TARGET_END && !gap) ||
			(target->kind == OMB_TARGET_XID && s.saw_prepared);
	if (!*good)
		return unreachable(repo, target, plan, backup, &s, gap, err);
	return OMB_OK;
}

/* While other things are done the list of the backup's own WAL comes. */
static void
expect_wal(omb_repository *repo, const backup_facts *backup)
{
	char name[OMB_WAL_NAME_TEXT];
	char *folder;

	omb_wal_name_format(
		backup->timeline,
		omb_wal_segno_at(backup->start_lsn, backup->wal_segment_size),
		backup->wal_segment_size, name);
	folder = omb_wal_folder(name);
	omb_store_expect_list(repo->store, folder, false);
	free(folder);
}

omb_status
omb_plan_make(omb_repository *repo, const char *backup,
			  const omb_target *target,
			  void (*trying)(const char *backup, void *arg), void *arg,
			  omb_plan *plan, omb_error *err)
{
	backup_array array = { NULL, NULL, 0 };
	omb_error first = OMB_ERROR_INIT; /* of the newest backup tried */
	bool good = false;
	size_t i;

	memset(plan, 0, sizeof(*plan));
	array.repo = repo;
	if (backup != NULL)
		(void) add_backup(backup, &array, err);
	else
		(void) omb_backup_list(repo, add_backup, &array, err);
	/* newest first; an older one may lead there where the newest does not */
	for (i = array.count; i > 0 && !good && err->status == OMB_OK; i--)
	{
		if (!early_enough(&array.item[i - 1], target))
			continue;
		expect_wal(repo, &array.item[i - 1]);
		trying(array.item[i - 1].id, arg);
		(void) try_backup(repo, &array.item[i - 1], target, plan, &good, err);
		if (err->status != OMB_OK && first.status == OMB_OK)
			first = *err;
		if (err->status == OMB_REFUSED)
			omb_error_clear(err);
	}
	if (err->status == OMB_OK && !good)
	{
		if (first.status != OMB_OK)
			*err = first;
		else
			(void) no_backup(&array, backup, target, err);
	}
	free(array.item);
	return err->status;
}
