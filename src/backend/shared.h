/*
 * shared.h: what the processes of the extension share.
 */
#ifndef OMB_BACKEND_SHARED_H
#define OMB_BACKEND_SHARED_H

#include "datatype/timestamp.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "backend/fileset.h"
#include "backend/quarantine.h"
#include "backend/status.h"
#include "backend/target.h"

#define OMB_LABEL_MAX 256
#define OMB_ID_MAX 32
#define OMB_RESULTS 16
#define OMB_WARNINGS 8
#define OMB_RUNS 64
#define OMB_RULES 7
#define OMB_SCHEDULE_MAX 104
#define OMB_WATERMARKS 64

typedef enum OmbJobState
{
	OMB_JOB_NONE,
	OMB_JOB_REQUESTED, /* waits for the launcher */
	OMB_JOB_RUNNING
} OmbJobState;

/* The one job that is asked for or running. */
typedef struct OmbJob
{
	OmbJobState state;
	uint64 serial; /* of this server start, from 1 */
	char label[OMB_LABEL_MAX];
	char kind[16];
	char requested_by[NAMEDATALEN];
	TimestampTz requested_at;
	TimestampTz started_at;
	pid_t pid; /* of the job worker */
	char backup_id[OMB_ID_MAX];
	char phase[16];
	char waiting_for[64];
	uint64 bytes_done;
	uint64 bytes_total;
	uint64 bytes_stored;
	uint64 files_done;
	uint64 files_total;
	uint64 bytes_read; /* of what was done; the rest of the numbers too */
	uint64 damaged_pages;
	int warning_count;
	char warning[OMB_WARNINGS][256];
	char job[16]; /* backup, full, files, expire, verify, check */
	char cause[16];
	char schedule[OMB_SCHEDULE_MAX]; /* empty when none asked for it */
	int32 rules[OMB_RULES];			 /* of expire; below 0: not set */
	char sample[24];				 /* of verify: percent, or empty */
	char max_time[24];				 /* of verify: seconds, or empty */
} OmbJob;

/* A job that ended, on its way into the history. */
typedef struct OmbRun
{
	char job[16];
	char cause[16]; /* request, schedule, missed, retry, low space */
	char schedule[OMB_SCHEDULE_MAX];
	char requested_by[NAMEDATALEN];
	char label[OMB_LABEL_MAX];
	char kind[16];
	char backup_id[OMB_ID_MAX];
	TimestampTz started_at;
	TimestampTz ended_at;
	int sqlstate; /* 0: done */
	bool has_numbers;
	uint64 bytes_read;
	uint64 bytes_stored;
	uint64 bytes_reused;
	uint64 files;
	uint64 damaged_pages;
	char message[1024];
	char detail[1024];
	char hint[512];
} OmbRun;

/* What launcher and scheduler tell each other. */
typedef struct OmbSchedulerShared
{
	TimestampTz server_start; /* by the clock of the schedules */
	TimestampTz memory_start; /* by the clock; after a crash this is later */
	uint64 changes;			  /* of the schedules, settings and so on */
	uint64 changes_seen;	  /* by the last turn that came to its end */
	uint64 done;		 /* number of the last turn that came to its end */
	TimestampTz wake_at; /* when the next run is due, 0 for never */
	char message[512];	 /* that was logged last */
	bool schedules_known;
	int backup_schedules; /* that are enabled and take backups */
	uint64 first_run;	  /* in the ring, by number modulo OMB_RUNS */
	uint64 next_run;
	uint64 runs_lost; /* for want of room, not logged yet */
	OmbRun run[OMB_RUNS];
} OmbSchedulerShared;

/* How a job ended. */
typedef struct OmbResult
{
	uint64 serial; /* 0 for none */
	char job[16];
	bool ok;
	char backup_id[OMB_ID_MAX];
	int sqlstate;
	char message[1024];
	char detail[1024];
	char hint[512];
	int warning_count;
	char warning[OMB_WARNINGS][256];
} OmbResult;

/* When a watermark was last measured, and last noted for the repository. */
typedef struct OmbWatermarkTimes
{
	char name[64]; /* empty: free */
	TimestampTz measured_at;
	TimestampTz noted_at;
} OmbWatermarkTimes;

typedef struct OmbShared
{
	LWLock *lock;			   /* protects all below but changed */
	ConditionVariable changed; /* a job moved on */
	pid_t launcher_pid;		   /* 0 while it does not run */
	uint64 last_serial;
	OmbJob job;
	OmbResult result[OMB_RESULTS]; /* by serial modulo OMB_RESULTS */
	OmbStatus status;
	OmbSchedulerShared scheduler;
	OmbFileSets file_sets;
	OmbTargetsShared targets;
	OmbQuarantine quarantine;
	bool mark_noted;		 /* a mark is among the notes: mirror it at once */
	uint64 notes_wanted;	 /* how often somebody wrote a note */
	uint64 notes_done;		 /* that many of them are in the repository */
	uint64 watermarks_done;	 /* number of the worker that last ended well */
	long watermarks_wait_ms; /* until the next is due, as it said */
	OmbWatermarkTimes watermark[OMB_WATERMARKS];
} OmbShared;

/* NULL when the library is not in shared_preload_libraries. */
extern OmbShared *omb_shared;

/* Hooks for shared memory; called while libraries are preloaded. */
extern void omb_shared_request(void);

/*
 * Ask for a backup, of kind "files" for one of the application's files alone;
 * returns its serial number. 0 when a job is in hand already,
 * of which *busy gets a copy, or no launcher runs (busy->state is NONE then).
 */
extern uint64 omb_shared_ask(const char *label, const char *kind,
							 const char *requested_by, OmbJob *busy);

/* Note how the job in hand ended and wake all who wait. */
extern void omb_shared_finish(uint64 serial, const OmbResult *result);
/*
 * Cancel the job in hand: one that no worker has taken over yet ends here, the
 * worker of a running one is told. False when there is none.
 */
extern bool omb_shared_cancel(void);
/* What to say of a job in hand that was canceled. */
extern const char *omb_shared_canceled(void);
/* The same as finish for a failure in words. */
extern void omb_shared_fail(uint64 serial, int sqlstate, const char *message,
							const char *detail, const char *hint);

/* Note a run for the history; the lock is taken. */
extern void omb_shared_add_run(const OmbRun *run);

/*
 * Note what keeps schedules from working; true when it is something new. The
 * caller holds the lock.
 */
extern bool omb_shared_message(const char *message);

/* Have the scheduler look at its tables soon. */
extern void omb_scheduler_wake(void);

/* Copy a text, cut between characters; NULL is the empty text. */
extern void omb_shared_text(char *to, size_t size, const char *from);

/* Entry points of the background workers. */
extern PGDLLEXPORT void omb_launcher_main(Datum arg);
extern PGDLLEXPORT void omb_job_main(Datum arg);
extern PGDLLEXPORT void omb_scheduler_main(Datum arg);
extern void omb_launcher_register(void);

/* Wake a process that waits on its latch. */
extern void omb_wake(pid_t pid);

#endif
