/*
 * walfile.h: files of a server's pg_wal.
 */
#ifndef OMB_TASK_WALFILE_H
#define OMB_TASK_WALFILE_H

#include "base/error.h"

#include <stdint.h>

/*
 * Open a file of the folder for reading and check that it is what its name
 * says: a segment of that size and that cluster, or a small file. The caller
 * closes *fd. OMB_NOT_FOUND, OMB_DAMAGED.
 */
extern omb_status omb_wal_file_open(const char *folder, const char *file,
									uint64_t segment_size,
									uint64_t system_identifier, int *fd,
									uint64_t *size, omb_error *err);

#endif
