/*
 * target.h: targets, the stores that the repository is mirrored to: their
 * configuration and state in shared memory.
 *
 * The table backup_target is read by the scheduler, which has a database. A
 * worker for each target (mirror.c) does the work; views and verdicts read
 * what it notes here.
 */
#ifndef OMB_BACKEND_TARGET_H
#define OMB_BACKEND_TARGET_H

#include "datatype/timestamp.h"

#include "backend/status.h"

#define OMB_TARGETS 8
#define OMB_TARGET_NAME 64
#define OMB_TARGET_URL 1024
#define OMB_TARGET_WINDOW 512
#define OMB_TARGET_TEXT 1024
#define OMB_TARGET_CHANGES 16
#define OMB_TARGET_TRANSFERS 4
#define OMB_TARGET_RULES 7

typedef struct OmbTargetConfig
{
	char name[OMB_TARGET_NAME];
	char url[OMB_TARGET_URL];
	char credentials[MAXPGPATH];	/* "" for the environment */
	char window[OMB_TARGET_WINDOW]; /* "" for none */
	int64 upload_limit;				/* bytes per second; 0: none */
	int32 transfers;				/* at once */
	int32 rules[OMB_TARGET_RULES];	/* of retention; below 0: not set */
} OmbTargetConfig;

typedef enum OmbTargetState
{
	OMB_TARGET_WAITING, /* not looked at yet */
	OMB_TARGET_OK,
	OMB_TARGET_FAILING, /* tried again by itself */
	OMB_TARGET_BLOCKED	/* somebody has to do something */
} OmbTargetState;

/* Times of 0 mean never. */
typedef struct OmbTarget
{
	bool used;
	uint64 serial; /* another one: the agent has to begin anew */
	OmbTargetConfig config;
	pid_t pid; /* of the worker, or 0 */
	TimestampTz since;
	OmbTargetState state; /* as of the last look */
	bool is_copying;
	TimestampTz last_success_at;
	TimestampTz failing_since; /* 0 unless failing or blocked */
	TimestampTz last_error_at;
	char last_error[OMB_TARGET_TEXT];
	char hint[OMB_STATUS_TEXT];
	int64 objects_waiting;
	int64 bytes_waiting;
	char waiting_wal[OMB_STATUS_NAME]; /* the oldest, or "" */
	int64 rate;						   /* bytes per second; 0: not known */
	/* all that was archived then can be restored from the target */
	TimestampTz current_at;
	uint64 expires; /* of OmbTargetsShared, that were done */
} OmbTarget;

/* A change of state, on its way to who listens. */
typedef struct OmbTargetChange
{
	char name[OMB_TARGET_NAME];
	OmbTargetState from;
	OmbTargetState to;
	TimestampTz at;
	char message[OMB_STATUS_TEXT];
} OmbTargetChange;

typedef struct OmbTargetsShared
{
	uint64 last_serial;
	uint64 work;	/* grows when there is something new to copy */
	uint64 expires; /* grows when retention is to be applied */
	int change_count;
	OmbTargetChange change[OMB_TARGET_CHANGES];
	OmbTarget target[OMB_TARGETS];
} OmbTargetsShared;

/* ---- target.c ---- */

/*
 * The enabled targets, in the current memory context; inside a transaction
 * with SPI connected.
 */
extern int omb_target_read(const char *schema, OmbTargetConfig **configs);
/* Make these the targets that there are. */
extern void omb_target_apply(const OmbTargetConfig *configs, int count);

/* There is something new to copy; the caller holds the lock. */
extern void omb_target_work(void);
/* Retention is to be applied; the caller holds the lock. */
extern void omb_target_expire(void);
/* Wake the workers, after one of these and without the lock. */
extern void omb_target_wake(void);

/* ---- mirror.c ---- */

extern PGDLLEXPORT void omb_mirror_main(Datum arg);

/* ---- mirrorstart.c ---- */

/* Start workers. Returns milliseconds to sleep at most. */
extern long omb_mirror_step(long sleep);

/* ---- targetstatus.c ---- */

/* Copies of those that there are; returns how many. */
extern int omb_target_get(OmbTarget *targets);
/* How much work would be lost with all but the target, in microseconds; -1
 * when the target has nothing to restore. */
extern int64 omb_target_risk(const OmbTarget *target, TimestampTz now);
extern void omb_target_judge(OmbVerdict *verdict);
/* NOTIFY with each change of state; inside a transaction. */
extern void omb_target_notify(void);

#endif
