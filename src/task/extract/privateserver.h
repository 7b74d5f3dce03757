/*
 * privateserver.h: a server for ourselves on a restored directory: it
 * recovers, takes connections of this user only, archives nothing, loads
 * nothing, and ends with us.
 */
#ifndef OMB_TASK_PRIVATESERVER_H
#define OMB_TASK_PRIVATESERVER_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>

typedef struct omb_private_server omb_private_server;

typedef struct omb_private_server_config
{
	const char *bindir;	   /* where "postgres" and "psql" are */
	const char *pgdata;	   /* absolute */
	const char *directory; /* absolute, ours: socket, settings, log */
	const char *user;	   /* superuser to connect as; NULL to find one */
	/* go on when WAL is about pages that are not there; see _is_whole */
	bool ignore_invalid_pages;
} omb_private_server_config;

/*
 * Start it. postgresql.auto.conf counts, so that it recovers as a restore
 * has prepared it; other configuration files of the directory do not.
 */
extern omb_status omb_private_server_start(
	const omb_private_server_config *config, omb_private_server **out,
	omb_error *err);

/* Wait until it is open for work; tick is called several times a second. */
extern omb_status omb_private_server_await(omb_private_server *server,
										   void (*tick)(void *arg), void *arg,
										   omb_error *err);

/* Execute SQL as a superuser; the rows, unaligned, are appended to out. */
extern omb_status omb_private_server_query(omb_private_server *server,
										   const char *database,
										   const char *sql, omb_buf *out,
										   omb_error *err);

/*
 * Variables for programs of PostgreSQL that connect to it: NAME=VALUE, NULL at
 * the end. Valid until the next call.
 */
extern const char *const *omb_private_server_environment(
	omb_private_server *server, const char *database);

/* Did recovery find all pages of the database with this oid? */
extern bool omb_private_server_is_whole(omb_private_server *server,
										const char *oid);
/* When the last transaction that was recovered ended, as the log says; or "". */
extern const char *omb_private_server_last_transaction(
	omb_private_server *server);

/* Stop it at once and free; does nothing with NULL. */
extern void omb_private_server_stop(omb_private_server *server);

#endif
