/*
 * retain.h: which backups and which WAL are kept, and why. Pure: facts in,
 * verdicts out; no clock, no store.
 */
#ifndef OMB_TASK_RETAIN_H
#define OMB_TASK_RETAIN_H

#include "pgfmt/timeline.h"
#include "pgfmt/walname.h"
#include "repo/manifest.h"

/*
 * 0 is a rule that is not set; without any keep_* rule everything is kept.
 *
 *   keep_last       the newest backups
 *   keep_days ..    the newest backup of each of the last days, ISO weeks,
 *   keep_years      months, years (UTC) that have one
 *   keep_wal_days   every instant of the last days, counted back from the end
 *                   of the newest backup, can be restored
 *   minimum         at least as many intact backups (0 is 1)
 *
 * A backup is intact when it has no damaged page and all of its WAL. keep_last
 * and the calendar rules pick backups whatever their state, and where one they
 * pick is not intact, an intact one besides. The newest backup, the newest
 * intact one and pinned ones are kept always.
 */
typedef struct omb_retain_rules
{
	uint32_t keep_last;
	uint32_t keep_days;
	uint32_t keep_weeks;
	uint32_t keep_months;
	uint32_t keep_years;
	uint32_t keep_wal_days;
	uint32_t minimum;
} omb_retain_rules;

typedef struct omb_retain_backup
{
	char id[OMB_BACKUP_ID_MAX];
	int64_t stop_time; /* microseconds since 1970 */
	uint64_t start_lsn;
	uint64_t stop_lsn;
	uint32_t timeline;
	uint64_t wal_segment_size;
	uint64_t damaged_pages;
	uint64_t wal_missing; /* segments from its start to its stop */
	char *pin;			  /* why it is pinned, or ""; NULL when it is not */

	/* the verdict */
	bool keep;
	bool window;	 /* all WAL from its start on is kept */
	bool firm;		 /* lack of space does not drop it */
	uint32_t turn;	 /* see omb_retain_order() */
	int64_t counted; /* when it ended, as far as the clock can be believed */
	char *reason;
} omb_retain_backup;

/* A backup of the application's files alone. */
typedef struct omb_retain_files
{
	char id[OMB_BACKUP_ID_MAX];
	char *pin; /* why it is pinned, or ""; NULL when it is not */

	/* the verdict */
	bool keep;
	char *reason;
} omb_retain_files;

typedef struct omb_retain_plan
{
	omb_retain_rules rules;
	omb_retain_backup *backup; /* in the order in which they were taken */
	size_t count;
	omb_retain_files *files; /* likewise */
	size_t files_count;
	omb_timeline_path *path; /* to the timelines that have a history */
	size_t path_count;

	/* the verdict */
	bool keeps_all;		   /* WAL too */
	uint32_t whole_behind; /* timelines behind this one are kept whole */
	uint64_t segment_size; /* 0 when backups differ in it */
} omb_retain_plan;

/*
 * Fill in the verdicts. Doing it again with what was kept gives the same.
 *
 * Clocks may be wrong: a backup that ended before an older one ended counts as
 * ended when the next one did that did not. Where more than keep_wal_days
 * lie between the last backup before the window and the next one, because the
 * machine was off or its clock was set forward, as many days before that gap
 * are kept too.
 *
 * Where a timeline younger than the window's oldest backup (without
 * keep_wal_days: than the newest backup) began from a backup that no rule
 * keeps, that one is kept: without it the timeline's WAL is of no use.
 */
extern void omb_retain_decide(omb_retain_plan *plan);

/*
 * Then the verdicts on backups of the application's files; again after what
 * lack of space has dropped. Kept are the newest one, pinned ones, those that
 * were taken after the oldest backup from which on every instant can be
 * restored, and of each kept backup the last one before it and the first one
 * after it: files that it refers to may be in one of them only. Jobs never
 * overlap, so that the order of ids tells before from after, whatever clocks
 * say.
 */
extern void omb_retain_decide_files(omb_retain_plan *plan);

typedef enum omb_retain_why
{
	OMB_RETAIN_UNUSED,	 /* dropped: no kept backup needs it */
	OMB_RETAIN_ALL,		 /* no rule, or no backup */
	OMB_RETAIN_HISTORY,	 /* timeline history files are always kept */
	OMB_RETAIN_TIMELINE, /* of a timeline that is kept whole */
	OMB_RETAIN_WINDOW,	 /* follows a backup of the window */
	OMB_RETAIN_RANGE	 /* written during a backup that is kept */
} omb_retain_why;

typedef struct omb_retain_wal
{
	omb_retain_why why;
	const omb_retain_backup *because; /* or NULL */
} omb_retain_wal;

/* The verdict on a WAL file, after omb_retain_decide(). */
extern omb_retain_wal omb_retain_wal_decide(const omb_retain_plan *plan,
											const omb_wal_name *name);

/*
 * Lack of space: what only keep_last and the calendar rules keep may go before
 * its time, oldest first. The rest is firm: pinned backups, the minimum, what
 * keep_wal_days needs, where a timeline began, and all when no rule is set.
 *
 * Once the verdicts are there, omb_retain_order() numbers the turns in which
 * backups go: 0 what no rule keeps, then one each from 1, and
 * OMB_RETAIN_NEVER. It returns the number of the last turn.
 */
#define OMB_RETAIN_NEVER UINT32_MAX
extern uint32_t omb_retain_order(omb_retain_plan *plan);
/* The turn with which a WAL file goes. */
extern uint32_t omb_retain_wal_turn(const omb_retain_plan *plan,
									const omb_wal_name *name);
/* The turn with which a backup of files goes. */
extern uint32_t omb_retain_files_turn(const omb_retain_plan *plan,
									  size_t number);
/*
 * Drop as few turns as make wanted bytes available, or all there are;
 * frees[turn] is what each frees. Returns the number of backups dropped so.
 */
extern uint32_t omb_retain_early(omb_retain_plan *plan, const uint64_t *frees,
								 uint32_t last_turn, uint64_t available,
								 uint64_t wanted);

/* The verdict in words, in new memory. */
extern char *omb_retain_wal_reason(const omb_retain_plan *plan,
								   const omb_retain_wal *verdict);

/*
 * First and last segment that a backup itself needs; false when its facts
 * tell nothing of segments.
 */
extern bool omb_retain_range(const omb_retain_backup *backup, uint64_t *first,
							 uint64_t *last);

/* Backups may be added one by one; the new one is all zeros. */
extern omb_retain_backup *omb_retain_add(omb_retain_plan *plan);
extern omb_retain_files *omb_retain_add_files(omb_retain_plan *plan);
extern void omb_retain_clear(omb_retain_plan *plan);

#endif
