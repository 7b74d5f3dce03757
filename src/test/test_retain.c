/*
 * test_retain.c: which backups and which WAL are kept, and why: tables of
 * cases.
 */
#include "test/tap.h"
#include "test/retention.h"

#include "base/buffer.h"
#include "base/text.h"

#include <stdlib.h>

/* ---- tables ---- */

typedef struct test_case
{
	const char *what;
	omb_retain_rules rules;
	/*
	 * Times in UTC, oldest first, a "," behind each; before the comma "!" for
	 * damaged pages, "?" for missing WAL, "*" for pinned.
	 */
	const char *backups;
	const char *kept; /* + or - for each */
} test_case;

#define NOVEMBER                                                           \
	"2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00,2026-11-04 12:00," \
	"2026-11-05 12:00,2026-11-06 12:00,2026-11-07 12:00,2026-11-08 12:00," \
	"2026-11-09 12:00,2026-11-10 12:00,2026-11-11 12:00,2026-11-12 12:00,"
#define FOUR \
	"2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00,2026-11-04 12:00,"

static const test_case cases[] = {
	{ "no rule keeps everything", { .keep_last = 0 }, FOUR, "++++" },
	{ "minimum alone is no rule", { .minimum = 2 }, FOUR, "++++" },
	{ "no backup at all",
	  { .keep_last = 1,
		.keep_days = 1,
		.keep_weeks = 1,
		.keep_months = 1,
		.keep_years = 1,
		.keep_wal_days = 1,
		.minimum = 1 },
	  "",
	  "" },
	{ "one backup", { .keep_last = 1 }, "2026-11-01 12:00,", "+" },

	{ "keep_last", { .keep_last = 2 }, FOUR, "--++" },
	{ "keep_last of more than there are", { .keep_last = 9 }, FOUR, "++++" },
	{ "keep_last, the newest is damaged",
	  { .keep_last = 2 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00,2026-11-04 12:00!,",
	  "-+++" },
	{ "keep_last, the newest has no WAL",
	  { .keep_last = 1 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00?,2026-11-04 "
	  "12:00?,",
	  "-+-+" },
	{ "keep_last, all are damaged",
	  { .keep_last = 2 },
	  "2026-11-01 12:00!,2026-11-02 12:00!,2026-11-03 12:00!,2026-11-04 "
	  "12:00!,",
	  "--++" },
	{ "keep_last, the only intact one is the oldest",
	  { .keep_last = 1 },
	  "2026-11-01 12:00,2026-11-02 12:00!,2026-11-03 12:00!,2026-11-04 "
	  "12:00!,",
	  "+--+" },

	{ "days: the newest of each, and they end at midnight UTC",
	  { .keep_days = 2 },
	  "2025-12-30 12:00,2025-12-31 00:00,2025-12-31 23:59,2026-01-01 00:00,",
	  "--++" },
	{ "days without a backup do not count",
	  { .keep_days = 3 },
	  "2026-01-01 12:00,2026-03-01 12:00,2026-03-01 13:00,2026-11-01 12:00,",
	  "+-++" },
	{ "days: 29 February",
	  { .keep_days = 3 },
	  "2028-02-28 12:00,2028-02-29 01:00,2028-02-29 02:00,2028-03-01 12:00,",
	  "+-++" },
	{ "days: a damaged one does not take an intact one's place",
	  { .keep_days = 1 },
	  "2026-11-01 12:00,2026-11-01 13:00,2026-11-01 14:00!,",
	  "-++" },
	{ "days: an intact one is not looked for on other days",
	  { .keep_days = 1 },
	  "2026-11-01 12:00,2026-11-02 11:00!,2026-11-02 12:00!,",
	  "+-+" },
	{ "days: wrong clock, a day that turns up again counts once",
	  { .keep_days = 2 },
	  "2026-11-01 12:00,2026-11-02 12:00,2020-01-01 00:10,2026-11-02 13:00,",
	  "--++" },
	{ "days: a run of wrong days takes their number and no more",
	  { .keep_days = 3 },
	  "2026-11-01 12:00,2026-11-02 12:00,2030-01-01 00:10,2026-11-03 13:00,",
	  "-+++" },

	{ "weeks: 2026 has 53",
	  { .keep_weeks = 2 },
	  "2026-12-27 12:00,2026-12-31 12:00,2027-01-03 23:59,2027-01-04 00:00,",
	  "--++" },
	{ "weeks: the 52nd before it",
	  { .keep_weeks = 3 },
	  "2026-12-27 12:00,2026-12-31 12:00,2027-01-03 23:59,2027-01-04 00:00,",
	  "+-++" },
	{ "weeks: 30 December 2024 is of the first week of 2025",
	  { .keep_weeks = 1 },
	  "2024-12-29 23:59,2024-12-30 00:00,2025-01-05 12:00,",
	  "--+" },
	{ "weeks: the day before is not",
	  { .keep_weeks = 2 },
	  "2024-12-29 23:59,2024-12-30 00:00,2025-01-05 12:00,",
	  "+-+" },
	{ "weeks: 1 January 2023 is of the last week of 2022",
	  { .keep_weeks = 1 },
	  "2022-12-25 12:00,2022-12-26 12:00,2023-01-01 12:00,",
	  "--+" },

	{ "months: a machine that was off loses nothing by it",
	  { .keep_months = 2 },
	  "2026-01-31 12:00,2026-02-01 12:00,2026-08-01 12:00,2026-08-02 12:00,",
	  "-+-+" },
	{ "months of different years are different",
	  { .keep_months = 2 },
	  "2025-11-01 12:00,2026-11-01 12:00,",
	  "++" },
	{ "years",
	  { .keep_years = 2 },
	  "2020-06-01 12:00,2023-01-01 12:00,2023-12-31 23:59,2024-01-01 00:00,",
	  "--++" },
	{ "years without a backup do not count",
	  { .keep_years = 3 },
	  "2020-06-01 12:00,2023-01-01 12:00,2023-12-31 23:59,2024-01-01 00:00,",
	  "+-++" },
	{ "times before 1970",
	  { .keep_years = 2 },
	  "1968-01-01 00:00,1969-01-01 00:00,1969-12-31 23:59,1970-01-01 00:00,",
	  "--++" },

	{ "minimum above keep_last",
	  { .keep_last = 1, .minimum = 3 },
	  FOUR,
	  "-+++" },
	{ "minimum counts intact ones",
	  { .keep_last = 1, .minimum = 2 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00?,2026-11-04 12:00!,",
	  "++-+" },
	{ "pinned",
	  { .keep_last = 1 },
	  "2026-11-01 12:00*,2026-11-02 12:00,2026-11-04 12:00,",
	  "+-+" },
	{ "a pinned one counts",
	  { .keep_last = 2 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00*,2026-11-04 12:00,",
	  "--++" },

	{ "window: one that ended as it begins leads to it",
	  { .keep_wal_days = 3 },
	  NOVEMBER,
	  "--------++++" },
	{ "window longer than the history",
	  { .keep_wal_days = 99 },
	  NOVEMBER,
	  "++++++++++++" },
	{ "window as long as can be",
	  { .keep_wal_days = UINT32_MAX },
	  NOVEMBER,
	  "++++++++++++" },
	{ "window: the one before it is damaged",
	  { .keep_wal_days = 1 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00!,2026-11-04 12:00,",
	  "-+++" },
	{ "window: all before it are damaged",
	  { .keep_wal_days = 1 },
	  "2026-11-01 12:00!,2026-11-02 12:00!,2026-11-03 12:00!,2026-11-04 "
	  "12:00,",
	  "--++" },
	{ "window: clock set back and right again",
	  { .keep_wal_days = 1 },
	  "2026-11-10 12:00,2026-11-11 12:00,2020-01-01 12:00,2026-11-12 12:00,",
	  "-+++" },
	{ "window: clock set back for some time",
	  { .keep_wal_days = 2 },
	  "2026-11-10 12:00,2026-11-11 12:00,2020-01-01 12:00,2020-01-02 "
	  "12:00,2020-01-03 12:00,2026-11-15 12:00,",
	  "++++++" },
	{ "window: clock set back just now",
	  { .keep_wal_days = 1 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00,2026-11-04 "
	  "12:00,2020-01-01 12:00,",
	  "--+++" },
	{ "window: clock set forward just now",
	  { .keep_wal_days = 1 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00,2030-01-01 12:00,",
	  "-+++" },
	{ "window: clock set forward and right again",
	  { .keep_wal_days = 1 },
	  "2026-11-01 12:00,2026-11-02 12:00,2030-01-01 12:00,2026-11-04 "
	  "12:00,2026-11-05 12:00,",
	  "+++++" },
	{ "window: the machine was off for months",
	  { .keep_wal_days = 2 },
	  "2026-01-01 12:00,2026-01-02 12:00,2026-01-03 12:00,2026-01-04 "
	  "12:00,2026-11-01 12:00,2026-11-02 12:00,",
	  "-+++++" },
	{ "window: monthly backups",
	  { .keep_wal_days = 8 },
	  "2026-06-01 12:00,2026-07-01 12:00,2026-08-01 12:00,2026-09-01 12:00,",
	  "-+++" },

	{ "days and months together",
	  { .keep_days = 2, .keep_months = 2 },
	  "2026-09-30 12:00,2026-10-30 12:00,2026-10-31 12:00,2026-11-01 "
	  "12:00,2026-11-02 12:00,2026-11-03 12:00,",
	  "--+-++" },
	{ "all together",
	  { .keep_last = 1,
		.keep_days = 2,
		.keep_weeks = 2,
		.keep_months = 2,
		.keep_years = 2,
		.keep_wal_days = 1,
		.minimum = 2 },
	  "2024-05-01 12:00,2025-12-31 12:00,2026-10-31 12:00,2026-11-07 "
	  "12:00,2026-11-08 12:00,2026-11-09 12:00,2026-11-10 12:00,2026-11-11 "
	  "12:00,",
	  "-++-+-++" },
	{ "what is omSupply's default",
	  { .keep_last = 3,
		.keep_days = 7,
		.keep_weeks = 5,
		.keep_months = 12,
		.keep_wal_days = 8,
		.minimum = 1 },
	  "2025-10-31 12:00,2025-11-30 12:00,2025-12-31 12:00,2026-09-30 "
	  "12:00,2026-10-18 12:00,2026-10-25 12:00,2026-10-31 12:00,2026-11-01 "
	  "12:00,2026-11-08 12:00,2026-11-09 12:00,2026-11-10 12:00,2026-11-11 "
	  "12:00,2026-11-17 12:00,2026-11-18 12:00,2026-11-19 12:00,",
	  "++++-++++++++++" },
};

static void
add_cases_backup(omb_retain_plan *plan, const char *text, size_t len)
{
	omb_retain_backup *added = omb_retain_add(plan);
	char *time = omb_format("%.16s:00Z", text);
	uint64_t number = plan->count;

	if (!omb_time_parse(time, &added->stop_time))
		abort();
	free(time);
	(void) snprintf(added->id, sizeof(added->id), "backup-%02u",
					(unsigned int) number);
	added->start_lsn = number * 10 * SIZE + 40;
	added->stop_lsn = (number * 10 + 1) * SIZE + 40;
	added->timeline = 1;
	added->wal_segment_size = SIZE;
	for (; len > 16; len--)
	{
		switch (text[len - 1])
		{
			case '!':
				added->damaged_pages = 1;
				break;
			case '?':
				added->wal_missing = 1;
				break;
			case '*':
				added->pin = omb_strdup("");
				break;
			default:
				abort();
		}
	}
}

static void
build(omb_retain_plan *plan, const omb_retain_rules *rules,
	  const char *backups)
{
	memset(plan, 0, sizeof(*plan));
	plan->rules = *rules;
	while (*backups)
	{
		size_t len = strcspn(backups, ",");

		add_cases_backup(plan, backups, len);
		backups += len + 1;
	}
	omb_retain_decide(plan);
}

static char *
kept(const omb_retain_plan *plan, char *out)
{
	size_t i;

	for (i = 0; i < plan->count; i++)
		out[i] = plan->backup[i].keep ? '+' : '-';
	out[i] = '\0';
	return out;
}

static void
test_cases(void)
{
	size_t i;
	char text[64];

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		omb_retain_plan plan;

		build(&plan, &cases[i].rules, cases[i].backups);
		is_text(kept(&plan, text), cases[i].kept, cases[i].what);
		decide_again(&plan);
		ok(strchr(kept(&plan, text), '-') == NULL,
		   "%s: the same when done again", cases[i].what);
		omb_retain_clear(&plan);
	}
}

/* ---- lack of space ---- */

typedef struct early_case
{
	const char *what;
	omb_retain_rules rules;
	const char *backups;
	uint64_t missing; /* each turn frees 10, what no rule keeps 5 */
	const char *kept;
} early_case;

static const early_case early_cases[] = {
	{ "space: enough", { .keep_last = 4 }, FOUR, 0, "++++" },
	{ "space: what no rule keeps is enough",
	  { .keep_last = 3 },
	  FOUR,
	  5,
	  "-+++" },
	{ "space: the oldest, and no more than needed",
	  { .keep_last = 4 },
	  FOUR,
	  6,
	  "-+++" },
	{ "space: two of them", { .keep_last = 4 }, FOUR, 16, "--++" },
	{ "space: never the newest", { .keep_last = 4 }, FOUR, 1000, "---+" },
	{ "space: never below the minimum",
	  { .keep_last = 4, .minimum = 3 },
	  FOUR,
	  1000,
	  "-+++" },
	{ "space: the minimum is of intact ones",
	  { .keep_last = 4, .minimum = 2 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00!,2026-11-04 12:00,",
	  1000,
	  "-+-+" },
	{ "space: the newest intact one stays",
	  { .keep_last = 4 },
	  "2026-11-01 12:00,2026-11-02 12:00,2026-11-03 12:00?,2026-11-04 "
	  "12:00!,",
	  1000,
	  "-+-+" },
	{ "space: never a pinned one",
	  { .keep_last = 4 },
	  "2026-11-01 12:00*,2026-11-02 12:00,2026-11-03 12:00*,2026-11-04 "
	  "12:00,",
	  1000,
	  "+-++" },
	{ "space: the window stays whole",
	  { .keep_months = 12, .keep_wal_days = 2 },
	  "2026-09-01 12:00,2026-10-01 12:00,2026-11-01 12:00,2026-11-02 "
	  "12:00,2026-11-03 12:00,2026-11-04 12:00,",
	  1000,
	  "---+++" },
	{ "space: without a rule nothing goes",
	  { .keep_last = 0 },
	  FOUR,
	  1000,
	  "++++" },
	{ "space: no backup", { .keep_last = 1 }, "", 1000, "" },
};

static void
test_early(void)
{
	size_t i;
	char text[64];

	for (i = 0; i < sizeof(early_cases) / sizeof(early_cases[0]); i++)
	{
		const early_case *c = &early_cases[i];
		uint64_t frees[16] = { 5,  10, 10, 10, 10, 10, 10, 10,
							   10, 10, 10, 10, 10, 10, 10, 10 };
		omb_retain_plan plan;
		uint32_t last, dropped, count = 0;
		size_t b;

		build(&plan, &c->rules, c->backups);
		for (b = 0; b < plan.count; b++)
			count += plan.backup[b].keep ? 1 : 0;
		last = omb_retain_order(&plan);
		dropped = omb_retain_early(&plan, frees, last, 7, 7 + c->missing);
		is_text(kept(&plan, text), c->kept, c->what);
		for (b = 0; b < plan.count; b++)
			count -= plan.backup[b].keep ? 1 : 0;
		is_u64(dropped, count, "as many as it says");
		for (b = 0; b < plan.count; b++)
		{
			if (!plan.backup[b].keep && plan.backup[b].turn > 0)
				ok(strncmp(plan.backup[b].reason,
						   "dropped early: the repository has less than ",
						   44) == 0,
				   "the reason");
		}
		decide_again(&plan);
		ok(strchr(kept(&plan, text), '-') == NULL,
		   "%s: the rest stays when done again", c->what);
		omb_retain_clear(&plan);
	}
}

/* WAL goes with the last backup that needs it. */
static void
test_early_wal(void)
{
	static const omb_retain_rules all = { .keep_last = 4 };
	static const omb_retain_rules window = { .keep_last = 4,
											 .keep_wal_days = 1 };
	static const struct
	{
		uint64_t segno;
		uint32_t all, window;
	} wal[] = { { 9, 0, 0 },
				{ 10, 1, 1 },
				{ 11, 1, 1 },
				{ 12, 1, 0 },
				{ 20, 2, 2 },
				{ 29, 2, 0 },
				{ 30, 3, OMB_RETAIN_NEVER },
				{ 40, OMB_RETAIN_NEVER, OMB_RETAIN_NEVER },
				{ 99, OMB_RETAIN_NEVER, OMB_RETAIN_NEVER } };
	omb_retain_plan a, b;
	omb_wal_name name;
	size_t i;

	build(&a, &all, FOUR);
	build(&b, &window, FOUR);
	is_u64(omb_retain_order(&a), 3, "three may go");
	is_u64(omb_retain_order(&b), 2, "two, with a window");
	for (i = 0; i < sizeof(wal) / sizeof(wal[0]); i++)
	{
		memset(&name, 0, sizeof(name));
		name.kind = OMB_WAL_SEGMENT;
		name.timeline = 1;
		name.seg = (uint32_t) wal[i].segno;
		is_u64(omb_retain_wal_turn(&a, &name), wal[i].all,
			   "the turn of a segment");
		is_u64(omb_retain_wal_turn(&b, &name), wal[i].window,
			   "and with a window");
	}
	name.kind = OMB_WAL_HISTORY;
	is_u64(omb_retain_wal_turn(&a, &name), OMB_RETAIN_NEVER,
		   "histories never go");
	omb_retain_clear(&a);
	omb_retain_clear(&b);
}

/* Backups of files go with the last backup around which they are needed. */
static void
test_early_files(void)
{
	static const omb_retain_rules all = { .keep_last = 4 };
	static const omb_retain_rules window = { .keep_last = 4,
											 .keep_wal_days = 1 };
	static const char *const ids[] = { "backup-00", "backup-01x", "backup-02x",
									   "backup-02y", "backup-04x" };
	static const uint32_t with_all[] = { 1, 2, 2, OMB_RETAIN_NEVER,
										 OMB_RETAIN_NEVER };
	static const uint32_t with_window[] = { 1, 2, 2, OMB_RETAIN_NEVER,
											OMB_RETAIN_NEVER };
	omb_retain_plan a, b;
	size_t i;

	build(&a, &all, FOUR);
	build(&b, &window, FOUR);
	for (i = 0; i < 5; i++)
	{
		(void) snprintf(omb_retain_add_files(&a)->id, OMB_BACKUP_ID_MAX, "%s",
						ids[i]);
		(void) snprintf(omb_retain_add_files(&b)->id, OMB_BACKUP_ID_MAX, "%s",
						ids[i]);
	}
	(void) omb_retain_order(&a);
	(void) omb_retain_order(&b);
	for (i = 0; i < 5; i++)
	{
		is_u64(omb_retain_files_turn(&a, i), with_all[i], "the turn of files");
		is_u64(omb_retain_files_turn(&b, i), with_window[i],
			   "and with a window");
	}
	omb_retain_clear(&a);
	omb_retain_clear(&b);
}

/* Each rule of N over a backup a day for two years keeps as many as it says. */
static void
test_counts(void)
{
	static const struct
	{
		const char *rule;
		size_t offset;
		uint32_t most; /* that two years have */
	} rules[] = {
		{ "keep_last", offsetof(omb_retain_rules, keep_last), 730 },
		{ "keep_days", offsetof(omb_retain_rules, keep_days), 730 },
		{ "keep_weeks", offsetof(omb_retain_rules, keep_weeks), 105 },
		{ "keep_months", offsetof(omb_retain_rules, keep_months), 24 },
		{ "keep_years", offsetof(omb_retain_rules, keep_years), 2 },
	};
	uint32_t wanted;
	size_t i, b;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
	{
		for (wanted = 1; wanted < 200; wanted += 1 + wanted / 8)
		{
			omb_retain_plan plan;
			uint32_t count = 0;

			memset(&plan, 0, sizeof(plan));
			memcpy((char *) &plan.rules + rules[i].offset, &wanted,
				   sizeof(wanted));
			for (b = 0; b < 730; b++)
			{
				omb_retain_backup *added = omb_retain_add(&plan);

				/* from 2025-01-01, a Wednesday */
				added->stop_time =
					INT64_C(1735689600) * 1000000 + (int64_t) b * DAY + HOUR;
				added->timeline = 1;
				added->wal_segment_size = SIZE;
			}
			omb_retain_decide(&plan);
			for (b = 0; b < plan.count; b++)
				count += plan.backup[b].keep ? 1 : 0;
			ok(count == (wanted < rules[i].most ? wanted : rules[i].most),
			   "%s = %u keeps %u", rules[i].rule, wanted, count);
			omb_retain_clear(&plan);
		}
	}
}

static void
test_reasons(void)
{
	static const omb_retain_rules rules = {
		.keep_last = 1, .keep_days = 1, .keep_weeks = 1, .keep_wal_days = 2
	};
	static const omb_retain_rules months = { .keep_months = 2,
											 .keep_years = 1 };
	omb_retain_plan plan;

	build(&plan, &rules,
		  "2026-11-01 12:00*,2026-11-08 12:00,2026-11-09 12:00,2026-11-10 "
		  "12:00!,2026-11-11 12:00,2026-11-13 11:00,");
	is_text(plan.backup[0].reason, "pinned", "pinned");
	is_text(plan.backup[1].reason, "no rule keeps it", "dropped");
	is_text(plan.backup[2].reason,
			"leads to the beginning of the last 2 days (keep_wal_days)",
			"leading to the window");
	is_text(plan.backup[3].reason,
			"newer than backup \"backup-03\", which leads to the last 2 days "
			"(keep_wal_days)",
			"damaged before the window");
	is_text(plan.backup[4].reason, "inside the last 2 days (keep_wal_days)",
			"inside the window");
	is_text(plan.backup[5].reason,
			"the newest (keep_last); newest of 2026-11-13 "
			"(keep_days); newest of 2026-W46 (keep_weeks); inside the last 2 "
			"days (keep_wal_days)",
			"several rules");
	omb_retain_clear(&plan);
	build(&plan, &months, "2026-10-01 12:00,2026-11-01 12:00,");
	is_text(plan.backup[0].reason, "newest of 2026-10 (keep_months)",
			"a month");
	is_text(plan.backup[1].reason,
			"newest of 2026-11 (keep_months); newest of 2026 (keep_years)",
			"a year");
	omb_retain_clear(&plan);
}

/* ---- WAL ---- */

static omb_retain_why
why_of(const omb_retain_plan *plan, const char *file)
{
	omb_wal_name name;

	(void) omb_wal_name_parse(file, &name);
	return omb_retain_wal_decide(plan, &name).why;
}

static void
is_why(const omb_retain_plan *plan, const char *file, omb_retain_why wanted)
{
	is_u64((uint64_t) why_of(plan, file), (uint64_t) wanted, file);
}

static void
test_wal(void)
{
	/* backups in segments A, 14, 1E, 28 and the one behind each */
	static const omb_retain_rules last = { .keep_last = 2 };
	static const omb_retain_rules window = { .keep_last = 4,
											 .keep_wal_days = 1 };
	static const omb_retain_rules none = { .keep_last = 0 };
	omb_retain_plan plan;
	omb_retain_wal verdict;
	omb_wal_name name;
	char *reason;

	build(&plan, &last, FOUR);
	is_why(&plan, "00000001000000000000001D", OMB_RETAIN_UNUSED);
	is_why(&plan, "00000001000000000000001E", OMB_RETAIN_WINDOW);
	is_why(&plan, "0000000100000000000000FF", OMB_RETAIN_WINDOW);
	is_why(&plan, "000000010000000100000000", OMB_RETAIN_WINDOW);
	is_why(&plan, "00000001000000000000001D.partial", OMB_RETAIN_UNUSED);
	is_why(&plan, "00000001000000000000001D.00000028.backup",
		   OMB_RETAIN_UNUSED);
	is_why(&plan, "00000001000000000000001E.00000028.backup",
		   OMB_RETAIN_WINDOW);
	is_why(&plan, "00000001.history", OMB_RETAIN_HISTORY);
	is_why(&plan, "00000002.history", OMB_RETAIN_HISTORY);
	/* nobody has backed timeline 2 up yet */
	is_why(&plan, "000000020000000000000001", OMB_RETAIN_TIMELINE);
	is_why(&plan, "nonsense", OMB_RETAIN_ALL);
	omb_retain_clear(&plan);

	build(&plan, &window, FOUR);
	is_why(&plan, "000000010000000000000009", OMB_RETAIN_UNUSED);
	is_why(&plan, "00000001000000000000000A", OMB_RETAIN_RANGE);
	is_why(&plan, "00000001000000000000000B", OMB_RETAIN_RANGE);
	is_why(&plan, "00000001000000000000000C", OMB_RETAIN_UNUSED);
	is_why(&plan, "000000010000000000000013", OMB_RETAIN_UNUSED);
	is_why(&plan, "000000010000000000000014", OMB_RETAIN_RANGE);
	is_why(&plan, "000000010000000000000016", OMB_RETAIN_UNUSED);
	is_why(&plan, "00000001000000000000001E", OMB_RETAIN_WINDOW);
	is_why(&plan, "000000010000000000000020", OMB_RETAIN_WINDOW);
	(void) omb_wal_name_parse("000000010000000000000020", &name);
	verdict = omb_retain_wal_decide(&plan, &name);
	reason = omb_retain_wal_reason(&plan, &verdict);
	is_text(reason,
			"follows backup \"backup-03\", which leads to the last 1 day "
			"(keep_wal_days)",
			"the reason names backup and rule");
	free(reason);
	omb_retain_clear(&plan);

	build(&plan, &none, FOUR);
	is_why(&plan, "000000010000000000000001", OMB_RETAIN_ALL);
	omb_retain_clear(&plan);
	build(&plan, &last, "");
	is_why(&plan, "000000010000000000000001", OMB_RETAIN_ALL);
	omb_retain_clear(&plan);

	/* another segment size: all of the 4 GiB in question is kept */
	memset(&plan, 0, sizeof(plan));
	plan.rules.keep_last = 1;
	add_cases_backup(&plan, "2026-11-01 12:00", 16);
	plan.backup[0].start_lsn = UINT64_C(0x100000000) + 10 * SIZE;
	plan.backup[0].stop_lsn = plan.backup[0].start_lsn + 100;
	add_cases_backup(&plan, "2026-11-02 12:00", 16);
	plan.backup[1].start_lsn = UINT64_C(0x300000000) + 10 * SIZE;
	plan.backup[1].stop_lsn = plan.backup[1].start_lsn + 100;
	plan.backup[1].wal_segment_size = 4 * SIZE;
	omb_retain_decide(&plan);
	is_why(&plan, "0000000100000002000000FF", OMB_RETAIN_UNUSED);
	is_why(&plan, "000000010000000300000000", OMB_RETAIN_WINDOW);
	omb_retain_clear(&plan);
}

/*
 * Backups 1 to 4 on timeline 1, then a restore from the second: timeline 2
 * begins at a lower LSN than the newest backups have.
 */
static void
test_restored(void)
{
	static const omb_retain_rules rules = { .keep_last = 1,
											.keep_wal_days = 1 };
	static const char history[] = "1\t0/16000000\tno reason\n";
	omb_retain_plan plan;
	omb_error err = OMB_ERROR_INIT;
	char text[16];

	build(&plan, &rules, FOUR);
	is_text(kept(&plan, text), "--++", "before the restore");
	omb_retain_clear(&plan);

	memset(&plan, 0, sizeof(plan));
	plan.rules = rules;
	plan.path = omb_calloc(1, sizeof(*plan.path));
	plan.path_count = 1;
	ok(omb_timeline_parse(history, strlen(history), 2, &plan.path[0], &err) ==
		   OMB_OK,
	   "timeline 2 began in segment 16");
	add_cases_backup(&plan, "2026-11-01 12:00", 16);
	add_cases_backup(&plan, "2026-11-02 12:00", 16);
	add_cases_backup(&plan, "2026-11-03 12:00", 16);
	add_cases_backup(&plan, "2026-11-04 12:00", 16);
	omb_retain_decide(&plan);
	is_text(kept(&plan, text), "-+++",
			"the backup that timeline 2 began from is kept");
	is_text(plan.backup[1].reason, "timeline 2 began from it", "and why");
	is_why(&plan, "000000020000000000000016", OMB_RETAIN_TIMELINE);
	is_why(&plan, "000000020000000000000017", OMB_RETAIN_TIMELINE);
	is_why(&plan, "000000010000000000000014", OMB_RETAIN_WINDOW);
	is_why(&plan, "000000010000000000000016", OMB_RETAIN_WINDOW);
	is_why(&plan, "000000010000000000000013", OMB_RETAIN_UNUSED);
	decide_again(&plan);
	is_text(kept(&plan, text), "+++", "the same when done again");

	/* two days on there are backups of timeline 2 only */
	if (!ok(plan.count == 3, "three are left"))
	{
		omb_retain_clear(&plan);
		return;
	}
	add_cases_backup(&plan, "2026-11-05 12:00", 16);
	add_cases_backup(&plan, "2026-11-06 12:00", 16);
	plan.backup[3].timeline = plan.backup[4].timeline = 2;
	plan.backup[3].start_lsn = 23 * SIZE + 40;
	plan.backup[3].stop_lsn = 23 * SIZE + 80;
	plan.backup[4].start_lsn = 25 * SIZE + 40;
	plan.backup[4].stop_lsn = 25 * SIZE + 80;
	plan.backup[3].keep = plan.backup[4].keep = true;
	decide_again(&plan);
	is_text(kept(&plan, text), "---++", "two days later it is not needed");
	omb_retain_clear(&plan);

	memset(&plan, 0, sizeof(plan));
	plan.rules = rules;
	add_cases_backup(&plan, "2026-11-04 12:00", 16);
	add_cases_backup(&plan, "2026-11-05 12:00", 16);
	add_cases_backup(&plan, "2026-11-06 12:00", 16);
	plan.backup[1].timeline = plan.backup[2].timeline = 2;
	plan.backup[0].start_lsn = 40 * SIZE;
	plan.backup[0].stop_lsn = 40 * SIZE + 99;
	plan.backup[1].start_lsn = 23 * SIZE + 40;
	plan.backup[1].stop_lsn = 23 * SIZE + 80;
	plan.backup[2].start_lsn = 25 * SIZE + 40;
	plan.backup[2].stop_lsn = 25 * SIZE + 80;
	omb_retain_decide(&plan);
	is_text(kept(&plan, text), "-++",
			"the newest is not the one with the highest LSN");
	is_why(&plan, "000000010000000000000028", OMB_RETAIN_UNUSED);
	is_why(&plan, "000000020000000000000016", OMB_RETAIN_UNUSED);
	is_why(&plan, "000000020000000000000017", OMB_RETAIN_WINDOW);
	omb_retain_clear(&plan);
}

int
main(void)
{
	test_cases();
	test_early();
	test_early_wal();
	test_early_files();
	test_counts();
	test_reasons();
	test_wal();
	test_restored();
	return tap_done();
}
