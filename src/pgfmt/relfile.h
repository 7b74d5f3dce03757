/*
 * relfile.h: names of relation files and of the directories they live in.
 *
 *   <number>[_fsm|_vm|_init][.<segment>]         a relation's file
 *   t<backend>_<number>[_fsm|_vm|_init][.<segment>]   of a temporary relation
 *
 * Numbers have no leading zeros; segment 0 has no suffix.
 */
#ifndef OMB_PGFMT_RELFILE_H
#define OMB_PGFMT_RELFILE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum omb_fork
{
	OMB_FORK_MAIN,
	OMB_FORK_FSM,
	OMB_FORK_VM,
	OMB_FORK_INIT
} omb_fork;

typedef struct omb_relfile
{
	uint32_t relnumber;
	omb_fork fork;
	uint32_t segno;
	bool is_temporary;
} omb_relfile;

extern bool omb_relfile_parse(const char *name, omb_relfile *out);

/*
 * Whether a directory, relative to the data directory, holds relation files:
 * "global", "base/<database>", "pg_tblspc/<oid>/PG_<..>/<database>".
 */
extern bool omb_relfile_directory(const char *path, uint32_t *tablespace,
								  uint32_t *database);

#endif
