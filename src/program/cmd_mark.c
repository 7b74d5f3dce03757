/*
 * cmd_mark.c: name an instant, for scripts.
 *
 * The mark is made by the server: psql, which lies beside this program or in
 * the PATH, calls backup_mark() there. Name and detail are handed over as
 * variables of psql, which quotes them. Passwords belong into a password file,
 * as with psql itself.
 */
#include "program/commands.h"
#include "program/options.h"

#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const omb_command command = {
	"mark", "NAME",
	"Name this instant, so that \"restore --target-mark NAME\" can go back to "
	"it.",
	"It prints the LSN and the id of the mark. CONNECTION is what psql takes, "
	"for\nexample \"host=/run/postgresql dbname=omsupply\"; the database must "
	"have the\nextension. A password comes from a password file (~/.pgpass), "
	"never from here.\n"
};

/* The schema of the extension is asked for: it need not be in the path. */
static const char script[] =
	"SELECT count(*) > 0 AS found, min(n.nspname::text) AS schema "
	"FROM pg_catalog.pg_extension e "
	"JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace "
	"WHERE e.extname = 'omsupply_backup' \\gset\n"
	"\\if :found\n"
	"SELECT lsn, id FROM :\"schema\".backup_mark(:'name', "
	"nullif(:'detail', '')::pg_catalog.jsonb, "
	":'switch_wal'::pg_catalog.bool);\n"
	"\\else\n"
	"DO 'BEGIN RAISE EXCEPTION ''the extension is not in this database''; "
	"END';\n"
	"\\endif\n";

/* psql beside this program, or as the PATH has it; in new memory. */
static char *
psql_path(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash, *psql;

	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		return omb_strdup("psql");
	*slash = '\0';
	psql = omb_format("%s/psql", path);
	if (access(psql, X_OK) == 0)
		return psql;
	free(psql);
	return omb_strdup("psql");
}

/* psql reads the script from a pipe: it is short enough to fit into one. */
static int
run_psql(char **argv, omb_error *err)
{
	int ends[2];
	int status = 0;
	pid_t pid;

	if (pipe(ends) != 0 ||
		write(ends[1], script, sizeof(script) - 1) != sizeof(script) - 1)
	{
		(void) omb_error_set_errno(err, errno, "could not write to a pipe");
		return OMB_EXIT_FAILED;
	}
	(void) close(ends[1]);
	(void) fflush(stdout);
	pid = fork();
	if (pid == 0)
	{
		if (dup2(ends[0], STDIN_FILENO) >= 0)
			(void) execvp(argv[0], argv);
		(void) fprintf(stderr,
					   "omsupply_backup: could not execute \"%s\": "
					   "%s\n",
					   argv[0], strerror(errno));
		_exit(OMB_EXIT_FAILED);
	}
	(void) close(ends[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
	{
		(void) omb_error_set_errno(err, errno, "could not start \"%s\"",
								   argv[0]);
		return OMB_EXIT_FAILED;
	}
	return status == 0 ? OMB_EXIT_DONE : OMB_EXIT_FAILED;
}

int
omb_command_mark(int argc, char **argv)
{
	const char *connection = "";
	const char *detail = "";
	bool no_switch = false;
	const omb_option options[] = {
		{ "connection", "CONNECTION", "the server, as for psql", &connection,
		  NULL, NULL },
		{ "detail", "JSON", "kept with the mark", &detail, NULL, NULL },
		{ "no-switch", NULL, "do not have the WAL archived at once", NULL,
		  &no_switch, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	const char *name;
	char *arguments[20];
	char *owned[4];
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, &name, 1, 1);
	size_t count = 0;
	size_t i;

	if (status >= 0)
		return status;
	owned[0] = psql_path();
	owned[1] = omb_format("name=%s", name);
	owned[2] = omb_format("detail=%s", detail);
	owned[3] = omb_strdup(connection);
	arguments[count++] = owned[0];
	arguments[count++] = omb_strdup("-XAtqw");
	arguments[count++] = omb_strdup("-vON_ERROR_STOP=1");
	arguments[count++] = omb_strdup("-v");
	arguments[count++] = owned[1];
	arguments[count++] = omb_strdup("-v");
	arguments[count++] = owned[2];
	arguments[count++] =
		omb_strdup(no_switch ? "-vswitch_wal=off" : "-vswitch_wal=on");
	if (connection[0] != '\0')
	{
		arguments[count++] = omb_strdup("-d");
		arguments[count++] = owned[3];
	}
	arguments[count] = NULL;
	status = run_psql(arguments, &err);
	if (err.status != OMB_OK)
		omb_print_error(&err);
	if (connection[0] == '\0')
		free(owned[3]);
	for (i = 0; i < count; i++)
		free(arguments[i]);
	return status;
}
