/*
 * filesoptions.c: what restore does with the application's files.
 */
#include "program/filesoptions.h"

#include "base/file.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

omb_status
omb_files_options_read(omb_files_options *files, omb_error *err)
{
	size_t i;

	files->given = files->directory != NULL || files->maps.count > 0;
	if (!files->given && files->only != NULL)
	{
		(void) omb_error_set(err, OMB_USAGE, "--files goes with --files-dir");
		omb_error_hint(err, "Say where the files are to be put.");
		return err->status;
	}
	if (files->only != NULL && !omb_path_is_safe(files->only))
		return omb_error_set(err, OMB_USAGE, "invalid files \"%s\"",
							 files->only);
	files->map = omb_calloc(files->maps.count, sizeof(char *));
	files->to = omb_calloc(files->maps.count, sizeof(char *));
	files->move = omb_calloc(files->maps.count, sizeof(*files->move));
	for (i = 0; i < files->maps.count; i++)
	{
		char *equals;

		files->map[i] = omb_strdup(files->maps.value[i]);
		equals = strchr(files->map[i], '=');
		if (equals == NULL || equals == files->map[i] || equals[1] == '\0')
			return omb_error_set(err, OMB_USAGE,
								 "invalid files map \"%s\": it must be "
								 "SET=DIR",
								 files->maps.value[i]);
		*equals = '\0';
		files->to[i] = omb_path_absolute(equals + 1);
		files->move[i].set = files->map[i];
		files->move[i].to = files->to[i];
	}
	if (files->directory != NULL)
		files->absolute = omb_path_absolute(files->directory);
	memset(&files->config, 0, sizeof(files->config));
	files->config.directory = files->absolute;
	files->config.move = files->move;
	files->config.move_count = files->maps.count;
	files->config.only = files->only;
	return OMB_OK;
}

void
omb_files_options_free(omb_files_options *files)
{
	size_t i;

	for (i = 0; i < files->maps.count; i++)
	{
		if (files->map != NULL)
			free(files->map[i]);
		if (files->to != NULL)
			free(files->to[i]);
	}
	free(files->map);
	free(files->to);
	free(files->move);
	free(files->maps.value);
	free(files->absolute);
}

void
omb_files_show(const omb_restore_files_result *result, bool dry_run)
{
	char text[OMB_SIZE_TEXT];
	char time[OMB_TIME_TEXT];

	printf("Files: %" PRIu64 ", %s, %s backup %s, which copied them from %s "
		   "on.\n",
		   dry_run ? result->total_files : result->files,
		   omb_size_format(result->total_bytes, text),
		   dry_run ? "would be restored from" : "restored from",
		   result->backup, omb_time_format(result->time, time));
	if (result->files_added > 0)
		printf("Of these %" PRIu64 " were deleted before that and come from "
			   "backup %s, from %s on.\n",
			   result->files_added, result->older,
			   omb_time_format(result->older_time, time));
	if (result->files_same > 0)
		printf("%" PRIu64 " files were the same and left alone.\n",
			   result->files_same);
}
