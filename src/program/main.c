/*
 * main.c: choosing the command.
 */
#include "program/commands.h"
#include "program/options.h"
#include "program/version.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct
{
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help; /* NULL for what people do not call */
} commands[] = {
	{ "init", omb_command_init, "make a repository and its key" },
	{ "list", omb_command_list, "show the backups in a repository" },
	{ "info", omb_command_info, "show all about one backup" },
	{ "verify", omb_command_verify, "read everything back and check it" },
	{ "prune", omb_command_prune, "remove what no backup uses" },
	{ "restore", omb_command_restore,
	  "make a data directory that recovers to any instant" },
	{ "extract", omb_command_extract,
	  "get one database or table as of any instant" },
	{ "wal-get", omb_command_wal_get,
	  "fetch a WAL file (restore_command of a recovering server)" },
	{ "key", omb_command_key, "make one more key file" },
	{ "expire", omb_command_expire,
	  "remove backups and WAL that no rule keeps" },
	{ "pin", omb_command_pin, "keep a backup whatever the rules say" },
	{ "unpin", omb_command_unpin, "leave a backup to the rules again" },
	{ "mark", omb_command_mark, "name this instant, to restore to it" },
	{ "mirror", omb_command_mirror, "copy a repository to another store" },
	{ "agent", omb_command_agent, NULL },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void
print_help(void)
{
	size_t i;

	printf("omsupply_backup keeps a PostgreSQL server recoverable.\n\n"
		   "Usage: omsupply_backup COMMAND [OPTION]...\n\nCommands:\n");
	for (i = 0; i < COMMAND_COUNT; i++)
	{
		if (commands[i].help != NULL)
			printf("  %-10s %s\n", commands[i].name, commands[i].help);
	}
	printf("\n\"omsupply_backup COMMAND --help\" shows the options of a "
		   "command.\nExit status: 0 done, 1 failed, 2 wrong usage; for "
		   "wal-get 0 done, 1 the file\nis proven absent, 200 anything "
		   "else.\n");
}

int
main(int argc, char **argv)
{
	size_t i;

	/* what we write is private whatever the user's setting */
	(void) umask(077);
	(void) signal(SIGPIPE, SIG_IGN);
	if (argc < 2 || strcmp(argv[1], "--help") == 0 ||
		strcmp(argv[1], "help") == 0)
	{
		print_help();
		return argc < 2 ? OMB_EXIT_USAGE : OMB_EXIT_DONE;
	}
	if (strcmp(argv[1], "--version") == 0)
	{
		printf("omsupply_backup " OMB_VERSION "\n");
		return OMB_EXIT_DONE;
	}
	for (i = 0; i < COMMAND_COUNT; i++)
	{
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	(void) fprintf(stderr,
				   "omsupply_backup: \"%s\" is not a command\n"
				   "Try \"omsupply_backup --help\".\n",
				   argv[1]);
	return OMB_EXIT_USAGE;
}
