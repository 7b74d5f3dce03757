/*
 * test_retainrandom.c: which backups and which WAL are kept, in random
 * histories of a server that is backed up, expired, restored to earlier points
 * and has a clock that cannot be trusted.
 */
#include "test/tap.h"
#include "test/retention.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <time.h>
#define TIMELINES 12
#define SEGMENTS 1024
#define STEPS 60
#define HISTORIES 120

typedef struct history
{
	uint64_t random;
	omb_retain_plan plan;
	omb_timeline_path *path; /* of each timeline, [1] is the first */
	uint32_t timeline;
	uint32_t newest_timeline;
	uint64_t segno;
	int64_t real;
	int64_t behind; /* the clock is */
	int64_t newest; /* when the newest backup ended in truth */
	int64_t written[TIMELINES][SEGMENTS];
	bool wal[TIMELINES][SEGMENTS]; /* is there */
} history;

/* splitmix64: seeds that follow one another give unlike histories. */
static uint32_t
draw(history *h, uint32_t below)
{
	uint64_t z = h->random += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return (uint32_t) ((z ^ (z >> 31)) % below);
}

static void
write_segments(history *h, uint32_t count)
{
	for (; count > 0; count--, h->segno++)
	{
		h->wal[h->timeline][h->segno] = true;
		h->written[h->timeline][h->segno] = h->real;
	}
}

static void
take_backup(history *h)
{
	omb_retain_backup *added = omb_retain_add(&h->plan);
	uint32_t more = draw(h, 2);

	added->timeline = h->timeline;
	added->wal_segment_size = SIZE;
	added->start_lsn = h->segno * SIZE + 40;
	added->stop_lsn = (h->segno + more) * SIZE + 400;
	write_segments(h, more + 1);
	h->real += HOUR / 10;
	h->newest = h->real;
	added->stop_time = h->real - h->behind;
	added->damaged_pages = draw(h, 8) == 0 ? 1 : 0;
	if (draw(h, 20) == 0)
		added->pin = omb_strdup("");
}

/* Is the segment of a path there? */
static bool
has_segment(const history *h, const omb_timeline_path *path, uint64_t segno)
{
	size_t i;

	for (i = path->count; i > 0; i--)
	{
		uint64_t from = i > 1 ? path->entry[i - 2].end : 0;

		if (from < (segno + 1) * SIZE &&
			path->entry[i - 1].end > segno * SIZE &&
			h->wal[path->entry[i - 1].timeline][segno])
			return true;
	}
	return false;
}

/* Start again from a backup and as much WAL as a random number says. */
static void
restore(history *h)
{
	const omb_retain_backup *backup;
	omb_timeline_path *path;
	uint64_t end;

	if (h->plan.count == 0 || h->newest_timeline + 1 >= TIMELINES)
		return;
	backup = &h->plan.backup[draw(h, (uint32_t) h->plan.count)];
	if (backup->wal_missing > 0)
		return;
	end = backup->stop_lsn;
	path = &h->path[backup->timeline];
	while (draw(h, 4) > 0 && end < path->entry[path->count - 1].end &&
		   has_segment(h, path, end / SIZE + 1))
		end += SIZE;
	h->newest_timeline++;
	h->path[h->newest_timeline] = *path;
	path = &h->path[h->newest_timeline];
	path->entry[path->count - 1].end = end;
	path->entry[path->count].timeline = h->newest_timeline;
	path->entry[path->count].end = UINT64_MAX;
	path->count++;
	h->timeline = h->newest_timeline;
	h->segno = end / SIZE;
}

typedef bool reach[TIMELINES][SEGMENTS];

/* Which segments can be recovered to from some intact backup? */
static void
find_reachable(const history *h, reach out)
{
	uint32_t timeline;
	uint64_t first, last;
	size_t i;

	memset(out, 0, sizeof(reach));
	for (timeline = 1; timeline <= h->newest_timeline; timeline++)
	{
		const omb_timeline_path *path = &h->path[timeline];

		for (i = 0; i < h->plan.count; i++)
		{
			const omb_retain_backup *backup = &h->plan.backup[i];

			if (backup->damaged_pages > 0 ||
				!omb_timeline_contains(path, backup->timeline,
									   backup->stop_lsn) ||
				!omb_retain_range(backup, &first, &last))
				continue;
			for (; first < SEGMENTS && has_segment(h, path, first); first++)
			{
				if (first >= last && h->wal[timeline][first])
					out[timeline][first] = true;
			}
		}
	}
}

static void
describe_segment(uint32_t timeline, uint64_t segno, omb_wal_name *name)
{
	name->kind = OMB_WAL_SEGMENT;
	name->timeline = timeline;
	name->log = (uint32_t) (segno / 256);
	name->seg = (uint32_t) (segno % 256);
}

/* Decide, remove, and see what is left; returns what is wrong, or NULL. */
static const char *
expire_history(history *h)
{
	static reach before, after;
	omb_retain_plan *plan = &h->plan;
	int64_t begin;
	uint32_t timeline, intact, intact_kept;
	uint64_t segno, first, last;
	size_t i, count;
	omb_wal_name name;

	if (plan->count == 0)
		return NULL;
	find_reachable(h, before);
	free(plan->path);
	plan->path = omb_calloc(h->newest_timeline, sizeof(*plan->path));
	plan->path_count = h->newest_timeline - 1;
	for (i = 0; i < plan->path_count; i++)
		plan->path[i] = h->path[i + 2];
	begin = h->plan.rules.keep_wal_days == 0 ?
				INT64_MAX :
				h->newest - (int64_t) h->plan.rules.keep_wal_days * DAY;
	omb_retain_decide(plan);
	if (draw(h, 3) == 0)
	{
		uint64_t frees[STEPS + 1] = { 0 };

		for (i = 0; i <= STEPS; i++)
			frees[i] = draw(h, 10);
		(void) omb_retain_early(plan, frees, omb_retain_order(plan), 0,
								draw(h, 40));
	}

	intact = intact_kept = 0;
	for (i = 0; i < plan->count; i++)
	{
		const omb_retain_backup *backup = &plan->backup[i];

		if (backup->pin != NULL && !backup->keep)
			return "a pinned backup was dropped";
		if (i + 1 == plan->count && !backup->keep)
			return "the newest backup was dropped";
		if (backup->reason == NULL || backup->reason[0] == '\0')
			return "a verdict has no reason";
		if (backup->damaged_pages == 0 && backup->wal_missing == 0)
		{
			intact++;
			intact_kept += backup->keep ? 1 : 0;
		}
	}
	if (intact_kept < intact && intact_kept < plan->rules.minimum)
		return "fewer than the minimum were kept";
	for (timeline = 1; timeline <= h->newest_timeline; timeline++)
	{
		for (segno = 0; segno < SEGMENTS; segno++)
		{
			describe_segment(timeline, segno, &name);
			if (omb_retain_wal_decide(plan, &name).why == OMB_RETAIN_UNUSED)
				h->wal[timeline][segno] = false;
		}
	}
	count = plan->count;
	decide_again(plan);
	for (i = 0; i < plan->count; i++)
	{
		if (!plan->backup[i].keep)
			return "doing it again drops more";
	}
	for (i = 0; i < plan->count; i++)
	{
		const omb_retain_backup *backup = &plan->backup[i];

		(void) omb_retain_range(backup, &first, &last);
		for (; first <= last; first++)
		{
			if (!h->wal[backup->timeline][first])
				return "a kept backup lost WAL of its own";
		}
	}
	for (timeline = 1; timeline <= h->newest_timeline; timeline++)
	{
		for (segno = 0; segno < SEGMENTS; segno++)
		{
			describe_segment(timeline, segno, &name);
			if (h->wal[timeline][segno] &&
				omb_retain_wal_decide(plan, &name).why == OMB_RETAIN_UNUSED)
				return "doing it again drops more WAL";
		}
	}
	find_reachable(h, after);
	for (timeline = 1; timeline <= h->newest_timeline; timeline++)
	{
		for (segno = 0; segno < SEGMENTS; segno++)
		{
			if (before[timeline][segno] && !after[timeline][segno] &&
				h->written[timeline][segno] > begin)
				return "an instant of the window is lost";
		}
	}
	/* ready for the next time */
	for (i = 0; i < plan->count; i++)
	{
		free(plan->backup[i].reason);
		plan->backup[i].reason = NULL;
		plan->backup[i].keep = false;
		plan->backup[i].window = false;
	}
	return count < plan->count ? "backups came from nowhere" : NULL;
}

static void
draw_rules(history *h)
{
	omb_retain_rules *rules = &h->plan.rules;

	rules->keep_last = draw(h, 4);
	rules->keep_days = draw(h, 2) * draw(h, 8);
	rules->keep_weeks = draw(h, 2) * draw(h, 4);
	rules->keep_months = draw(h, 2) * draw(h, 4);
	rules->keep_years = draw(h, 2) * draw(h, 3);
	rules->keep_wal_days = draw(h, 4) == 0 ? 0 : draw(h, 12);
	rules->minimum = draw(h, 4);
}

static void
run_history(uint64_t seed)
{
	history *h = omb_calloc(1, sizeof(*h));
	const char *wrong = NULL;
	bool bad_clock = seed % 3 == 0;
	int step;

	h->random = seed;
	h->path = omb_calloc(TIMELINES, sizeof(*h->path));
	h->path[1].count = 1;
	h->path[1].entry[0].timeline = 1;
	h->path[1].entry[0].end = UINT64_MAX;
	h->timeline = h->newest_timeline = 1;
	h->segno = 200; /* the first 4 GiB end soon */
	h->real = INT64_C(1795000000) * 1000000;
	draw_rules(h);
	for (step = 0; step < STEPS && wrong == NULL; step++)
	{
		h->real += HOUR * (1 + draw(h, 30));
		write_segments(h, draw(h, 4));
		/* a clock that was right is reset, and set right again later */
		if (bad_clock && draw(h, 10) == 0)
		{
			if (h->behind != 0)
				h->behind = 0;
			else if (h->plan.count > 0 &&
					 h->plan.backup[h->plan.count - 1].stop_time == h->newest)
				h->behind = DAY * (2000 + draw(h, 2000));
		}
		if (draw(h, 2) == 0)
			take_backup(h);
		if (draw(h, 15) == 0)
			restore(h);
		if (draw(h, 20) == 0)
			draw_rules(h);
		if (draw(h, 3) == 0)
			wrong = expire_history(h);
	}
	ok(wrong == NULL, "history %" PRIu64 "%s%s", seed, wrong ? ": " : "",
	   wrong ? wrong : "");
	omb_retain_clear(&h->plan);
	free(h->path);
	free(h);
}

/* OMB_TEST_SEED=N runs that one history, OMB_TEST_HISTORIES=N so many. */
static void
test_histories(void)
{
	const char *given = getenv("OMB_TEST_SEED");
	const char *many = getenv("OMB_TEST_HISTORIES");
	uint64_t count = many ? strtoull(many, NULL, 10) : HISTORIES;
	uint64_t seed = (uint64_t) time(NULL) * 1000;
	uint64_t i;

	if (given != NULL)
	{
		run_history(strtoull(given, NULL, 10));
		return;
	}
	for (i = 0; i < count; i++)
		run_history(seed + i);
}

int
main(void)
{
	test_histories();
	return tap_done();
}
