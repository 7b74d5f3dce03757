/*
 * filesoptions.h: what restore does with the application's files.
 */
#ifndef OMB_PROGRAM_FILESOPTIONS_H
#define OMB_PROGRAM_FILESOPTIONS_H

#include "program/options.h"
#include "task/restore/restorefiles.h"

/* From the command line; then what was made of it. */
typedef struct omb_files_options
{
	const char *directory;
	const char *only;
	omb_value_list maps;

	bool given;
	char *absolute;
	char **map; /* copies that are cut in two */
	char **to;
	omb_files_move *move;
	omb_restore_files_config config;
} omb_files_options;

/* Initializers for a table of omb_option. */
#define OMB_FILES_OPTIONS(files)                                             \
	{ "files-dir",		  "DIR", "put the application's files into DIR/SET", \
	  &(files).directory, NULL,	 NULL },                                     \
		{ "files-map", "SET=DIR", "put this set into DIR; may repeat",       \
		  NULL,		   NULL,	  &(files).maps },                           \
	{                                                                        \
		"files", "SET[/PATH]", "only this set, directory or file of it",     \
			&(files).only, NULL, NULL                                        \
	}

/* Fill in config, as far as the command line tells. */
extern omb_status omb_files_options_read(omb_files_options *files,
										 omb_error *err);
extern void omb_files_options_free(omb_files_options *files);

/* Say what was, or would be, restored. */
extern void omb_files_show(const omb_restore_files_result *result,
						   bool dry_run);

#endif
