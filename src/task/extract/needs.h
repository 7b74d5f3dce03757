/*
 * needs.h: what a dump needs of the server that it is loaded into.
 */
#ifndef OMB_TASK_NEEDS_H
#define OMB_TASK_NEEDS_H

#include "task/extract/privateserver.h"

/*
 * Append lines such as "roles: a, b" to out; nothing when the dump needs
 * nothing. tables is a query for the oids of the tables that are dumped, NULL
 * for the whole database. Without owners it needs neither roles nor
 * tablespaces.
 */
extern omb_status omb_extract_needs(omb_private_server *server,
									const char *database, const char *tables,
									bool no_owner, omb_buf *out,
									omb_error *err);

#endif
