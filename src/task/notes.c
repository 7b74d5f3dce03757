/*
 * notes.c: taking a server's notes into the repository.
 */
#include "task/notes.h"

#include "base/file.h"
#include "repo/point.h"
#include "repo/watermark.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTE_MAX (4 * OMB_WATERMARK_VALUE_MAX)

/* So many in one go; the server asks again while there are more. */
#define NOTES_MAX 10000

omb_note_kind
omb_note_parse(char *text, size_t len, omb_point *point, omb_watermark *mark)
{
	omb_fields fields;
	const char *type;

	if (!omb_fields_parse_text(text, len, &fields) ||
		(type = omb_fields_get(&fields, "type")) == NULL)
		return OMB_NOTE_NONSENSE;
	if (strcmp(type, "point") == 0 && omb_point_take(&fields, point))
		return OMB_NOTE_POINT;
	if (strcmp(type, "watermark") == 0 && omb_watermark_take(&fields, mark))
		return OMB_NOTE_WATERMARK;
	return OMB_NOTE_NONSENSE;
}

/* Put a note that makes no sense out of the way. */
static omb_status
put_aside(const char *path, void (*warn)(const char *message, void *arg),
		  void *arg, omb_error *err)
{
	char *bad = omb_format("%s.bad", path);
	char *message = omb_format(
		"file \"%s\" makes no sense; it was renamed to \"%s\"", path, bad);

	if (rename(path, bad) != 0)
		(void) omb_error_set_errno(err, errno, "could not rename file \"%s\"",
								   path);
	else
		warn(message, arg);
	free(message);
	free(bad);
	return err->status;
}

static omb_status
take_note(omb_repository *repo, const char *path,
		  void (*warn)(const char *message, void *arg), void *arg,
		  omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	omb_point point;
	omb_watermark mark;
	omb_note_kind kind = OMB_NOTE_NONSENSE;

	switch (omb_file_read(path, NOTE_MAX, &content, err))
	{
		case OMB_OK:
			kind = omb_note_parse(omb_buf_text(&content), content.len, &point,
								  &mark);
			break;
		case OMB_DAMAGED:
			omb_error_clear(err);
			break;
		default:
			break;
	}
	if (err->status == OMB_OK)
	{
		if (kind == OMB_NOTE_NONSENSE)
			(void) put_aside(path, warn, arg, err);
		else if ((kind == OMB_NOTE_POINT ?
					  omb_point_put(repo, &point, err) :
					  omb_watermark_put(repo, &mark, err)) == OMB_OK &&
				 unlink(path) != 0)
			(void) omb_error_set_errno(err, errno,
									   "could not remove file \"%s\"", path);
	}
	omb_buf_free(&content);
	return err->status;
}

static bool
ends_with(const char *text, const char *end)
{
	size_t len = strlen(text);

	return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

omb_status
omb_notes_take(omb_repository *repo, const char *pgdata,
			   void (*warn)(const char *message, void *arg), void *arg,
			   uint64_t *taken, omb_error *err)
{
	char *directory = omb_format("%s/" OMB_NOTES_DIRECTORY, pgdata);
	DIR *dir = opendir(directory);
	struct dirent *entry;

	*taken = 0;
	if (dir == NULL && errno != ENOENT)
		(void) omb_error_set_errno(
			err, errno, "could not open directory \"%s\"", directory);
	while (dir != NULL && err->status == OMB_OK && *taken < NOTES_MAX &&
		   (entry = readdir(dir)) != NULL)
	{
		char *path;

		if (entry->d_name[0] == '.' || ends_with(entry->d_name, ".tmp") ||
			ends_with(entry->d_name, ".bad"))
			continue;
		path = omb_format("%s/%s", directory, entry->d_name);
		if (take_note(repo, path, warn, arg, err) == OMB_OK)
			(*taken)++;
		free(path);
	}
	if (dir != NULL)
		(void) closedir(dir);
	free(directory);
	return err->status;
}
