/*
 * expirejob.c: the job "expire".
 */
#include "program/jobs.h"

#include "program/agent.h"

#include "task/retain/expire.h"

#include <string.h>

static void
send_verdict(const omb_expire_row *row, void *arg)
{
	omb_agent_begin("verdict");
	omb_agent_text("object", row->object);
	omb_agent_text("name", row->name);
	omb_agent_text("verdict", row->verdict);
	omb_agent_text("reason", row->reason);
	omb_agent_end();
}

static void
ignore_pack(const omb_prune_pack *pack, void *arg)
{
}

static void
ignore_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
}

static omb_status
describe_expire(const omb_job *job, omb_expire_config *config, omb_error *err)
{
	uint32_t dry_run = 0;

	memset(config, 0, sizeof(*config));
	if (omb_job_rules(job, &config->rules, err) != OMB_OK)
		return err->status;
	if (!omb_fields_get_u32(&job->fields, "dry_run", &dry_run))
		return omb_job_invalid("dry_run", err);
	(void) omb_fields_get_u64(&job->fields, "min_free", &config->min_free);
	config->dry_run = dry_run != 0;
	config->row = send_verdict;
	return OMB_OK;
}

omb_status
omb_job_expire(const omb_job *job, omb_error *err)
{
	omb_expire_config config;
	omb_expire_result result;
	omb_prune_config prune;
	omb_prune_result pruned;

	memset(&pruned, 0, sizeof(pruned));
	omb_prune_config_init(&prune);
	prune.compression = job->compression;
	prune.jobs = job->jobs;
	prune.visit = ignore_pack;
	prune.progress = ignore_progress;
	if (describe_expire(job, &config, err) != OMB_OK ||
		omb_job_open(job, !config.dry_run, &config.repo, err) != OMB_OK)
		return err->status;
	config.prune = &prune;
	config.pruned = &pruned;
	if (omb_expire(&config, &result, err) == OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_u64("backups_kept", result.backups_kept);
		omb_agent_u64("backups_dropped", result.backups_dropped);
		omb_agent_u64("backups_dropped_early", result.backups_early);
		omb_agent_u64("wal_files_kept", result.wal_kept);
		omb_agent_u64("wal_files_dropped", result.wal_dropped);
		omb_agent_u64("wal_bytes_dropped", result.wal_bytes_dropped);
		omb_agent_u64("packs_removed", pruned.packs_removed);
		omb_agent_u64("packs_rewritten", pruned.packs_rewritten);
		omb_agent_u64("locked", result.locked + pruned.packs_locked);
		omb_agent_u64("pack_bytes_freed",
					  pruned.bytes_removed + pruned.bytes_saved);
		omb_agent_end();
	}
	omb_repository_free(config.repo);
	return err->status;
}
