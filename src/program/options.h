/*
 * options.h: reading the command line of a command.
 */
#ifndef OMB_PROGRAM_OPTIONS_H
#define OMB_PROGRAM_OPTIONS_H

#include "base/error.h"
#include "repo/repository.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit statuses of all commands but wal-get. */
#define OMB_EXIT_DONE 0
#define OMB_EXIT_FAILED 1
#define OMB_EXIT_USAGE 2

typedef struct omb_value_list
{
	const char **value;
	size_t count;
} omb_value_list;

/* One of value, flag and list is set. */
typedef struct omb_option
{
	const char *name;	  /* without dashes */
	const char *argument; /* what follows, as help shows it; NULL for a flag */
	const char *help;
	const char **value;
	bool *flag;
	omb_value_list *list;
} omb_option;

typedef struct omb_command
{
	const char *name;
	const char *arguments; /* as help shows them, or "" */
	const char *summary;   /* a line */
	const char *more;	   /* more help at the end, or NULL */
} omb_command;

/*
 * Read argv[1..]. Returns -1 to go on, or an exit status after --help or a
 * mistake, which was printed. Arguments that are no options, at most max and
 * at least min, go to positional.
 */
extern int omb_options_parse(const omb_command *command,
							 const omb_option *options, size_t option_count,
							 int argc, char **argv, const char **positional,
							 int min, int max);

/* The options by which every command finds its repository. */
typedef struct omb_repository_options
{
	const char *repository;
	const char *key_file;
	const char *code_file;
	const char *credentials; /* file with the secrets for the store */
	omb_browse browse;
} omb_repository_options;

/* Initializers for a table of omb_option. */
#define OMB_REPOSITORY_OPTIONS(to)                                               \
	{ "repository",                                                              \
	  "DIR-or-URL",                                                              \
	  "repository (or OMSUPPLY_BACKUP_REPOSITORY)",                              \
	  &(to).repository,                                                          \
	  NULL,                                                                      \
	  NULL },                                                                    \
		{ "credentials",                                                         \
		  "FILE",                                                                \
		  "secrets for the repository's store (or OMSUPPLY_BACKUP_CREDENTIALS)", \
		  &(to).credentials,                                                     \
		  NULL,                                                                  \
		  NULL },                                                                \
		{ "key-file",	  "FILE", "key file (or OMSUPPLY_BACKUP_KEY_FILE)",      \
		  &(to).key_file, NULL,	  NULL },                                        \
	{                                                                            \
		"recovery-code-file", "FILE",                                            \
			"file with the recovery code, \"-\" for standard input",             \
			&(to).code_file, NULL, NULL                                          \
	}

/* Take what is not given from the environment and open the repository. */
extern omb_status omb_repository_options_open(omb_repository_options *options,
											  omb_repository **out,
											  omb_error *err);
/* Take what is not given from the environment. */
extern void omb_repository_options_complete(omb_repository_options *options);

/* "4" or "" for one thread per core, at most 8. */
extern omb_status omb_jobs_parse(const char *text, int *jobs, omb_error *err);

/* The absolute path of this program, in new memory. */
extern char *omb_program_path(void);

/* Print an error in the manner of PostgreSQL's programs to standard error. */
extern void omb_print_error(const omb_error *err);
/* The exit status that a status means. */
extern int omb_exit_status(omb_status status);

#endif
