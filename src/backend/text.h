/*
 * text.h: texts on their way between the database and all the rest.
 *
 * What the agent sends and what is in shared memory is UTF-8, with whatever
 * bytes names of files have; a database may have any encoding.
 */
#ifndef OMB_BACKEND_TEXT_H
#define OMB_BACKEND_TEXT_H

/*
 * In the encoding of this process's database, in the current memory context
 * or the text itself. What that encoding does not have becomes "?". Raises no
 * error.
 */
extern char *omb_text_to_server(const char *text);

/* The other way round. */
extern char *omb_text_from_server(const char *text);

#endif
