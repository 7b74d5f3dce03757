/*
 * mirrorjob.c: the jobs "mirror", keeping a target a copy of the repository, and
 * "probe".
 *
 * One process for one target, as long as it exists: connections, keys and the
 * list of what the target has stay in memory, and nobody else removes
 * anything at the target. The server says when to look (section 3.13 of
 * src/README); a failure is an answer, after which all is opened anew.
 *
 * A thread tells the progress every second, so that it shows while a large
 * object is sent, too.
 */
#include "program/jobs.h"

#include "program/agent.h"
#include "program/target.h"

#include "base/text.h"
#include "repo/claim.h"
#include "repo/unfinished.h"
#include "store/url.h"
#include "task/mirror/mirror.h"
#include "task/mirror/mirrorexpire.h"
#include "task/mirror/mirrorlock.h"
#include "task/mirror/probe.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The rate is that of so many seconds. */
#define SAMPLES 10

/*
 * New WAL waits so long for the locks of what is there; where they cannot be
 * extended it is tried again after so long, in microseconds.
 */
#define LOCK_SECONDS 10
#define LOCK_PAUSE (INT64_C(60) * 1000000)

typedef struct mirror_job
{
	const char *repository;
	const char *key_file;
	const char *pgdata;
	const char *url;
	const char *credentials; /* or NULL */
	uint64_t system_identifier;
	int transfers;
	omb_retain_rules rules;
	omb_throttle *throttle;
	/* what is open; all or nothing */
	omb_repository *repo;
	omb_store *to;
	omb_mirror_keep *keep;
	omb_mirror_session *session;
	omb_mirror_locker *locker; /* or NULL */
	omb_error lock_error;	   /* of the last try to extend locks */
	int64_t lock_failed_at;	   /* steady */
	char *list_path;
	bool complete; /* after the last step */
	bool full;	   /* the target has no space left */
	/* shared with the thread that tells the progress */
	pthread_mutex_t lock; /* also for sending lines */
	bool busy;
	uint64_t objects_waiting;
	uint64_t bytes_waiting;
	uint64_t rate;
	int64_t current_at;
} mirror_job;

/* ---- telling ---- */

static void
note_waiting(uint64_t objects, uint64_t bytes, void *arg)
{
	mirror_job *job = arg;

	(void) pthread_mutex_lock(&job->lock);
	job->objects_waiting = objects;
	job->bytes_waiting = bytes;
	(void) pthread_mutex_unlock(&job->lock);
}

static void
note_current(int64_t time, void *arg)
{
	mirror_job *job = arg;

	(void) pthread_mutex_lock(&job->lock);
	job->current_at = time;
	(void) pthread_mutex_unlock(&job->lock);
}

/* The first problem is in the detail of the error at the end. */
static void
ignore_problem(const char *object, const omb_error *problem, void *arg)
{
}

static void
ignore_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
}

static void *
ticker_main(void *arg)
{
	static const struct timespec second = { 1, 0 };
	mirror_job *job = arg;
	uint64_t sample[SAMPLES] = { 0 };
	unsigned ticks = 0;

	for (;;)
	{
		uint64_t passed;

		(void) nanosleep(&second, NULL);
		passed = omb_throttle_passed(job->throttle);
		(void) pthread_mutex_lock(&job->lock);
		if (job->busy)
		{
			uint64_t base =
				ticks < SAMPLES ? sample[0] : sample[ticks % SAMPLES];

			/* the last rate that was measured stays when nothing is sent */
			if (ticks > 0 && passed > base)
				job->rate =
					(passed - base) / (ticks < SAMPLES ? ticks : SAMPLES);
			sample[ticks % SAMPLES] = passed;
			ticks++;
			omb_agent_begin("progress");
			omb_agent_u64("bytes_sent", passed);
			omb_agent_u64("objects_waiting", job->objects_waiting);
			omb_agent_u64("bytes_waiting", job->bytes_waiting);
			omb_agent_u64("rate", job->rate);
			omb_agent_i64("current_at", job->current_at);
			omb_agent_end();
		}
		else
			ticks = 0;
		(void) pthread_mutex_unlock(&job->lock);
	}
	return NULL;
}

static void
set_busy(mirror_job *job, bool busy)
{
	(void) pthread_mutex_lock(&job->lock);
	job->busy = busy;
	(void) pthread_mutex_unlock(&job->lock);
}

static void
set_limit(const omb_fields *fields, void *arg)
{
	mirror_job *job = arg;
	uint64_t rate = 0;

	if (omb_fields_get_u64(fields, "rate", &rate))
		omb_throttle_set(job->throttle, rate);
}

/* ---- opening ---- */

static void
close_all(mirror_job *job)
{
	omb_mirror_end(job->session);
	omb_mirror_locker_free(job->locker);
	omb_mirror_keep_free(job->keep);
	omb_store_free(job->to);
	omb_repository_free(job->repo);
	free(job->list_path);
	job->session = NULL;
	job->locker = NULL;
	job->keep = NULL;
	job->to = NULL;
	job->repo = NULL;
	job->list_path = NULL;
}

/* Others must not be given what everybody can read. */
static omb_status
check_encrypted(const mirror_job *job, omb_error *err)
{
	if (job->repo->encrypted || job->to->directory != NULL)
		return OMB_OK;
	(void) omb_error_set(err, OMB_REFUSED,
						 "the repository is not encrypted, and \"%s\" is no "
						 "directory",
						 job->to->location);
	omb_error_hint(err, "Make a new repository without \"--no-encryption\" to "
						"have a copy elsewhere.");
	return err->status;
}

static void
open_locker(mirror_job *job)
{
	omb_mirror_lock_config config;
	char *path = omb_mirror_locked_path(job->repo->store, job->url);

	memset(&config, 0, sizeof(config));
	config.to = job->to;
	config.path = path;
	config.jobs = job->transfers;
	config.throttle = job->throttle;
	job->locker = omb_mirror_locker_new(&config);
	omb_error_clear(&job->lock_error);
	free(path);
}

static omb_status
open_session(mirror_job *job, omb_error *err)
{
	omb_mirror_config config;
	char *dropped = omb_mirror_dropped_path(job->repo->store, job->url);

	job->list_path = omb_mirror_list_path(job->repo->store, job->url);
	job->keep = omb_mirror_keep_new(&job->rules, dropped);
	free(dropped);
	omb_mirror_config_init(&config);
	config.from = job->repo->store;
	config.to = job->to;
	config.repo = job->repo;
	config.list_path = job->list_path;
	config.jobs = job->transfers;
	config.throttle = job->throttle;
	config.keep = job->keep;
	config.problem = ignore_problem;
	config.progress = ignore_progress;
	config.waiting = note_waiting;
	config.current = note_current;
	config.arg = job;
	open_locker(job);
	return omb_mirror_begin(&config, &job->session, err);
}

static omb_status
open_all(mirror_job *job, omb_error *err)
{
	uint32_t claim;

	if (job->session == NULL &&
		omb_repository_open_at(job->repository, job->key_file, NULL,
							   &job->repo, err) == OMB_OK &&
		omb_target_make(job->url, err) == OMB_OK &&
		omb_store_open_url(job->url, job->credentials, &job->to, err) ==
			OMB_OK &&
		omb_target_check_different(job->repo->store, job->to, err) == OMB_OK &&
		check_encrypted(job, err) == OMB_OK)
		(void) open_session(job, err);
	/* a copy of the cluster leaves the original's target alone */
	if (err->status == OMB_OK &&
		omb_repository_check(job->repo, err) == OMB_OK)
		(void) omb_claim_check(job->repo, job->pgdata, job->system_identifier,
							   &claim, err);
	return err->status;
}

/* ---- the server's requests ---- */

static void
begin_answer(mirror_job *job, const char *verb, const omb_error *err)
{
	(void) pthread_mutex_lock(&job->lock);
	job->busy = false;
	omb_agent_begin(verb);
	if (err->status != OMB_OK)
		omb_agent_error_fields(err);
	else
		omb_agent_text("status", omb_agent_status_word(OMB_OK));
}

static void
end_answer(mirror_job *job)
{
	omb_agent_end();
	(void) pthread_mutex_unlock(&job->lock);
}

/* Lock some of what is there anew; returns whether there is more to do. */
static bool
extend_locks(mirror_job *job)
{
	omb_mirror_lock_result locked;

	if (job->lock_error.status != OMB_OK &&
		omb_time_steady() - job->lock_failed_at < LOCK_PAUSE)
		return false;
	omb_error_clear(&job->lock_error);
	if (omb_mirror_locker_step(job->locker, LOCK_SECONDS, &locked,
							   &job->lock_error) == OMB_OK)
		return !locked.is_done;
	job->lock_failed_at = omb_time_steady();
	return false;
}

static void
look(mirror_job *job, bool full)
{
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_result result;
	bool again = false;

	int64_t began = omb_time_steady();
	int64_t spent;

	memset(&result, 0, sizeof(result));
	set_busy(job, true);
	if (open_all(job, &err) == OMB_OK)
		(void) omb_mirror_step(job->session, full, &result, &err);
	job->complete = err.status == OMB_OK && result.missing == 0;
	job->full = err.status == OMB_NO_SPACE;
	if (err.status != OMB_OK)
		close_all(job);
	note_waiting(result.missing, result.bytes_missing, job);
	if (job->complete && job->locker != NULL)
	{
		again = extend_locks(job);
		err = job->lock_error;
	}
	spent = omb_time_steady() - began;
	/* too short for the thread that measures */
	if (job->rate == 0 && result.bytes > 0 && spent > 0)
		job->rate = (uint64_t) ((double) result.bytes * 1e6 / (double) spent);
	begin_answer(job, "looked", &err);
	omb_agent_u64("objects", result.objects);
	omb_agent_u64("bytes", result.bytes);
	omb_agent_u64("objects_waiting", result.missing);
	omb_agent_u64("bytes_waiting", result.bytes_missing);
	omb_agent_u64("backups_waiting", result.backups_missing);
	omb_agent_text("waiting_wal", result.waiting_wal);
	omb_agent_i64("current_at", job->current_at);
	omb_agent_u64("rate", job->rate);
	omb_agent_u64("again", again);
	omb_agent_u64("complete", job->complete);
	end_answer(job);
}

static omb_status
note_journal(const char *id, int64_t changed_at, void *arg, omb_error *err)
{
	*(bool *) arg = true;
	return OMB_OK;
}

/* Packs that have been sent ahead of their manifest must stay. */
static bool
may_prune(mirror_job *job, omb_error *err)
{
	bool unfinished = false;

	if (job->full)
		return true;
	return job->complete &&
		   omb_unfinished_list(job->repo, note_journal, &unfinished, err) ==
			   OMB_OK &&
		   !unfinished;
}

static void
expire(mirror_job *job)
{
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_expire_config config;
	omb_expire_result result;
	omb_prune_result pruned;
	bool prune = false;

	memset(&config, 0, sizeof(config));
	memset(&result, 0, sizeof(result));
	memset(&pruned, 0, sizeof(pruned));
	set_busy(job, true);
	if (open_all(job, &err) == OMB_OK)
	{
		config.source = job->repo;
		config.url = job->url;
		config.credentials = job->credentials;
		config.key_file = job->key_file;
		config.rules = job->rules;
		config.keep = job->keep;
		config.jobs = job->transfers;
		prune = config.prune = may_prune(job, &err);
		if (err.status == OMB_OK)
			(void) omb_mirror_expire(&config, &result, &pruned, &err);
		/* whatever was removed, and however far that came */
		omb_mirror_unlist(job->session);
		job->full = false;
	}
	else
		close_all(job);
	begin_answer(job, "expired", &err);
	omb_agent_u64("pruned", prune);
	omb_agent_u64("backups_kept", result.backups_kept);
	omb_agent_u64("backups_dropped", result.backups_dropped);
	omb_agent_u64("wal_files_dropped", result.wal_dropped);
	omb_agent_u64("packs_removed", pruned.packs_removed);
	omb_agent_u64("locked", result.locked + pruned.packs_locked);
	end_answer(job);
}

static omb_status
serve(mirror_job *job, omb_error *err)
{
	while (err->status == OMB_OK)
	{
		omb_fields fields;
		char *line = NULL;
		uint32_t full = 0;

		if (omb_agent_receive(&fields, &line, err) == OMB_OK)
		{
			if (strcmp(fields.verb, "look") == 0)
			{
				(void) omb_fields_get_u32(&fields, "full", &full);
				look(job, full != 0);
			}
			else if (strcmp(fields.verb, "expire") == 0)
				expire(job);
			else if (strcmp(fields.verb, "limit") == 0)
				set_limit(&fields, job);
			else
				(void) omb_error_set(err, OMB_USAGE,
									 "the server sent \"%s\" instead of "
									 "\"look\"",
									 fields.verb);
		}
		free(line);
	}
	return err->status;
}

/* ---- jobs ---- */

omb_status
omb_job_mirror(const omb_job *given, omb_error *err)
{
	mirror_job job;
	pthread_t ticker;
	uint64_t limit = 0;
	uint32_t transfers = 0;

	memset(&job, 0, sizeof(job));
	job.repository = given->repository;
	job.key_file = given->key_file;
	job.pgdata = given->pgdata;
	job.system_identifier = given->system_identifier;
	job.url = omb_job_text(given, "url");
	job.credentials = omb_job_text_or_null(given, "credentials");
	if (!omb_fields_get_u64(&given->fields, "limit", &limit) ||
		!omb_fields_get_u32(&given->fields, "transfers", &transfers) ||
		transfers < 1 || transfers > 16 || job.url[0] == '\0')
		return omb_error_set(err, OMB_USAGE,
							 "the server sent no valid target "
							 "with the job");
	if (omb_job_rules(given, &job.rules, err) != OMB_OK)
		return err->status;
	job.transfers = (int) transfers;
	job.throttle = omb_throttle_new(limit);
	(void) pthread_mutex_init(&job.lock, NULL);
	omb_agent_handle("limit", set_limit, &job);
	if (pthread_create(&ticker, NULL, ticker_main, &job) != 0)
		_exit(1);
	(void) pthread_mutex_lock(&job.lock);
	omb_agent_begin("ready");
	omb_agent_end();
	(void) pthread_mutex_unlock(&job.lock);
	(void) serve(&job, err);
	/* the threads may look at the job until the process ends */
	(void) pthread_mutex_lock(&job.lock);
	close_all(&job);
	omb_agent_begin("error");
	omb_agent_error_fields(err);
	omb_agent_end();
	_exit(1);
}

static void
send_row(const omb_probe_row *row, void *arg)
{
	omb_agent_begin("check");
	omb_agent_text("operation", row->operation);
	omb_agent_text("result", omb_probe_word(row->result));
	omb_agent_text("found", row->found);
	omb_agent_text("hint", row->hint);
	omb_agent_end();
}

omb_status
omb_job_probe(const omb_job *job, omb_error *err)
{
	omb_probe_config config;

	memset(&config, 0, sizeof(config));
	config.url = omb_job_text(job, "url");
	config.credentials = omb_job_text_or_null(job, "credentials");
	config.row = send_row;
	if (omb_target_make(config.url, err) != OMB_OK)
		return err->status;
	(void) omb_probe(&config);
	omb_job_done();
	return OMB_OK;
}
