/*
 * walget.h: fetching one WAL file for recovery.
 */
#ifndef OMB_TASK_WALGET_H
#define OMB_TASK_WALGET_H

#include "repo/walobject.h"

typedef struct omb_wal_request
{
	const char *location;	 /* of the repository */
	const char *credentials; /* the file with them; NULL */
	const char *file;
	const char *path; /* where the file goes */
	int jobs;
	const char *spool; /* directory for the spool; NULL: nothing ahead */
	/* the last segment that recovery to its target needs; NULL: all */
	const char *last_needed;
} omb_wal_request;

/*
 * Take the file from the spool when it is there and the repository holds the
 * same; no key is needed. Far away the repository is not asked again while
 * somebody serves the spool from it: that would take longer than replaying
 * the segment. False when not: that says nothing about the repository. *ahead
 * tells whether somebody is fetching what follows.
 */
extern bool omb_wal_get_spooled(const omb_wal_request *request, bool *ahead);

/*
 * Write an archived file to its path. OMB_NOT_FOUND only when it is proven
 * that the file is absent and that nothing behind it is there either: then
 * recovery is at the end of the archive. A gap is OMB_DAMAGED, unless it lies
 * behind the last segment that is needed: the server reads ahead of its
 * target, and the WAL behind an old backup goes before the backup does.
 */
extern omb_status omb_wal_get(omb_repository *repo,
							  const omb_wal_request *request, omb_error *err);

/*
 * After a file was fetched, or is absent: see to it that what follows is
 * fetched ahead, and that no spool stays when nothing does.
 */
extern void omb_wal_get_ahead(omb_repository *repo,
							  const omb_wal_request *request, bool absent);

#endif
