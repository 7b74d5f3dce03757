/*
 * extractinto.h: where an extracted database goes: a file, or a database of
 * another server. Never over anything that is there.
 */
#ifndef OMB_TASK_EXTRACTINTO_H
#define OMB_TASK_EXTRACTINTO_H

#include "task/extract/privateserver.h"

typedef struct omb_into
{
	const char *bindir;
	const char *scratch; /* for messages of programs */
	const char *file;	 /* or */
	const char *connection;
	bool no_owner;

	/* found by omb_into_check() */
	char *database; /* that the connection names; the caller frees it */
	bool absent;	/* it has to be created */

	uint64_t file_bytes; /* written */
} omb_into;

/*
 * The file must not exist; the database must have no tables, or not exist.
 * OMB_REFUSED, or OMB_FAILED when the server cannot be reached.
 */
extern omb_status omb_into_check(omb_into *into, omb_error *err);

/*
 * Dump a database of the private server, or some quoted tables of it (NULL at the
 * end), and load it. like is what follows the name when a database has to be
 * created; one that was is dropped again when loading fails.
 */
extern omb_status omb_into_load(omb_into *into, omb_private_server *server,
								const char *database, const char *const *table,
								const char *like, omb_error *err);

/* Append 'text' or "text" as SQL has it. */
extern void omb_sql_literal(omb_buf *out, const char *text);
extern void omb_sql_identifier(omb_buf *out, const char *text);

#endif
