/*
 * mirror.c: the worker that keeps one target a copy of the repository.
 *
 * It has no database and no transaction. Its agent does the work and lives as
 * long as the target does; here is decided when it looks, how fast it may
 * send, and what its answers mean. No lock is held while anybody waits, so
 * nothing else in the server notices a target that is slow or hangs.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/window.h"

#include "backend/agent.h"
#include "backend/epoch.h"
#include "backend/schedule.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/target.h"

/* Between looks when nothing is told, and at least. */
#define LOOK_MS (60 * 1000L)
#define LOOK_MIN_MS 1000L

/* After a failure, doubled each time; each pause is a fourth shorter or longer. */
#define PAUSE_MS (5 * 1000L)
#define PAUSE_MAX_MS (300 * 1000L)

/* While the agent works it says something each second. */
#define SILENCE_MS (120 * 1000L)
/* It works, but nothing moves. */
#define STALL_MS (15 * 60 * 1000L)
/* What each transfer may read before a limit lets it go on. */
#define STALL_BYTES (2 * 1024 * 1024)

/* Retention is applied to a target that is full, but that often. */
#define EXPIRE_FULL_MS (60 * 60 * 1000L)

#define RECEIVE_MS 1000L

typedef enum MirrorPhase
{
	MIRROR_NO_AGENT,
	MIRROR_STARTING,
	MIRROR_IDLE,
	MIRROR_LOOKING,
	MIRROR_EXPIRING
} MirrorPhase;

/*
 * What this process knows; the rest is in its slot of shared memory. Times are
 * milliseconds of a clock that nobody sets; 0 is never.
 */
static struct
{
	OmbTarget *slot;
	MirrorPhase phase;
	OmbTargetConfig config;
	uint64 serial;
	char repository[MAXPGPATH]; /* that the agent was started with */
	char key_file[MAXPGPATH];
	uint64 rate; /* that the agent was told */
	uint64 work; /* of OmbTargetsShared, that was looked at */
	uint64 expires;
	int64 look_at;	 /* the next look, whatever happens */
	int64 looked_at; /* the last one, or its begin */
	int64 heard_at;
	int64 moved_at;
	uint64 moved; /* bytes sent and objects left, as one number */
	bool is_full; /* the last look ended for want of space */
	int64 expired_at;
	long pause_ms;
	MemoryContext context;
} mirror;

static int64
steady_ms(void)
{
	instr_time time;

	INSTR_TIME_SET_CURRENT(time);
	return (int64) INSTR_TIME_GET_MILLISEC(time);
}

static void
forget_worker(int code, Datum arg)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (mirror.slot->pid == MyProcPid)
	{
		mirror.slot->pid = 0;
		mirror.slot->is_copying = false;
	}
	LWLockRelease(omb_shared->lock);
}

/* ---- noting ---- */

/* The caller holds the lock. True when somebody has to be told. */
static bool
set_state(OmbTargetState state, const char *message)
{
	OmbTargetsShared *shared = &omb_shared->targets;
	OmbTarget *slot = mirror.slot;
	OmbTargetState from = slot->state;
	OmbTargetChange *change;

	slot->state = state;
	if (state == OMB_TARGET_OK || state == OMB_TARGET_WAITING)
		slot->failing_since = 0;
	else if (slot->failing_since == 0)
		slot->failing_since = GetCurrentTimestamp();
	/* that a target works from the start is no news */
	if (from == state || state == OMB_TARGET_WAITING ||
		(from == OMB_TARGET_WAITING && state == OMB_TARGET_OK))
		return false;
	if (shared->change_count == OMB_TARGET_CHANGES)
	{
		memmove(&shared->change[0], &shared->change[1],
				sizeof(OmbTargetChange) * (OMB_TARGET_CHANGES - 1));
		shared->change_count--;
	}
	change = &shared->change[shared->change_count++];
	strlcpy(change->name, slot->config.name, sizeof(change->name));
	change->from = from;
	change->to = state;
	change->at = GetCurrentTimestamp();
	omb_shared_text(change->message, sizeof(change->message), message);
	/* the scheduler has a database to tell it from */
	omb_shared->scheduler.changes++;
	return true;
}

/* Is the slot still that of the configuration which we work for? */
static bool
is_mine(void)
{
	return mirror.slot->used && mirror.slot->serial == mirror.serial;
}

static void
log_change(OmbTargetState state, const char *message, const char *hint)
{
	if (state == OMB_TARGET_OK)
		ereport(LOG,
				(errmsg("target \"%s\" works again", mirror.config.name)));
	else
		ereport(WARNING, (errmsg("could not copy the repository to target "
								 "\"%s\": %s",
								 mirror.config.name, message),
						  hint[0] ? errhint("%s", hint) : 0));
	omb_wake(omb_shared->launcher_pid);
}

static void
note_failure(OmbTargetState state, const char *message, const char *hint)
{
	TimestampTz now = GetCurrentTimestamp();
	bool changed = false;
	long pause;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (is_mine())
	{
		changed = set_state(state, message);
		mirror.slot->is_copying = false;
		mirror.slot->last_error_at = now;
		omb_shared_text(mirror.slot->last_error,
						sizeof(mirror.slot->last_error), message);
		omb_shared_text(mirror.slot->hint, sizeof(mirror.slot->hint), hint);
	}
	LWLockRelease(omb_shared->lock);
	if (changed)
		log_change(state, message, hint);
	mirror.pause_ms = mirror.pause_ms == 0 ?
						  PAUSE_MS :
						  Min(mirror.pause_ms * 2, PAUSE_MAX_MS);
	/* several servers that lost one target must not come back as one */
	pause = mirror.pause_ms * 3 / 4 +
			(long) (pg_prng_double(&pg_global_prng_state) *
					(double) mirror.pause_ms / 2);
	mirror.look_at = steady_ms() + pause;
}

static void
agent_failed(const char *message, const char *hint)
{
	omb_agent_stop();
	mirror.phase = MIRROR_NO_AGENT;
	note_failure(OMB_TARGET_FAILING, message, hint);
}

/* Some failures pass by themselves, these do not. */
static OmbTargetState
state_of(const char *status)
{
	return strcmp(status, "refused") == 0 || strcmp(status, "usage") == 0 ||
				   strcmp(status, "unsupported") == 0 ||
				   strcmp(status, "wrong_key") == 0 ?
			   OMB_TARGET_BLOCKED :
			   OMB_TARGET_FAILING;
}

static char *
error_text(const omb_fields *fields)
{
	const char *detail = omb_agent_text(fields, "detail");

	return psprintf("%s%s%s", omb_agent_text(fields, "message"),
					detail[0] ? ": " : "", detail);
}

/* A look may last for days, in which WAL is sent all the time. */
static void
note_current(OmbTarget *slot, const omb_fields *fields)
{
	int64_t at;

	if (omb_fields_get_i64(fields, "current_at", &at) && at > 0)
		slot->current_at = at - OMB_EPOCH_DIFFERENCE;
}

static void
note_progress(const omb_fields *fields)
{
	uint64 moved = omb_agent_u64(fields, "bytes_sent") +
				   omb_agent_u64(fields, "objects_waiting");

	if (moved != mirror.moved)
	{
		mirror.moved = moved;
		mirror.moved_at = steady_ms();
	}
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (is_mine())
	{
		mirror.slot->objects_waiting =
			(int64) omb_agent_u64(fields, "objects_waiting");
		mirror.slot->bytes_waiting =
			(int64) omb_agent_u64(fields, "bytes_waiting");
		mirror.slot->rate = (int64) omb_agent_u64(fields, "rate");
		note_current(mirror.slot, fields);
		mirror.slot->is_copying =
			mirror.phase == MIRROR_LOOKING && mirror.slot->objects_waiting > 0;
	}
	LWLockRelease(omb_shared->lock);
}

static void
note_look(const omb_fields *fields)
{
	const char *status = omb_agent_text(fields, "status");
	bool done = strcmp(status, "ok") == 0;
	/* where only locks could not be extended, copying goes on as always */
	bool copied = done || omb_agent_u64(fields, "complete") != 0;
	TimestampTz now = GetCurrentTimestamp();
	bool changed = false;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (is_mine())
	{
		OmbTarget *slot = mirror.slot;

		slot->is_copying = false;
		/* nothing was counted when it could not even look */
		if (copied || omb_agent_u64(fields, "objects_waiting") > 0)
		{
			slot->objects_waiting =
				(int64) omb_agent_u64(fields, "objects_waiting");
			slot->bytes_waiting =
				(int64) omb_agent_u64(fields, "bytes_waiting");
			strlcpy(slot->waiting_wal, omb_agent_text(fields, "waiting_wal"),
					sizeof(slot->waiting_wal));
		}
		slot->rate = (int64) omb_agent_u64(fields, "rate");
		note_current(slot, fields);
		if (copied)
			slot->last_success_at = now;
		if (done)
			changed = set_state(OMB_TARGET_OK, "");
	}
	LWLockRelease(omb_shared->lock);
	mirror.phase = MIRROR_IDLE;
	mirror.looked_at = steady_ms();
	mirror.is_full = strcmp(status, "no_space") == 0;
	if (changed)
		log_change(OMB_TARGET_OK, "", "");
	if (!done)
		note_failure(state_of(status), error_text(fields),
					 omb_agent_text(fields, "hint"));
	if (copied)
	{
		mirror.pause_ms = 0;
		/* locks of what is there are extended bit by bit, after new WAL */
		mirror.look_at =
			mirror.looked_at + (omb_agent_u64(fields, "again") ? 0 : LOOK_MS);
	}
}

/* What keeps retention away is told once; it is tried again the next time. */
static void
note_expire(const omb_fields *fields)
{
	const char *status = omb_agent_text(fields, "status");
	const char *hint = omb_agent_text(fields, "hint");

	mirror.phase = MIRROR_IDLE;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (is_mine())
		mirror.slot->expires = mirror.expires;
	LWLockRelease(omb_shared->lock);
	/* there may be space now */
	if (mirror.is_full)
		mirror.look_at = steady_ms();
	if (strcmp(status, "ok") == 0)
		ereport(LOG, (errmsg("removal of old backups from target \"%s\" "
							 "completed: " UINT64_FORMAT
							 " backups removed, " UINT64_FORMAT " kept",
							 mirror.config.name,
							 omb_agent_u64(fields, "backups_dropped"),
							 omb_agent_u64(fields, "backups_kept")),
					  omb_agent_u64(fields, "locked") > 0 ?
						  errdetail(UINT64_FORMAT
									" objects are locked and stay for now.",
									omb_agent_u64(fields, "locked")) :
						  0));
	else
		ereport(WARNING,
				(errmsg("could not remove old backups from target \"%s\": %s",
						mirror.config.name, error_text(fields)),
				 hint[0] ? errhint("%s", hint) : 0));
}

/* ---- the agent ---- */

/* The limit that is in force now. */
static uint64
current_rate(void)
{
	omb_window window;
	omb_window_error error;
	pg_time_t now = timestamptz_to_time_t(omb_schedule_now());
	struct pg_tm *tm = pg_localtime(&now, log_timezone);
	uint64_t rate;

	if (mirror.config.window[0] != '\0' && tm != NULL &&
		omb_window_parse(mirror.config.window, &window, &error) &&
		omb_window_rate(&window, tm->tm_wday, tm->tm_hour * 60 + tm->tm_min,
						&rate))
		return rate;
	return (uint64) mirror.config.upload_limit;
}

static void
start_agent(void)
{
	static const char *const rules[OMB_TARGET_RULES] = {
		"keep_last",  "keep_days",	   "keep_weeks", "keep_months",
		"keep_years", "keep_wal_days", "minimum"
	};
	int i;

	strlcpy(mirror.repository, omb_repository, sizeof(mirror.repository));
	strlcpy(mirror.key_file, omb_key_file, sizeof(mirror.key_file));
	mirror.rate = current_rate();
	mirror.heard_at = steady_ms();
	omb_agent_start();
	omb_agent_begin_job("mirror");
	omb_agent_put("url", mirror.config.url);
	omb_agent_put("credentials", mirror.config.credentials);
	omb_agent_put_u64("limit", mirror.rate);
	omb_agent_put_u64("transfers", (uint64) mirror.config.transfers);
	for (i = 0; i < OMB_TARGET_RULES; i++)
	{
		if (mirror.config.rules[i] >= 0)
			omb_agent_put_u64(rules[i], (uint64) mirror.config.rules[i]);
	}
	(void) omb_agent_send();
	mirror.phase = MIRROR_STARTING;
}

static void
update_limit(void)
{
	uint64 rate = current_rate();

	if (rate == mirror.rate || mirror.phase == MIRROR_STARTING)
		return;
	mirror.rate = rate;
	mirror.moved_at = steady_ms();
	omb_agent_begin("limit");
	omb_agent_put_u64("rate", rate);
	(void) omb_agent_send();
}

static void
ask(MirrorPhase phase, const char *verb)
{
	mirror.phase = phase;
	mirror.heard_at = mirror.moved_at = steady_ms();
	omb_agent_begin(verb);
	(void) omb_agent_send();
}

/* Ask the idle agent for what is due; false when nothing is. */
static bool
ask_what_is_due(void)
{
	int64 now = steady_ms();
	uint64 work, wanted, done;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	work = omb_shared->targets.work;
	wanted = omb_shared->targets.expires;
	done = mirror.slot->expires;
	LWLockRelease(omb_shared->lock);
	/* a target that is full may get space that way */
	if (mirror.is_full &&
		(mirror.expired_at == 0 || now - mirror.expired_at >= EXPIRE_FULL_MS))
		done = wanted - 1;
	if ((mirror.pause_ms == 0 || mirror.is_full) && wanted != done &&
		mirror.looked_at != 0)
	{
		mirror.expires = wanted;
		mirror.expired_at = now;
		ask(MIRROR_EXPIRING, "expire");
		return true;
	}
	if (mirror.pause_ms == 0 && work != mirror.work &&
		now - mirror.looked_at >= LOOK_MIN_MS)
		mirror.look_at = now;
	if (now < mirror.look_at)
		return false;
	mirror.work = work;
	mirror.looked_at = now;
	ask(MIRROR_LOOKING, "look");
	return true;
}

static void
take_line(const omb_fields *fields)
{
	mirror.heard_at = steady_ms();
	if (strcmp(fields->verb, "progress") == 0)
		note_progress(fields);
	else if (strcmp(fields->verb, "warning") == 0)
		omb_agent_report(fields, WARNING, NULL, NULL);
	else if (strcmp(fields->verb, "ready") == 0 &&
			 mirror.phase == MIRROR_STARTING)
		mirror.phase = MIRROR_IDLE;
	else if (strcmp(fields->verb, "looked") == 0 &&
			 mirror.phase == MIRROR_LOOKING)
		note_look(fields);
	else if (strcmp(fields->verb, "expired") == 0 &&
			 mirror.phase == MIRROR_EXPIRING)
		note_expire(fields);
	else if (strcmp(fields->verb, "error") == 0)
		agent_failed(error_text(fields), omb_agent_text(fields, "hint"));
	else
		agent_failed(psprintf("backup agent sent \"%.64s\"", fields->verb),
					 "");
}

/* Something that works for ever does not work. */
static void
check_silence(void)
{
	int64 now = steady_ms();
	int64 stall = STALL_MS;

	if (mirror.phase == MIRROR_IDLE || mirror.phase == MIRROR_NO_AGENT)
		return;
	if (now - mirror.heard_at >= SILENCE_MS)
	{
		agent_failed("the backup agent does not respond",
					 "Check that the target and the repository respond.");
		return;
	}
	if (mirror.phase != MIRROR_LOOKING || mirror.rate == OMB_RATE_STOP)
		return;
	if (mirror.rate > 0)
		stall += (int64) ((uint64) STALL_BYTES * 1000 / mirror.rate);
	if (now - mirror.moved_at >= stall)
		agent_failed("the target does not respond",
					 "Check the network, the disk or the mount.");
}

/* ---- the loop ---- */

/* Take over what the slot says; false when the target is gone. */
static bool
read_slot(void)
{
	bool used, other;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	used = mirror.slot->used && mirror.slot->pid == MyProcPid;
	other = mirror.slot->serial != mirror.serial;
	mirror.serial = mirror.slot->serial;
	if (used)
		mirror.config = mirror.slot->config;
	LWLockRelease(omb_shared->lock);
	if (used && other)
	{
		omb_agent_stop();
		mirror.phase = MIRROR_NO_AGENT;
		mirror.pause_ms = 0;
		mirror.look_at = mirror.looked_at = 0;
		/* other rules may make space on a target that is full */
		mirror.expired_at = 0;
	}
	return used;
}

static void
reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (mirror.phase != MIRROR_NO_AGENT &&
		(strcmp(mirror.repository, omb_repository) != 0 ||
		 strcmp(mirror.key_file, omb_key_file) != 0))
	{
		omb_agent_stop();
		mirror.phase = MIRROR_NO_AGENT;
	}
	/* somebody has changed something: see whether it helps */
	mirror.pause_ms = 0;
	mirror.look_at = Min(mirror.look_at, steady_ms());
}

static void
sleep_until(int64 time)
{
	int64 sleep = time - steady_ms();

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) Max(1, Min(sleep, LOOK_MS)), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* How long an idle agent may be waited for. */
static long
idle_ms(void)
{
	int64 wait = mirror.look_at - steady_ms();

	/* work that came within the shortest pause */
	if (mirror.pause_ms == 0 && omb_shared->targets.work != mirror.work)
		wait = Min(wait, LOOK_MIN_MS);
	return (long) Max(1, Min(wait, LOOK_MS));
}

static void
turn(void)
{
	omb_fields fields;

	if (mirror.phase == MIRROR_NO_AGENT)
	{
		if (mirror.look_at > steady_ms())
		{
			sleep_until(mirror.look_at);
			return;
		}
		if (omb_repository[0] == '\0')
		{
			note_failure(OMB_TARGET_BLOCKED,
						 "\"omsupply_backup.repository\" is not set", "");
			return;
		}
		start_agent();
	}
	else
		update_limit();
	if (mirror.phase == MIRROR_IDLE)
		(void) ask_what_is_due();
	switch (omb_agent_receive(
		&fields, mirror.phase == MIRROR_IDLE ? idle_ms() : RECEIVE_MS))
	{
		case OMB_AGENT_LINE:
			take_line(&fields);
			break;
		case OMB_AGENT_DEAD:
			agent_failed(psprintf("backup agent ended unexpectedly: %s",
								  omb_agent_death()),
						 "See the server log for its messages.");
			break;
		case OMB_AGENT_TIMEOUT:
			check_silence();
			break;
	}
}

/* An error of the server part is a failure as any other. */
static void
take_error(void)
{
	ErrorData *error;

	MemoryContextSwitchTo(mirror.context);
	error = CopyErrorData();
	HOLD_INTERRUPTS();
	FlushErrorState();
	LWLockReleaseAll();
	RESUME_INTERRUPTS();
	agent_failed(error->message, error->hint ? error->hint : "");
}

void
omb_mirror_main(Datum arg)
{
	bool mine;

	mirror.slot = &omb_shared->targets.target[DatumGetInt64(arg)];
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	mine = mirror.slot->used;
	if (mine)
		mirror.slot->pid = MyProcPid;
	LWLockRelease(omb_shared->lock);
	if (!mine)
		proc_exit(0);
	before_shmem_exit(forget_worker, (Datum) 0);
	mirror.context = AllocSetContextCreate(
		TopMemoryContext, "omsupply_backup mirror", ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending && read_slot())
	{
		MemoryContextSwitchTo(mirror.context);
		PG_TRY();
		{
			turn();
		}
		PG_CATCH();
		{
			take_error();
		}
		PG_END_TRY();
		MemoryContextReset(mirror.context);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload();
	}
	proc_exit(0);
}
