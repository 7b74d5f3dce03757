/*
 * cmd_init.c: make a repository and its key.
 */
#include "program/commands.h"
#include "program/options.h"

#include "base/file.h"
#include "store/url.h"

#include <stdio.h>
#include <stdlib.h>

static const omb_command command = {
	"init", "", "Make a repository, its key file and its recovery code.",
	"The recovery code is shown once, on standard output. Write it down on\n"
	"paper: with it the backups can be read when the key file is lost.\n"
};

/* Make the directory, durable in its parent; elsewhere nothing is needed. */
static omb_status
make_directory(const char *location, omb_error *err)
{
	char *path = omb_url_directory(location);
	char *absolute = path ? omb_path_absolute(path) : NULL;
	char *parent = path ? omb_path_parent(absolute) : NULL;

	if (path != NULL && omb_directory_create(absolute, 0700, err) == OMB_OK)
		(void) omb_directory_sync(parent, err);
	free(parent);
	free(absolute);
	free(path);
	return err->status;
}

static void
show_code(const char *code, const char *key_file)
{
	printf("Recovery code:  %s\n\n"
		   "Write this code on paper now and keep it in a safe place. It is "
		   "not shown\nagain. Without the key file \"%s\" it is the\n"
		   "only way to read the backups.\n\n",
		   code, key_file);
	(void) fflush(stdout);
}

int
omb_command_init(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	bool no_encryption = false;
	const omb_option options[] = {
		{ "repository", "DIR-or-URL", "where to make the repository",
		  &where.repository, NULL, NULL },
		{ "credentials", "FILE", "secrets for the repository's store",
		  &where.credentials, NULL, NULL },
		{ "key-file", "FILE", "key file to create, outside the data directory",
		  &where.key_file, NULL, NULL },
		{ "no-encryption", NULL, "anybody with the files can read the backups",
		  NULL, &no_encryption, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	omb_store *store = NULL;
	char code[OMB_RECOVERY_CODE_TEXT];
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, NULL, 0, 0);

	if (status >= 0)
		return status;
	omb_repository_options_complete(&where);
	if (where.repository == NULL)
		(void) omb_error_set(&err, OMB_USAGE, "--repository is missing");
	else if (!no_encryption && where.key_file == NULL)
		(void) omb_error_set(&err, OMB_USAGE, "--key-file is missing");
	else if (make_directory(where.repository, &err) == OMB_OK &&
			 omb_store_open_url(where.repository, where.credentials, &store,
								&err) == OMB_OK &&
			 omb_repository_prepare(store, !no_encryption, where.key_file,
									code, &repo, &err) == OMB_OK)
	{
		if (!no_encryption)
			show_code(code, where.key_file);
		(void) omb_repository_commit(repo, &err);
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	else
		printf("Repository \"%s\" is ready%s.\n", repo->store->location,
			   no_encryption ? ", NOT encrypted" : "");
	omb_wipe(code, sizeof(code));
	omb_repository_free(repo);
	return omb_exit_status(err.status);
}
