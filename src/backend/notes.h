/*
 * notes.h: notes for the repository: marks and watermarks.
 */
#ifndef OMB_BACKEND_NOTES_H
#define OMB_BACKEND_NOTES_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#define OMB_STAMP_SIZE 26

/* "20261120T231502Z-1a2b3c4d": a time and something random. */
extern void omb_note_stamp(TimestampTz at, char stamp[OMB_STAMP_SIZE]);

/* Begin a note with its type, add texts (escaped) to it. */
extern void omb_note_begin(StringInfo note, const char *type);
extern void omb_note_put(StringInfo note, const char *name, const char *value);
/* time, lsn and timeline. */
extern void omb_note_put_place(StringInfo note, TimestampTz at, XLogRecPtr lsn,
							   TimeLineID timeline);

/*
 * Put it into the data directory, durable, for the repository. Errors are
 * raised. Have it taken there soon, and mirrored at once if it is a mark.
 */
extern void omb_note_write(const StringInfo note, const char *stamp);
extern void omb_notes_wake(bool is_mark);

/* A step of the launcher; returns milliseconds to sleep at most. */
extern long omb_notes_step(void);

/* Entry point of the worker. */
extern PGDLLEXPORT void omb_notes_main(Datum arg);

#endif
