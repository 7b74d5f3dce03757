/*
 * walk.h: finding what belongs to a base backup.
 */
#ifndef OMB_TASK_WALK_H
#define OMB_TASK_WALK_H

#include "repo/manifest.h"

#include <sys/stat.h>

typedef struct omb_walk_item
{
	omb_entry_type type;
	omb_root root;
	const char *path;	/* below the root; as in the manifest */
	const char *source; /* where to open it */
	const char *target; /* of a link */
	struct stat st;
	bool is_relation;	  /* pages of 8 kB with a header */
	uint32_t first_block; /* of the file within its relation */

	/* root FILES: what to open is source + below, below this directory */
	int directory;
	size_t below;
	bool in_use;   /* a database of SQLite with a log beside it */
	bool is_log;   /* such a log; visited after its database */
	bool has_copy; /* read copy instead, which gather closes */
	int copy;
} omb_walk_item;

typedef omb_status (*omb_walk_visit)(const omb_walk_item *item, void *arg,
									 omb_error *err);
/* Something was left out that a person should know about. */
typedef void (*omb_walk_warn)(const char *message, void *arg);

typedef struct omb_walk_config
{
	const char *pgdata;
	uint32_t pg_version;			/* server_version_num */
	uint32_t catalog_version;		/* these two name tablespace directories */
	uint32_t segment_blocks;		/* pages in a segment file of a relation */
	const char *const *config_file; /* absolute paths outside pgdata */
	size_t config_count;
	omb_walk_visit visit;
	void *arg; /* of visit */
	omb_walk_warn warn;
	void *warn_arg;
} omb_walk_config;

/*
 * Visit everything in the order of a manifest, but for global/pg_control,
 * which the caller copies last. What PostgreSQL's own base backup leaves out
 * is left out. A symbolic link to a regular file is taken as that file.
 */
extern omb_status omb_walk(const omb_walk_config *config, omb_error *err);

#endif
