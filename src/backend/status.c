/*
 * status.c: is the server safe?
 *
 * All comes from settings, shared memory and the names in
 * pg_wal/archive_status, so that asking is cheap: no process is started and
 * nothing in the repository is read.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "backend/lowspace.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/status.h"
#include "backend/text.h"

#define STATUS_DIR XLOGDIR "/archive_status"
#define WAITING_MAX 100000

/* When it is time to worry. */
#define WAITING_SECONDS 600
#define SURVEY_SECONDS 7200
#define CLOCK_SECONDS 300
#define FREE_PERCENT_FULL 1
#define FREE_PERCENT_LOW 10
#define DAYS_UNTIL_FULL_LOW 14
/* So many times the age at which a backup is old. */
#define VERY_OLD 3

const char *
omb_state_name(OmbState state)
{
	static const char *const names[] = { "none",	"ok",			"degraded",
										 "failing", "unconfigured", "fenced" };

	return names[state];
}

/* ---- noting ---- */

void
omb_status_archived(const char *file)
{
	OmbArchiver *archiver;
	TimestampTz now = GetCurrentTimestamp();
	pid_t launcher;
	bool was_failing;

	if (omb_shared == NULL)
		return;
	archiver = &omb_shared->status.archiver;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	was_failing = archiver->failing_since != 0;
	if (IsXLogFileName(file))
	{
		strlcpy(archiver->archived, file, sizeof(archiver->archived));
		archiver->archived_at = now;
	}
	archiver->failing_since = 0;
	archiver->failures = 0;
	omb_target_work();
	if (was_failing || archiver->given_up > 0)
		omb_shared->status.survey_wanted = true;
	launcher = omb_shared->launcher_pid;
	LWLockRelease(omb_shared->lock);
	if (was_failing)
		omb_wake(launcher);
	omb_target_wake();
}

void
omb_status_failed(const char *file, const char *status, const char *message,
				  const char *hint)
{
	OmbArchiver *archiver;
	TimestampTz now = GetCurrentTimestamp();
	pid_t launcher;
	bool first;

	if (omb_shared == NULL)
		return;
	archiver = &omb_shared->status.archiver;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	first = archiver->failing_since == 0;
	if (first)
	{
		archiver->failing_since = now;
		archiver->failures = 0;
		omb_shared->status.survey_wanted = true;
	}
	archiver->failed_at = now;
	archiver->failures++;
	strlcpy(archiver->failed, file, sizeof(archiver->failed));
	strlcpy(archiver->status, status, sizeof(archiver->status));
	omb_shared_text(archiver->message, sizeof(archiver->message), message);
	omb_shared_text(archiver->hint, sizeof(archiver->hint), hint);
	launcher = omb_shared->launcher_pid;
	LWLockRelease(omb_shared->lock);
	if (first)
		omb_wake(launcher);
}

void
omb_status_surveyed(const OmbSurvey *survey)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->status.survey = *survey;
	LWLockRelease(omb_shared->lock);
	omb_wake(omb_shared->launcher_pid);
}

void
omb_status_want_survey(void)
{
	pid_t launcher;

	if (omb_shared == NULL)
		return;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->status.survey_wanted = true;
	launcher = omb_shared->launcher_pid;
	LWLockRelease(omb_shared->lock);
	omb_wake(launcher);
}

void
omb_status_get(OmbSurvey *survey, OmbArchiver *archiver)
{
	memset(survey, 0, sizeof(*survey));
	memset(archiver, 0, sizeof(*archiver));
	if (omb_shared == NULL)
		return;
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	*survey = omb_shared->status.survey;
	*archiver = omb_shared->status.archiver;
	LWLockRelease(omb_shared->lock);
	/* one of another repository tells nothing of this one */
	if (strcmp(survey->repository, omb_repository) != 0)
		memset(survey, 0, sizeof(*survey));
}

/* ---- measuring ---- */

void
omb_status_waiting(OmbWaiting *waiting)
{
	static const char suffix[] = ".ready";
	struct dirent *entry;
	struct stat st;
	char path[MAXPGPATH];
	DIR *dir = AllocateDir(STATUS_DIR);

	memset(waiting, 0, sizeof(*waiting));
	while (waiting->files < WAITING_MAX &&
		   (entry = ReadDirExtended(dir, STATUS_DIR, DEBUG1)) != NULL)
	{
		size_t len = strlen(entry->d_name);
		char name[OMB_STATUS_NAME];

		if (len < sizeof(suffix) || len - sizeof(suffix) + 1 >= sizeof(name) ||
			strcmp(entry->d_name + len - sizeof(suffix) + 1, suffix) != 0)
			continue;
		strlcpy(name, entry->d_name, len - sizeof(suffix) + 2);
		waiting->files++;
		if (IsXLogFileName(name))
			waiting->bytes += wal_segment_size;
		if (waiting->oldest[0] == '\0' || strcmp(name, waiting->oldest) < 0)
			strlcpy(waiting->oldest, name, sizeof(waiting->oldest));
	}
	if (dir != NULL)
		FreeDir(dir);
	snprintf(path, sizeof(path), STATUS_DIR "/%s%s", waiting->oldest, suffix);
	if (waiting->files > 0 && stat(path, &st) == 0)
		waiting->oldest_at = time_t_to_timestamptz(st.st_mtime);
}

double
omb_status_days_until_full(const OmbSurvey *survey)
{
	if (!survey->growth_known || survey->growth_per_day <= 0 ||
		survey->repository_total == 0)
		return -1;
	return (double) survey->repository_free / survey->growth_per_day;
}

/* ---- judging ---- */

const char *
omb_status_unconfigured(void)
{
	const char *library = GetConfigOption("archive_library", true, false);
	const char *name = library ? strrchr(library, '/') : NULL;

	name = name ? name + 1 : library;
	if (omb_shared == NULL)
		return "\"shared_preload_libraries\" does not have "
			   "\"omsupply_backup\"";
	if (RecoveryInProgress())
		return "this server is a standby: it takes no backups and archives "
			   "no WAL";
	if (omb_repository[0] == '\0')
		return "\"omsupply_backup.repository\" is not set";
	if (!XLogIsNeeded())
		return "\"wal_level\" is too low for a backup";
	if (!XLogArchivingActive())
		return "\"archive_mode\" is off";
	if (name == NULL || strcmp(name, "omsupply_backup") != 0)
		return "\"archive_library\" is not \"omsupply_backup\"";
	return NULL;
}

/* One more reason; the worst of all counts. */
static void add_reason(OmbVerdict *verdict, OmbState state, const char *fmt,
					   ...) __attribute__((format(printf, 3, 4)));

static void
add_reason(OmbVerdict *verdict, OmbState state, const char *fmt, ...)
{
	StringInfoData text;

	initStringInfo(&text);
	for (;;)
	{
		va_list args;
		int needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&text, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	verdict->state = Max(verdict->state, state);
	/* the worst comes first */
	if (state >= OMB_STATE_FAILING)
		verdict->reasons = lcons(text.data, verdict->reasons);
	else
		verdict->reasons = lappend(verdict->reasons, text.data);
}

void
omb_verdict_add(OmbVerdict *verdict, OmbState state, const char *reason)
{
	add_reason(verdict, state, "%s", reason);
}

static char *
time_text(TimestampTz time)
{
	return pstrdup(timestamptz_to_str(time));
}

static char *
size_text(int64 bytes)
{
	if (bytes < INT64CONST(10) * 1024 * 1024)
		return psprintf(INT64_FORMAT " kB", bytes / 1024);
	if (bytes < INT64CONST(10) * 1024 * 1024 * 1024)
		return psprintf(INT64_FORMAT " MB", bytes / (1024 * 1024));
	return psprintf(INT64_FORMAT " GB", bytes / (1024 * 1024 * 1024));
}

static void
judge_archiver(OmbVerdict *verdict, const OmbArchiver *archiver,
			   TimestampTz now)
{
	OmbWaiting waiting;

	if (archiver->given_up > 0)
		add_reason(verdict, OMB_STATE_FAILING,
				   "WAL from %s to %s was given up unarchived; the repository "
				   "does not know yet",
				   archiver->given_up_first, archiver->given_up_last);
	if (archiver->failing_since != 0)
	{
		add_reason(verdict, OMB_STATE_FAILING,
				   "archiving of WAL has been failing since %s: %s",
				   time_text(archiver->failing_since), archiver->message);
		return;
	}
	omb_status_waiting(&waiting);
	if (waiting.files > 0 && waiting.oldest_at != 0 &&
		TimestampDifferenceExceeds(waiting.oldest_at, now,
								   WAITING_SECONDS * 1000))
		add_reason(verdict, OMB_STATE_DEGRADED,
				   INT64_FORMAT " WAL files wait to be archived, the oldest "
								"since %s",
				   waiting.files, time_text(waiting.oldest_at));
}

static void
judge_lowspace(OmbVerdict *verdict, const OmbSurvey *survey)
{
	if (omb_lowspace(survey))
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "the file system of the repository has %s left, less than "
				   "\"omsupply_backup.min_free\"%s",
				   size_text(survey->repository_free),
				   omb_lowspace_attempts() > 0 ?
					   ", and all old backups that may go are gone: enlarge "
					   "it, or lower \"keep_wal_days\" or \"minimum\" in "
					   "\"backup_retention\", or remove pins" :
					   "");
}

static void
judge_space(OmbVerdict *verdict, const OmbSurvey *survey)
{
	double days = omb_status_days_until_full(survey);
	double percent;

	if (survey->same_device)
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "the repository is on the same file system as the data "
				   "directory");
	if (survey->repository_total == 0)
		return;
	judge_lowspace(verdict, survey);
	percent = 100.0 * survey->repository_free / survey->repository_total;
	if (percent < FREE_PERCENT_FULL)
		add_reason(verdict, OMB_STATE_FAILING,
				   "the file system of the repository is full: %s left",
				   size_text(survey->repository_free));
	else if (percent < FREE_PERCENT_LOW ||
			 (days >= 0 && days < DAYS_UNTIL_FULL_LOW))
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "the file system of the repository has only %s left%s",
				   size_text(survey->repository_free),
				   days < 0 ? "" : psprintf(", enough for %.0f days", days));
}

static void
judge_age(OmbVerdict *verdict, const OmbSurvey *survey, TimestampTz now)
{
	int64 age = (now - survey->last_stop_at) / USECS_PER_SEC;

	if (age < -CLOCK_SECONDS)
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "by the clock of this server the last backup ended in the "
				   "future, at %s",
				   time_text(survey->last_stop_at));
	if (omb_max_backup_age > 0 && age > omb_max_backup_age)
		add_reason(verdict,
				   age / VERY_OLD > omb_max_backup_age ? OMB_STATE_FAILING :
														 OMB_STATE_DEGRADED,
				   "the last backup ended at %s, longer ago than "
				   "\"omsupply_backup.max_backup_age\"",
				   time_text(survey->last_stop_at));
}

static void
judge_backups(OmbVerdict *verdict, const OmbSurvey *survey, TimestampTz now)
{
	if (survey->backups == 0)
	{
		add_reason(verdict, OMB_STATE_FAILING, "there is no backup yet");
		return;
	}
	judge_age(verdict, survey, now);
	if (survey->given_up_first[0] != '\0')
		add_reason(verdict, OMB_STATE_FAILING,
				   "WAL from %s to %s was given up unarchived at %s: nothing "
				   "behind it can be restored until the next backup is "
				   "complete",
				   survey->given_up_first, survey->given_up_last,
				   time_text(survey->given_up_at));
	else if (survey->window_from == 0)
		add_reason(verdict, OMB_STATE_FAILING,
				   "WAL is missing behind the last backup");
	if (survey->gaps > 0)
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "WAL from %s to %s is missing in the repository: backups "
				   "in front of it cannot be recovered beyond it",
				   survey->gap_first, survey->gap_last);
	if (survey->last_damaged_pages > 0)
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "the last backup has " INT64_FORMAT " damaged pages",
				   survey->last_damaged_pages);
	if (survey->backups_unreadable > 0)
		add_reason(verdict, OMB_STATE_DEGRADED,
				   INT64_FORMAT " backups cannot be read, the last of them "
								"\"%s\"",
				   survey->backups_unreadable, survey->unreadable);
}

/* How the last job ended, when it failed; backup_check() tells by itself. */
static void
judge_last_job(OmbVerdict *verdict)
{
	OmbResult *result = palloc(sizeof(OmbResult));

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	*result = omb_shared->result[omb_shared->last_serial % OMB_RESULTS];
	if (omb_shared->job.state != OMB_JOB_NONE)
		result->serial = 0;
	LWLockRelease(omb_shared->lock);
	if (result->serial != 0 && !result->ok &&
		result->sqlstate != ERRCODE_QUERY_CANCELED &&
		strcmp(result->job, "check") != 0)
		add_reason(verdict, OMB_STATE_DEGRADED, "the last %s failed: %s",
				   strcmp(result->job, "full") == 0 ? "backup" : result->job,
				   result->message);
	pfree(result);
}

static void
judge_schedules(OmbVerdict *verdict)
{
	const OmbSchedulerShared *scheduler = &omb_shared->scheduler;
	char *message;
	bool none;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	message = pstrdup(scheduler->message);
	none = scheduler->schedules_known && scheduler->backup_schedules == 0;
	LWLockRelease(omb_shared->lock);
	if (message[0] != '\0')
		add_reason(verdict, OMB_STATE_DEGRADED, "schedules do not work: %s",
				   message);
	else if (none)
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "no schedule that takes backups is enabled in "
				   "\"backup_schedule\"");
}

static void
judge_survey(OmbVerdict *verdict, const OmbSurvey *survey, TimestampTz now)
{
	if (survey->at == 0)
	{
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "the repository has not been looked at yet");
		return;
	}
	if (survey->problem_status[0] != '\0')
	{
		add_reason(verdict, OMB_STATE_FAILING, "%s", survey->problem);
		return;
	}
	judge_backups(verdict, survey, now);
	judge_space(verdict, survey);
	if (survey->encrypted && !survey->code_confirmed)
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "nobody has confirmed to have the recovery code");
	if (TimestampDifferenceExceeds(survey->at, now, SURVEY_SECONDS * 1000))
		add_reason(verdict, OMB_STATE_DEGRADED,
				   "the repository was looked at last at %s",
				   time_text(survey->at));
	if (strcmp(survey->fence, "other") == 0)
		add_reason(verdict, OMB_STATE_FENCED, "%s: %s", survey->fence_problem,
				   survey->fence_detail);
}

void
omb_status_judge(OmbVerdict *verdict)
{
	OmbSurvey *survey = palloc(sizeof(OmbSurvey));
	OmbArchiver *archiver = palloc(sizeof(OmbArchiver));
	TimestampTz now = GetCurrentTimestamp();
	const char *unconfigured = omb_status_unconfigured();

	verdict->state = OMB_STATE_OK;
	verdict->reasons = NIL;
	if (unconfigured != NULL)
		add_reason(verdict, OMB_STATE_UNCONFIGURED, "%s", unconfigured);
	else
	{
		omb_status_get(survey, archiver);
		judge_archiver(verdict, archiver, now);
		judge_last_job(verdict);
		judge_schedules(verdict);
		judge_survey(verdict, survey, now);
		omb_target_judge(verdict);
		if (omb_shared->launcher_pid == 0)
			add_reason(verdict, OMB_STATE_FAILING,
					   "the backup launcher is not running");
	}
	pfree(survey);
	pfree(archiver);
}

/* ---- changes ---- */

/* As many of the reasons as fit, as a JSON array. */
static char *
reasons_json(List *reasons)
{
	StringInfoData json;
	ListCell *cell;

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	foreach (cell, reasons)
	{
		StringInfoData one;

		initStringInfo(&one);
		escape_json(&one, lfirst(cell));
		if (json.len + one.len + 4 > OMB_STATUS_TEXT)
			break;
		if (json.len > 1)
			appendStringInfoString(&json, ", ");
		appendStringInfoString(&json, one.data);
	}
	appendStringInfoChar(&json, ']');
	return json.data;
}

static char *
reasons_text(List *reasons)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	foreach (cell, reasons)
		appendStringInfo(&text, "%s%s", text.len > 0 ? "; " : "",
						 (char *) lfirst(cell));
	return text.data;
}

void
omb_status_watch(void)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "omsupply_backup status", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OmbStatus *status = &omb_shared->status;
	OmbVerdict verdict;
	OmbState from;
	char *json;

	omb_status_judge(&verdict);
	json = reasons_json(verdict.reasons);
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	from = status->state;
	/* the start of a server is no change for the worse */
	if (verdict.state == OMB_STATE_DEGRADED && status->survey.at == 0)
		verdict.state = from;
	if (verdict.state != from)
	{
		OmbChange *change;

		if (status->change_count == OMB_STATUS_CHANGES)
		{
			/* nobody listens: the oldest is of the least use */
			memmove(&status->change[0], &status->change[1],
					sizeof(OmbChange) * (OMB_STATUS_CHANGES - 1));
			status->change_count--;
		}
		change = &status->change[status->change_count++];
		change->from = from;
		change->to = verdict.state;
		change->at = GetCurrentTimestamp();
		strlcpy(change->reasons, json, sizeof(change->reasons));
		status->state = verdict.state;
		/* the scheduler has a database to tell it from */
		omb_shared->scheduler.changes++;
		status->state_since = change->at;
	}
	LWLockRelease(omb_shared->lock);
	if (verdict.state != from)
		ereport(verdict.state > OMB_STATE_OK && verdict.state > from ?
					WARNING :
					LOG,
				(errmsg("state of backups changed from \"%s\" to \"%s\"",
						omb_state_name(from), omb_state_name(verdict.state)),
				 verdict.reasons ?
					 errdetail("%s.", reasons_text(verdict.reasons)) :
					 0));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
omb_status_notify(void)
{
	OmbStatus *status;
	OmbChange *change;
	int count, i;

	if (omb_shared == NULL)
		return;
	status = &omb_shared->status;
	change = palloc(sizeof(status->change));
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	count = status->change_count;
	memcpy(change, status->change, sizeof(status->change));
	status->change_count = 0;
	LWLockRelease(omb_shared->lock);
	for (i = 0; i < count; i++)
	{
		StringInfoData json;

		initStringInfo(&json);
		appendStringInfoString(&json, "{\"event\": \"state\", \"from\": ");
		if (change[i].from == OMB_STATE_NONE)
			appendStringInfoString(&json, "null");
		else
			escape_json(&json, omb_state_name(change[i].from));
		appendStringInfoString(&json, ", \"to\": ");
		escape_json(&json, omb_state_name(change[i].to));
		appendStringInfo(&json,
						 ", \"reasons\": %s, \"at\": ", change[i].reasons);
		escape_json(&json, time_text(change[i].at));
		appendStringInfoChar(&json, '}');
		Async_Notify(OMB_CHANNEL, omb_text_to_server(json.data));
		pfree(json.data);
	}
	pfree(change);
	omb_target_notify();
}
