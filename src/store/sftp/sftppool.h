/*
 * sftppool.h: connections to one SFTP server, and doing things with them until
 * they are done.
 *
 * Threads take a connection, and give it back with the file that it has open,
 * so that whoever reads on in that file needs not open it again. A step whose
 * connection was lost is tried again with another one after a pause
 * (store/retry.h). A child process may go on with a pool of which no thread
 * had a connection at the fork.
 */
#ifndef OMB_STORE_SFTPPOOL_H
#define OMB_STORE_SFTPPOOL_H

#include "store/sftp/sftp.h"
#include "store/sftp/sftpconn.h"

typedef struct omb_sftp_pool omb_sftp_pool;

/*
 * One step. again tells that a try before ended without an answer, so that it
 * may have been done.
 */
typedef omb_status (*omb_sftp_step)(omb_sftp_conn *conn, bool again, void *arg,
									omb_error *err);

extern omb_status omb_sftp_pool_new(const omb_sftp_config *config,
									omb_sftp_pool **pool, omb_error *err);
extern void omb_sftp_pool_free(omb_sftp_pool *pool);

/* As people write it, without secrets. */
extern const char *omb_sftp_pool_location(const omb_sftp_pool *pool);
/* The directory of the store on the server. */
extern const char *omb_sftp_pool_root(const omb_sftp_pool *pool);
/* The path on the server of a name in the store, in new memory. */
extern char *omb_sftp_path(const omb_sftp_pool *pool, const char *name);

/*
 * Do a step with *conn, or when that is NULL with a connection from the pool,
 * the one that has the file path open if there is one. *conn then stays the
 * caller's, and may be another one or, after a failure, NULL.
 */
extern omb_status omb_sftp_do(omb_sftp_pool *pool, omb_sftp_conn **conn,
							  const char *path, omb_sftp_step step, void *arg,
							  omb_error *err);
/* Give a connection back; NULL is fine. */
extern void omb_sftp_give(omb_sftp_pool *pool, omb_sftp_conn *conn);
/* A single step. */
extern omb_status omb_sftp_do_once(omb_sftp_pool *pool, omb_sftp_step step,
								   void *arg, omb_error *err);

/*
 * "No such file" became OMB_NOT_FOUND: it stays so when the directory of the
 * store is there. Else nothing is known, and err says that.
 */
extern omb_status omb_sftp_prove_absent(const omb_sftp_pool *pool,
										omb_sftp_conn *conn, omb_error *err);

#endif
