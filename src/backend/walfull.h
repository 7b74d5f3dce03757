/*
 * walfull.h: what to do when archiving fails and pg_wal grows.
 */
#ifndef OMB_BACKEND_WALFULL_H
#define OMB_BACKEND_WALFULL_H

#include "backend/status.h"

typedef enum OmbWalFullAction
{
	OMB_WAL_FULL_WARN,
	OMB_WAL_FULL_DROP
} OmbWalFullAction;

/*
 * A file could not be archived. True when it is given up: the caller says
 * "archived", so that the server can recycle it. Otherwise a WARNING now and
 * then tells how long the space will last.
 */
extern bool omb_walfull_failed(const char *file);
/* One was archived. */
extern void omb_walfull_archived(void);

/*
 * The note of what was given up, a file in the data directory until the
 * repository has it. Times are microseconds since 1970.
 */
typedef struct OmbWalGap
{
	char first[OMB_STATUS_NAME];
	char last[OMB_STATUS_NAME];
	uint64 files;
	uint64 since;
	uint64 until;
	List *histories; /* timeline history files to archive after all */
} OmbWalGap;

/* Take the note, if there is one; it stays until it is reported. */
extern bool omb_walgap_take(OmbWalGap *gap);
extern void omb_walgap_reported(const OmbWalGap *gap);

#endif
