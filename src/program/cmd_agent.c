/*
 * cmd_agent.c: the jobs that a server gives to its agent.
 */
#include "program/agent.h"
#include "program/commands.h"
#include "program/filesjob.h"
#include "program/marksjob.h"
#include "program/mirrorjob.h"
#include "program/options.h"
#include "program/surveyjob.h"
#include "program/verifyjob.h"
#include "program/version.h"

#include "base/text.h"
#include "pgfmt/lsn.h"
#include "pgfmt/page.h"
#include "pgfmt/walname.h"
#include "repo/claim.h"
#include "repo/confirmed.h"
#include "repo/gap.h"
#include "repo/pin.h"
#include "task/wal/archive.h"
#include "task/backup/backup.h"
#include "task/retain/expire.h"
#include "task/notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct agent_job
{
	omb_fields fields;
	char *line; /* that the texts are in */
	const char *repository;
	const char *key_file;
	const char *pgdata;
	uint64_t system_identifier;
	omb_compression compression;
	int jobs;
} agent_job;

static const char *
job_text(const agent_job *job, const char *name)
{
	const char *value = omb_fields_get(&job->fields, name);

	return value ? value : "";
}

static omb_status
invalid(const char *name, omb_error *err)
{
	return omb_error_set(err, OMB_USAGE,
						 "the server sent no valid \"%s\" with the job", name);
}

static omb_status
receive_job(agent_job *job, omb_error *err)
{
	uint32_t jobs = 0;

	if (omb_agent_receive(&job->fields, &job->line, err) != OMB_OK)
		return err->status;
	job->repository = job_text(job, "repository");
	job->key_file = job_text(job, "key_file");
	job->pgdata = job_text(job, "pgdata");
	if (strcmp(job->fields.verb, "job") != 0)
		return omb_error_set(err, OMB_USAGE, "the server sent no job");
	if (job->repository[0] == '\0')
		return omb_error_set(err, OMB_USAGE,
							 "setting \"omsupply_backup.repository\" is "
							 "empty");
	if (job->pgdata[0] != '/')
		return invalid("pgdata", err);
	if (!omb_fields_get_u64(&job->fields, "system_identifier",
							&job->system_identifier))
		return invalid("system_identifier", err);
	if (!omb_fields_get_u32(&job->fields, "jobs", &jobs) || jobs < 1 ||
		jobs > 8)
		return invalid("jobs", err);
	job->jobs = (int) jobs;
	return omb_compression_parse(job_text(job, "compression"),
								 &job->compression, err);
}

/* NULL for an empty setting: the repository may not be encrypted. */
static const char *
key_file_or_null(const agent_job *job)
{
	return job->key_file[0] ? job->key_file : NULL;
}

/* ---- backup ---- */

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

/* Receive the line that has to come now. */
static omb_status
expect(const char *verb, omb_fields *fields, char **line, omb_error *err)
{
	if (omb_agent_receive(fields, line, err) == OMB_OK &&
		strcmp(fields->verb, verb) != 0)
		(void) omb_error_set(err, OMB_USAGE,
							 "the server sent \"%s\" instead of \"%s\"",
							 fields->verb, verb);
	return err->status;
}

static omb_status
get_lsn(const omb_fields *fields, const char *name, uint64_t *lsn,
		omb_error *err)
{
	const char *text = omb_fields_get(fields, name);

	if (text == NULL || !omb_lsn_parse(text, lsn))
		return invalid(name, err);
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

	if (expect("start", &fields, &line, err) == OMB_OK &&
		get_lsn(&fields, "start_lsn", &lsn, err) == OMB_OK)
	{
		if (!omb_fields_get_u32(&fields, "start_timeline", &timeline) ||
			!omb_fields_get_i64(&fields, "start_time", &time))
			(void) invalid("start_timeline", err);
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

	if (expect("stop", &fields, &line, err) == OMB_OK &&
		get_lsn(&fields, "stop_lsn", &lsn, err) == OMB_OK)
	{
		label = omb_fields_get(&fields, "backup_label");
		map = omb_fields_get(&fields, "tablespace_map");
		if (label == NULL || label[0] == '\0')
			(void) invalid("backup_label", err);
		else if (!omb_fields_get_u32(&fields, "stop_timeline", &timeline) ||
				 !omb_fields_get_i64(&fields, "stop_time", &time))
			(void) invalid("stop_timeline", err);
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
describe_common(const agent_job *job, omb_backup_config *config)
{
	memset(config, 0, sizeof(*config));
	config->repository = job->repository;
	config->key_file = key_file_or_null(job);
	config->pgdata = job->pgdata;
	config->label = job_text(job, "label");
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
describe_backup(const agent_job *job, omb_backup_config *config,
				const char **config_file, omb_error *err)
{
	const omb_fields *fields = &job->fields;
	const char *kind = job_text(job, "kind");
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
		return invalid("pg_version", err);
	if (!omb_fields_get_u64(fields, "wal_segment_size",
							&config->wal_segment_size) ||
		!omb_wal_segment_size_valid(config->wal_segment_size))
		return invalid("wal_segment_size", err);
	if (!omb_fields_get_u32(fields, "data_checksums", &checksums))
		return invalid("data_checksums", err);
	if (!omb_fields_get_u32(fields, "archive_timeout",
							&config->archive_timeout))
		return invalid("archive_timeout", err);
	(void) omb_fields_get_u32(fields, "segment_blocks",
							  &config->segment_blocks);
	config->data_checksums = checksums != 0;
	return OMB_OK;
}

static omb_status
run_backup(const agent_job *job, omb_error *err)
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

static omb_status
run_files(const agent_job *job, omb_error *err)
{
	omb_backup_config config;

	describe_common(job, &config);
	return omb_files_job(&job->fields, &config, err);
}

/* ---- archive ---- */

static omb_status
run_archive(const agent_job *job, omb_error *err)
{
	omb_archive_config config;
	omb_archive *archive;

	memset(&config, 0, sizeof(config));
	config.repository = job->repository;
	config.key_file = key_file_or_null(job);
	config.pgdata = job->pgdata;
	config.system_identifier = job->system_identifier;
	config.compression = job->compression;
	config.jobs = job->jobs;
	if (!omb_fields_get_u64(&job->fields, "wal_segment_size",
							&config.wal_segment_size) ||
		!omb_wal_segment_size_valid(config.wal_segment_size))
		return invalid("wal_segment_size", err);
	archive = omb_archive_start(&config);
	omb_agent_begin("ready");
	omb_agent_end();
	/* until standard input ends, which ends the process */
	while (err->status == OMB_OK)
	{
		omb_fields fields;
		char *line = NULL;
		const char *file;
		omb_error failure = OMB_ERROR_INIT;

		if (expect("archive", &fields, &line, err) == OMB_OK)
		{
			file = omb_fields_get(&fields, "file");
			if (file == NULL)
				(void) invalid("file", err);
			else
			{
				(void) omb_archive_file(archive, file, &failure);
				omb_agent_begin(failure.status == OMB_OK ? "archived" :
														   "failed");
				omb_agent_text("file", file);
				if (failure.status != OMB_OK)
					omb_agent_error_fields(&failure);
				omb_agent_end();
			}
		}
		free(line);
		/* the next agent opens the repository that is there then */
		if (failure.status == OMB_REFUSED)
			break;
	}
	omb_archive_free(archive);
	return err->status;
}

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

static omb_status
run_list(const agent_job *job, omb_error *err)
{
	omb_repository *repo;

	if (omb_repository_open_at(job->repository, key_file_or_null(job), NULL,
							   &repo, err) != OMB_OK)
		return err->status;
	if (omb_backup_list(repo, send_backup, repo, err) == OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_end();
	}
	omb_repository_free(repo);
	return err->status;
}

/* ---- adopt ---- */

static omb_status
run_adopt(const agent_job *job, omb_error *err)
{
	omb_repository *repo;
	char instance[OMB_INSTANCE_TEXT];
	char previous[OMB_INSTANCE_TEXT];

	if (omb_repository_open_at(job->repository, key_file_or_null(job), NULL,
							   &repo, err) != OMB_OK)
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

/* ---- expire and pins ---- */

/*
 * Open the repository. To change what it keeps is for the server that it
 * belongs to, not for a copy with settings of its own.
 */
static omb_status
open_owned(const agent_job *job, bool changes, omb_repository **repo,
		   omb_error *err)
{
	uint32_t claim;

	if (omb_repository_open_at(job->repository, key_file_or_null(job), NULL,
							   repo, err) != OMB_OK)
		return err->status;
	if (changes && omb_claim_check(*repo, job->pgdata, job->system_identifier,
								   &claim, err) != OMB_OK)
	{
		omb_repository_free(*repo);
		*repo = NULL;
	}
	return err->status;
}

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
describe_expire(const agent_job *job, omb_expire_config *config,
				omb_error *err)
{
	uint32_t dry_run = 0;

	memset(config, 0, sizeof(*config));
	if (omb_job_rules(&job->fields, &config->rules, err) != OMB_OK)
		return err->status;
	if (!omb_fields_get_u32(&job->fields, "dry_run", &dry_run))
		return invalid("dry_run", err);
	(void) omb_fields_get_u64(&job->fields, "min_free", &config->min_free);
	config->dry_run = dry_run != 0;
	config->row = send_verdict;
	return OMB_OK;
}

static omb_status
run_expire(const agent_job *job, omb_error *err)
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
		open_owned(job, !config.dry_run, &config.repo, err) != OMB_OK)
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

static omb_status
run_pin(const agent_job *job, omb_error *err)
{
	const char *backup = job_text(job, "backup");
	bool unpin = strcmp(job_text(job, "type"), "unpin") == 0;
	omb_repository *repo;

	if (open_owned(job, true, &repo, err) != OMB_OK)
		return err->status;
	if (unpin)
		(void) omb_pin_remove(repo, backup, err);
	else
		(void) omb_pin_put(repo, backup, job_text(job, "reason"), err);
	if (err->status == OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_end();
	}
	omb_repository_free(repo);
	return err->status;
}

static omb_status
run_verify(const agent_job *job, omb_error *err)
{
	omb_repository *repo;

	if (open_owned(job, false, &repo, err) != OMB_OK)
		return err->status;
	(void) omb_verify_job(repo, &job->fields, job->jobs, err);
	omb_repository_free(repo);
	return err->status;
}

/* ---- targets ---- */

static omb_status
run_mirror(const agent_job *job, omb_error *err)
{
	return omb_mirror_job(&job->fields, err);
}

static omb_status
run_probe(const agent_job *job, omb_error *err)
{
	return omb_probe_job(&job->fields, err);
}

/* ---- survey, confirm, gap ---- */

static omb_status
run_survey(const agent_job *job, omb_error *err)
{
	omb_survey_config config;

	memset(&config, 0, sizeof(config));
	config.repository = job->repository;
	config.key_file = key_file_or_null(job);
	config.pgdata = job->pgdata;
	config.system_identifier = job->system_identifier;
	config.wal_file = omb_fields_get(&job->fields, "wal_file");
	config.now = omb_time_now();
	if (!omb_fields_get_u64(&job->fields, "wal_segment_size",
							&config.wal_segment_size) ||
		!omb_wal_segment_size_valid(config.wal_segment_size))
		return invalid("wal_segment_size", err);
	omb_survey_job(&config);
	return OMB_OK;
}

static omb_status
run_confirm(const agent_job *job, omb_error *err)
{
	if (omb_confirmed_put(job->repository, job_text(job, "code"), err) ==
		OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_end();
	}
	return err->status;
}

static omb_status
run_gap(const agent_job *job, omb_error *err)
{
	omb_repository *repo;
	omb_gap gap;

	memset(&gap, 0, sizeof(gap));
	(void) snprintf(gap.first, sizeof(gap.first), "%s",
					job_text(job, "first"));
	(void) snprintf(gap.last, sizeof(gap.last), "%s", job_text(job, "last"));
	if (!omb_fields_get_u64(&job->fields, "files", &gap.files) ||
		!omb_fields_get_i64(&job->fields, "since", &gap.since) ||
		!omb_fields_get_i64(&job->fields, "until", &gap.until))
		return invalid("files", err);
	if (open_owned(job, true, &repo, err) != OMB_OK)
		return err->status;
	if (omb_gap_put(repo, &gap, err) == OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_end();
	}
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

static omb_status
run_notes(const agent_job *job, omb_error *err)
{
	omb_repository *repo;
	uint64_t taken;

	if (open_owned(job, true, &repo, err) != OMB_OK)
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
run_marks(const agent_job *job, omb_error *err)
{
	omb_repository *repo;

	if (open_owned(job, false, &repo, err) != OMB_OK)
		return err->status;
	(void) omb_marks_job(repo, err);
	omb_repository_free(repo);
	return err->status;
}

static omb_status
run_watermarks(const agent_job *job, omb_error *err)
{
	const char *name = job_text(job, "name");
	omb_repository *repo;
	int64_t from, to;

	if (!omb_fields_get_i64(&job->fields, "from", &from) ||
		!omb_fields_get_i64(&job->fields, "to", &to))
		return invalid("from", err);
	if (open_owned(job, false, &repo, err) != OMB_OK)
		return err->status;
	(void) omb_watermarks_job(repo, name, from, to, err);
	omb_repository_free(repo);
	return err->status;
}

int
omb_command_agent(int argc, char **argv)
{
	static const struct
	{
		const char *type;
		omb_status (*run)(const agent_job *job, omb_error *err);
	} types[] = { { "backup", run_backup },	  { "files", run_files },
				  { "archive", run_archive }, { "list", run_list },
				  { "adopt", run_adopt },	  { "expire", run_expire },
				  { "pin", run_pin },		  { "unpin", run_pin },
				  { "survey", run_survey },	  { "confirm", run_confirm },
				  { "gap", run_gap },		  { "verify", run_verify },
				  { "mirror", run_mirror },	  { "probe", run_probe },
				  { "notes", run_notes },	  { "watermarks", run_watermarks },
				  { "marks", run_marks } };
	agent_job job;
	omb_error err = OMB_ERROR_INIT;
	const char *type;
	size_t i;

	if (argc > 1 || isatty(STDIN_FILENO) == 1)
	{
		(void) fprintf(stderr, "omsupply_backup: \"agent\" is started by the "
							   "server, not by people\n");
		return OMB_EXIT_USAGE;
	}
	memset(&job, 0, sizeof(job));
	omb_agent_start();
	if (receive_job(&job, &err) == OMB_OK)
	{
		type = job_text(&job, "type");
		/* an archiver that falls behind a busy server fills its disk */
		if (strcmp(type, "archive") != 0)
			omb_agent_step_aside();
		for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		{
			if (strcmp(type, types[i].type) == 0)
				break;
		}
		if (i < sizeof(types) / sizeof(types[0]))
			(void) types[i].run(&job, &err);
		else
			(void) omb_error_set(&err, OMB_UNSUPPORTED,
								 "job type \"%s\" is not supported", type);
	}
	free(job.line);
	if (err.status == OMB_OK)
		return OMB_EXIT_DONE;
	omb_agent_begin("error");
	omb_agent_error_fields(&err);
	omb_agent_end();
	return OMB_EXIT_FAILED;
}
