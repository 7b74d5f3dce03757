/*
 * agent.h: the program as a child of a server process; the protocol is in
 * src/README, section 3.
 */
#ifndef OMB_BACKEND_AGENT_H
#define OMB_BACKEND_AGENT_H

#include "lib/stringinfo.h"

#include "base/fields.h"

/* What reading has come to. */
typedef enum OmbAgentRead
{
	OMB_AGENT_LINE,
	OMB_AGENT_TIMEOUT, /* nothing yet */
	OMB_AGENT_DEAD	   /* see omb_agent_death() */
} OmbAgentRead;

/*
 * Start the program; a process has one agent at a time. On failure an error
 * is raised. The agent is killed and reaped when this process exits, in
 * whatever way.
 */
extern void omb_agent_start(void);
extern bool omb_agent_running(void);

/* Build a line and send it. */
extern void omb_agent_begin(const char *verb);
extern void omb_agent_put(const char *name, const char *value);
extern void omb_agent_put_u64(const char *name, uint64 value);
extern void omb_agent_put_lsn(const char *name, uint64 lsn);
/* All that is in every job. */
extern void omb_agent_begin_job(const char *type);
/* False when the agent is dead. */
extern bool omb_agent_send(void);

/*
 * Wait at most timeout_ms for a line; interrupts of the process are not
 * handled here. fields are valid until the next call.
 */
extern OmbAgentRead omb_agent_receive(omb_fields *fields, long timeout_ms);

/*
 * Did waiting for the agent take a wakeup of this process's latch since the
 * last call? Then it may have been meant for somebody else.
 */
extern bool omb_agent_took_wakeup(void);

/* How it died, in words; after OMB_AGENT_DEAD. */
extern const char *omb_agent_death(void);

/* Kill and reap; does nothing when there is none. */
extern void omb_agent_stop(void);

/*
 * Raise what an "error", "failed" or "warning" line says. prefix goes in front
 * of the message, detail is used when the line has none; both may be NULL.
 */
extern void omb_agent_report(const omb_fields *fields, int elevel,
							 const char *prefix, const char *detail);

/* Raise that the agent died. */
extern void omb_agent_report_death(int elevel);

/*
 * A line's text, or "".
 */
extern const char *omb_agent_text(const omb_fields *fields, const char *name);
extern uint64 omb_agent_u64(const omb_fields *fields, const char *name);

#endif
