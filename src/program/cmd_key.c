/*
 * cmd_key.c: make one more key file for a repository.
 */
#include "program/commands.h"
#include "program/options.h"

#include <stdio.h>
#include <unistd.h>

static const omb_command command = {
	"key", "NEW-KEY-FILE", "Make one more key file for a repository.",
	"When the key file is lost, give --recovery-code-file. All key files and\n"
	"the recovery code open the repository as before.\n"
};

int
omb_command_key(int argc, char **argv)
{
	omb_repository_options where = { NULL, NULL, NULL, NULL };
	const omb_option options[] = { OMB_REPOSITORY_OPTIONS(where) };
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	const char *path;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, &path, 1, 1);

	if (status >= 0)
		return status;
	if (access(path, F_OK) == 0)
		(void) omb_error_set(&err, OMB_EXISTS,
							 "key file \"%s\" exists already", path);
	else if (omb_repository_options_open(&where, &repo, &err) == OMB_OK)
	{
		if (!repo->encrypted)
			(void) omb_error_set(&err, OMB_REFUSED,
								 "repository \"%s\" is not encrypted",
								 repo->store->location);
		else if (omb_repository_add_key_file(repo, path, &err) == OMB_OK)
			printf("Key file \"%s\" opens repository \"%s\".\n", path,
				   repo->store->location);
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(repo);
	return omb_exit_status(err.status);
}
