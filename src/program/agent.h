/*
 * agent.h: talking to the server that started us; see src/README section 3.
 */
#ifndef OMB_PROGRAM_AGENT_H
#define OMB_PROGRAM_AGENT_H

#include "base/error.h"
#include "base/fields.h"

#include <stdint.h>

/*
 * The next line from the server; fields point into *line, which the caller
 * frees. The end of standard input ends the process at once, whatever its threads do: the
 * server is gone or wants us gone, and a kill at any instant is safe.
 */
extern omb_status omb_agent_receive(omb_fields *fields, char **line,
									omb_error *err);

/*
 * From now on lines with this verb do not wait to be received: a thread of
 * their own gives them to handle as they come.
 */
extern void omb_agent_handle(const char *verb,
							 void (*handle)(const omb_fields *fields,
											void *arg),
							 void *arg);

/* A line to the server: verb, then fields, then _end. One thread at a time. */
extern void omb_agent_begin(const char *verb);
extern void omb_agent_text(const char *name, const char *value);
extern void omb_agent_u64(const char *name, uint64_t value);
extern void omb_agent_i64(const char *name, int64_t value);
extern void omb_agent_lsn(const char *name, uint64_t lsn);
extern void omb_agent_end(void);

/* The word for a status, as "status" of an error has it. */
extern const char *omb_agent_status_word(omb_status status);
/* message, detail, hint and status of an error as fields of a line. */
extern void omb_agent_error_fields(const omb_error *err);

/* Begin reading; closes what was inherited. */
extern void omb_agent_start(void);

/*
 * Lower the priorities of this process: the server's work goes before ours.
 * Before any thread is made that is to have them, too.
 */
extern void omb_agent_step_aside(void);

#endif
