/*
 * cmd_extract.c: one database, or tables of it, as of any instant.
 *
 * The work is done in a child, so that whatever becomes of it, or of us, the
 * scratch directory is removed: by us, or by the next run.
 */
#include "program/commands.h"
#include "program/display.h"
#include "program/options.h"
#include "program/recoverytarget.h"

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/text.h"
#include "store/url.h"
#include "task/extract/conninfo.h"
#include "task/extract/extract.h"
#include "task/extract/scratch.h"
#include "task/restore/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Time for a server that was told to end, before its files are removed. */
#define END_MS 3000

static const omb_command command = {
	"extract", "",
	"Get one database, or tables of it, as of any instant out of the backups,\n"
	"into a file or a new database, while all servers go on running.",
	"WHERE is a file that does not exist, which pg_restore can read; or a\n"
	"connection string such as \"host=/var/run/postgresql dbname=new\" to a\n"
	"database that is empty or does not exist yet. A password belongs into\n"
	"~/.pgpass.\n\n"
	"What is needed is restored below --scratch (TMPDIR, or /var/tmp), with "
	"space\nfor the whole database, recovered there by a private server, and "
	"removed.\n"
};

typedef struct arguments
{
	omb_repository_options where;
	omb_recovery_options target;
	const char *database;
	omb_value_list tables;
	const char *into;
	const char *backup;
	const char *scratch_base;
	const char *bindir;
	const char *superuser;
	const char *jobs;
	bool no_owner;
	bool dry_run;
	bool json;
	const char *scratch; /* the directory that was made */
} arguments;

/* ---- what it was ---- */

/* What the server has to have that the dump is loaded into. */
static void
show_needs(FILE *out, const char *needs)
{
	if (needs == NULL || needs[0] == '\0')
		return;
	(void) fprintf(out, "The server that it is loaded into must have:\n");
	while (*needs != '\0')
	{
		size_t len = strcspn(needs, "\n");

		(void) fprintf(out, "  %.*s\n", (int) len, needs);
		needs += len + (needs[len] == '\n' ? 1 : 0);
	}
}

static void
show_json(const omb_extract_config *config, const omb_extract_result *result)
{
	omb_json json;

	omb_json_begin(&json, stdout);
	omb_json_open(&json, NULL, '{');
	omb_json_bool(&json, "dry_run", config->from.dry_run);
	omb_json_text(&json, "database", config->database);
	omb_json_text(&json, "backup", result->restored.plan.backup);
	omb_json_u64(&json, "timeline", result->restored.plan.timeline);
	omb_json_text(&json, "last_transaction", result->last_transaction);
	omb_json_u64(&json, "restored_bytes",
				 config->from.dry_run ? result->restored.total_bytes :
										result->restored.bytes);
	if (config->file != NULL)
	{
		omb_json_text(&json, "file", config->file);
		omb_json_u64(&json, "file_bytes", result->file_bytes);
		omb_json_text(&json, "needs", result->needs ? result->needs : "");
	}
	else
	{
		omb_json_text(&json, "into_database", result->into);
		omb_json_bool(&json, "created", result->created);
	}
	omb_json_close(&json, '}');
	omb_json_end(&json);
}

static void
show_text(const omb_extract_config *config, const omb_extract_result *result)
{
	char size[OMB_SIZE_TEXT];

	printf("Database \"%s\" of backup %s, recovered to ", config->database,
		   result->restored.plan.backup);
	omb_recovery_target_show(&config->from.target);
	if (result->last_transaction[0] != '\0')
		printf("; the last transaction ended at %s", result->last_transaction);
	printf(".\n");
	if (config->from.dry_run)
	{
		printf("%s would be restored into a directory for a while, and the "
			   "%s ",
			   omb_size_format(result->restored.total_bytes, size),
			   config->table_count > 0 ? "tables" : "database");
		if (config->file != NULL)
			printf("dumped into file \"%s\".\n", config->file);
		else
			printf("loaded into the %s database \"%s\".\n",
				   result->created ? "new" : "empty", result->into);
		printf("Dry run: nothing was written.\n");
	}
	else if (config->file != NULL)
	{
		printf("Written to file \"%s\", %s. Load it with pg_restore.\n",
			   config->file, omb_size_format(result->file_bytes, size));
		show_needs(stdout, result->needs);
	}
	else
		printf("Loaded into the %s database \"%s\".\n",
			   result->created ? "new" : "empty", result->into);
}

/* ---- the work, in the child ---- */

static void
show_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	omb_display_show(arg, step, bytes, total);
}

static void
ignore_removal(const char *path, uint64_t bytes, void *arg)
{
}

/* The directory that this program is in. */
static char *
own_directory(void)
{
	char *program = omb_program_path();
	char *directory = omb_path_parent(program);

	free(program);
	return directory;
}

static omb_status
open_repository(arguments *args, omb_restore_config *from, omb_error *err)
{
	args->where.browse =
		args->backup == NULL ? OMB_BROWSE_NEWEST : OMB_BROWSE_ALL;
	if (omb_repository_options_open(&args->where, &from->repo, err) != OMB_OK)
		return err->status;
	if (args->where.key_file == NULL && from->repo->encrypted)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "extract needs a key file, with which the "
							 "private server fetches WAL");
		omb_error_hint(err, "Make one with the recovery code: "
							"omsupply_backup key --recovery-code-file "
							"FILE NEW-KEY-FILE");
	}
	return err->status;
}

static int
work(void *arg)
{
	arguments *args = arg;
	omb_error err = OMB_ERROR_INIT;
	omb_extract_config config;
	omb_extract_result result;
	omb_display display;
	char point_name[OMB_POINT_RESTORE_POINT_MAX];
	char *program = omb_program_path();
	char *bindir = args->bindir ? omb_strdup(args->bindir) : own_directory();
	char *key_file = NULL;
	char *credentials = NULL;
	char *location = NULL;
	char *file = NULL;

	memset(&config, 0, sizeof(config));
	memset(&result, 0, sizeof(result));
	omb_display_init(&display, false);
	config.from.backup = args->backup;
	config.from.program = program;
	config.from.dry_run = args->dry_run;
	config.from.progress = show_progress;
	config.from.removal = ignore_removal;
	config.from.arg = &display;
	config.database = args->database;
	config.table = args->tables.value;
	config.table_count = args->tables.count;
	config.scratch = args->scratch;
	config.bindir = bindir;
	config.superuser = args->superuser;
	config.no_owner = args->no_owner;
	if (omb_conninfo_is(args->into))
		config.connection = args->into;
	else
		config.file = file = omb_path_absolute(args->into);
	if (omb_recovery_options_read(&args->target, &config.from.target, &err) ==
			OMB_OK &&
		omb_jobs_parse(args->jobs, &config.from.jobs, &err) == OMB_OK &&
		open_repository(args, &config.from, &err) == OMB_OK &&
		omb_recovery_options_find_mark(&args->target, config.from.repo,
									   &config.from.target, point_name,
									   &err) == OMB_OK)
	{
		location = omb_url_absolute(args->where.repository);
		if (args->where.key_file != NULL)
			key_file = omb_path_absolute(args->where.key_file);
		if (args->where.credentials != NULL)
			credentials = omb_path_absolute(args->where.credentials);
		config.from.location = location;
		config.from.key_file = key_file;
		config.from.credentials = credentials;
		(void) omb_extract(&config, &result, &err);
	}
	omb_display_end(&display);
	if (err.status != OMB_OK)
	{
		omb_print_error(&err);
		show_needs(stderr, result.needs);
	}
	else if (args->json)
		show_json(&config, &result);
	else
		show_text(&config, &result);
	omb_extract_result_clear(&result);
	omb_repository_free(config.from.repo);
	free(file);
	free(location);
	free(credentials);
	free(key_file);
	free(bindir);
	free(program);
	return omb_exit_status(err.status);
}

/* ---- the parent ---- */

static omb_status
check(const arguments *args, omb_error *err)
{
	if (args->database == NULL || args->into == NULL)
		return omb_error_set(err, OMB_USAGE, "--%s is missing",
							 args->database == NULL ? "database" : "into");
	if (geteuid() == 0)
	{
		(void) omb_error_set(err, OMB_USAGE, "extract does not work as root");
		omb_error_detail(err, "PostgreSQL's server refuses to be run by it.");
		omb_error_hint(err, "Execute it as the user that runs the server: "
							"sudo -u postgres omsupply_backup extract ...");
	}
	return err->status;
}

static int
run(arguments *args)
{
	omb_error err = OMB_ERROR_INIT;
	omb_scratch scratch = { NULL, -1 };
	int status;

	if (check(args, &err) == OMB_OK)
		(void) omb_scratch_make(args->scratch_base, &scratch, &err);
	if (err.status != OMB_OK)
	{
		omb_print_error(&err);
		return omb_exit_status(err.status);
	}
	args->scratch = scratch.path;
	status = omb_process_supervise(work, args);
	if (status > 128)
	{
		(void) fprintf(stderr,
					   "omsupply_backup: error: extract was ended by signal "
					   "%d\n",
					   status - 128);
		omb_process_reap(END_MS);
		status = OMB_EXIT_FAILED;
	}
	if (omb_scratch_remove(&scratch, &err) != OMB_OK)
	{
		omb_print_error(&err);
		status = OMB_EXIT_FAILED;
	}
	/* what fetched WAL ahead ends when its directory is gone */
	omb_process_reap(END_MS);
	return status;
}

int
omb_command_extract(int argc, char **argv)
{
	arguments args;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(args.where),
		{ "database", "NAME", "the database", &args.database, NULL, NULL },
		{ "table", "SCHEMA.NAME", "only this table; may repeat", NULL, NULL,
		  &args.tables },
		{ "into", "WHERE", "file or connection string", &args.into, NULL,
		  NULL },
		{ "backup", "ID", "backup to use; default the best for the target",
		  &args.backup, NULL, NULL },
		OMB_RECOVERY_OPTIONS(args.target),
		{ "no-owner", NULL, "leave out owners, rights and tablespaces", NULL,
		  &args.no_owner, NULL },
		{ "scratch", "DIR", "directory for the restored files",
		  &args.scratch_base, NULL, NULL },
		{ "bindir", "DIR", "PostgreSQL's programs; default this one's",
		  &args.bindir, NULL, NULL },
		{ "superuser", "NAME", "of the cluster that was backed up",
		  &args.superuser, NULL, NULL },
		{ "jobs", "N", "threads; default one per core, at most 8", &args.jobs,
		  NULL, NULL },
		{ "dry-run", NULL, "check everything, write nothing", NULL,
		  &args.dry_run, NULL },
		{ "json", NULL, "write JSON", NULL, &args.json, NULL },
	};
	int status;

	memset(&args, 0, sizeof(args));
	status = omb_options_parse(&command, options,
							   sizeof(options) / sizeof(options[0]), argc,
							   argv, NULL, 0, 0);
	if (status < 0)
	{
		omb_memory_keep(OMB_PLACE_MEMORY);
		status = run(&args);
	}
	free(args.tables.value);
	return status;
}
