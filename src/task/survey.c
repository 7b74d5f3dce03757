/*
 * survey.c: how a repository is, in one reading.
 *
 * Memory is bounded by the number of backups. Archived WAL is walked once, in
 * the order of names: along the way to the newest timeline that is the order
 * in which recovery needs it.
 */
#include "task/survey.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/key.h"
#include "pgfmt/walname.h"
#include "repo/claim.h"
#include "repo/confirmed.h"
#include "repo/gap.h"
#include "repo/unfinished.h"
#include "task/wal/walrange.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define DAY_US ((int64_t) 86400 * 1000000)
#define HOUR_US ((int64_t) 3600 * 1000000)

/* A size is noted once an hour and kept for a week: 169 lines. */
#define SIZES_FILE "sizes"
#define SIZES_DAYS 7
#define SIZES_MAX 65536

typedef struct seen_backup
{
	char id[OMB_BACKUP_ID_MAX];
	uint64_t start_lsn;
	uint64_t stop_lsn;
	uint32_t timeline;
	int64_t stop_time;
} seen_backup;

typedef struct survey
{
	const omb_survey_config *config;
	omb_survey *out;
	omb_repository *repo;
	seen_backup *backup;
	size_t count;

	/* the way to the newest timeline; count 0 when there is none */
	omb_timeline_path path;
	/* the first segment that a backup on the path needs */
	bool has_oldest;
	uint64_t oldest;
	/* the last stretch of WAL without a gap on the path */
	bool has_run;
	uint64_t run_first;
	uint64_t run_last;
	omb_wal_object last; /* segment on the path */

	uint64_t *bytes; /* what add_size() adds to */
} survey;

/* ---- file systems and the key ---- */

static void
look_at_space(const char *path, uint64_t *available, uint64_t *total)
{
	struct statvfs fs;

	if (statvfs(path, &fs) != 0)
		return;
	*available = (uint64_t) fs.f_bavail * fs.f_frsize;
	*total = (uint64_t) fs.f_blocks * fs.f_frsize;
}

static void
look_at_file_systems(const omb_survey_config *config, omb_survey *out)
{
	struct stat a, b;

	look_at_space(config->repository, &out->repository_free,
				  &out->repository_total);
	look_at_space(config->pgdata, &out->pgdata_free, &out->pgdata_total);
	out->same_device = stat(config->repository, &a) == 0 &&
					   stat(config->pgdata, &b) == 0 && a.st_dev == b.st_dev;
}

/* The file alone; whether it opens the repository shows when that is opened. */
static void
look_at_key(const omb_survey_config *config, omb_survey *out)
{
	uint8_t nobody[OMB_REPOSITORY_ID_SIZE] = { 0 };
	omb_secret secret;

	if (config->key_file == NULL)
		return;
	if (omb_key_file_read(config->key_file, nobody, &secret, &out->key) ==
		OMB_WRONG_KEY)
		omb_error_clear(&out->key);
	omb_wipe(&secret, sizeof(secret));
}

/* ---- backups ---- */

static omb_status
add_backup(const char *id, void *arg, omb_error *err)
{
	survey *s = arg;
	omb_survey *out = s->out;
	omb_manifest *manifest;
	const omb_backup_info *info;
	seen_backup *added;

	switch (omb_manifest_open(s->repo, id, &manifest, err))
	{
		case OMB_OK:
			break;
		case OMB_DAMAGED:
		case OMB_UNSUPPORTED:
		case OMB_WRONG_KEY:
			omb_error_clear(err);
			out->backups_unreadable++;
			(void) snprintf(out->unreadable, sizeof(out->unreadable), "%s",
							id);
			return OMB_OK;
		case OMB_NOT_FOUND:
			/* expired meanwhile */
			omb_error_clear(err);
			return OMB_OK;
		default:
			return err->status;
	}
	info = &manifest->info;
	if (!omb_backup_is_base(info))
	{
		omb_manifest_close(manifest);
		return OMB_OK;
	}
	out->backups++;
	memcpy(out->last_id, info->id, sizeof(out->last_id));
	memcpy(out->last_kind, info->kind, sizeof(out->last_kind));
	out->last_start_time = info->start_time;
	out->last_stop_time = info->stop_time;
	out->last_start_lsn = info->start_lsn;
	out->last_bytes = info->bytes;
	out->last_damaged_pages = info->damaged_pages;
	s->backup = omb_realloc(s->backup, (s->count + 1) * sizeof(seen_backup));
	added = &s->backup[s->count++];
	memcpy(added->id, info->id, sizeof(added->id));
	added->start_lsn = info->start_lsn;
	added->stop_lsn = info->stop_lsn;
	added->timeline = info->stop_timeline;
	added->stop_time = info->stop_time;
	omb_manifest_close(manifest);
	return OMB_OK;
}

/* The newest timeline that goes through the newest backup. */
static omb_status
choose_path(survey *s, omb_error *err)
{
	const seen_backup *newest = &s->backup[s->count - 1];
	uint32_t *timeline = NULL;
	size_t count = 0;
	size_t i;
	bool found = false;

	(void) omb_timelines(s->repo, &timeline, &count, err);
	for (i = count; i > 0 && !found && err->status == OMB_OK; i--)
	{
		(void) omb_timeline_path_read(s->repo, timeline[i - 1], &s->path, err);
		if (err->status == OMB_NOT_FOUND || err->status == OMB_DAMAGED)
			omb_error_clear(err);
		else if (err->status == OMB_OK)
			found = omb_timeline_contains(&s->path, newest->timeline,
										  newest->stop_lsn);
	}
	free(timeline);
	if (!found)
		s->path.count = 0;
	for (i = 0; i < s->count && found; i++)
	{
		uint64_t segno = omb_wal_segno_at(s->backup[i].start_lsn,
										  s->config->wal_segment_size);

		if (omb_timeline_contains(&s->path, s->backup[i].timeline,
								  s->backup[i].stop_lsn) &&
			(!s->has_oldest || segno < s->oldest))
		{
			s->has_oldest = true;
			s->oldest = segno;
		}
	}
	return err->status;
}

/* ---- WAL ---- */

/* Does the path use any byte of this segment? */
static bool
is_on_path(const survey *s, uint32_t timeline, uint64_t segno)
{
	uint64_t begin = segno * s->config->wal_segment_size;
	uint64_t end = begin + s->config->wal_segment_size;
	size_t i;

	for (i = 0; i < s->path.count; i++)
	{
		uint64_t from = i > 0 ? s->path.entry[i - 1].end : 0;

		if (s->path.entry[i].timeline == timeline)
			return from < end && s->path.entry[i].end > begin;
	}
	return false;
}

static void
note_gap(survey *s, uint32_t timeline, uint64_t first, uint64_t last)
{
	char name[OMB_WAL_NAME_TEXT];
	uint64_t size = s->config->wal_segment_size;

	/* nobody misses what is in front of the oldest backup */
	if (!s->has_oldest || last < s->oldest)
		return;
	s->out->gaps++;
	omb_wal_name_format(timeline, first, size, name);
	(void) snprintf(s->out->gap_first, sizeof(s->out->gap_first), "%s", name);
	omb_wal_name_format(timeline, last, size, name);
	(void) snprintf(s->out->gap_last, sizeof(s->out->gap_last), "%s", name);
}

static omb_status
add_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	survey *s = arg;
	omb_wal_object object;
	omb_wal_name name;
	uint64_t segno;

	s->out->wal_bytes += entry->size;
	if (!omb_wal_object_parse(entry->name, &object))
		return OMB_OK;
	if (s->config->wal_file != NULL &&
		strcmp(object.file, s->config->wal_file) == 0)
		s->out->wal_file_found = true;
	if (omb_wal_name_parse(object.file, &name) != OMB_WAL_SEGMENT)
		return OMB_OK;
	segno = omb_wal_segno(&name, s->config->wal_segment_size);
	if (!is_on_path(s, name.timeline, segno) ||
		(s->has_run && segno < s->run_last))
		return OMB_OK;
	if (!s->has_run || segno > s->run_last + 1)
	{
		if (s->has_run)
			note_gap(s, name.timeline, s->run_last + 1, segno - 1);
		else if (s->has_oldest && segno > s->oldest)
			note_gap(s, name.timeline, s->oldest, segno - 1);
		s->run_first = segno;
	}
	s->has_run = true;
	s->run_last = segno;
	s->last = object;
	return OMB_OK;
}

typedef struct last_commit
{
	int64_t time;
} last_commit;

static void
look_at_event(const omb_wal_event *event, void *arg)
{
	last_commit *last = arg;

	if (event->kind == OMB_WAL_COMMIT && event->time > last->time)
		last->time = event->time;
}

/* Time of the last commit in the newest segment; without one, its own. */
static omb_status
read_last_segment(survey *s, int64_t *time, omb_error *err)
{
	uint64_t lsn = s->run_last * s->config->wal_segment_size;
	last_commit last = { 0 };
	omb_wal_scanner *scanner =
		omb_wal_scanner_new(s->config->wal_segment_size, look_at_event, &last);
	omb_wal_reader *reader;
	const uint8_t *data;
	size_t len = 0;

	if (omb_wal_open(s->repo, &s->last, &reader, err) == OMB_OK)
	{
		*time = omb_wal_reader_facts(reader)->archived_at;
		while (omb_wal_next(reader, &data, &len, err) == OMB_OK && len > 0 &&
			   omb_wal_scanner_feed(scanner, lsn, data, len))
			lsn += len;
		omb_wal_close(reader);
	}
	omb_wal_scanner_free(scanner);
	if (last.time != 0)
		*time = last.time;
	/* it is damaged or was removed: the others are as they are */
	if (err->status == OMB_DAMAGED || err->status == OMB_NOT_FOUND)
		omb_error_clear(err);
	return err->status;
}

static omb_status
find_window(survey *s, omb_error *err)
{
	uint64_t size = s->config->wal_segment_size;
	omb_survey *out = s->out;
	int64_t time = 0;
	size_t i;

	if (!s->has_run)
		return OMB_OK;
	(void) snprintf(out->last_wal, sizeof(out->last_wal), "%s", s->last.file);
	for (i = 0; i < s->count && out->window_backup[0] == '\0'; i++)
	{
		const seen_backup *backup = &s->backup[i];

		if (omb_timeline_contains(&s->path, backup->timeline,
								  backup->stop_lsn) &&
			omb_wal_segno_at(backup->start_lsn, size) >= s->run_first &&
			omb_wal_segno_before(backup->stop_lsn, size) <= s->run_last)
		{
			memcpy(out->window_backup, backup->id, sizeof(backup->id));
			out->window_from = backup->stop_time;
		}
	}
	if (out->window_backup[0] == '\0' ||
		read_last_segment(s, &time, err) != OMB_OK)
		return err->status;
	out->window_to = time > out->window_from ? time : out->window_from;
	return OMB_OK;
}

/* ---- what was given up ---- */

static void
look_at_gap(const omb_gap *gap, void *arg)
{
	survey *s = arg;
	omb_survey *out = s->out;
	omb_wal_name name;

	(void) omb_wal_name_parse(gap->last, &name);
	/* a backup that began behind it does not need it */
	if (out->last_id[0] != '\0' &&
		omb_wal_segno_at(out->last_start_lsn, s->config->wal_segment_size) >
			omb_wal_segno(&name, s->config->wal_segment_size))
		return;
	out->given_up = true;
	memcpy(out->given_up_first, gap->first, sizeof(gap->first));
	memcpy(out->given_up_last, gap->last, sizeof(gap->last));
	out->given_up_at = gap->until;
}

/* ---- sizes ---- */

static omb_status
add_size(const omb_store_entry *entry, void *arg, omb_error *err)
{
	survey *s = arg;

	*s->bytes += entry->size;
	return OMB_OK;
}

static omb_status
measure(survey *s, const char *folder, uint64_t *bytes, omb_error *err)
{
	s->bytes = bytes;
	return omb_store_list(s->repo->store, folder, true, add_size, s, err);
}

/*
 * Compare with the sizes noted before, and note this one. The file is no
 * object of the repository and not worth an error.
 */
static void
measure_growth(survey *s)
{
	omb_survey *out = s->out;
	const char *directory = omb_repository_directory(s->repo);
	int64_t now = s->config->now;
	uint64_t bytes = out->pack_bytes + out->wal_bytes + out->manifest_bytes;
	int64_t oldest = 0, newest = 0;
	uint64_t oldest_bytes = 0;
	omb_buf old = OMB_BUF_INIT;
	omb_buf kept = OMB_BUF_INIT;
	omb_error ignored = OMB_ERROR_INIT;
	char *path, *line, *next;

	if (directory == NULL)
		return;
	path = omb_format("%s/" OMB_CACHE_FOLDER "/" SIZES_FILE, directory);
	(void) omb_file_read(path, SIZES_MAX, &old, &ignored);
	omb_error_clear(&ignored);
	for (line = omb_buf_text(&old); line[0] != '\0'; line = next)
	{
		char *end = strchr(line, '\n');
		int64_t time = 0;
		uint64_t size = 0;

		next = end ? end + 1 : line + strlen(line);
		if (sscanf(line, "%" SCNd64 " %" SCNu64, &time, &size) != 2 ||
			time > now || time < now - SIZES_DAYS * DAY_US)
			continue;
		if (oldest == 0)
		{
			oldest = time;
			oldest_bytes = size;
		}
		newest = time;
		omb_buf_printf(&kept, "%" PRId64 " %" PRIu64 "\n", time, size);
	}
	if (oldest != 0 && now - oldest >= HOUR_US)
	{
		double days = (double) (now - oldest) / (double) DAY_US;

		out->growth_known = true;
		out->growth_per_day =
			(int64_t) (((double) bytes - (double) oldest_bytes) / days);
	}
	if (out->fence == OMB_SURVEY_OWN &&
		(newest == 0 || now - newest >= HOUR_US))
	{
		omb_buf_printf(&kept, "%" PRId64 " %" PRIu64 "\n", now, bytes);
		(void) omb_file_replace(path, kept.data, kept.len, 0600, &ignored);
	}
	omb_buf_free(&kept);
	omb_buf_free(&old);
	free(path);
}

/* ---- the whole ---- */

static omb_status
look_at_fence(survey *s, omb_error *err)
{
	omb_survey *out = s->out;
	uint32_t number = 0;

	out->fence = OMB_SURVEY_NOT_KNOWN;
	if (omb_claim_number(s->repo, &number, err) != OMB_OK)
		return err->status;
	if (number == 0)
	{
		/* looking at it must not claim it */
		out->fence = OMB_SURVEY_UNCLAIMED;
		return OMB_OK;
	}
	switch (omb_claim_check(s->repo, s->config->pgdata,
							s->config->system_identifier, &number,
							&out->fence_problem))
	{
		case OMB_OK:
			out->fence = OMB_SURVEY_OWN;
			return OMB_OK;
		case OMB_REFUSED:
			out->fence = OMB_SURVEY_OTHER;
			return OMB_OK;
		default:
			*err = out->fence_problem;
			return err->status;
	}
}

void
omb_survey_run(const omb_survey_config *config, omb_survey *out)
{
	survey s;
	omb_error *err = &out->problem;

	memset(out, 0, sizeof(*out));
	memset(&s, 0, sizeof(s));
	s.config = config;
	s.out = out;
	out->fence = OMB_SURVEY_NOT_KNOWN;
	look_at_file_systems(config, out);
	look_at_key(config, out);
	if (omb_repository_open_at(config->repository, config->key_file, NULL,
							   &s.repo, err) != OMB_OK)
		return;
	out->encrypted = s.repo->encrypted;
	if (look_at_fence(&s, err) == OMB_OK &&
		omb_confirmed_read(s.repo, &out->code_confirmed, err) == OMB_OK &&
		omb_backup_list(s.repo, add_backup, &s, err) == OMB_OK &&
		(s.count == 0 || choose_path(&s, err) == OMB_OK) &&
		omb_store_list(s.repo->store, OMB_WAL_FOLDER, true, add_wal, &s,
					   err) == OMB_OK &&
		find_window(&s, err) == OMB_OK &&
		omb_gap_list(s.repo, look_at_gap, &s, err) == OMB_OK &&
		measure(&s, "packs", &out->pack_bytes, err) == OMB_OK &&
		measure(&s, OMB_BACKUP_FOLDER, &out->manifest_bytes, err) == OMB_OK)
		measure_growth(&s);
	free(s.backup);
	omb_repository_free(s.repo);
}
