/*
 * cmd_pin.c: keep a backup whatever the rules say, and undo that.
 */
#include "program/commands.h"
#include "program/options.h"

#include "repo/pin.h"

#include <stdio.h>

static const omb_command pin_command = {
	"pin", "BACKUP", "Keep a backup whatever the rules of expire say.", NULL
};

static const omb_command unpin_command = {
	"unpin", "BACKUP", "Leave a backup to the rules of expire again.", NULL
};

int
omb_command_pin(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	const char *reason = "";
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "reason", "TEXT", "why, for those who find it pinned", &reason, NULL,
		  NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	const char *backup;
	int status = omb_options_parse(&pin_command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, &backup, 1, 1);

	if (status >= 0)
		return status;
	if (omb_repository_options_open(&where, &repo, &err) == OMB_OK &&
		omb_pin_put(repo, backup, reason, &err) == OMB_OK)
		printf("Backup \"%s\" is pinned.\n", backup);
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(repo);
	return omb_exit_status(err.status);
}

int
omb_command_unpin(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	const omb_option options[] = { OMB_REPOSITORY_OPTIONS(where) };
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	const char *backup;
	int status = omb_options_parse(&unpin_command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, &backup, 1, 1);

	if (status >= 0)
		return status;
	if (omb_repository_options_open(&where, &repo, &err) == OMB_OK &&
		omb_pin_remove(repo, backup, &err) == OMB_OK)
		printf("Backup \"%s\" is no longer pinned.\n", backup);
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(repo);
	return omb_exit_status(err.status);
}
