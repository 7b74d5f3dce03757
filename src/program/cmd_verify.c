/*
 * cmd_verify.c: check a repository, tell what damage means, repair it.
 */
#include "program/commands.h"
#include "program/display.h"
#include "program/options.h"
#include "program/showverify.h"

#include "base/text.h"
#include "task/verify/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const omb_command command = {
	"verify", "[BACKUP]",
	"Read a backup, or all of a repository, back and check it.",
	"With --repair-from, a copy of the repository, or --pg-wal, the pg_wal of "
	"a\nserver, it tells what could be repaired, and with --repair does it.\n"
	"Exit status 0: all is well, or was repaired; 1: something is damaged or\n"
	"missing.\n"
};

typedef struct arguments
{
	omb_repository_options where;
	const char *backup;
	const char *jobs;
	const char *sample;
	const char *seed;
	const char *max_time;
	const char *repair_from;
	const char *pg_wal;
	bool json;
	bool fast;
	bool repair;
} arguments;

typedef struct verify_state
{
	omb_display display;
	bool quiet;		/* for a second look */
	omb_json *json; /* NULL for text */
} verify_state;

static void
show_problem(const char *object, const omb_error *problem, void *arg)
{
	verify_state *state = arg;

	if (state->quiet)
		return;
	omb_display_end(&state->display);
	if (state->json == NULL)
	{
		printf("PROBLEM  %s\n", problem->message);
		return;
	}
	omb_json_open(state->json, NULL, '{');
	omb_json_text(state->json, "object", object);
	omb_json_text(state->json, "problem", problem->message);
	omb_json_close(state->json, '}');
}

static void
show_note(const char *text, void *arg)
{
	verify_state *state = arg;

	if (state->quiet)
		return;
	omb_display_end(&state->display);
	if (state->json == NULL)
		printf("NOTE     %s\n", text);
	else
	{
		omb_json_open(state->json, NULL, '{');
		omb_json_text(state->json, "note", text);
		omb_json_close(state->json, '}');
	}
}

static void
show_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	verify_state *state = arg;

	omb_display_show(&state->display, step, bytes, total);
}

static void
show_step(const char *step, uint64_t done, uint64_t total, void *arg)
{
	verify_state *state = arg;

	omb_display_show(&state->display, step, 0, 0);
}

/* ---- arguments ---- */

static omb_status
read_limits(const arguments *args, omb_verify_config *config, omb_error *err)
{
	char *end;

	config->seed = (uint64_t) omb_time_now();
	config->fast = args->fast;
	if (args->sample != NULL)
	{
		config->sample = strtod(args->sample, &end);
		if (*end != '\0' || end == args->sample ||
			!(config->sample > 0 && config->sample <= 100))
			return omb_error_set(err, OMB_USAGE,
								 "invalid sample \"%s\": it must be a "
								 "percentage above 0 and at most 100",
								 args->sample);
	}
	if (args->seed != NULL && !omb_u64_parse(args->seed, &config->seed))
		return omb_error_set(err, OMB_USAGE,
							 "invalid seed \"%s\": it must be a number",
							 args->seed);
	if (args->max_time != NULL &&
		(!omb_u64_parse(args->max_time, &config->max_seconds) ||
		 config->max_seconds == 0 || config->max_seconds > 10000000))
		return omb_error_set(err, OMB_USAGE,
							 "invalid time \"%s\": it must be a number of "
							 "seconds",
							 args->max_time);
	if (args->fast && (args->sample != NULL || args->max_time != NULL))
		return omb_error_set(err, OMB_USAGE,
							 "--fast reads no contents: it cannot be combined "
							 "with --sample or --max-time");
	if (args->repair && args->repair_from == NULL && args->pg_wal == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE, "nothing to repair from");
		omb_error_hint(err, "Give --repair-from or --pg-wal.");
	}
	return err->status;
}

static omb_status
open_repositories(arguments *args, omb_repository **repo,
				  omb_repository **from, omb_error *err)
{
	if (omb_repository_options_open(&args->where, repo, err) == OMB_OK &&
		args->repair_from != NULL)
	{
		omb_repository_options other = args->where;

		other.repository = args->repair_from;
		if (other.key_file == NULL && other.code_file != NULL &&
			strcmp(other.code_file, "-") == 0)
			(void) omb_error_set(err, OMB_USAGE,
								 "the recovery code must come from a file or "
								 "a key file be given, to open two "
								 "repositories");
		else if (omb_repository_options_open(&other, from, err) == OMB_OK)
			(void) omb_repair_check(*repo, *from, err);
	}
	return err->status;
}

/* ---- the work ---- */

/*
 * Repair, and when something was, look again at what could not be seen while
 * it was missing.
 */
static omb_status
repair(const arguments *args, const omb_verify_config *config,
	   omb_repository *from, omb_problems *problems, uint64_t *more,
	   omb_error *err)
{
	omb_repair_config repair_config;
	omb_verify_config again = *config;
	omb_verify_result result;
	verify_state *state = config->arg;
	uint64_t before = omb_problems_left(problems);

	memset(&repair_config, 0, sizeof(repair_config));
	repair_config.repo = config->repo;
	repair_config.from = from;
	repair_config.pg_wal = args->pg_wal;
	repair_config.apply = args->repair;
	repair_config.progress = show_step;
	repair_config.arg = config->arg;
	if (omb_repair(&repair_config, problems, err) != OMB_OK ||
		omb_problems_left(problems) == before)
		return err->status;
	/* manifests and names, not the contents */
	again.skip_contents = true;
	again.max_seconds = 0;
	state->quiet = true;
	if (omb_verify(&again, &result, err) == OMB_OK &&
		result.problems.total > omb_problems_left(problems))
		*more = result.problems.total - omb_problems_left(problems);
	state->quiet = false;
	omb_problems_clear(&result.problems);
	return err->status;
}

static omb_status
run(arguments *args, omb_json *json, bool *sound, omb_error *err)
{
	omb_verify_config config;
	omb_verify_result result;
	omb_impact impact;
	verify_state state;
	omb_repository *from = NULL;
	bool can_repair = args->repair_from != NULL || args->pg_wal != NULL;
	uint64_t left = 0;
	uint64_t more = 0;

	memset(&config, 0, sizeof(config));
	memset(&result, 0, sizeof(result));
	memset(&impact, 0, sizeof(impact));
	memset(&state, 0, sizeof(state));
	omb_display_init(&state.display, false);
	state.json = json;
	config.backup = args->backup;
	config.problem = show_problem;
	config.note = show_note;
	config.progress = show_progress;
	config.arg = &state;
	if (read_limits(args, &config, err) == OMB_OK &&
		omb_jobs_parse(args->jobs, &config.jobs, err) == OMB_OK &&
		open_repositories(args, &config.repo, &from, err) == OMB_OK)
	{
		if (json != NULL)
		{
			omb_json_begin(json, stdout);
			omb_json_open(json, NULL, '{');
			omb_json_open(json, "found", '[');
		}
		if (omb_verify(&config, &result, err) == OMB_OK && can_repair)
			(void) repair(args, &config, from, &result.problems, &more, err);
		state.quiet = args->backup != NULL;
		if (err->status == OMB_OK)
			(void) omb_impact_find(config.repo, &result.problems, &impact,
								   show_note, &state, err);
		omb_display_end(&state.display);
		left = omb_problems_left(&result.problems) + more;
		if (json != NULL)
			omb_json_close(json, ']');
		omb_show_damage(&result.problems, can_repair, json);
		omb_show_coverage(&config, &result, json);
		if (json != NULL)
			omb_json_u64(json, "problems", left);
		else if (left == 0)
			printf("no problem %s\n",
				   result.problems.total > 0 ? "left" : "found");
		else
			printf("%" PRIu64 " PROBLEM%s\n", left, left == 1 ? "" : "S");
		if (more > 0 && json == NULL)
			printf("Verify again: what was repaired has problems.\n");
		if (args->backup == NULL && err->status == OMB_OK)
			omb_show_restorable(&impact, json);
		if (json != NULL)
		{
			omb_json_close(json, '}');
			omb_json_end(json);
		}
	}
	*sound = left == 0;
	omb_impact_clear(&impact);
	omb_problems_clear(&result.problems);
	omb_repository_free(from);
	omb_repository_free(config.repo);
	return err->status;
}

int
omb_command_verify(int argc, char **argv)
{
	arguments args;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(args.where),
		{ "json", NULL, "write JSON", NULL, &args.json, NULL },
		{ "fast", NULL, "names and sizes only, contents are not read", NULL,
		  &args.fast, NULL },
		{ "sample", "PERCENT", "read a random part of packs and WAL",
		  &args.sample, NULL, NULL },
		{ "seed", "N", "of the random part; default another each time",
		  &args.seed, NULL, NULL },
		{ "max-time", "SECONDS", "begin to read nothing more after this time",
		  &args.max_time, NULL, NULL },
		{ "repair-from", "DIR", "look for good copies in this repository",
		  &args.repair_from, NULL, NULL },
		{ "pg-wal", "DIR", "look for good WAL segments in this directory",
		  &args.pg_wal, NULL, NULL },
		{ "repair", NULL, "replace what is damaged by good copies", NULL,
		  &args.repair, NULL },
		{ "jobs", "N", "threads; default one per core, at most 8", &args.jobs,
		  NULL, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_json json;
	bool sound = false;
	int status;

	memset(&args, 0, sizeof(args));
	status = omb_options_parse(&command, options,
							   sizeof(options) / sizeof(options[0]), argc,
							   argv, &args.backup, 0, 1);
	if (status >= 0)
		return status;
	if (run(&args, args.json ? &json : NULL, &sound, &err) != OMB_OK)
		omb_print_error(&err);
	else if (!sound)
		return OMB_EXIT_FAILED;
	return omb_exit_status(err.status);
}
