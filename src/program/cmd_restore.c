/*
 * cmd_restore.c: make a data directory that recovers to any instant.
 */
#include "program/commands.h"
#include "program/display.h"
#include "program/filesoptions.h"
#include "program/options.h"
#include "program/recoverytarget.h"

#include "base/file.h"
#include "base/text.h"
#include "pgfmt/lsn.h"
#include "repo/watermark.h"
#include "store/url.h"
#include "task/restore/place.h"
#include "task/restore/restore.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const omb_command command = {
	"restore", "",
	"Make a data directory from a backup. Starting the server on it recovers\n"
	"to the target; without a target, to the end of the archived WAL.",
	"TIME is for example \"2026-11-20 23:15:00+00\"; without a zone it is "
	"local time.\n"
	"Everything is checked before the first byte is written: that the\n"
	"directories are empty, that there is space, and that the archived WAL\n"
	"reaches the target. With --delta the data directory may be one of this\n"
	"cluster: what is as in the backup stays, all else is changed or removed.\n"
};

typedef struct arguments
{
	omb_repository_options where;
	const char *pgdata;
	const char *backup;
	omb_recovery_options target;
	const char *action;
	const char *jobs;
	omb_value_list maps;
	omb_value_list databases;
	omb_files_options files;
	bool take_over;
	bool quarantine;
	bool no_quarantine;
	bool manifest;
	bool delta;
	bool dry_run;
} arguments;

/*
 * The database to put into quarantine, in new memory, or NULL: that which has
 * the watermarks of omSupply. By default when the server takes over.
 */
static omb_status
find_quarantine(omb_repository *repo, const arguments *args, char **database,
				omb_error *err)
{
	*database = NULL;
	if (args->quarantine && args->no_quarantine)
		return omb_error_set(err, OMB_USAGE,
							 "--quarantine and --no-quarantine are given");
	if (args->no_quarantine || (!args->quarantine && !args->take_over))
		return OMB_OK;
	if (omb_watermark_database(repo, "omsupply", database, err) == OMB_OK &&
		*database == NULL && args->quarantine)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "it is not known which database is omSupply's");
		omb_error_detail(err, "The repository has no watermark "
							  "\"omsupply\".");
	}
	return err->status;
}

static omb_status
read_action(const char *text, const char **action, omb_error *err)
{
	static const char *const actions[] = { "promote", "pause", "shutdown" };
	size_t i;

	*action = text ? text : "promote";
	for (i = 0; i < 3; i++)
	{
		if (strcmp(*action, actions[i]) == 0)
			return OMB_OK;
	}
	return omb_error_set(err, OMB_USAGE,
						 "invalid target action \"%s\": it must be "
						 "\"promote\", \"pause\" or \"shutdown\"",
						 text);
}

/* Split OLD=NEW in place; texts of the command line are ours to change. */
static omb_status
read_maps(const omb_value_list *maps, omb_tablespace_move **moves,
		  omb_error *err)
{
	size_t i;

	*moves = omb_calloc(maps->count, sizeof(**moves));
	for (i = 0; i < maps->count; i++)
	{
		const char *equals = strchr(maps->value[i], '=');

		if (equals == NULL || maps->value[i][0] != '/' || equals[1] != '/')
			return omb_error_set(err, OMB_USAGE,
								 "invalid tablespace map \"%s\": it must be "
								 "OLD=NEW with two absolute paths",
								 maps->value[i]);
		(*moves)[i].from = omb_format("%.*s", (int) (equals - maps->value[i]),
									  maps->value[i]);
		(*moves)[i].to = equals + 1;
	}
	return OMB_OK;
}

static void
free_maps(omb_tablespace_move *moves, size_t count)
{
	size_t i;

	for (i = 0; moves != NULL && i < count; i++)
	{
		union
		{
			const char *in;
			char *out;
		} from;

		from.in = moves[i].from;
		free(from.out);
	}
	free(moves);
}

/* At most so many things to be removed are named. */
#define REMOVALS_SHOWN 20

typedef struct restore_state
{
	omb_display display;
	uint64_t removals;
} restore_state;

static void
show_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	restore_state *state = arg;

	omb_display_show(&state->display, step, bytes, total);
}

static void
show_removal(const char *path, uint64_t bytes, void *arg)
{
	restore_state *state = arg;
	char size[OMB_SIZE_TEXT];

	if (++state->removals > REMOVALS_SHOWN)
		return;
	omb_display_end(&state->display);
	printf("not in the backup: %s (%s)\n", path, omb_size_format(bytes, size));
}

/* What a delta restore finds, before it changes anything. */
static void
show_delta_plan(const omb_delta_result *delta, uint64_t removals)
{
	char text[OMB_SIZE_TEXT];

	if (removals > REMOVALS_SHOWN)
		printf("... and %" PRIu64 " more not in the backup\n",
			   removals - REMOVALS_SHOWN);
	printf("%" PRIu64
		   " files look the same, %s: they would be read and kept.\n",
		   delta->files_same, omb_size_format(delta->bytes_same, text));
	printf("%" PRIu64 " files differ, %s: blocks that differ would be "
		   "written.\n",
		   delta->files_changed, omb_size_format(delta->bytes_changed, text));
	printf("%" PRIu64 " files are missing, %s: they would be written.\n",
		   delta->files_missing, omb_size_format(delta->bytes_missing, text));
	printf("%" PRIu64 " files are not in the backup, %s: they would be "
		   "removed.\n",
		   delta->files_removed, omb_size_format(delta->bytes_removed, text));
}

static void
show_result(const omb_restore_config *config, omb_restore_result *result,
			uint64_t removals)
{
	char text[OMB_TIME_TEXT];

	printf("Backup %s, finished %s%s%s.\nRecovery will go to ",
		   result->plan.backup,
		   omb_time_format(result->info.stop_time / 1000000 * 1000000, text),
		   result->info.label[0] ? ", label " : "", result->info.label);
	omb_recovery_target_show(&config->target);
	printf(" on timeline %u", result->plan.timeline);
	if (result->plan.target_lsn != 0)
		printf(", LSN %s", omb_lsn_format(result->plan.target_lsn, text));
	if (result->plan.last_segment[0] != '\0' &&
		config->target.kind == OMB_TARGET_END)
		printf(", segment %s", result->plan.last_segment);
	printf(".\n");
	if (result->info.damaged_pages > 0)
		printf("WARNING: the backup has %u damaged pages; \"info %s\" names "
			   "them.\n",
			   (unsigned int) result->info.damaged_pages, result->plan.backup);
	if (result->left_out_bytes > 0)
	{
		printf("%s of other databases are %s by empty files.\n",
			   omb_size_format(result->left_out_bytes, text),
			   config->dry_run ? "to be replaced" : "replaced");
		if (!result->info.data_checksums)
			printf("The cluster has no data checksums. If recovery stops with "
				   "\"WAL contains references\nto invalid pages\" of other "
				   "databases, start the server with "
				   "-c ignore_invalid_pages=on.\n");
	}
	if (config->dry_run)
	{
		printf("%" PRIu64 " files, %s, would be restored into \"%s\".\n",
			   result->total_files, omb_size_format(result->total_bytes, text),
			   config->pgdata);
		if (result->is_delta)
			show_delta_plan(&result->delta, removals);
		if (config->files != NULL)
			omb_files_show(&result->files_result, true);
		if (result->wal_saved > 0)
			printf("%" PRIu64 " of those are WAL that is not in the "
				   "repository: it would be moved to \"%s.wal\".\n",
				   result->wal_saved, config->pgdata);
		printf("Dry run: nothing was written.\n");
		return;
	}
	printf("%s restored into \"%s\".\n", omb_size_format(result->bytes, text),
		   config->pgdata);
	if (result->is_delta)
	{
		printf("%" PRIu64 " of %" PRIu64 " files were the same, %s ",
			   result->place.files_same, result->files,
			   omb_size_format(result->place.bytes_written, text));
		printf("were written; %" PRIu64 " files that are not in the backup "
			   "were removed, %s.\n",
			   result->delta.files_removed,
			   omb_size_format(result->delta.bytes_removed, text));
	}
	if (result->wal_saved > 0)
		printf("%" PRIu64 " WAL segments of the old directory that are not in "
			   "the repository are in\n\"%s.wal\". To recover to their end, "
			   "put them into pg_wal before the first start.\n",
			   result->wal_saved, config->pgdata);
	if (config->files != NULL)
		omb_files_show(&result->files_result, false);
	if (result->config_files)
		printf("Configuration files that were outside the data directory are "
			   "in\n\"%s.config\"; put them back or use those of this "
			   "machine.\n",
			   config->pgdata);
	printf("\nNext: start the server on \"%s\". It recovers by itself and "
		   "then%s.\n",
		   config->pgdata,
		   strcmp(config->target_action, "promote") == 0 ?
			   " opens for work" :
		   strcmp(config->target_action, "pause") == 0 ?
			   " waits for pg_wal_replay_resume()" :
			   " shuts down");
	if (result->left_out_bytes > 0)
		printf(
			"Then DROP the databases that were not restored: they cannot be "
			"used.\n");
	if (config->quarantine != NULL)
		printf("In database \"%s\" the sync of omSupply is turned off until "
			   "you execute\n\"SELECT backup_release_quarantine()\" there.\n",
			   config->quarantine);
	if (!config->take_over)
		printf("It will not archive or back up into this repository until you "
			   "execute\n\"SELECT backup_adopt()\" on it.\n");
}

/* The application's files alone, without a server. */
static omb_status
restore_files(arguments *args, restore_state *state, omb_error *err)
{
	omb_restore_files_config *config = &args->files.config;
	omb_restore_files_result result;
	omb_target target;
	omb_lock *lock = NULL;

	if (omb_recovery_options_read(&args->target, &target, err) != OMB_OK ||
		omb_jobs_parse(args->jobs, &config->jobs, err) != OMB_OK)
		return err->status;
	if ((target.kind != OMB_TARGET_END && target.kind != OMB_TARGET_TIME) ||
		args->backup != NULL)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "files alone are restored to a time");
		omb_error_hint(err, "Use --target-time, or add --pgdata.");
		return err->status;
	}
	config->from = config->until =
		target.kind == OMB_TARGET_TIME ? target.time : INT64_MAX;
	config->delta = args->delta;
	config->progress = show_progress;
	config->arg = state;
	if (omb_repository_options_open(&args->where, &config->repo, err) !=
		OMB_OK)
		return err->status;
	if (omb_store_lock(config->repo->store, false, &lock, err) == OMB_OK &&
		omb_restore_files_check(config, &result, err) == OMB_OK &&
		!args->dry_run)
		(void) omb_restore_files(config, &result, err);
	omb_display_end(&state->display);
	if (err->status == OMB_OK)
		omb_files_show(&result, args->dry_run);
	if (err->status == OMB_OK && args->dry_run)
		printf("Dry run: nothing was written.\n");
	omb_store_unlock(lock);
	omb_repository_free(config->repo);
	return err->status;
}

static omb_status
run(arguments *args, omb_error *err)
{
	omb_restore_config config;
	omb_restore_result result;
	omb_tablespace_move *moves = NULL;
	restore_state state;
	char point_name[OMB_POINT_RESTORE_POINT_MAX];
	char *pgdata = args->pgdata ? omb_path_absolute(args->pgdata) : NULL;
	char *program = omb_program_path();
	char *key_file = NULL;
	char *location = NULL;
	char *credentials = NULL;
	char *quarantine = NULL;

	memset(&config, 0, sizeof(config));
	memset(&result, 0, sizeof(result));
	memset(&state, 0, sizeof(state));
	args->where.browse =
		args->backup == NULL ? OMB_BROWSE_NEWEST : OMB_BROWSE_ALL;
	omb_display_init(&state.display, false);
	if (omb_files_options_read(&args->files, err) != OMB_OK)
		;
	else if (pgdata == NULL && args->files.given)
		(void) restore_files(args, &state, err);
	else if (pgdata == NULL)
		(void) omb_error_set(err, OMB_USAGE, "--pgdata is missing");
	else if (omb_recovery_options_read(&args->target, &config.target, err) ==
				 OMB_OK &&
			 read_action(args->action, &config.target_action, err) == OMB_OK &&
			 read_maps(&args->maps, &moves, err) == OMB_OK &&
			 omb_jobs_parse(args->jobs, &config.jobs, err) == OMB_OK &&
			 omb_repository_options_open(&args->where, &config.repo, err) ==
				 OMB_OK &&
			 omb_recovery_options_find_mark(&args->target, config.repo,
											&config.target, point_name,
											err) == OMB_OK &&
			 find_quarantine(config.repo, args, &quarantine, err) == OMB_OK)
	{
		if (args->where.key_file != NULL)
			key_file = omb_path_absolute(args->where.key_file);
		else if (config.repo->encrypted)
		{
			(void) omb_error_set(err, OMB_USAGE,
								 "restore needs a key file, with which the "
								 "server fetches WAL");
			omb_error_hint(err, "Make one with the recovery code: "
								"omsupply_backup key --recovery-code-file "
								"FILE NEW-KEY-FILE");
		}
		location = omb_url_absolute(args->where.repository);
		if (args->where.credentials != NULL)
			credentials = omb_path_absolute(args->where.credentials);
		config.location = location;
		config.credentials = credentials;
		config.key_file = key_file;
		config.program = program;
		config.pgdata = pgdata;
		config.backup = args->backup;
		config.move = moves;
		config.move_count = args->maps.count;
		config.database = args->databases.value;
		config.database_count = args->databases.count;
		config.take_over = args->take_over;
		config.quarantine = quarantine;
		config.write_manifest = args->manifest;
		config.delta = args->delta;
		config.dry_run = args->dry_run;
		args->files.config.jobs = config.jobs;
		config.files = args->files.given ? &args->files.config : NULL;
		config.progress = show_progress;
		config.removal = show_removal;
		config.arg = &state;
		if (err->status == OMB_OK)
			(void) omb_restore(&config, &result, err);
		omb_display_end(&state.display);
		if (err->status == OMB_OK)
			show_result(&config, &result, state.removals);
	}
	omb_backup_info_clear(&result.info);
	omb_repository_free(config.repo);
	free_maps(moves, args->maps.count);
	omb_files_options_free(&args->files);
	free(args->maps.value);
	free(args->databases.value);
	free(quarantine);
	free(location);
	free(credentials);
	free(key_file);
	free(program);
	free(pgdata);
	return err->status;
}

int
omb_command_restore(int argc, char **argv)
{
	arguments args;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(args.where),
		{ "pgdata", "DIR", "data directory to make; empty or not there",
		  &args.pgdata, NULL, NULL },
		{ "backup", "ID", "backup to use; default the best for the target",
		  &args.backup, NULL, NULL },
		OMB_RECOVERY_OPTIONS(args.target),
		{ "target-action", "ACTION", "\"promote\" (default), pause, shutdown",
		  &args.action, NULL, NULL },
		{ "tablespace-map", "OLD=NEW",
		  "put a tablespace elsewhere; may repeat", NULL, NULL, &args.maps },
		{ "database", "NAME", "only this database; may repeat", NULL, NULL,
		  &args.databases },
		OMB_FILES_OPTIONS(args.files),
		{ "jobs", "N", "threads; default one per core, at most 8", &args.jobs,
		  NULL, NULL },
		{ "take-over", NULL, "the restored server replaces the original", NULL,
		  &args.take_over, NULL },
		{ "quarantine", NULL,
		  "start with omSupply's sync turned off (default with --take-over)",
		  NULL, &args.quarantine, NULL },
		{ "no-quarantine", NULL, "and not", NULL, &args.no_quarantine, NULL },
		{ "backup-manifest", NULL, "write backup_manifest for pg_verifybackup",
		  NULL, &args.manifest, NULL },
		{ "delta", NULL, "change what is in the data directory already", NULL,
		  &args.delta, NULL },
		{ "dry-run", NULL, "plan and check, write nothing", NULL,
		  &args.dry_run, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	int status;

	memset(&args, 0, sizeof(args));
	status = omb_options_parse(&command, options,
							   sizeof(options) / sizeof(options[0]), argc,
							   argv, NULL, 0, 0);
	if (status >= 0)
		return status;
	omb_memory_keep(OMB_PLACE_MEMORY);
	if (run(&args, &err) != OMB_OK)
		omb_print_error(&err);
	return omb_exit_status(err.status);
}
