/*
 * surveyjob.c: the job "survey": telling a server how its repository is.
 */
#include "program/jobs.h"

#include "program/agent.h"

#include "base/text.h"
#include "task/survey.h"

#include <string.h>

/* The word for an error's status, and the texts; nothing for OMB_OK. */
static void
send_error(const char *status, const char *message, const char *hint,
		   const omb_error *err)
{
	if (err->status == OMB_OK)
		return;
	omb_agent_text(status, omb_agent_status_word(err->status));
	omb_agent_text(message, err->message);
	if (err->hint[0] != '\0')
		omb_agent_text(hint, err->hint);
}

static void
send_backups(const omb_survey *found)
{
	omb_agent_u64("backups", found->backups);
	omb_agent_u64("backups_unreadable", found->backups_unreadable);
	if (found->unreadable[0] != '\0')
		omb_agent_text("unreadable", found->unreadable);
	if (found->last_id[0] == '\0')
		return;
	omb_agent_text("last_id", found->last_id);
	omb_agent_text("last_kind", found->last_kind);
	omb_agent_i64("last_start_time", found->last_start_time);
	omb_agent_i64("last_stop_time", found->last_stop_time);
	omb_agent_u64("last_bytes", found->last_bytes);
	omb_agent_u64("last_damaged_pages", found->last_damaged_pages);
	if (found->window_backup[0] != '\0')
	{
		omb_agent_text("window_backup", found->window_backup);
		omb_agent_i64("window_from", found->window_from);
		omb_agent_i64("window_to", found->window_to);
	}
}

static void
send_wal(const omb_survey *found)
{
	omb_agent_text("last_wal", found->last_wal);
	omb_agent_u64("wal_file_found", found->wal_file_found ? 1 : 0);
	omb_agent_u64("gaps", found->gaps);
	if (found->gaps > 0)
	{
		omb_agent_text("gap_first", found->gap_first);
		omb_agent_text("gap_last", found->gap_last);
	}
	if (found->given_up)
	{
		omb_agent_text("given_up_first", found->given_up_first);
		omb_agent_text("given_up_last", found->given_up_last);
		omb_agent_i64("given_up_at", found->given_up_at);
	}
}

static void
send_sizes(const omb_survey *found)
{
	omb_agent_u64("pack_bytes", found->pack_bytes);
	omb_agent_u64("wal_bytes", found->wal_bytes);
	omb_agent_u64("manifest_bytes", found->manifest_bytes);
	if (found->growth_known)
		omb_agent_i64("growth_per_day", found->growth_per_day);
	omb_agent_u64("repository_free", found->repository_free);
	omb_agent_u64("repository_total", found->repository_total);
	omb_agent_u64("pgdata_free", found->pgdata_free);
	omb_agent_u64("pgdata_total", found->pgdata_total);
	omb_agent_u64("same_device", found->same_device ? 1 : 0);
}

static void
run(const omb_survey_config *config)
{
	static const char *const fences[] = { "unclaimed", "own", "other",
										  "not_known" };
	omb_survey found;

	omb_survey_run(config, &found);
	omb_agent_begin("done");
	send_error("problem_status", "problem", "problem_hint", &found.problem);
	send_error("key_status", "key_problem", "key_hint", &found.key);
	omb_agent_u64("encrypted", found.encrypted ? 1 : 0);
	omb_agent_u64("code_confirmed", found.code_confirmed ? 1 : 0);
	omb_agent_text("fence", fences[found.fence]);
	if (found.fence == OMB_SURVEY_OTHER)
	{
		omb_agent_text("fence_problem", found.fence_problem.message);
		omb_agent_text("fence_detail", found.fence_problem.detail);
		omb_agent_text("fence_hint", found.fence_problem.hint);
	}
	send_backups(&found);
	send_wal(&found);
	send_sizes(&found);
	omb_agent_end();
}

omb_status
omb_job_survey(const omb_job *job, omb_error *err)
{
	omb_survey_config config;

	memset(&config, 0, sizeof(config));
	config.repository = job->repository;
	config.key_file = job->key_file;
	config.pgdata = job->pgdata;
	config.system_identifier = job->system_identifier;
	config.wal_file = omb_fields_get(&job->fields, "wal_file");
	config.now = omb_time_now();
	if (omb_job_wal_segment_size(job, &config.wal_segment_size, err) != OMB_OK)
		return err->status;
	run(&config);
	return OMB_OK;
}
