/*
 * cmd_verify.c: read everything back and check it.
 */
#include "program/commands.h"
#include "program/display.h"
#include "program/options.h"

#include "base/json.h"
#include "base/text.h"
#include "task/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const omb_command command = {
	"verify", "[BACKUP]",
	"Read a backup, or all of a repository, back and check it.",
	"Exit status 0: all is well; 1: something is damaged or missing.\n"
};

typedef struct verify_state
{
	omb_display display;
	omb_json *json; /* NULL for text */
} verify_state;

static void
show_problem(const char *object, const omb_error *problem, void *arg)
{
	verify_state *state = arg;

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
show_result(const omb_verify_result *result, omb_json *json)
{
	char size[OMB_SIZE_TEXT];

	if (json != NULL)
	{
		omb_json_u64(json, "backups", result->backups);
		omb_json_u64(json, "packs", result->packs);
		omb_json_u64(json, "wal_files", result->wal_files);
		omb_json_u64(json, "bytes", result->bytes);
		omb_json_u64(json, "problems", result->problems);
		return;
	}
	printf("%" PRIu64 " backups, %" PRIu64 " packs, %" PRIu64
		   " WAL files, %s read: ",
		   result->backups, result->packs, result->wal_files,
		   omb_size_format(result->bytes, size));
	if (result->problems == 0)
		printf("no problem found\n");
	else
		printf("%" PRIu64 " PROBLEMS\n", result->problems);
}

int
omb_command_verify(int argc, char **argv)
{
	omb_repository_options where = { NULL, NULL, NULL };
	bool as_json = false;
	const char *jobs_text = NULL;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "json", NULL, "write JSON", NULL, &as_json, NULL },
		{ "jobs", "N", "threads; default one per core, at most 8", &jobs_text,
		  NULL, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_verify_config config;
	omb_verify_result result;
	verify_state state;
	omb_json json;
	const char *backup = NULL;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, &backup, 0, 1);

	if (status >= 0)
		return status;
	memset(&config, 0, sizeof(config));
	memset(&result, 0, sizeof(result));
	omb_display_init(&state.display, false);
	state.json = as_json ? &json : NULL;
	config.backup = backup;
	config.problem = show_problem;
	config.note = show_note;
	config.progress = show_progress;
	config.arg = &state;
	if (omb_jobs_parse(jobs_text, &config.jobs, &err) == OMB_OK &&
		omb_repository_options_open(&where, &config.repo, &err) == OMB_OK)
	{
		if (as_json)
		{
			omb_json_begin(&json, stdout);
			omb_json_open(&json, NULL, '{');
			omb_json_open(&json, "found", '[');
		}
		(void) omb_verify(&config, &result, &err);
		omb_display_end(&state.display);
		if (as_json)
			omb_json_close(&json, ']');
		show_result(&result, state.json);
		if (as_json)
		{
			omb_json_close(&json, '}');
			omb_json_end(&json);
		}
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(config.repo);
	if (err.status == OMB_OK && result.problems > 0)
		return OMB_EXIT_FAILED;
	return omb_exit_status(err.status);
}
