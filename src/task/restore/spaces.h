/*
 * spaces.h: where the parts of a cluster go when it is restored: the data
 * directory and its tablespaces.
 */
#ifndef OMB_TASK_SPACES_H
#define OMB_TASK_SPACES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct omb_tablespace_move
{
	const char *from;
	const char *to;
} omb_tablespace_move;

typedef struct omb_space
{
	char *oid;		/* of a tablespace; NULL for the data directory */
	char *from;		/* where it was */
	char *path;		/* where it goes now */
	uint64_t bytes; /* that will be written into it */
	uint64_t freed; /* that will be removed from it before */
} omb_space;

/* item[0] is the data directory. */
typedef struct omb_spaces
{
	omb_space *item;
	size_t count;
} omb_spaces;

extern void omb_spaces_init(omb_spaces *spaces, const char *pgdata);
extern void omb_spaces_clear(omb_spaces *spaces);

/* Add the tablespace with this oid, from where it was, as moved. */
extern omb_status omb_spaces_add(omb_spaces *spaces, const char *oid,
								 const char *from,
								 const omb_tablespace_move *move,
								 size_t move_count, omb_error *err);
/* Two tablespaces in one place, or a move that fits no tablespace. */
extern omb_status omb_spaces_check(const omb_spaces *spaces,
								   const omb_tablespace_move *move,
								   size_t move_count, omb_error *err);

/* The space that a path of the backup is in; *rest is the path in it. */
extern omb_space *omb_spaces_find(const omb_spaces *spaces, const char *path,
								  const char **rest);
/* Where a path of the backup goes, in new memory. */
extern char *omb_spaces_locate(const omb_spaces *spaces, const char *path);

/* What all that goes to one file system needs together must fit. */
extern omb_status omb_spaces_check_room(const omb_spaces *spaces,
										omb_error *err);

/* Make all that was written into the spaces durable. */
extern omb_status omb_spaces_sync(const omb_spaces *spaces, omb_error *err);
/* The same for one directory and all in it. */
extern omb_status omb_tree_sync(const char *path, omb_error *err);

#endif
