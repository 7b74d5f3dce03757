/*
 * cmd_walget.c: fetch a WAL file for a recovering server.
 */
#include "program/commands.h"
#include "program/options.h"

#include "task/walget.h"

/*
 * The server takes 1 to 125 for "the archive ends here" and ends recovery;
 * above 125 it stops with an error. Any doubt is the latter.
 */
#define EXIT_ABSENT 1
#define EXIT_DOUBT 200

static const omb_command command = {
	"wal-get", "FILE DEST", "Fetch a WAL file; meant for restore_command.",
	"Exit status 0: done; 1: the file is proven absent; 200: anything else,\n"
	"so that a server does not mistake a failure for the end of the archive.\n"
};

int
omb_command_wal_get(int argc, char **argv)
{
	omb_repository_options where = { NULL, NULL, NULL };
	const char *jobs_text = NULL;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "jobs", "N", "threads; default one per core, at most 8", &jobs_text,
		  NULL, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	const char *argument[2];
	int jobs;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, argument, 2, 2);

	if (status >= 0)
		return status == OMB_EXIT_DONE ? status : EXIT_DOUBT;
	if (omb_jobs_parse(jobs_text, &jobs, &err) == OMB_OK &&
		omb_repository_options_open(&where, &repo, &err) == OMB_OK)
	{
		if (omb_wal_get(repo, argument[0], argument[1], jobs, &err) ==
			OMB_NOT_FOUND)
		{
			/* normal at the end of the archive: no noise in the server's log */
			omb_repository_free(repo);
			return EXIT_ABSENT;
		}
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_repository_free(repo);
	return err.status == OMB_OK ? OMB_EXIT_DONE : EXIT_DOUBT;
}
