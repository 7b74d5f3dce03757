/*
 * cmd_walget.c: fetch a WAL file for a recovering server.
 */
#include "program/commands.h"
#include "program/options.h"

#include "base/file.h"
#include "task/wal/walget.h"
#include "task/wal/walspool.h"

#include <stdlib.h>
#include <string.h>

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
	"When a server asks (DEST is pg_wal/RECOVERYXLOG), a process in the\n"
	"background fetches the next segments into pg_wal/" OMB_SPOOL_NAME ".\n"
};

/*
 * Where to fetch ahead: when a server recovers it asks for this name in
 * pg_wal, whose contents no base backup holds, and the spool beside it is on
 * the same file system. Others ask for single segments, so they say where.
 */
static char *
choose_spool(const char *directory, bool no_prefetch, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (no_prefetch)
		return NULL;
	if (directory != NULL)
		return omb_strdup(directory);
	if (strcmp(slash ? slash + 1 : path, "RECOVERYXLOG") == 0)
		return omb_path_parent(path);
	return NULL;
}

/* From the repository; exit status. */
static int
get(omb_repository_options *where, omb_wal_request *request)
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	bool ahead = false;
	bool done = false;

	omb_repository_options_complete(where);
	request->location = where->repository;
	request->credentials = where->credentials;
	if (request->spool != NULL && request->location != NULL)
		done = omb_wal_get_spooled(request, &ahead);
	if (done && ahead)
		return OMB_EXIT_DONE;
	if (omb_repository_options_open(where, &repo, &err) == OMB_OK && !done)
		(void) omb_wal_get(repo, request, &err);
	if (request->spool != NULL && repo != NULL &&
		(err.status == OMB_OK || err.status == OMB_NOT_FOUND))
		omb_wal_get_ahead(repo, request, err.status != OMB_OK);
	omb_repository_free(repo);
	if (done || err.status == OMB_OK)
		return OMB_EXIT_DONE;
	/* normal at the end of the archive: no noise in the server's log */
	if (repo != NULL && err.status == OMB_NOT_FOUND)
		return EXIT_ABSENT;
	omb_print_error(&err);
	return EXIT_DOUBT;
}

int
omb_command_wal_get(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	const char *jobs_text = NULL;
	const char *directory = NULL;
	const char *last_needed = NULL;
	bool no_prefetch = false;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "jobs", "N", "threads; default one per core, at most 8", &jobs_text,
		  NULL, NULL },
		{ "spool", "DIR",
		  "fetch the next segments ahead into DIR/" OMB_SPOOL_NAME, &directory,
		  NULL, NULL },
		{ "last-needed", "SEGMENT",
		  "what is missing behind it is no gap: recovery ends before",
		  &last_needed, NULL, NULL },
		{ "no-prefetch", NULL, "do not fetch ahead", NULL, &no_prefetch,
		  NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_wal_request request;
	const char *argument[2];
	char *spool;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, argument, 2, 2);

	if (status >= 0)
		return status == OMB_EXIT_DONE ? status : EXIT_DOUBT;
	if (omb_jobs_parse(jobs_text, &request.jobs, &err) != OMB_OK)
	{
		omb_print_error(&err);
		return EXIT_DOUBT;
	}
	spool = choose_spool(directory, no_prefetch, argument[1]);
	request.file = argument[0];
	request.path = argument[1];
	request.spool = spool;
	request.last_needed = last_needed;
	status = get(&where, &request);
	free(spool);
	return status;
}
