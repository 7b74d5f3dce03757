/*
 * history.h: the table backup_history.
 */
#ifndef OMB_BACKEND_HISTORY_H
#define OMB_BACKEND_HISTORY_H

#include "backend/shared.h"

/*
 * Add a run to the table in that schema (quoted) and tell all who listen;
 * inside a transaction, with SPI connected.
 */
extern void omb_history_write(const char *schema, const OmbRun *run);

/* Remove runs that are older than 400 days; in the same way. */
extern void omb_history_trim(const char *schema, TimestampTz now);

#endif
