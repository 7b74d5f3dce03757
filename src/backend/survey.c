/*
 * survey.c: having the agent look at the repository.
 *
 * A worker of its own does it for the launcher, at start, after each job and
 * every quarter of an hour, so that neither the launcher nor a view ever waits
 * for a disk. It also brings the note of given up WAL into the repository.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "backend/agent.h"
#include "backend/epoch.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/survey.h"
#include "backend/walfull.h"
#include "backend/worker.h"

#define RECEIVE_MS 1000L
/* A disk that does not answer for so long is not there. */
#define SURVEY_TIMEOUT_MS (10 * 60 * 1000)

#define SURVEY_INTERVAL_MS (15 * 60 * 1000)
/* After a worker could not be started or ended without a result. */
#define RETRY_MS (60 * 1000)

/* Pauses between backups that are asked for because WAL was given up. */
#define REQUEST_PAUSE_MS (60 * 1000)
#define REQUEST_PAUSE_MAX_MS (60 * 60 * 1000)

/* ---- one survey ---- */

static TimestampTz
time_of(const omb_fields *fields, const char *name)
{
	int64_t value = 0;

	return omb_fields_get_i64(fields, name, &value) ?
			   value - OMB_EPOCH_DIFFERENCE :
			   0;
}

static void
take_text(char *to, size_t size, const omb_fields *fields, const char *name)
{
	omb_shared_text(to, size, omb_agent_text(fields, name));
}

#define TAKE(member, name) \
	take_text(survey->member, sizeof(survey->member), fields, name)

static void
take_problems(OmbSurvey *survey, const omb_fields *fields)
{
	TAKE(problem_status, "problem_status");
	TAKE(problem, "problem");
	TAKE(problem_hint, "problem_hint");
	TAKE(key_status, "key_status");
	TAKE(key_problem, "key_problem");
	TAKE(key_hint, "key_hint");
	TAKE(fence, "fence");
	TAKE(fence_problem, "fence_problem");
	TAKE(fence_detail, "fence_detail");
	TAKE(fence_hint, "fence_hint");
	survey->encrypted = omb_agent_u64(fields, "encrypted") != 0;
	survey->code_confirmed = omb_agent_u64(fields, "code_confirmed") != 0;
}

static void
take_sizes(OmbSurvey *survey, const omb_fields *fields)
{
	int64_t growth;

	survey->repository_bytes =
		(int64) (omb_agent_u64(fields, "pack_bytes") +
				 omb_agent_u64(fields, "wal_bytes") +
				 omb_agent_u64(fields, "manifest_bytes"));
	survey->growth_known =
		omb_fields_get_i64(fields, "growth_per_day", &growth);
	survey->growth_per_day = survey->growth_known ? growth : 0;
	survey->repository_free = (int64) omb_agent_u64(fields, "repository_free");
	survey->repository_total =
		(int64) omb_agent_u64(fields, "repository_total");
	survey->pgdata_free = (int64) omb_agent_u64(fields, "pgdata_free");
	survey->pgdata_total = (int64) omb_agent_u64(fields, "pgdata_total");
	survey->same_device = omb_agent_u64(fields, "same_device") != 0;
}

static void
take_survey(OmbSurvey *survey, const omb_fields *fields)
{
	take_problems(survey, fields);
	survey->backups = (int64) omb_agent_u64(fields, "backups");
	survey->backups_unreadable =
		(int64) omb_agent_u64(fields, "backups_unreadable");
	TAKE(unreadable, "unreadable");
	TAKE(last_id, "last_id");
	TAKE(last_kind, "last_kind");
	survey->last_start_at = time_of(fields, "last_start_time");
	survey->last_stop_at = time_of(fields, "last_stop_time");
	survey->last_damaged_pages =
		(int64) omb_agent_u64(fields, "last_damaged_pages");
	survey->window_from = time_of(fields, "window_from");
	survey->window_to = time_of(fields, "window_to");
	survey->wal_file_found = omb_agent_u64(fields, "wal_file_found") != 0;
	survey->gaps = (int64) omb_agent_u64(fields, "gaps");
	TAKE(gap_first, "gap_first");
	TAKE(gap_last, "gap_last");
	TAKE(given_up_first, "given_up_first");
	TAKE(given_up_last, "given_up_last");
	survey->given_up_at = time_of(fields, "given_up_at");
	take_sizes(survey, fields);
}

static void
note_problem(OmbSurvey *survey, const char *problem, const char *hint)
{
	strlcpy(survey->problem_status, "failed", sizeof(survey->problem_status));
	strlcpy(survey->fence, "not_known", sizeof(survey->fence));
	omb_shared_text(survey->problem, sizeof(survey->problem), problem);
	omb_shared_text(survey->problem_hint, sizeof(survey->problem_hint), hint);
}

/*
 * Wait for the line that ends a job of the agent. False, with words, when it
 * did not come.
 */
static bool
await_done(omb_fields *fields, char **problem, char **hint)
{
	TimestampTz start = GetCurrentTimestamp();

	*problem = *hint = "";
	for (;;)
	{
		switch (omb_agent_receive(fields, RECEIVE_MS))
		{
			case OMB_AGENT_TIMEOUT:
				break;
			case OMB_AGENT_DEAD:
				*problem = psprintf("backup agent ended unexpectedly: %s",
									omb_agent_death());
				*hint = "See the server log for its messages.";
				return false;
			case OMB_AGENT_LINE:
				if (strcmp(fields->verb, "done") == 0)
					return true;
				if (strcmp(fields->verb, "error") == 0)
				{
					*problem = pstrdup(omb_agent_text(fields, "message"));
					*hint = pstrdup(omb_agent_text(fields, "hint"));
					return false;
				}
				break;
		}
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(),
									   SURVEY_TIMEOUT_MS))
		{
			*problem = "the file system of the repository does not respond";
			*hint = "Check the disk or the mount.";
			return false;
		}
	}
}

/*
 * WAL that was given up is noted in the repository as soon as that can be
 * written to.
 */
static void
report_gap(void)
{
	OmbWalGap gap;
	omb_fields fields;
	char *problem, *hint;

	if (!omb_walgap_take(&gap))
		return;
	omb_agent_start();
	omb_agent_begin_job("gap");
	omb_agent_put("first", gap.first);
	omb_agent_put("last", gap.last);
	omb_agent_put_u64("files", gap.files);
	omb_agent_put_u64("since", gap.since);
	omb_agent_put_u64("until", gap.until);
	(void) omb_agent_send();
	if (await_done(&fields, &problem, &hint))
		omb_walgap_reported(&gap);
	else
		ereport(LOG, (errmsg("could not note in the repository that WAL was "
							 "given up: %s",
							 problem)));
	omb_agent_stop();
}

static void
ask_survey(const char *wal_file, OmbSurvey *survey)
{
	omb_fields fields;
	char *problem, *hint;

	omb_agent_start();
	omb_agent_begin_job("survey");
	if (wal_file != NULL)
		omb_agent_put("wal_file", wal_file);
	(void) omb_agent_send();
	if (await_done(&fields, &problem, &hint))
		take_survey(survey, &fields);
	else
		note_problem(survey, problem, hint);
	omb_agent_stop();
}

void
omb_survey_now(const char *wal_file, OmbSurvey *survey)
{
	MemoryContext context = CurrentMemoryContext;

	memset(survey, 0, sizeof(*survey));
	strlcpy(survey->repository, omb_repository, sizeof(survey->repository));
	PG_TRY();
	{
		report_gap();
		ask_survey(wal_file, survey);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		omb_agent_stop();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		FlushErrorState();
		note_problem(survey, error->message, error->hint);
		FreeErrorData(error);
	}
	PG_END_TRY();
	survey->at = GetCurrentTimestamp();
	if (omb_shared != NULL)
		omb_status_surveyed(survey);
}

/* ---- the worker ---- */

void
omb_survey_main(Datum arg)
{
	OmbSurvey *survey;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	MemoryContextSwitchTo(AllocSetContextCreate(
		TopMemoryContext, "omsupply_backup survey", ALLOCSET_DEFAULT_SIZES));
	survey = palloc(sizeof(OmbSurvey));
	omb_survey_now(NULL, survey);
}

/* ---- the launcher's part ---- */

static struct
{
	BackgroundWorkerHandle *worker;
	TimestampTz started_at;
	char repository[MAXPGPATH]; /* settings that the last one had */
	char key_file[MAXPGPATH];
	TimestampTz requested_at; /* of a backup */
	int pause_ms;
	bool warned;
} launcher;

static bool
is_due(void)
{
	OmbStatus *status = &omb_shared->status;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz at;
	bool wanted;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	wanted = status->survey_wanted;
	status->survey_wanted = false;
	at = status->survey.at;
	LWLockRelease(omb_shared->lock);
	if (wanted || strcmp(launcher.repository, omb_repository) != 0 ||
		strcmp(launcher.key_file, omb_key_file) != 0)
		return true;
	if (at < launcher.started_at)
		return TimestampDifferenceExceeds(launcher.started_at, now, RETRY_MS);
	return TimestampDifferenceExceeds(at, now, SURVEY_INTERVAL_MS);
}

static void
start_worker(void)
{
	launcher.started_at = GetCurrentTimestamp();
	strlcpy(launcher.repository, omb_repository, sizeof(launcher.repository));
	strlcpy(launcher.key_file, omb_key_file, sizeof(launcher.key_file));
	if (omb_start_worker("omb_survey_main", "survey", 0, &launcher.worker))
		launcher.warned = false;
	else
	{
		if (!launcher.warned)
			ereport(WARNING,
					(errmsg("could not start a worker to look at the "
							"repository"),
					 errdetail("All background worker slots are taken."),
					 errhint("Increase \"max_worker_processes\".")));
		launcher.warned = true;
	}
}

/* Behind given up WAL nothing can be restored until there is a new backup. */
static void
request_backup(void)
{
	OmbSurvey *survey = palloc(sizeof(OmbSurvey));
	OmbArchiver *archiver = palloc(sizeof(OmbArchiver));
	TimestampTz now = GetCurrentTimestamp();
	OmbJob busy;

	omb_status_get(survey, archiver);
	if (survey->given_up_first[0] == '\0' || survey->backups == 0)
		launcher.pause_ms = 0;
	else if (survey->problem_status[0] == '\0' &&
			 strcmp(survey->fence, "own") == 0 &&
			 archiver->failing_since == 0 &&
			 omb_status_unconfigured() == NULL &&
			 (launcher.pause_ms == 0 ||
			  TimestampDifferenceExceeds(launcher.requested_at, now,
										 launcher.pause_ms)) &&
			 omb_shared_ask("after WAL was given up", "auto",
							"omsupply_backup", &busy) != 0)
	{
		ereport(LOG, (errmsg("starting a backup because WAL from %s to %s was "
							 "given up",
							 survey->given_up_first, survey->given_up_last)));
		launcher.requested_at = now;
		launcher.pause_ms = launcher.pause_ms == 0 ? REQUEST_PAUSE_MS :
													 Min(launcher.pause_ms * 2,
														 REQUEST_PAUSE_MAX_MS);
	}
	pfree(archiver);
	pfree(survey);
}

void
omb_survey_step(void)
{
	if (omb_look_at_worker(&launcher.worker) != OMB_WORKER_RUNS &&
		omb_repository[0] != '\0')
	{
		/* what is known from before the last job tells nothing of now */
		if (is_due())
			start_worker();
		else
			request_backup();
	}
	omb_status_watch();
}
