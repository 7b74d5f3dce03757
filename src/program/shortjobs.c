/*
 * shortjobs.c: jobs that are one step: list, adopt, pin, unpin, confirm, gap,
 * notes, watermarks, marks.
 */
#include "program/jobs.h"

#include "program/agent.h"

#include "repo/claim.h"
#include "repo/confirmed.h"
#include "repo/gap.h"
#include "repo/pin.h"
#include "repo/watermark.h"
#include "task/notes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- list ---- */

static omb_status
send_backup(const char *id, void *arg, omb_error *err)
{
	omb_manifest *manifest;
	const omb_backup_info *info;

	if (omb_manifest_open(arg, id, &manifest, err) != OMB_OK)
	{
		/* one that cannot be read must not hide the others */
		omb_agent_begin("warning");
		omb_agent_error_fields(err);
		omb_agent_end();
		omb_error_clear(err);
		return OMB_OK;
	}
	info = &manifest->info;
	if (!omb_backup_is_base(info))
	{
		omb_manifest_close(manifest);
		return OMB_OK;
	}
	omb_agent_begin("backup");
	omb_agent_text("id", info->id);
	omb_agent_text("label", info->label);
	omb_agent_text("kind", info->kind);
	omb_agent_i64("start_time", info->start_time);
	omb_agent_i64("stop_time", info->stop_time);
	omb_agent_lsn("start_lsn", info->start_lsn);
	omb_agent_lsn("stop_lsn", info->stop_lsn);
	omb_agent_u64("timeline", info->stop_timeline);
	omb_agent_u64("bytes", info->bytes);
	omb_agent_u64("bytes_stored", info->bytes_stored);
	omb_agent_u64("files", info->files);
	omb_agent_u64("damaged_pages", info->damaged_pages);
	omb_agent_end();
	omb_manifest_close(manifest);
	return OMB_OK;
}

omb_status
omb_job_list(const omb_job *job, omb_error *err)
{
	omb_repository *repo;

	if (omb_job_open(job, false, &repo, err) != OMB_OK)
		return err->status;
	if (omb_backup_list(repo, send_backup, repo, err) == OMB_OK)
		omb_job_done();
	omb_repository_free(repo);
	return err->status;
}

/* ---- adopt ---- */

omb_status
omb_job_adopt(const omb_job *job, omb_error *err)
{
	omb_repository *repo;
	char instance[OMB_INSTANCE_TEXT];
	char previous[OMB_INSTANCE_TEXT];

	if (omb_job_open(job, false, &repo, err) != OMB_OK)
		return err->status;
	if (omb_claim_take(repo, job->pgdata, job->system_identifier, instance,
					   previous, err) == OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_text("instance", instance);
		omb_agent_text("previous", previous);
		omb_agent_end();
	}
	omb_repository_free(repo);
	return err->status;
}

/* ---- pins ---- */

static omb_status
pin(const omb_job *job, bool unpin, omb_error *err)
{
	const char *backup = omb_job_text(job, "backup");
	omb_repository *repo;

	if (omb_job_open(job, true, &repo, err) != OMB_OK)
		return err->status;
	if (unpin)
		(void) omb_pin_remove(repo, backup, err);
	else
		(void) omb_pin_put(repo, backup, omb_job_text(job, "reason"), err);
	if (err->status == OMB_OK)
		omb_job_done();
	omb_repository_free(repo);
	return err->status;
}

omb_status
omb_job_pin(const omb_job *job, omb_error *err)
{
	return pin(job, false, err);
}

omb_status
omb_job_unpin(const omb_job *job, omb_error *err)
{
	return pin(job, true, err);
}

/* ---- confirm, gap ---- */

omb_status
omb_job_confirm(const omb_job *job, omb_error *err)
{
	if (omb_confirmed_put(job->repository, omb_job_text(job, "code"), err) ==
		OMB_OK)
		omb_job_done();
	return err->status;
}

omb_status
omb_job_gap(const omb_job *job, omb_error *err)
{
	omb_repository *repo;
	omb_gap gap;

	memset(&gap, 0, sizeof(gap));
	(void) snprintf(gap.first, sizeof(gap.first), "%s",
					omb_job_text(job, "first"));
	(void) snprintf(gap.last, sizeof(gap.last), "%s",
					omb_job_text(job, "last"));
	if (!omb_fields_get_u64(&job->fields, "files", &gap.files) ||
		!omb_fields_get_i64(&job->fields, "since", &gap.since) ||
		!omb_fields_get_i64(&job->fields, "until", &gap.until))
		return omb_job_invalid("files", err);
	if (omb_job_open(job, true, &repo, err) != OMB_OK)
		return err->status;
	if (omb_gap_put(repo, &gap, err) == OMB_OK)
		omb_job_done();
	omb_repository_free(repo);
	return err->status;
}

/* ---- notes ---- */

static void
send_text_warning(const char *message, void *arg)
{
	omb_agent_begin("warning");
	omb_agent_text("message", message);
	omb_agent_end();
}

omb_status
omb_job_notes(const omb_job *job, omb_error *err)
{
	omb_repository *repo;
	uint64_t taken;

	if (omb_job_open(job, true, &repo, err) != OMB_OK)
		return err->status;
	if (omb_notes_take(repo, job->pgdata, send_text_warning, NULL, &taken,
					   err) == OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_u64("taken", taken);
		omb_agent_end();
	}
	omb_repository_free(repo);
	return err->status;
}

static omb_status
send_watermark(const omb_watermark *mark, void *arg, omb_error *err)
{
	omb_agent_begin("watermark");
	omb_agent_text("name", mark->name);
	omb_agent_i64("time", mark->time);
	omb_agent_lsn("lsn", mark->lsn);
	omb_agent_u64("timeline", mark->timeline);
	omb_agent_text("value", mark->value);
	omb_agent_end();
	return OMB_OK;
}

omb_status
omb_job_watermarks(const omb_job *job, omb_error *err)
{
	const char *name = omb_job_text(job, "name");
	omb_repository *repo;
	int64_t from, to;

	if (!omb_fields_get_i64(&job->fields, "from", &from) ||
		!omb_fields_get_i64(&job->fields, "to", &to))
		return omb_job_invalid("from", err);
	if (omb_job_open(job, false, &repo, err) != OMB_OK)
		return err->status;
	if (omb_watermark_list(repo, name[0] ? name : NULL, from, to,
						   send_watermark, NULL, err) == OMB_OK)
		omb_job_done();
	omb_repository_free(repo);
	return err->status;
}

static void
send_mark(const omb_point *point, void *arg)
{
	omb_agent_begin("mark");
	omb_agent_text("id", point->id);
	omb_agent_text("name", point->name);
	omb_agent_text("detail", point->detail);
	omb_agent_i64("time", point->time);
	omb_agent_lsn("lsn", point->lsn);
	omb_agent_u64("timeline", point->timeline);
	omb_agent_end();
}

omb_status
omb_job_marks(const omb_job *job, omb_error *err)
{
	omb_repository *repo;
	uint64_t unreadable = 0;
	char text[64];

	if (omb_job_open(job, false, &repo, err) != OMB_OK)
		return err->status;
	if (omb_point_list(repo, send_mark, NULL, &unreadable, err) == OMB_OK)
	{
		(void) snprintf(text, sizeof(text), "%" PRIu64 " marks cannot be read",
						unreadable);
		if (unreadable > 0)
			send_text_warning(text, NULL);
		omb_job_done();
	}
	omb_repository_free(repo);
	return err->status;
}
