/*
 * plan.h: which backup and which timeline lead to a recovery target, and
 * whether the archive reaches it.
 */
#ifndef OMB_TASK_PLAN_H
#define OMB_TASK_PLAN_H

#include "pgfmt/timeline.h"
#include "repo/manifest.h"

typedef enum omb_target_kind
{
	OMB_TARGET_END, /* all archived WAL */
	OMB_TARGET_IMMEDIATE,
	OMB_TARGET_TIME,
	OMB_TARGET_LSN,
	OMB_TARGET_XID,
	OMB_TARGET_NAME
} omb_target_kind;

typedef struct omb_target
{
	omb_target_kind kind;
	int64_t time;
	uint64_t lsn; /* for a name: where it is, 0 when that is not known */
	uint32_t xid;
	const char *name;
	const char *mark; /* what people call it, NULL for no mark */
	/* 0 = the newest that leads through the backup, UINT32_MAX = that of the
	 * backup, else the number */
	uint32_t timeline;
} omb_target;

#define OMB_TIMELINE_LATEST 0
#define OMB_TIMELINE_CURRENT UINT32_MAX

typedef struct omb_plan
{
	char backup[OMB_BACKUP_ID_MAX];
	omb_timeline_path path; /* to the timeline that recovery follows */
	uint32_t timeline;
	/* what was found of the target; 0 when not looked for */
	uint64_t target_lsn;
	int64_t target_time;
	/* the instant lies between these; INT64_MAX is the end of all */
	int64_t not_before;
	int64_t not_after;
	/* the last segment that recovery finds, "" when not looked for */
	char last_segment[32];
} omb_plan;

/*
 * Choose backup (unless backup is given) and timeline. OMB_REFUSED when no
 * backup is early enough or the archive does not reach the target. trying is
 * called for each backup before the WAL behind it is looked at.
 */
extern omb_status omb_plan_make(omb_repository *repo, const char *backup,
								const omb_target *target,
								void (*trying)(const char *backup, void *arg),
								void *arg, omb_plan *plan, omb_error *err);

#endif
