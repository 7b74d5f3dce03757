/*
 * cmd_expire.c: remove backups and WAL that no rule keeps.
 */
#include "program/commands.h"
#include "program/display.h"
#include "program/options.h"

#include "base/json.h"
#include "base/text.h"
#include "task/retain/expire.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const omb_command command = {
	"expire", "", "Remove backups and WAL that no rule keeps.",
	"A backup that one rule keeps is kept, and so are pinned ones, the newest,\n"
	"and the newest without damage. Without any --keep option nothing is\n"
	"removed. Days, ISO weeks, months and years are UTC; those without a backup\n"
	"do not count. Without --keep-wal-days all WAL behind the start of the\n"
	"oldest backup that is kept stays; with it all that recovery to any instant\n"
	"of these days needs, counted back from the end of the newest backup.\n"
	"Then what no backup uses any more is removed, as \"prune\" does.\n"
};

static void
show_row(const omb_expire_row *row, void *arg)
{
	omb_json *json = arg;

	if (json == NULL)
	{
		printf("%-10s %-7s %s: %s\n", row->verdict, row->object, row->name,
			   row->reason);
		return;
	}
	omb_json_open(json, NULL, '{');
	omb_json_text(json, "object", row->object);
	omb_json_text(json, "name", row->name);
	omb_json_text(json, "verdict", row->verdict);
	omb_json_text(json, "reason", row->reason);
	omb_json_close(json, '}');
}

/* What prune does to packs is told as a sum. */
static void
ignore_pack(const omb_prune_pack *pack, void *arg)
{
}

static void
show_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	omb_display_show(arg, step, bytes, total);
}

static void
show_result(const omb_expire_config *config, const omb_expire_result *result,
			bool done, omb_json *json)
{
	const omb_prune_result *pruned = config->pruned;
	uint64_t freed = pruned->bytes_removed + pruned->bytes_saved;
	uint64_t locked = result->locked + pruned->packs_locked;
	char size[OMB_SIZE_TEXT];

	if (json != NULL)
	{
		omb_json_bool(json, "dry_run", config->dry_run);
		omb_json_bool(json, "removed", done);
		omb_json_u64(json, "backups_kept", result->backups_kept);
		omb_json_u64(json, "backups_dropped", result->backups_dropped);
		omb_json_u64(json, "backups_dropped_early", result->backups_early);
		omb_json_u64(json, "wal_files_kept", result->wal_kept);
		omb_json_u64(json, "wal_files_dropped", result->wal_dropped);
		omb_json_u64(json, "wal_bytes_dropped", result->wal_bytes_dropped);
		omb_json_u64(json, "packs_removed", pruned->packs_removed);
		omb_json_u64(json, "packs_rewritten", pruned->packs_rewritten);
		omb_json_u64(json, "pack_bytes_freed", freed);
		omb_json_u64(json, "locked", locked);
		return;
	}
	if (config->dry_run || done)
		printf("%s%" PRIu64 " backups and %" PRIu64 " WAL files (%s); %" PRIu64
			   " backups and %" PRIu64 " WAL files stay.\n",
			   done ? "Removed " : "Dry run: would remove ",
			   result->backups_dropped, result->wal_dropped,
			   omb_size_format(result->wal_bytes_dropped, size),
			   result->backups_kept, result->wal_kept);
	if (done)
		printf("Packs: %" PRIu64 " removed, %" PRIu64
			   " rewritten, %s freed.\n",
			   pruned->packs_removed, pruned->packs_rewritten,
			   omb_size_format(freed, size));
	if (locked > 0)
		printf("%" PRIu64 " objects are locked by the store and stay until "
			   "their time is over.\n",
			   locked);
}

typedef struct number_option
{
	const char *name;
	size_t offset; /* of the rule */
	const char *text;
} number_option;

#define RULE_COUNT 7

static omb_status
read_rules(const number_option numbers[RULE_COUNT], omb_retain_rules *rules,
		   omb_error *err)
{
	size_t i;

	for (i = 0; i < RULE_COUNT; i++)
	{
		uint64_t value = 0;
		uint32_t rule;

		if (numbers[i].text != NULL &&
			(!omb_u64_parse(numbers[i].text, &value) || value > INT32_MAX))
			return omb_error_set(err, OMB_USAGE,
								 "invalid number \"%s\" for --%s",
								 numbers[i].text, numbers[i].name);
		rule = (uint32_t) value;
		memcpy((char *) rules + numbers[i].offset, &rule, sizeof(rule));
	}
	return OMB_OK;
}

static omb_status
read_min_free(const char *text, uint64_t *bytes, omb_error *err)
{
	*bytes = 0;
	if (text == NULL || omb_size_parse(text, bytes))
		return OMB_OK;
	(void) omb_error_set(err, OMB_USAGE, "invalid size \"%s\" for --min-free",
						 text);
	omb_error_hint(err, "Give bytes, for example 500MB or 20GB.");
	return err->status;
}

int
omb_command_expire(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	number_option numbers[RULE_COUNT] = {
		{ "keep-last", offsetof(omb_retain_rules, keep_last), NULL },
		{ "keep-days", offsetof(omb_retain_rules, keep_days), NULL },
		{ "keep-weeks", offsetof(omb_retain_rules, keep_weeks), NULL },
		{ "keep-months", offsetof(omb_retain_rules, keep_months), NULL },
		{ "keep-years", offsetof(omb_retain_rules, keep_years), NULL },
		{ "keep-wal-days", offsetof(omb_retain_rules, keep_wal_days), NULL },
		{ "minimum", offsetof(omb_retain_rules, minimum), NULL },
	};
	bool dry_run = false;
	bool as_json = false;
	const char *jobs_text = NULL;
	const char *min_free = NULL;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "keep-last", "N", "keep the newest N", &numbers[0].text, NULL,
		  NULL },
		{ "keep-days", "N", "keep the newest of each of the last N days",
		  &numbers[1].text, NULL, NULL },
		{ "keep-weeks", "N", "keep the newest of each of the last N weeks",
		  &numbers[2].text, NULL, NULL },
		{ "keep-months", "N", "keep the newest of each of the last N months",
		  &numbers[3].text, NULL, NULL },
		{ "keep-years", "N", "keep the newest of each of the last N years",
		  &numbers[4].text, NULL, NULL },
		{ "keep-wal-days", "N", "keep every instant of the last N days",
		  &numbers[5].text, NULL, NULL },
		{ "minimum", "N", "never fewer than N backups without damage",
		  &numbers[6].text, NULL, NULL },
		{ "min-free", "SIZE",
		  "drop older ones early until so much is free, for example 20GB",
		  &min_free, NULL, NULL },
		{ "dry-run", NULL, "show what would be removed", NULL, &dry_run,
		  NULL },
		{ "json", NULL, "write JSON", NULL, &as_json, NULL },
		{ "jobs", "N", "threads; default one per core, at most 8", &jobs_text,
		  NULL, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_expire_config config;
	omb_expire_result result;
	omb_prune_config prune;
	omb_prune_result pruned;
	omb_display display;
	omb_json json;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, NULL, 0, 0);

	if (status >= 0)
		return status;
	memset(&config, 0, sizeof(config));
	config.dry_run = dry_run;
	config.row = show_row;
	config.arg = as_json ? &json : NULL;
	memset(&pruned, 0, sizeof(pruned));
	omb_display_init(&display, false);
	omb_prune_config_init(&prune);
	prune.visit = ignore_pack;
	prune.progress = show_progress;
	prune.arg = &display;
	config.prune = &prune;
	config.pruned = &pruned;
	if (read_rules(numbers, &config.rules, &err) == OMB_OK &&
		read_min_free(min_free, &config.min_free, &err) == OMB_OK &&
		omb_jobs_parse(jobs_text, &prune.jobs, &err) == OMB_OK &&
		omb_repository_options_open(&where, &config.repo, &err) == OMB_OK)
	{
		if (as_json)
		{
			omb_json_begin(&json, stdout);
			omb_json_open(&json, NULL, '{');
			omb_json_open(&json, "verdicts", '[');
		}
		(void) omb_expire(&config, &result, &err);
		omb_display_end(&display);
		if (as_json)
			omb_json_close(&json, ']');
		if (as_json || err.status == OMB_OK)
			show_result(&config, &result, !dry_run && err.status == OMB_OK,
						as_json ? &json : NULL);
		if (as_json)
		{
			omb_json_close(&json, '}');
			omb_json_end(&json);
		}
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(config.repo);
	return omb_exit_status(err.status);
}
