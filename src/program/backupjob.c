/*
 * backupjob.c: the jobs "backup" and "files".
 */
#include "program/jobs.h"

#include "program/agent.h"
#include "program/filesets.h"
#include "program/version.h"

#include "pgfmt/lsn.h"
#include "pgfmt/page.h"
#include "task/backup/backup.h"

#include <stdlib.h>
#include <string.h>

static void
send_progress(const omb_backup_progress *progress, void *arg)
{
	static const char *const phases[] = { "copy", "files", "wal", "commit" };

	omb_agent_begin("progress");
	omb_agent_text("phase", phases[progress->phase]);
	omb_agent_u64("bytes_done", progress->bytes_done);
	omb_agent_u64("bytes_total", progress->bytes_total);
	omb_agent_u64("files_done", progress->files_done);
	omb_agent_u64("files_total", progress->files_total);
	omb_agent_u64("bytes_stored", progress->bytes_stored);
	if (progress->wal_file != NULL)
		omb_agent_text("wal_file", progress->wal_file);
	omb_agent_end();
}

static void
send_warning(const char *message, const char *file, uint32_t block, void *arg)
{
	omb_agent_begin("warning");
	omb_agent_text("message", message);
	if (file != NULL)
	{
		omb_agent_text("file", file);
		omb_agent_u64("block", block);
		omb_agent_text("hint", "The page was stored as it is. Look for "
							   "failing storage, and find out what the page "
							   "belongs to before older backups expire.");
	}
	omb_agent_end();
}

static omb_status
get_lsn(const omb_fields *fields, const char *name, uint64_t *lsn,
		omb_error *err)
{
	const char *text = omb_fields_get(fields, name);

	if (text == NULL || !omb_lsn_parse(text, lsn))
		return omb_job_invalid(name, err);
	return OMB_OK;
}

static omb_status
copy_step(omb_backup *backup, omb_error *err)
{
	omb_fields fields;
	char *line = NULL;
	uint64_t lsn = 0;
	uint32_t timeline = 0;
	int64_t time = 0;

	if (omb_job_expect("start", &fields, &line, err) == OMB_OK &&
		get_lsn(&fields, "start_lsn", &lsn, err) == OMB_OK)
	{
		if (!omb_fields_get_u32(&fields, "start_timeline", &timeline) ||
			!omb_fields_get_i64(&fields, "start_time", &time))
			(void) omb_job_invalid("start_timeline", err);
		else
			(void) omb_backup_copy(backup, lsn, timeline, time, err);
	}
	free(line);
	if (err->status != OMB_OK)
		return err->status;
	omb_agent_begin("copied");
	omb_agent_end();
	return OMB_OK;
}

static omb_status
commit_step(omb_backup *backup, omb_error *err)
{
	const omb_backup_info *info = NULL;
	omb_fields fields;
	char *line = NULL;
	const char *label, *map;
	uint64_t lsn = 0;
	uint32_t timeline = 0;
	int64_t time = 0;

	if (omb_job_expect("stop", &fields, &line, err) == OMB_OK &&
		get_lsn(&fields, "stop_lsn", &lsn, err) == OMB_OK)
	{
		label = omb_fields_get(&fields, "backup_label");
		map = omb_fields_get(&fields, "tablespace_map");
		if (label == NULL || label[0] == '\0')
			(void) omb_job_invalid("backup_label", err);
		else if (!omb_fields_get_u32(&fields, "stop_timeline", &timeline) ||
				 !omb_fields_get_i64(&fields, "stop_time", &time))
			(void) omb_job_invalid("stop_timeline", err);
		else
			(void) omb_backup_commit(backup, lsn, timeline, time, label,
									 map ? map : "", &info, err);
	}
	free(line);
	if (err->status != OMB_OK)
		return err->status;
	omb_agent_begin("done");
	omb_agent_text("id", info->id);
	omb_agent_u64("bytes_read", info->bytes_read);
	omb_agent_u64("bytes_stored", info->bytes_stored);
	omb_agent_u64("files", info->files + info->set_files);
	omb_agent_u64("damaged_pages", info->damaged_pages);
	omb_agent_end();
	return OMB_OK;
}

/* What a base backup and one of files have in common. */
static void
describe_common(const omb_job *job, omb_backup_config *config)
{
	memset(config, 0, sizeof(*config));
	config->repository = job->repository;
	config->key_file = job->key_file;
	config->pgdata = job->pgdata;
	config->label = omb_job_text(job, "label");
	config->program_version = OMB_VERSION;
	config->system_identifier = job->system_identifier;
	config->compression = job->compression;
	config->jobs = job->jobs;
	config->progress = send_progress;
	config->warn = send_warning;
	(void) omb_fields_get_u64(&job->fields, "max_read_rate",
							  &config->max_read_rate);
}

static omb_status
describe_backup(const omb_job *job, omb_backup_config *config,
				const char **config_file, omb_error *err)
{
	const omb_fields *fields = &job->fields;
	const char *kind = omb_job_text(job, "kind");
	uint32_t checksums = 0;
	int i;

	describe_common(job, config);
	config->kind = kind;
	config->segment_blocks = OMB_PAGE_SEGMENT_BLOCKS;
	for (i = 0; i < fields->count; i++)
	{
		if (strcmp(fields->item[i].name, "config_file") == 0 &&
			fields->item[i].value[0] == '/')
			config_file[config->config_count++] = fields->item[i].value;
	}
	config->config_file = config_file;
	if (strcmp(kind, "auto") != 0 && strcmp(kind, "full") != 0 &&
		strcmp(kind, "incremental") != 0)
		return omb_error_set(err, OMB_UNSUPPORTED,
							 "backup kind \"%s\" is not supported", kind);
	if (!omb_fields_get_u32(fields, "pg_version", &config->pg_version))
		return omb_job_invalid("pg_version", err);
	if (omb_job_wal_segment_size(job, &config->wal_segment_size, err) !=
		OMB_OK)
		return err->status;
	if (!omb_fields_get_u32(fields, "data_checksums", &checksums))
		return omb_job_invalid("data_checksums", err);
	if (!omb_fields_get_u32(fields, "archive_timeout",
							&config->archive_timeout))
		return omb_job_invalid("archive_timeout", err);
	(void) omb_fields_get_u32(fields, "segment_blocks",
							  &config->segment_blocks);
	config->data_checksums = checksums != 0;
	return OMB_OK;
}

omb_status
omb_job_backup(const omb_job *job, omb_error *err)
{
	omb_backup_config config;
	const char *config_file[OMB_FIELDS_MAX];
	omb_backup *backup = NULL;
	omb_sent_sets sets;

	if (omb_sent_sets_receive(&job->fields, &sets, err) == OMB_OK &&
		describe_backup(job, &config, config_file, err) == OMB_OK)
	{
		config.file_set = sets.set;
		config.file_set_count = sets.count;
		(void) omb_backup_prepare(&config, &backup, err);
	}
	if (err->status == OMB_OK)
	{
		omb_agent_begin("ready");
		omb_agent_text("id", omb_backup_id(backup));
		omb_agent_end();
		if (copy_step(backup, err) == OMB_OK)
			(void) commit_step(backup, err);
		omb_backup_free(backup);
	}
	omb_sent_sets_free(&sets);
	return err->status;
}

omb_status
omb_job_files(const omb_job *job, omb_error *err)
{
	const omb_backup_info *info = NULL;
	omb_backup_config config;
	omb_backup *backup = NULL;
	omb_sent_sets sets;

	describe_common(job, &config);
	if (omb_sent_sets_receive(&job->fields, &sets, err) == OMB_OK)
	{
		config.file_set = sets.set;
		config.file_set_count = sets.count;
		if (sets.count == 0)
			(void) omb_error_set(err, OMB_USAGE, "there is no file set");
	}
	if (err->status == OMB_OK &&
		omb_backup_prepare(&config, &backup, err) == OMB_OK)
	{
		omb_agent_begin("ready");
		omb_agent_text("id", omb_backup_id(backup));
		omb_agent_end();
		if (omb_backup_files(backup, &info, err) == OMB_OK)
		{
			omb_agent_begin("done");
			omb_agent_text("id", info->id);
			omb_agent_u64("bytes_read", info->bytes_read);
			omb_agent_u64("bytes_stored", info->bytes_stored);
			omb_agent_u64("files", info->set_files);
			omb_agent_u64("bytes", info->set_bytes);
			omb_agent_end();
		}
		omb_backup_free(backup);
	}
	omb_sent_sets_free(&sets);
	return err->status;
}
