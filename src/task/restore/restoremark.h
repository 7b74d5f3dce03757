/*
 * restoremark.h: the sign that a data directory is being restored.
 *
 * While a restore works, the file global/pg_control is not the server's but a
 * text of ours, so that no server starts and a later restore knows what it
 * finds. It begins with a line for people, then text of base/fields.h:
 *
 *   format=1
 *   system_identifier=<decimal>
 *
 * and is filled with newlines to the size of pg_control. The last step of a
 * restore replaces it by pg_control in one instant.
 */
#ifndef OMB_TASK_RESTOREMARK_H
#define OMB_TASK_RESTOREMARK_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMB_CONTROL_PATH "global/pg_control"

/* Put the sign into a data directory, instead of pg_control; durable. */
extern omb_status omb_restore_mark_write(const char *pgdata,
										 uint64_t system_identifier,
										 omb_error *err);
/* Are these bytes of pg_control the sign, and of which cluster? */
extern bool omb_restore_mark_parse(const void *bytes, size_t len,
								   uint64_t *system_identifier);

#endif
