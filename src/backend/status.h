/*
 * status.h: is the server safe? What is known about it in shared memory, and
 * the verdict.
 */
#ifndef OMB_BACKEND_STATUS_H
#define OMB_BACKEND_STATUS_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* Who listens to this is told. */
#define OMB_CHANNEL "omsupply_backup"

/* Times of 0 mean never. */

#define OMB_STATUS_TEXT 512
#define OMB_STATUS_NAME 64
#define OMB_STATUS_CHANGES 8

/* What the agent found out about the repository (job type=survey). */
typedef struct OmbSurvey
{
	TimestampTz at;
	char repository[MAXPGPATH]; /* that was looked at */
	char problem_status[16];	/* "" when it could be read */
	char problem[OMB_STATUS_TEXT];
	char problem_hint[OMB_STATUS_TEXT];
	char key_status[16]; /* "" when the key file is as it should be */
	char key_problem[OMB_STATUS_TEXT];
	char key_hint[OMB_STATUS_TEXT];
	bool encrypted;
	bool code_confirmed;
	char fence[16]; /* own, other, unclaimed, not_known */
	char fence_problem[OMB_STATUS_TEXT];
	char fence_detail[OMB_STATUS_TEXT];
	char fence_hint[OMB_STATUS_TEXT];
	int64 backups;
	int64 backups_unreadable;
	char unreadable[OMB_STATUS_NAME];
	char last_id[OMB_STATUS_NAME]; /* "" without a backup */
	char last_kind[16];
	TimestampTz last_start_at;
	TimestampTz last_stop_at;
	int64 last_damaged_pages;
	TimestampTz window_from;
	TimestampTz window_to;
	bool wal_file_found;
	int64 gaps;
	char gap_first[OMB_STATUS_NAME];
	char gap_last[OMB_STATUS_NAME];
	char given_up_first[OMB_STATUS_NAME]; /* "" when there is nothing */
	char given_up_last[OMB_STATUS_NAME];
	TimestampTz given_up_at;
	int64 repository_bytes;
	bool growth_known;
	int64 growth_per_day;
	int64 repository_free;
	int64 repository_total;
	int64 pgdata_free;
	int64 pgdata_total;
	bool same_device;
} OmbSurvey;

/* What the archive module has come to since the server started. */
typedef struct OmbArchiver
{
	TimestampTz archived_at;
	char archived[OMB_STATUS_NAME];
	TimestampTz failing_since; /* 0 while it works */
	TimestampTz failed_at;
	int64 failures; /* in a row */
	char failed[OMB_STATUS_NAME];
	char status[16];
	char message[OMB_STATUS_TEXT];
	char hint[OMB_STATUS_TEXT];
	/* given up and not yet noted in the repository */
	int64 given_up;
	char given_up_first[OMB_STATUS_NAME];
	char given_up_last[OMB_STATUS_NAME];
} OmbArchiver;

typedef enum OmbState
{
	OMB_STATE_NONE, /* not judged yet */
	OMB_STATE_OK,
	OMB_STATE_DEGRADED,
	OMB_STATE_FAILING,
	OMB_STATE_UNCONFIGURED,
	OMB_STATE_FENCED
} OmbState;

typedef struct OmbChange
{
	OmbState from;
	OmbState to;
	TimestampTz at;
	char reasons[OMB_STATUS_TEXT]; /* a JSON array */
} OmbChange;

/* Removal of old backups for want of space (backend/lowspace.h). */
typedef struct OmbLowspace
{
	TimestampTz asked_at;
	int attempts; /* since there was enough space */
} OmbLowspace;

typedef struct OmbStatus
{
	OmbSurvey survey;
	OmbArchiver archiver;
	bool survey_wanted;
	OmbLowspace lowspace;
	OmbState state; /* as the launcher judged last */
	TimestampTz state_since;
	int change_count; /* changes that were not told yet */
	OmbChange change[OMB_STATUS_CHANGES];
} OmbStatus;

/* WAL files that wait to be archived. */
typedef struct OmbWaiting
{
	int64 files;
	int64 bytes;
	char oldest[OMB_STATUS_NAME];
	TimestampTz oldest_at;
} OmbWaiting;

/* The verdict; reasons are a list of texts in the current memory context. */
typedef struct OmbVerdict
{
	OmbState state;
	List *reasons;
} OmbVerdict;

/* One more reason; the worst of all counts. */
extern void omb_verdict_add(OmbVerdict *verdict, OmbState state,
							const char *reason);

extern const char *omb_state_name(OmbState state);

/* The archive module tells; nothing happens without shared memory. */
extern void omb_status_archived(const char *file);
extern void omb_status_failed(const char *file, const char *status,
							  const char *message, const char *hint);

extern void omb_status_surveyed(const OmbSurvey *survey);
/* Have the launcher survey the repository soon. */
extern void omb_status_want_survey(void);

/* A copy of what is known; all zeros without shared memory. */
extern void omb_status_get(OmbSurvey *survey, OmbArchiver *archiver);
/* Count in pg_wal/archive_status, 100,000 files at most. */
extern void omb_status_waiting(OmbWaiting *waiting);

/* Days until the repository's file system is full; -1 when not known. */
extern double omb_status_days_until_full(const OmbSurvey *survey);
/* What keeps the server from being backed up at all; NULL when nothing. */
extern const char *omb_status_unconfigured(void);
extern void omb_status_judge(OmbVerdict *verdict);

/* Judge, and log and remember a change of the state. */
extern void omb_status_watch(void);
/*
 * NOTIFY omsupply_backup with each change that was not told yet. The caller is
 * in a transaction of a database; a change is told once.
 */
extern void omb_status_notify(void);

#endif
