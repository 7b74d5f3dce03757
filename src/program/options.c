/*
 * options.c: reading the command line of a command.
 */
#include "program/options.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/text.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "omsupply_backup"
#define OPTIONS_MAX 32
#define JOBS_MAX 8
#define CODE_FILE_MAX 4096

static void
print_help(const omb_command *command, const omb_option *options, size_t count)
{
	size_t i;

	printf("%s\n\nUsage: " PROGRAM " %s [OPTION]...%s%s\n\nOptions:\n",
		   command->summary, command->name, command->arguments[0] ? " " : "",
		   command->arguments);
	for (i = 0; i < count; i++)
	{
		char *left = omb_format(
			"--%s%s%s", options[i].name, options[i].argument ? " " : "",
			options[i].argument ? options[i].argument : "");

		printf("  %-28s %s\n", left, options[i].help);
		free(left);
	}
	printf("  %-28s %s\n", "--help", "show this help");
	if (command->more != NULL)
		printf("\n%s", command->more);
}

static int
usage_error(const omb_command *command)
{
	(void) fprintf(stderr, "Try \"" PROGRAM " %s --help\".\n", command->name);
	return OMB_EXIT_USAGE;
}

static void
take_option(const omb_option *option, const char *value)
{
	if (option->flag != NULL)
		*option->flag = true;
	else if (option->list != NULL)
	{
		omb_value_list *list = option->list;

		list->value =
			omb_realloc(list->value, (list->count + 1) * sizeof(char *));
		list->value[list->count++] = value;
	}
	else
		*option->value = value;
}

int
omb_options_parse(const omb_command *command, const omb_option *options,
				  size_t option_count, int argc, char **argv,
				  const char **positional, int min, int max)
{
	struct option table[OPTIONS_MAX + 2];
	size_t i;
	int choice, given;
	int index = 0;

	memset(table, 0, sizeof(table));
	for (i = 0; i < option_count && i < OPTIONS_MAX; i++)
	{
		table[i].name = options[i].name;
		table[i].has_arg =
			options[i].argument ? required_argument : no_argument;
	}
	table[i].name = "help";
	optind = 1;
	while ((choice = getopt_long(argc, argv, "", table, &index)) != -1)
	{
		if (choice != 0)
			return usage_error(command);
		if ((size_t) index == option_count)
		{
			print_help(command, options, option_count);
			return OMB_EXIT_DONE;
		}
		take_option(&options[index], optarg);
	}
	given = argc - optind;
	if (given < min || given > max)
	{
		if (given > max)
			(void) fprintf(stderr, PROGRAM ": too many arguments: \"%s\"\n",
						   argv[optind + max]);
		else
			(void) fprintf(stderr, PROGRAM ": arguments are missing: %s\n",
						   command->arguments);
		return usage_error(command);
	}
	for (index = 0; index < given; index++)
		positional[index] = argv[optind + index];
	return -1;
}

void
omb_repository_options_complete(omb_repository_options *options)
{
	if (options->repository == NULL)
		options->repository = getenv("OMSUPPLY_BACKUP_REPOSITORY");
	if (options->credentials == NULL)
		options->credentials = getenv("OMSUPPLY_BACKUP_CREDENTIALS");
	if (options->key_file == NULL && options->code_file == NULL)
		options->key_file = getenv("OMSUPPLY_BACKUP_KEY_FILE");
}

omb_status
omb_repository_options_open(omb_repository_options *options,
							omb_repository **out, omb_error *err)
{
	omb_buf code = OMB_BUF_INIT;
	bool from_code;

	omb_repository_options_complete(options);
	from_code = options->code_file != NULL && options->key_file == NULL;
	*out = NULL;
	if (options->repository == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE, "no repository is given");
		omb_error_hint(err, "Give --repository or set "
							"OMSUPPLY_BACKUP_REPOSITORY.");
		return err->status;
	}
	/* a recovery code never comes from the command line, which others see */
	if (from_code && omb_file_read(strcmp(options->code_file, "-") == 0 ?
									   "/dev/stdin" :
									   options->code_file,
								   CODE_FILE_MAX, &code, err) != OMB_OK)
		return err->status;
	(void) omb_repository_open_url(
		options->repository, options->credentials, options->key_file,
		from_code ? omb_buf_text(&code) : NULL, options->browse, out, err);
	if (code.data != NULL)
		omb_wipe(code.data, code.cap);
	omb_buf_free(&code);
	return err->status;
}

omb_status
omb_jobs_parse(const char *text, int *jobs, omb_error *err)
{
	uint64_t value = 0;

	if (text != NULL && (!omb_u64_parse(text, &value) || value > JOBS_MAX))
		return omb_error_set(err, OMB_USAGE,
							 "invalid number of jobs \"%s\": it must be 1 to "
							 "%d, or 0 for one per core",
							 text, JOBS_MAX);
	if (value == 0)
	{
		long cores = sysconf(_SC_NPROCESSORS_ONLN);

		value = cores < 1 ? 1 : (uint64_t) cores;
		if (value > JOBS_MAX)
			value = JOBS_MAX;
	}
	*jobs = (int) value;
	return OMB_OK;
}

char *
omb_program_path(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	return len > 0 ? omb_format("%.*s", (int) len, path) : omb_strdup(PROGRAM);
}

void
omb_print_error(const omb_error *err)
{
	(void) fprintf(stderr, PROGRAM ": error: %s\n", err->message);
	if (err->detail[0] != '\0')
		(void) fprintf(stderr, PROGRAM ": detail: %s\n", err->detail);
	if (err->hint[0] != '\0')
		(void) fprintf(stderr, PROGRAM ": hint: %s\n", err->hint);
}

int
omb_exit_status(omb_status status)
{
	if (status == OMB_OK)
		return OMB_EXIT_DONE;
	return status == OMB_USAGE ? OMB_EXIT_USAGE : OMB_EXIT_FAILED;
}
