/*
 * impact.c: what the problems of a repository mean.
 *
 * Backups are kept as a few facts each, WAL as runs of segments without a gap
 * in which damaged ones count as missing; there are few runs. Entries are read
 * only of backups that use a pack with a problem.
 */
#include "task/verify/impact.h"

#include "base/text.h"
#include "pgfmt/lsn.h"
#include "task/wal/walrange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct backup
{
	char id[OMB_BACKUP_ID_MAX];
	uint32_t timeline;
	uint64_t first; /* segments that it needs */
	uint64_t last;
	uint64_t stop_lsn;
	int64_t stop_time;
	bool intact;
} backup;

typedef struct run
{
	uint32_t timeline;
	uint64_t first;
	uint64_t last;
	omb_wal_object last_object;
} run;

typedef struct impact_state
{
	omb_repository *repo;
	omb_problems *problems;
	uint64_t segment_size; /* 0 while no backup told it */
	backup *backup;
	size_t backup_count;
	run *run;
	size_t run_count;
} impact_state;

/* ---- backups ---- */

/* Name files that are in packs with a problem; true when there is any. */
static bool
find_files(impact_state *s, omb_manifest *manifest)
{
	omb_problem **bad =
		omb_calloc(manifest->pack_count + 1, sizeof(omb_problem *));
	omb_error ignored = OMB_ERROR_INIT;
	bool any = false;
	bool end = false;
	size_t i;

	for (i = 0; i < manifest->pack_count; i++)
	{
		bad[i] = omb_problems_find_pack(s->problems, manifest->pack[i].sha256);
		if (bad[i] != NULL)
			omb_problem_add_backup(bad[i], manifest->info.id);
		any = any || bad[i] != NULL;
	}
	while (any && !end && ignored.status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, &ignored) != OMB_OK ||
			end)
			break;
		for (i = 0; i < entry.extent_count; i++)
		{
			const omb_extent *extent = &entry.extent[i];

			if (!extent->is_zero && bad[extent->blob.pack] != NULL)
				omb_problem_add_file(bad[extent->blob.pack], entry.path);
		}
		omb_entry_clear(&entry);
	}
	free(bad);
	return any;
}

/* Is there a problem with the manifest itself? */
static bool
manifest_is_bad(const omb_problems *problems, const char *id)
{
	size_t i;

	for (i = 0; i < problems->count; i++)
	{
		const omb_problem *problem = &problems->item[i];

		if (problem->kind == OMB_PROBLEM_BACKUP && !problem->repaired &&
			strcmp(strrchr(problem->object, '/') + 1, id) == 0)
			return true;
	}
	return false;
}

static omb_status
add_backup(const char *id, void *arg, omb_error *err)
{
	impact_state *s = arg;
	omb_error ignored = OMB_ERROR_INIT;
	omb_manifest *manifest;
	backup *b;

	s->backup = omb_realloc(s->backup, (s->backup_count + 1) * sizeof(backup));
	b = &s->backup[s->backup_count++];
	memset(b, 0, sizeof(*b));
	(void) snprintf(b->id, sizeof(b->id), "%s", id);
	if (omb_manifest_open(s->repo, id, &manifest, &ignored) != OMB_OK)
		return OMB_OK;
	if (!omb_backup_is_base(&manifest->info))
	{
		/* no backup to restore a server from; problems name its files */
		(void) find_files(s, manifest);
		omb_manifest_close(manifest);
		s->backup_count--;
		return OMB_OK;
	}
	b->intact = omb_wal_segment_size_valid(manifest->info.wal_segment_size) &&
				!manifest_is_bad(s->problems, id) && !find_files(s, manifest);
	if (omb_wal_segment_size_valid(manifest->info.wal_segment_size))
	{
		uint64_t size = s->segment_size = manifest->info.wal_segment_size;

		b->first = omb_wal_segno_at(manifest->info.start_lsn, size);
		b->last = omb_wal_segno_before(manifest->info.stop_lsn, size);
	}
	b->timeline = manifest->info.stop_timeline;
	b->stop_lsn = manifest->info.stop_lsn;
	b->stop_time = manifest->info.stop_time;
	omb_manifest_close(manifest);
	return OMB_OK;
}

/* ---- WAL ---- */

static omb_status
add_segment(const omb_store_entry *entry, void *arg, omb_error *err)
{
	impact_state *s = arg;
	omb_wal_object object;
	omb_wal_name name;
	uint64_t segno;
	run *last = s->run_count > 0 ? &s->run[s->run_count - 1] : NULL;

	if (!omb_wal_object_parse(entry->name, &object) ||
		omb_wal_name_parse(object.file, &name) != OMB_WAL_SEGMENT ||
		omb_problems_has_wal(s->problems, &object))
		return OMB_OK;
	segno = omb_wal_segno(&name, s->segment_size);
	if (last == NULL || last->timeline != name.timeline ||
		segno > last->last + 1)
	{
		s->run = omb_realloc(s->run, (s->run_count + 1) * sizeof(run));
		last = &s->run[s->run_count++];
		memset(last, 0, sizeof(*last));
		last->timeline = name.timeline;
		last->first = segno;
	}
	last->last = segno;
	last->last_object = object;
	return OMB_OK;
}

static const run *
find_run(const impact_state *s, uint32_t timeline, uint64_t segno)
{
	size_t i;

	for (i = 0; i < s->run_count; i++)
	{
		if (s->run[i].timeline == timeline && s->run[i].first <= segno &&
			segno <= s->run[i].last)
			return &s->run[i];
	}
	return NULL;
}

/* When the object was archived; 0 when it cannot be read. */
static int64_t
archived_at(const impact_state *s, const omb_wal_object *object)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_wal_reader *reader;
	int64_t when;

	if (omb_wal_open(s->repo, object, &reader, &ignored) != OMB_OK)
		return 0;
	when = omb_wal_reader_facts(reader)->archived_at;
	omb_wal_close(reader);
	return when;
}

/*
 * What recovery cannot reach without the segments from..to: all from there to
 * the end of the first intact backup behind.
 */
static void
find_loss(const impact_state *s, uint32_t timeline, uint64_t from, uint64_t to,
		  omb_problem *loss)
{
	size_t i;

	loss->timeline = timeline;
	loss->lost_from = from * s->segment_size;
	loss->lost_to = UINT64_MAX;
	loss->lost_to_time = 0;
	for (i = 0; i < s->run_count; i++)
	{
		if (s->run[i].timeline == timeline && s->run[i].last < from)
			loss->lost_from_time = archived_at(s, &s->run[i].last_object);
	}
	for (i = 0; i < s->backup_count; i++)
	{
		const backup *b = &s->backup[i];

		if (b->intact && b->timeline == timeline && b->first > to &&
			b->stop_lsn < loss->lost_to)
		{
			loss->lost_to = b->stop_lsn;
			loss->lost_to_time = b->stop_time;
		}
	}
}

/* Backups that lack WAL are not intact; tell which problem makes them so. */
static void
match_wal(impact_state *s)
{
	size_t i, j;

	for (j = 0; j < s->backup_count; j++)
	{
		backup *b = &s->backup[j];
		const run *r = find_run(s, b->timeline, b->first);

		b->intact = b->intact && r != NULL && r->last >= b->last;
	}
	for (i = 0; i < s->problems->count; i++)
	{
		omb_problem *problem = &s->problems->item[i];
		omb_wal_name name;
		uint64_t segno;

		if (problem->kind != OMB_PROBLEM_WAL || problem->repaired ||
			omb_wal_name_parse(problem->wal.file, &name) != OMB_WAL_SEGMENT)
			continue;
		segno = omb_wal_segno(&name, s->segment_size);
		for (j = 0; j < s->backup_count; j++)
		{
			if (s->backup[j].timeline == name.timeline &&
				s->backup[j].first <= segno && segno <= s->backup[j].last)
				omb_problem_add_backup(problem, s->backup[j].id);
		}
		find_loss(s, name.timeline, segno, segno, problem);
	}
}

/* Has a segment in from..to a problem of its own? */
static bool
is_reported(const impact_state *s, uint32_t timeline, uint64_t from,
			uint64_t to)
{
	size_t i;

	for (i = 0; i < s->problems->count; i++)
	{
		const omb_problem *problem = &s->problems->item[i];
		omb_wal_name name;

		if (problem->kind == OMB_PROBLEM_WAL && !problem->repaired &&
			omb_wal_name_parse(problem->wal.file, &name) == OMB_WAL_SEGMENT &&
			name.timeline == timeline &&
			omb_wal_segno(&name, s->segment_size) >= from &&
			omb_wal_segno(&name, s->segment_size) <= to)
			return true;
	}
	return false;
}

static void
note_gaps(const impact_state *s, void (*note)(const char *text, void *arg),
		  void *arg)
{
	size_t i;

	for (i = 1; i < s->run_count; i++)
	{
		const run *before = &s->run[i - 1];
		uint64_t from = before->last + 1;
		uint64_t to = s->run[i].first - 1;
		char first[OMB_WAL_NAME_TEXT];
		char last[OMB_WAL_NAME_TEXT];
		char from_lsn[OMB_LSN_TEXT];
		char to_lsn[OMB_LSN_TEXT];
		omb_problem loss;
		char *text;

		if (before->timeline != s->run[i].timeline ||
			is_reported(s, before->timeline, from, to))
			continue;
		memset(&loss, 0, sizeof(loss));
		find_loss(s, before->timeline, from, to, &loss);
		omb_wal_name_format(before->timeline, from, s->segment_size, first);
		omb_wal_name_format(before->timeline, to, s->segment_size, last);
		text = omb_format(
			"WAL segments \"%s\" to \"%s\" are missing: on timeline %u "
			"nothing between LSN %s and %s can be reached",
			first, last, before->timeline,
			omb_lsn_format(loss.lost_from, from_lsn),
			loss.lost_to == UINT64_MAX ? "the end" :
										 omb_lsn_format(loss.lost_to, to_lsn));
		note(text, arg);
		free(text);
	}
}

/* ---- what can be reached ---- */

/* Follow the WAL along the path from a backup; the last run, or NULL. */
static const run *
follow(const impact_state *s, const omb_timeline_path *path, const backup *b)
{
	const run *last = NULL;
	uint64_t segno = b->last;
	size_t i = 0;

	while (i < path->count && path->entry[i].timeline != b->timeline)
		i++;
	for (; i < path->count; i++)
	{
		const run *r = find_run(s, path->entry[i].timeline, segno);
		uint64_t next;

		if (r == NULL)
			break;
		last = r;
		if (path->entry[i].end == UINT64_MAX)
			break;
		/* the segment of the switch is that of the new timeline */
		next = omb_wal_segno_at(path->entry[i].end, s->segment_size);
		if (r->last + 1 < next)
			break;
		segno = next;
	}
	return last;
}

static void
find_reach(const impact_state *s, uint32_t timeline, omb_impact *impact)
{
	omb_timeline_path path;
	omb_error ignored = OMB_ERROR_INIT;
	size_t i;

	if (omb_timeline_path_read(s->repo, timeline, &path, &ignored) != OMB_OK)
	{
		memset(&path, 0, sizeof(path));
		path.count = 1;
		path.entry[0].timeline = timeline;
		path.entry[0].end = UINT64_MAX;
	}
	for (i = s->backup_count; i-- > 0;)
	{
		const backup *b = &s->backup[i];
		const run *last;
		omb_reach *reach;

		if (!b->intact ||
			!omb_timeline_contains(&path, b->timeline, b->stop_lsn) ||
			(last = follow(s, &path, b)) == NULL || last->timeline != timeline)
			continue;
		impact->reach = omb_realloc(impact->reach, (impact->reach_count + 1) *
													   sizeof(omb_reach));
		reach = &impact->reach[impact->reach_count++];
		memset(reach, 0, sizeof(*reach));
		reach->timeline = timeline;
		memcpy(reach->backup, b->id, sizeof(reach->backup));
		reach->lsn = (last->last + 1) * s->segment_size;
		reach->time = archived_at(s, &last->last_object);
		return;
	}
}

static void
sum_up(const impact_state *s, omb_impact *impact)
{
	size_t i;

	impact->backups = s->backup_count;
	impact->intact = omb_calloc(s->backup_count + 1, OMB_BACKUP_ID_MAX);
	for (i = 0; i < s->backup_count; i++)
	{
		if (s->backup[i].intact)
			memcpy(impact->intact[impact->intact_count++], s->backup[i].id,
				   OMB_BACKUP_ID_MAX);
	}
	for (i = 0; i < s->run_count; i++)
	{
		if (i == 0 || s->run[i].timeline != s->run[i - 1].timeline)
			find_reach(s, s->run[i].timeline, impact);
	}
}

omb_status
omb_impact_find(omb_repository *repo, omb_problems *problems,
				omb_impact *impact, void (*note)(const char *text, void *arg),
				void *arg, omb_error *err)
{
	impact_state s;

	memset(impact, 0, sizeof(*impact));
	memset(&s, 0, sizeof(s));
	s.repo = repo;
	s.problems = problems;
	if (omb_backup_list(repo, add_backup, &s, err) == OMB_OK &&
		(s.segment_size == 0 ||
		 omb_store_list(repo->store, OMB_WAL_FOLDER, true, add_segment, &s,
						err) == OMB_OK))
	{
		if (s.segment_size != 0)
			match_wal(&s);
		note_gaps(&s, note, arg);
		sum_up(&s, impact);
	}
	free(s.backup);
	free(s.run);
	return err->status;
}

void
omb_impact_clear(omb_impact *impact)
{
	free(impact->intact);
	free(impact->reach);
	memset(impact, 0, sizeof(*impact));
}
