/*
 * cmd_prune.c: remove what no backup uses.
 */
#include "program/commands.h"
#include "program/display.h"
#include "program/options.h"

#include "base/json.h"
#include "base/text.h"
#include "task/retain/prune.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const omb_command command = {
	"prune", "", "Remove what no backup uses, to free space.",
	"Packs that no backup uses are removed; what is left of packs that are\n"
	"mostly unused is moved to new packs. No backup is removed.\n"
	"Exit status 0: done; 1: not done, or a pack is missing or damaged.\n"
};

#define DAY (24 * 3600)

typedef struct prune_state
{
	omb_display display;
	omb_json *json; /* NULL for text */
} prune_state;

static void
show_pack(const omb_prune_pack *pack, void *arg)
{
	static const char *const words[] = { "keep",	"remove",  "spare",
										 "rewrite", "missing", "skip" };
	prune_state *state = arg;
	bool problem =
		pack->verdict == OMB_PRUNE_MISSING || pack->verdict == OMB_PRUNE_SKIP;

	if (state->json == NULL && problem)
	{
		omb_display_end(&state->display);
		printf("PROBLEM  object \"%s\": %s\n", pack->name, pack->reason);
	}
	if (state->json == NULL || pack->verdict == OMB_PRUNE_KEEP)
		return;
	omb_json_open(state->json, NULL, '{');
	omb_json_text(state->json, "object", pack->name);
	omb_json_text(state->json, "verdict", words[pack->verdict]);
	omb_json_text(state->json, "reason", pack->reason);
	omb_json_u64(state->json, "bytes", pack->size);
	omb_json_u64(state->json, "bytes_used", pack->live);
	omb_json_close(state->json, '}');
}

static void
show_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	prune_state *state = arg;

	omb_display_show(&state->display, step, bytes, total);
}

static void
show_json(const omb_prune_result *result, bool dry_run, omb_json *json)
{
	omb_json_bool(json, "dry_run", dry_run);
	omb_json_u64(json, "backups", result->backups);
	omb_json_u64(json, "packs", result->packs);
	omb_json_u64(json, "packs_removed", result->packs_removed);
	omb_json_u64(json, "packs_rewritten", result->packs_rewritten);
	omb_json_u64(json, "packs_spared", result->packs_spared);
	omb_json_u64(json, "packs_missing", result->packs_missing);
	omb_json_u64(json, "packs_skipped", result->packs_skipped);
	omb_json_u64(json, "packs_locked", result->packs_locked);
	omb_json_u64(json, "bytes_removed", result->bytes_removed);
	omb_json_u64(json, "bytes_saved", result->bytes_saved);
	omb_json_u64(json, "revisions_removed", result->revisions);
	omb_json_u64(json, "leftovers_removed", result->leftovers);
	omb_json_u64(json, "bytes_leftovers", result->bytes_leftovers);
}

static void
show_text(const omb_prune_result *result, bool dry_run)
{
	const char *would = dry_run ? "would be " : "";
	char size[OMB_SIZE_TEXT];
	uint64_t freed =
		result->bytes_removed + result->bytes_saved + result->bytes_leftovers;

	printf("%" PRIu64 " backups, %" PRIu64 " packs: %" PRIu64
		   " %sremoved, %" PRIu64 " %srewritten, %s %sfreed\n",
		   result->backups, result->packs, result->packs_removed, would,
		   result->packs_rewritten, would, omb_size_format(freed, size),
		   would);
	if (result->packs_spared > 0 && result->backups > 0)
		printf("%" PRIu64 " packs of unfinished backups are kept for the next "
			   "backup\n",
			   result->packs_spared);
	else if (result->packs_spared > 0)
		printf("the repository has no backup: its packs are kept\n");
	if (result->packs_locked > 0)
		printf("%" PRIu64 " packs that no backup uses are locked by the store "
			   "and stay until their time is over\n",
			   result->packs_locked);
	if (result->leftovers > 0)
		printf("%" PRIu64 " files that were cut short %sremoved\n",
			   result->leftovers, would);
	if (result->packs_missing + result->packs_skipped > 0)
		printf("%" PRIu64 " packs are MISSING, %" PRIu64
			   " are DAMAGED; run: omsupply_backup verify\n",
			   result->packs_missing, result->packs_skipped);
}

/* A number from the command line, or the default. */
static omb_status
parse_number(const char *option, const char *text, uint64_t max,
			 uint64_t *value, omb_error *err)
{
	if (text == NULL || (omb_u64_parse(text, value) && *value <= max))
		return OMB_OK;
	(void) omb_error_set(err, OMB_USAGE, "\"%s\" is no value for --%s", text,
						 option);
	omb_error_hint(err, "Give a whole number from 0 to %" PRIu64 ".", max);
	return err->status;
}

static void
run(omb_prune_config *config, prune_state *state, bool as_json, omb_error *err)
{
	omb_prune_result result;
	omb_json json;

	if (as_json)
	{
		state->json = &json;
		omb_json_begin(&json, stdout);
		omb_json_open(&json, NULL, '{');
		omb_json_open(&json, "found", '[');
	}
	(void) omb_prune(config, &result, err);
	omb_display_end(&state->display);
	if (as_json)
	{
		omb_json_close(&json, ']');
		show_json(&result, config->dry_run, &json);
		omb_json_close(&json, '}');
		omb_json_end(&json);
	}
	else if (err->status == OMB_OK)
		show_text(&result, config->dry_run);
	if (err->status == OMB_OK &&
		result.packs_missing + result.packs_skipped > 0)
		(void) omb_error_set(err, OMB_DAMAGED, "repository \"%s\" is damaged",
							 config->repo->store->location);
}

int
omb_command_prune(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	bool as_json = false, dry_run = false;
	const char *grace_text = NULL;
	const char *below_text = NULL;
	const char *jobs_text = NULL;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "dry-run", NULL, "only tell what would be done", NULL, &dry_run,
		  NULL },
		{ "grace", "DAYS",
		  "keep what unfinished backups have stored; default 7", &grace_text,
		  NULL, NULL },
		{ "rewrite-below", "PERCENT",
		  "rewrite packs of which less is in use; default 30, 0 for none",
		  &below_text, NULL, NULL },
		{ "json", NULL, "write JSON", NULL, &as_json, NULL },
		{ "jobs", "N", "threads; default one per core, at most 8", &jobs_text,
		  NULL, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_prune_config config;
	prune_state state;
	uint64_t days = OMB_PRUNE_GRACE / DAY;
	uint64_t below = OMB_PRUNE_REWRITE_BELOW;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, NULL, 0, 0);

	if (status >= 0)
		return status;
	omb_prune_config_init(&config);
	omb_display_init(&state.display, false);
	state.json = NULL;
	config.visit = show_pack;
	config.progress = show_progress;
	config.arg = &state;
	config.dry_run = dry_run;
	if (parse_number("grace", grace_text, 36500, &days, &err) == OMB_OK &&
		parse_number("rewrite-below", below_text, 100, &below, &err) ==
			OMB_OK &&
		omb_jobs_parse(jobs_text, &config.jobs, &err) == OMB_OK &&
		omb_repository_options_open(&where, &config.repo, &err) == OMB_OK)
	{
		config.grace = days * DAY;
		config.rewrite_below = (unsigned) below;
		run(&config, &state, as_json, &err);
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(config.repo);
	return omb_exit_status(err.status);
}
