/*
 * ask.h: short jobs of the program, which a SQL function waits for.
 */
#ifndef OMB_BACKEND_ASK_H
#define OMB_BACKEND_ASK_H

#include "base/fields.h"

/*
 * Start the program with a job, which more can be put to (backend/agent.h);
 * send it then. An error is raised when backups are not set up. The caller
 * stops the agent, also after an error.
 */
extern void omb_ask_begin(const char *type);

/* The next line but warnings; false after "done". Errors are raised. */
extern bool omb_ask_next(omb_fields *fields);

#endif
