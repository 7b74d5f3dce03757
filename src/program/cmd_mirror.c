/*
 * cmd_mirror.c: copy a repository to another store.
 */
#include "program/commands.h"
#include "program/display.h"
#include "program/options.h"
#include "program/target.h"

#include "base/json.h"
#include "base/text.h"
#include "store/url.h"
#include "task/mirror/mirror.h"
#include "task/mirror/mirrorcheck.h"
#include "task/mirror/mirrorlock.h"
#include "task/mirror/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const omb_command command = {
	"mirror", "", "Copy what a repository has and its copy lacks.",
	"The copy is a repository of its own: restore from it with --repository.\n"
	"Nothing is removed there; use expire and prune with --repository.\n"
	"With the key (--key-file, --recovery-code-file) the most recent backup\n"
	"goes first, and a damaged pack holds up only the backups that need it.\n"
	"Without it all packs go before any backup.\n"
	"RATE is bytes per second: 500kB, 2MB.\n"
	"Exit status 0: the copy is complete, with --check sound; 1: it is not.\n"
};

typedef struct arguments
{
	omb_repository_options from; /* code and key are the source's */
	const char *to;
	const char *to_credentials;
	const char *jobs;
	const char *limit;
	const char *sample;
	const char *newest;
	bool reconcile;
	bool probe;
	bool check;
	bool heal;
	bool dry_run;
	bool as_json;
} arguments;

typedef struct mirror_state
{
	omb_display display;
	omb_json *json; /* NULL for text */
} mirror_state;

static void
show_problem(const char *object, const omb_error *problem, void *arg)
{
	mirror_state *state = arg;

	if (state->json != NULL)
	{
		omb_json_open(state->json, NULL, '{');
		omb_json_text(state->json, "object", object);
		omb_json_text(state->json, "problem", problem->message);
		omb_json_close(state->json, '}');
		return;
	}
	omb_display_end(&state->display);
	printf("PROBLEM  %s\n", problem->message);
}

static void
show_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	mirror_state *state = arg;

	omb_display_show(&state->display, step, bytes, total);
}

/* "500kB", "2 MB", "1048576": powers of 1024, as PostgreSQL's units. */
static omb_status
parse_rate(const char *text, uint64_t *rate, omb_error *err)
{
	*rate = 0;
	if (text == NULL || omb_size_parse(text, rate))
		return OMB_OK;
	(void) omb_error_set(err, OMB_USAGE, "invalid rate for --limit");
	omb_error_hint(err, "Give bytes per second, for example 500kB or 2MB.");
	return err->status;
}

static omb_status
parse_sample(const char *text, unsigned *percent, omb_error *err)
{
	uint64_t value = 0;

	if (text != NULL && (!omb_u64_parse(text, &value) || value > 100))
		return omb_error_set(err, OMB_USAGE,
							 "invalid value \"%s\" for --sample: it must be "
							 "0 to 100",
							 text);
	*percent = (unsigned) value;
	return OMB_OK;
}

static omb_status
parse_newest(const char *text, uint64_t *newest, omb_error *err)
{
	if (text != NULL && (!omb_u64_parse(text, newest) || *newest == 0))
		return omb_error_set(err, OMB_USAGE,
							 "invalid number \"%s\" for --newest", text);
	return OMB_OK;
}

/* Whether the key is given: it is not needed. */
static bool
has_key(const omb_repository_options *from)
{
	return from->key_file != NULL || from->code_file != NULL;
}

/* Open both; the source with its key when that is there. */
static omb_status
open_stores(arguments *args, omb_mirror_config *config, omb_store **from,
			omb_error *err)
{
	omb_repository_facts facts;

	omb_repository_options_complete(&args->from);
	if (args->from.repository == NULL || args->to == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE, "--%s is missing",
							 args->to == NULL ? "to" : "from");
		return err->status;
	}
	if (args->to_credentials == NULL)
		args->to_credentials = args->from.credentials;
	if (omb_store_open_url(args->from.repository, args->from.credentials, from,
						   err) != OMB_OK ||
		omb_repository_look(*from, &facts, err) != OMB_OK)
		return err->status;
	config->from = *from;
	/* without encryption the key is no secret */
	if (has_key(&args->from) || !facts.encrypted)
	{
		if (omb_repository_options_open(&args->from, &config->repo, err) !=
			OMB_OK)
			return err->status;
		config->from = config->repo->store;
	}
	if ((args->dry_run || args->check ||
		 omb_target_make(args->to, err) == OMB_OK) &&
		omb_store_open_url(args->to, args->to_credentials, &config->to, err) ==
			OMB_OK)
		(void) omb_target_check_different(config->from, config->to, err);
	return err->status;
}

/* What is there is locked anew when it is time for that. */
static omb_status
extend_locks(const arguments *args, const omb_mirror_config *config,
			 omb_mirror_lock_result *result, omb_error *err)
{
	omb_mirror_lock_config locks;
	omb_mirror_locker *locker;
	char *target, *path;

	target = omb_url_absolute(args->to);
	path = omb_mirror_locked_path(config->from, target);
	memset(&locks, 0, sizeof(locks));
	locks.to = config->to;
	locks.path = path;
	locks.jobs = config->jobs;
	locker = omb_mirror_locker_new(&locks);
	if (locker != NULL)
		(void) omb_mirror_locker_step(locker, 0, result, err);
	omb_mirror_locker_free(locker);
	free(path);
	free(target);
	return err->status;
}

static void
show_json(const omb_mirror_result *result, bool dry_run, omb_json *json)
{
	omb_json_bool(json, "dry_run", dry_run);
	omb_json_u64(json, "objects_copied", result->objects);
	omb_json_u64(json, "bytes_copied", result->bytes);
	omb_json_u64(json, "backups_copied", result->backups);
	omb_json_u64(json, "objects_at_target", result->there);
	omb_json_u64(json, "objects_missing", result->missing);
	omb_json_u64(json, "bytes_missing", result->bytes_missing);
	omb_json_u64(json, "backups_missing", result->backups_missing);
	omb_json_u64(json, "objects_failed", result->failed);
	omb_json_u64(json, "objects_damaged", result->damaged);
	omb_json_bool(json, "listed", result->listed);
}

static void
show_text(const omb_mirror_config *config, const omb_mirror_result *result)
{
	char size[OMB_SIZE_TEXT];

	if (config->dry_run)
		printf("%" PRIu64 " objects, %s, would be copied to \"%s\", %" PRIu64
			   " backups among them\n",
			   result->missing, omb_size_format(result->bytes_missing, size),
			   config->to->location, result->backups_missing);
	else
		printf("%" PRIu64 " objects, %s, copied to \"%s\", %" PRIu64
			   " backups among them; %" PRIu64 " objects are there\n",
			   result->objects, omb_size_format(result->bytes, size),
			   config->to->location, result->backups, result->there);
}

static void
show_check(const omb_mirror_check_result *result, omb_json *json)
{
	if (json != NULL)
	{
		omb_json_u64(json, "compared", result->compared);
		omb_json_u64(json, "read", result->read);
		omb_json_u64(json, "changed", result->changed);
		omb_json_u64(json, "strange", result->strange);
		omb_json_u64(json, "only_at_target", result->extra);
		omb_json_u64(json, "healed", result->healed);
		return;
	}
	printf("%" PRIu64 " objects compared, %" PRIu64 " of them read; %" PRIu64
		   " changed, %" PRIu64 " strange, %" PRIu64 " healed; %" PRIu64
		   " only at the target\n",
		   result->compared, result->read, result->changed, result->strange,
		   result->healed, result->extra);
}

static void
run(const arguments *args, omb_mirror_config *config, unsigned sample,
	mirror_state *state, omb_error *err)
{
	omb_mirror_check_result checked;
	omb_mirror_lock_result locks;
	omb_mirror_result result;
	omb_error check_error = OMB_ERROR_INIT;
	omb_json json;

	memset(&checked, 0, sizeof(checked));
	memset(&result, 0, sizeof(result));
	memset(&locks, 0, sizeof(locks));
	if (args->as_json)
	{
		state->json = &json;
		omb_json_begin(&json, stdout);
		omb_json_open(&json, NULL, '{');
		omb_json_open(&json, "problems", '[');
	}
	if (args->check)
		(void) omb_mirror_check(config, sample, args->heal, &checked,
								&check_error);
	/* what is missing is counted, or with --heal copied */
	if (check_error.status == OMB_OK || check_error.status == OMB_DAMAGED)
	{
		if (omb_mirror(config, &result, err) == OMB_OK && !config->dry_run)
			(void) extend_locks(args, config, &locks, err);
	}
	omb_display_end(&state->display);
	if (args->as_json)
	{
		omb_json_close(&json, ']');
		if (args->check)
			show_check(&checked, &json);
		show_json(&result, config->dry_run, &json);
		omb_json_u64(&json, "locks_extended", locks.extended);
		omb_json_close(&json, '}');
		omb_json_end(&json);
	}
	else
	{
		if (args->check && (check_error.status == OMB_OK ||
							check_error.status == OMB_DAMAGED))
			show_check(&checked, NULL);
		if (err->status == OMB_OK && check_error.status == OMB_OK)
			show_text(config, &result);
		if (locks.extended > 0)
			printf("%" PRIu64 " objects that were there are locked anew\n",
				   locks.extended);
	}
	if (check_error.status != OMB_OK)
		*err = check_error;
	else if (err->status == OMB_OK && args->check && result.missing > 0 &&
			 config->dry_run)
	{
		(void) omb_error_set(err, OMB_DAMAGED,
							 "the copy of the repository is not complete");
		omb_error_detail(err, "%" PRIu64 " objects are missing at \"%s\".",
						 result.missing, config->to->location);
		omb_error_hint(err, "Run the mirror.");
	}
}

/* ---- probing ---- */

typedef struct probe_output
{
	omb_json *json; /* NULL for text */
} probe_output;

static void
show_probe(const omb_probe_row *row, void *arg)
{
	probe_output *output = arg;
	const char *word = omb_probe_word(row->result);

	if (output->json != NULL)
	{
		omb_json_open(output->json, NULL, '{');
		omb_json_text(output->json, "operation", row->operation);
		omb_json_text(output->json, "result", word);
		omb_json_text(output->json, "found", row->found);
		omb_json_text(output->json, "hint", row->hint);
		omb_json_close(output->json, '}');
		return;
	}
	printf("%-8s %-14s %s\n", word, row->operation, row->found);
	if (row->hint[0] != '\0')
		printf("%-8s %-14s HINT: %s\n", "", "", row->hint);
	(void) fflush(stdout);
}

/* Try what the target can do; the exit status. */
static int
probe(const arguments *args, omb_error *err)
{
	omb_repository_options defaults = args->from;
	omb_probe_config config;
	probe_output output = { NULL };
	omb_json json;
	int errors;

	omb_repository_options_complete(&defaults);
	if (args->to == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE, "--to is missing");
		return OMB_EXIT_USAGE;
	}
	if (omb_target_make(args->to, err) != OMB_OK)
		return OMB_EXIT_FAILED;
	memset(&config, 0, sizeof(config));
	config.url = args->to;
	config.credentials =
		args->to_credentials ? args->to_credentials : defaults.credentials;
	config.row = show_probe;
	config.arg = &output;
	if (args->as_json)
	{
		output.json = &json;
		omb_json_begin(&json, stdout);
		omb_json_open(&json, NULL, '[');
	}
	errors = omb_probe(&config);
	if (args->as_json)
	{
		omb_json_close(&json, ']');
		omb_json_end(&json);
	}
	return errors == 0 ? OMB_EXIT_DONE : OMB_EXIT_FAILED;
}

int
omb_command_mirror(int argc, char **argv)
{
	arguments args;
	const omb_option options[] = {
		{ "from", "DIR-or-URL", "repository (or OMSUPPLY_BACKUP_REPOSITORY)",
		  &args.from.repository, NULL, NULL },
		{ "to", "DIR-or-URL", "where the copy is", &args.to, NULL, NULL },
		{ "credentials-from", "FILE",
		  "secrets for its store (or OMSUPPLY_BACKUP_CREDENTIALS)",
		  &args.from.credentials, NULL, NULL },
		{ "credentials-to", "FILE",
		  "secrets for the copy's store; default the same",
		  &args.to_credentials, NULL, NULL },
		{ "key-file", "FILE", "key file (or OMSUPPLY_BACKUP_KEY_FILE)",
		  &args.from.key_file, NULL, NULL },
		{ "recovery-code-file", "FILE",
		  "file with the recovery code, \"-\" for standard input",
		  &args.from.code_file, NULL, NULL },
		{ "jobs", "N", "transfers at once; default one per core, at most 8",
		  &args.jobs, NULL, NULL },
		{ "limit", "RATE", "bytes per second; default no limit", &args.limit,
		  NULL, NULL },
		{ "newest", "N",
		  "only the newest N backups and their WAL; needs the key",
		  &args.newest, NULL, NULL },
		{ "reconcile", NULL, "list the target, whatever is known of it", NULL,
		  &args.reconcile, NULL },
		{ "probe", NULL, "only try what the target can do; needs --to only",
		  NULL, &args.probe, NULL },
		{ "check", NULL, "compare names and sizes, copy nothing", NULL,
		  &args.check, NULL },
		{ "sample", "PERCENT", "with --check: read so many objects too",
		  &args.sample, NULL, NULL },
		{ "heal", NULL, "with --check: copy over what is damaged or missing",
		  NULL, &args.heal, NULL },
		{ "dry-run", NULL, "only tell what would be copied", NULL,
		  &args.dry_run, NULL },
		{ "json", NULL, "write JSON", NULL, &args.as_json, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_config config;
	omb_store *from = NULL;
	mirror_state state;
	char *list_path = NULL;
	char *target = NULL;
	unsigned sample = 0;
	int status;

	memset(&args, 0, sizeof(args));
	status = omb_options_parse(&command, options,
							   sizeof(options) / sizeof(options[0]), argc,
							   argv, NULL, 0, 0);
	if (status >= 0)
		return status;
	omb_mirror_config_init(&config);
	omb_display_init(&state.display, false);
	state.json = NULL;
	if (args.probe)
		status = probe(&args, &err);
	else if ((args.heal || args.sample != NULL) && !args.check)
		(void) omb_error_set(&err, OMB_USAGE, "--%s goes with --check only",
							 args.heal ? "heal" : "sample");
	else if (args.heal && args.dry_run)
		(void) omb_error_set(&err, OMB_USAGE,
							 "--heal and --dry-run exclude each other");
	else if (omb_jobs_parse(args.jobs, &config.jobs, &err) == OMB_OK &&
			 parse_rate(args.limit, &config.limit, &err) == OMB_OK &&
			 parse_sample(args.sample, &sample, &err) == OMB_OK &&
			 parse_newest(args.newest, &config.newest, &err) == OMB_OK &&
			 open_stores(&args, &config, &from, &err) == OMB_OK)
	{
		target = omb_url_absolute(args.to);
		list_path = omb_mirror_list_path(config.from, target);
		config.list_path = list_path;
		config.reconcile = args.reconcile || args.check;
		config.dry_run = args.dry_run || (args.check && !args.heal);
		config.problem = show_problem;
		config.progress = show_progress;
		config.arg = &state;
		run(&args, &config, sample, &state, &err);
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	free(list_path);
	free(target);
	omb_store_free(config.to);
	omb_repository_free(config.repo);
	omb_store_free(from);
	return args.probe && err.status == OMB_OK ? status :
												omb_exit_status(err.status);
}
