/*
 * cmd_key.c: make one more key file for a repository, or prove that the
 * recovery code was written down.
 */
#include "program/commands.h"
#include "program/options.h"

#include "base/file.h"
#include "codec/crypto.h"
#include "repo/confirmed.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CODE_MAX 4096

static const omb_command command = {
	"key", "[NEW-KEY-FILE]", "Make one more key file for a repository.",
	"When the key file is lost, give --recovery-code-file. All key files and\n"
	"the recovery code open the repository as before.\n"
	"With --confirm no file is made: the recovery code, from\n"
	"--recovery-code-file or typed, is tried and noted as written down.\n"
};

/* Read the code, from a terminal with a question. */
static omb_status
read_code(const char *file, omb_buf *code, omb_error *err)
{
	char line[256];

	if (file != NULL && strcmp(file, "-") != 0)
		return omb_file_read(file, CODE_MAX, code, err);
	if (isatty(STDIN_FILENO) == 1)
	{
		printf("Recovery code: ");
		(void) fflush(stdout);
	}
	if (fgets(line, sizeof(line), stdin) == NULL)
		return omb_error_set(err, OMB_USAGE, "no recovery code was given");
	omb_buf_put(code, line, strlen(line));
	omb_wipe(line, sizeof(line));
	return OMB_OK;
}

static omb_status
confirm(omb_repository_options *where, omb_error *err)
{
	omb_buf code = OMB_BUF_INIT;

	omb_repository_options_complete(where);
	if (where->repository == NULL)
		(void) omb_error_set(err, OMB_USAGE, "no repository is given");
	else if (read_code(where->code_file, &code, err) == OMB_OK &&
			 omb_confirmed_put(where->repository, omb_buf_text(&code), err) ==
				 OMB_OK)
		printf("The recovery code opens repository \"%s\".\n",
			   where->repository);
	if (code.data != NULL)
		omb_wipe(code.data, code.cap);
	omb_buf_free(&code);
	return err->status;
}

static omb_status
add_key_file(omb_repository_options *where, const char *path, omb_error *err)
{
	omb_repository *repo = NULL;

	if (access(path, F_OK) == 0)
		(void) omb_error_set(err, OMB_EXISTS, "key file \"%s\" exists already",
							 path);
	else if (omb_repository_options_open(where, &repo, err) == OMB_OK)
	{
		if (!repo->encrypted)
			(void) omb_error_set(err, OMB_REFUSED,
								 "repository \"%s\" is not encrypted",
								 repo->store->location);
		else if (omb_repository_add_key_file(repo, path, err) == OMB_OK)
			printf("Key file \"%s\" opens repository \"%s\".\n", path,
				   repo->store->location);
	}
	omb_repository_free(repo);
	return err->status;
}

int
omb_command_key(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	bool confirms = false;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "confirm", NULL, "prove that the recovery code was written down",
		  NULL, &confirms, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	const char *path = NULL;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, &path, 0, 1);

	if (status >= 0)
		return status;
	if (confirms && path == NULL)
		(void) confirm(&where, &err);
	else if (!confirms && path != NULL)
		(void) add_key_file(&where, path, &err);
	else
	{
		(void) omb_error_set(&err, OMB_USAGE,
							 "give either --confirm or a new key file");
		omb_error_hint(&err, "Try \"omsupply_backup key --help\".");
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	return omb_exit_status(err.status);
}
