/*
 * retain.c: which backups are kept, and why; retainwal.c says it of WAL.
 *
 * "Newest" is always by the order in which backups were taken, which ids
 * keep even when clocks do not; times only say what day a backup is of and
 * how far back the window reaches.
 */
#include "task/retain/retain.h"

#include "base/buffer.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY (INT64_C(86400) * 1000000)
/* Nobody keeps more; products with DAY do not overflow. */
#define DAYS_MAX 1000000
#define BUCKET_TEXT 24

static bool
is_intact(const omb_retain_backup *backup)
{
	return backup->damaged_pages == 0 && backup->wal_missing == 0;
}

omb_retain_backup *
omb_retain_add(omb_retain_plan *plan)
{
	omb_retain_backup *added;

	plan->backup =
		omb_realloc(plan->backup, (plan->count + 1) * sizeof(*plan->backup));
	added = &plan->backup[plan->count++];
	memset(added, 0, sizeof(*added));
	return added;
}

void
omb_retain_clear(omb_retain_plan *plan)
{
	size_t i;

	for (i = 0; i < plan->count; i++)
	{
		free(plan->backup[i].pin);
		free(plan->backup[i].reason);
	}
	for (i = 0; i < plan->files_count; i++)
	{
		free(plan->files[i].pin);
		free(plan->files[i].reason);
	}
	free(plan->files);
	free(plan->backup);
	free(plan->path);
	memset(plan, 0, sizeof(*plan));
}

/* Keep a backup for one more reason. */
static void __attribute__((format(printf, 2, 3)))
keep(omb_retain_backup *backup, const char *fmt, ...)
{
	char why[256];
	char *old = backup->reason;
	va_list args;

	va_start(args, fmt);
	(void) vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	backup->keep = true;
	backup->reason = old ? omb_format("%s; %s", old, why) : omb_strdup(why);
	free(old);
}

/* ---- rules on backups ---- */

/* The newest ones, and the newest intact ones. */
static void
keep_newest(omb_retain_plan *plan, uint32_t wanted)
{
	uint32_t all = 0;
	uint32_t intact = 0;
	size_t i;

	for (i = plan->count; i > 0 && intact < wanted; i--)
	{
		omb_retain_backup *backup = &plan->backup[i - 1];

		if (is_intact(backup))
			intact++;
		if (all++ < wanted && wanted == 1)
			keep(backup, "the newest (keep_last)");
		else if (all <= wanted)
			keep(backup, "one of the newest %u (keep_last)", wanted);
		else if (is_intact(backup) && wanted == 1)
			keep(backup, "the newest intact one (keep_last)");
		else if (is_intact(backup))
			keep(backup, "one of the newest %u intact ones (keep_last)",
				 wanted);
	}
}

typedef enum calendar
{
	DAYS,
	WEEKS,
	MONTHS,
	YEARS
} calendar;

static const char *const calendar_rule[] = { "keep_days", "keep_weeks",
											 "keep_months", "keep_years" };

/* The day, ISO week, month or year of a time. */
static void
name_bucket(int64_t time, calendar unit, char out[BUCKET_TEXT])
{
	struct tm tm;
	time_t seconds = (time_t) (time / 1000000 - (time % 1000000 < 0 ? 1 : 0));
	size_t len = 0;

	if (gmtime_r(&seconds, &tm) == NULL)
		memset(&tm, 0, sizeof(tm));
	switch (unit)
	{
		case DAYS:
			len = strftime(out, BUCKET_TEXT, "%Y-%m-%d", &tm);
			break;
		case WEEKS:
			len = strftime(out, BUCKET_TEXT, "%G-W%V", &tm);
			break;
		case MONTHS:
			len = strftime(out, BUCKET_TEXT, "%Y-%m", &tm);
			break;
		case YEARS:
			len = strftime(out, BUCKET_TEXT, "%Y", &tm);
			break;
	}
	out[len] = '\0';
}

typedef struct bucket
{
	char name[BUCKET_TEXT];
	bool intact; /* an intact backup of it is kept */
} bucket;

/*
 * The newest backup of each of the last wanted buckets that have one, and the
 * newest intact one where that is not. A wrong clock may make a bucket turn
 * up again later; it counts once.
 */
static void
keep_calendar(omb_retain_plan *plan, uint32_t wanted, calendar unit)
{
	const char *rule = calendar_rule[unit];
	bucket *seen = omb_calloc(plan->count + 1, sizeof(*seen));
	size_t count = 0;
	size_t i, b;

	for (i = plan->count; wanted > 0 && i > 0; i--)
	{
		omb_retain_backup *backup = &plan->backup[i - 1];
		char name[BUCKET_TEXT];

		name_bucket(backup->stop_time, unit, name);
		for (b = 0; b < count && strcmp(seen[b].name, name) != 0; b++)
			;
		if (b == count && count < wanted)
		{
			memcpy(seen[b].name, name, sizeof(name));
			count++;
			keep(backup, "newest of %s (%s)", name, rule);
		}
		else if (b < count && !seen[b].intact && is_intact(backup))
			keep(backup, "newest intact one of %s (%s)", name, rule);
		if (b < count && is_intact(backup))
			seen[b].intact = true;
	}
	free(seen);
}

/* ---- the window ---- */

/* When backups ended, as far as the clock can be believed. */
static void
count_times(omb_retain_plan *plan)
{
	int64_t latest = INT64_MIN;
	int64_t next;
	size_t i;

	for (i = 0; i < plan->count; i++)
	{
		if (plan->backup[i].stop_time > latest)
			latest = plan->backup[i].stop_time;
		plan->backup[i].counted = latest;
	}
	/* one that is earlier than another before it takes the next one's time */
	next = latest;
	for (i = plan->count; i > 0; i--)
	{
		omb_retain_backup *backup = &plan->backup[i - 1];

		if (backup->stop_time < backup->counted)
			backup->counted = next;
		next = backup->counted;
	}
}

/* The newest that ended at or before a time; count when there is none. */
static size_t
newest_before(const omb_retain_plan *plan, int64_t time)
{
	size_t i;

	for (i = plan->count; i > 0; i--)
	{
		if (plan->backup[i - 1].counted <= time)
			return i - 1;
	}
	return plan->count;
}

/*
 * The backup from which everything behind a time can be restored, given the
 * newest that ended before: that one, or the newest intact one before it.
 */
static size_t
window_start(const omb_retain_plan *plan, size_t newest)
{
	size_t i;

	if (newest == plan->count)
		return 0;
	for (i = newest + 1; i > 0; i--)
	{
		if (is_intact(&plan->backup[i - 1]))
			return i - 1;
	}
	return newest;
}

static void
keep_window(omb_retain_plan *plan)
{
	uint32_t days = plan->rules.keep_wal_days;
	const char *plural = days == 1 ? "" : "s";
	int64_t length = DAY * (days < DAYS_MAX ? days : DAYS_MAX);
	int64_t begin = plan->backup[plan->count - 1].counted - length;
	size_t before = newest_before(plan, begin);
	size_t start = window_start(plan, before);
	size_t oldest = start;
	size_t i;

	if (before < plan->count &&
		plan->backup[before + 1].counted - plan->backup[before].counted >
			length)
	{
		i = window_start(
			plan, newest_before(plan, plan->backup[before].counted - length));
		if (i < oldest)
			oldest = i;
	}
	for (i = oldest; i < plan->count; i++)
	{
		omb_retain_backup *backup = &plan->backup[i];

		backup->window = true;
		backup->firm = true;
		if (i < start)
			keep(backup,
				 "leads to the %u day%s before the gap in front of backup "
				 "\"%s\" (keep_wal_days)",
				 days, plural, plan->backup[before + 1].id);
		else if (backup->counted > begin)
			keep(backup, "inside the last %u day%s (keep_wal_days)", days,
				 plural);
		else if (i == start)
			keep(backup,
				 "leads to the beginning of the last %u day%s (keep_wal_days)",
				 days, plural);
		else
			keep(backup,
				 "newer than backup \"%s\", which leads to the last %u day%s "
				 "(keep_wal_days)",
				 plan->backup[start].id, days, plural);
	}
	plan->whole_behind = plan->backup[oldest].timeline;
}

/* ---- timelines ---- */

/*
 * A timeline that is kept whole needs the backup that it grew out of: the
 * newest on the way to it, and of those the newest intact one.
 */
static void
keep_origin(omb_retain_plan *plan, const omb_timeline_path *path)
{
	uint32_t timeline = path->entry[path->count - 1].timeline;
	omb_retain_backup *origin = NULL;
	size_t i;

	for (i = plan->count; i > 0; i--)
	{
		omb_retain_backup *backup = &plan->backup[i - 1];

		if (backup->timeline >= timeline ||
			!omb_timeline_contains(path, backup->timeline, backup->stop_lsn))
			continue;
		if (origin == NULL)
			origin = backup;
		if (is_intact(backup))
		{
			origin = backup;
			break;
		}
	}
	if (origin == NULL)
		return;
	origin->firm = true;
	if (origin->keep && (origin->window || plan->rules.keep_wal_days == 0))
		return;
	origin->window = true;
	keep(origin, "timeline %u began from it", timeline);
}

static void
keep_origins(omb_retain_plan *plan)
{
	size_t i;

	for (i = 0; i < plan->path_count; i++)
	{
		const omb_timeline_path *path = &plan->path[i];

		if (path->entry[path->count - 1].timeline > plan->whole_behind)
			keep_origin(plan, path);
	}
}

/* ---- all together ---- */

/* What no rule may go below. */
static void
keep_minimum(omb_retain_plan *plan)
{
	uint32_t wanted = plan->rules.minimum > 1 ? plan->rules.minimum : 1;
	uint32_t intact = 0;
	size_t i;

	plan->backup[plan->count - 1].firm = true;
	if (!plan->backup[plan->count - 1].keep)
		keep(&plan->backup[plan->count - 1], "the newest");
	for (i = plan->count; i > 0 && intact < wanted; i--)
	{
		omb_retain_backup *backup = &plan->backup[i - 1];

		if (!is_intact(backup))
			continue;
		intact++;
		backup->firm = true;
		if (!backup->keep && wanted == 1)
			keep(backup, "the newest intact one");
		else if (!backup->keep)
			keep(backup, "one of the newest %u intact ones (minimum)", wanted);
	}
}

static void
note_segment_size(omb_retain_plan *plan)
{
	size_t i;

	plan->segment_size =
		plan->count > 0 ? plan->backup[0].wal_segment_size : 0;
	for (i = 0; i < plan->count; i++)
	{
		if (plan->backup[i].wal_segment_size != plan->segment_size)
			plan->segment_size = 0;
	}
	if (!omb_wal_segment_size_valid(plan->segment_size))
		plan->segment_size = 0;
}

static bool
has_rule(const omb_retain_rules *rules)
{
	return rules->keep_last > 0 || rules->keep_days > 0 ||
		   rules->keep_weeks > 0 || rules->keep_months > 0 ||
		   rules->keep_years > 0 || rules->keep_wal_days > 0;
}

void
omb_retain_decide(omb_retain_plan *plan)
{
	const omb_retain_rules *rules = &plan->rules;
	size_t i;

	note_segment_size(plan);
	plan->keeps_all = plan->count == 0 || !has_rule(rules);
	if (plan->count == 0)
		return;
	count_times(plan);
	plan->whole_behind = plan->backup[plan->count - 1].timeline;
	for (i = 0; i < plan->count; i++)
	{
		plan->backup[i].firm = plan->backup[i].pin != NULL || plan->keeps_all;
		if (plan->backup[i].pin != NULL)
			keep(&plan->backup[i], "pinned%s%s",
				 plan->backup[i].pin[0] ? ": " : "", plan->backup[i].pin);
		if (plan->keeps_all)
			keep(&plan->backup[i], "no rule is set");
	}
	keep_newest(plan, rules->keep_last);
	keep_calendar(plan, rules->keep_days, DAYS);
	keep_calendar(plan, rules->keep_weeks, WEEKS);
	keep_calendar(plan, rules->keep_months, MONTHS);
	keep_calendar(plan, rules->keep_years, YEARS);
	if (rules->keep_wal_days > 0)
		keep_window(plan);
	keep_minimum(plan);
	keep_origins(plan);
	for (i = 0; i < plan->count; i++)
	{
		omb_retain_backup *backup = &plan->backup[i];

		/* without a window all WAL that some kept backup can use is kept */
		if (backup->keep && rules->keep_wal_days == 0)
			backup->window = true;
		if (!backup->keep)
			backup->reason = omb_strdup("no rule keeps it");
	}
}

/* ---- lack of space ---- */

uint32_t
omb_retain_order(omb_retain_plan *plan)
{
	uint32_t turn = 0;
	size_t i;

	for (i = 0; i < plan->count; i++)
	{
		omb_retain_backup *backup = &plan->backup[i];

		if (!backup->keep)
			backup->turn = 0;
		else if (backup->firm)
			backup->turn = OMB_RETAIN_NEVER;
		else
			backup->turn = ++turn;
	}
	return turn;
}

uint32_t
omb_retain_early(omb_retain_plan *plan, const uint64_t *frees,
				 uint32_t last_turn, uint64_t available, uint64_t wanted)
{
	uint64_t missing = wanted > available ? wanted - available : 0;
	char size[OMB_SIZE_TEXT];
	uint32_t turn;
	size_t i;

	for (turn = 0; turn <= last_turn; turn++)
	{
		/* turn 0 goes anyway */
		missing -= missing < frees[turn] ? missing : frees[turn];
		if (missing == 0)
			break;
	}
	if (turn > last_turn)
		turn = last_turn;
	for (i = 0; i < plan->count; i++)
	{
		omb_retain_backup *backup = &plan->backup[i];

		if (backup->turn == 0 || backup->turn > turn)
			continue;
		backup->keep = false;
		backup->window = false;
		free(backup->reason);
		backup->reason =
			omb_format("dropped early: the repository has less than %s free",
					   omb_size_format(wanted, size));
	}
	return turn;
}
