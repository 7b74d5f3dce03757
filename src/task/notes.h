/*
 * notes.h: what a server wants noted in the repository.
 *
 * The server cannot write there, and may not be kept waiting. It puts each
 * mark and watermark into a file of its own in omsupply_backup.notes/ of the
 * data directory, durable, of text (base/fields.h) with type=point or
 * type=watermark and the fields of repo/point.h or repo/watermark.h. Files of
 * the directory whose names end with ".tmp" are not complete. A file is removed
 * when the repository has what it says; one that makes no sense is renamed to
 * end with ".bad".
 */
#ifndef OMB_TASK_NOTES_H
#define OMB_TASK_NOTES_H

#include "repo/watermark.h"

#define OMB_NOTES_DIRECTORY "omsupply_backup.notes"

/* What a note comes to, for tests: a mark, a watermark, or nonsense. */
typedef enum omb_note_kind
{
	OMB_NOTE_NONSENSE,
	OMB_NOTE_POINT,
	OMB_NOTE_WATERMARK
} omb_note_kind;

/* Read a note; text[len] must be writable. */
extern omb_note_kind omb_note_parse(char *text, size_t len, omb_point *point,
									omb_watermark *mark);

/*
 * Take all notes of a data directory into the repository. warn tells of those
 * that make no sense. The first failure ends it; the rest stays for later.
 */
extern omb_status omb_notes_take(omb_repository *repo, const char *pgdata,
								 void (*warn)(const char *message, void *arg),
								 void *arg, uint64_t *taken, omb_error *err);

#endif
