/*
 * cmd_list.c: show the backups in a repository.
 */
#include "program/commands.h"
#include "program/listmarks.h"
#include "program/options.h"
#include "program/showinfo.h"

#include "base/json.h"
#include "base/text.h"
#include "repo/pin.h"

#include <inttypes.h>
#include <stdio.h>

static const omb_command command = { "list", "",
									 "Show the backups in a repository, or "
									 "its marks or watermarks.",
									 NULL };

typedef struct list_state
{
	omb_repository *repo;
	omb_json *json; /* NULL for a table */
	bool files;		/* those of files only, instead of base backups */
	int count;
	int damaged;
} list_state;

static void
print_row(const omb_backup_info *info, const omb_pin *pin)
{
	char when[OMB_TIME_TEXT];
	char size[OMB_SIZE_TEXT];
	char stored[OMB_SIZE_TEXT];

	/* whole seconds */
	(void) omb_time_format(info->stop_time / 1000000 * 1000000, when);
	printf("%-22s %-11s %-23s %10s %10s  %s%s%s\n", info->id, info->kind, when,
		   omb_size_format(
			   omb_backup_is_base(info) ? info->bytes : info->set_bytes, size),
		   omb_size_format(info->bytes_stored, stored), info->label,
		   info->damaged_pages > 0 ? "  (DAMAGED PAGES)" : "",
		   pin->pinned ? "  (pinned)" : "");
}

static omb_status
show_backup(const char *id, void *arg, omb_error *err)
{
	list_state *state = arg;
	omb_manifest *manifest;
	omb_pin pin;

	if (omb_manifest_open(state->repo, id, &manifest, err) != OMB_OK)
	{
		/* one that cannot be read must not hide the others */
		omb_print_error(err);
		omb_error_clear(err);
		state->damaged++;
		return OMB_OK;
	}
	if (omb_backup_is_base(&manifest->info) == state->files)
	{
		omb_manifest_close(manifest);
		return OMB_OK;
	}
	if (omb_pin_read(state->repo, id, &pin, err) != OMB_OK)
	{
		omb_manifest_close(manifest);
		return err->status;
	}
	if (state->json != NULL)
	{
		omb_json_open(state->json, NULL, '{');
		omb_show_info_json(state->json, &manifest->info);
		omb_show_pin_json(state->json, &pin);
		omb_json_close(state->json, '}');
	}
	else
	{
		if (state->count == 0)
			printf("%-22s %-11s %-23s %10s %10s  %s\n", "backup", "kind",
				   "finished", "size", "stored", "label");
		print_row(&manifest->info, &pin);
	}
	state->count++;
	omb_pin_clear(&pin);
	omb_manifest_close(manifest);
	return OMB_OK;
}

static omb_status
list_backups(list_state *state, omb_json *json, omb_error *err)
{
	if (json != NULL)
	{
		state->json = json;
		omb_json_begin(json, stdout);
		omb_json_open(json, NULL, '[');
	}
	(void) omb_backup_list(state->repo, show_backup, state, err);
	if (json != NULL)
	{
		omb_json_close(json, ']');
		omb_json_end(json);
	}
	else if (state->count == 0 && err->status == OMB_OK)
		printf("The repository has no backup.\n");
	return err->status;
}

int
omb_command_list(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	list_state state = { NULL, NULL, false, 0, 0 };
	bool as_json = false;
	bool marks = false;
	bool watermarks = false;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "files", NULL, "backups of the application's files alone", NULL,
		  &state.files, NULL },
		{ "marks", NULL, "instants that were named by backup_mark()", NULL,
		  &marks, NULL },
		{ "watermarks", NULL, "values of the database over time", NULL,
		  &watermarks, NULL },
		{ "json", NULL, "write JSON", NULL, &as_json, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_json json;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, NULL, 0, 0);

	if (status >= 0)
		return status;
	where.browse = marks || watermarks ? OMB_BROWSE_NONE : OMB_BROWSE_ALL;
	if (marks && watermarks)
		(void) omb_error_set(&err, OMB_USAGE,
							 "--marks and --watermarks are given");
	else if (omb_repository_options_open(&where, &state.repo, &err) != OMB_OK)
		;
	else if (marks)
		(void) omb_list_marks(state.repo, as_json, &err);
	else if (watermarks)
		(void) omb_list_watermarks(state.repo, as_json, &err);
	else
		(void) list_backups(&state, as_json ? &json : NULL, &err);
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(state.repo);
	return err.status == OMB_OK && state.damaged > 0 ?
			   OMB_EXIT_FAILED :
			   omb_exit_status(err.status);
}
