/*
 * quarantine.h: a restored server starts with omSupply's sync turned off.
 */
#ifndef OMB_BACKEND_QUARANTINE_H
#define OMB_BACKEND_QUARANTINE_H

#include "pg_config_manual.h"

typedef enum OmbQuarantineState
{
	OMB_QUARANTINE_NONE,
	OMB_QUARANTINE_WAITS, /* nobody may connect until sync is off */
	OMB_QUARANTINE_ON
} OmbQuarantineState;

typedef struct OmbQuarantine
{
	OmbQuarantineState state;
	char database[NAMEDATALEN];
} OmbQuarantine;

/* Read what a restore has left; in the postmaster, at its start. */
extern void omb_quarantine_read(OmbQuarantine *quarantine);
/* Keep applications out while it waits; when the library is preloaded. */
extern void omb_quarantine_hook(void);

/* A step of the launcher; returns milliseconds to sleep at most. */
extern long omb_quarantine_step(void);

/* Entry point of the worker. */
extern PGDLLEXPORT void omb_quarantine_main(Datum arg);

#endif
