/*
 * walfetch.h: the plain bytes of one archived WAL file, into a file.
 */
#ifndef OMB_TASK_WALFETCH_H
#define OMB_TASK_WALFETCH_H

#include "repo/walobject.h"

/* Keeps memory and contexts between files; for one caller at a time. */
typedef struct omb_wal_fetcher omb_wal_fetcher;

/*
 * Threads are started for each file, jobs - 1 of them and none for a small
 * one, and have ended when _fetch returns. They read repo.
 */
extern omb_wal_fetcher *omb_wal_fetcher_new(omb_repository *repo, int jobs);

/*
 * Write the file of an object to fd, from offset 0 on, and tell its size.
 * After an error, what was written is worth nothing. An object that is not
 * there is OMB_FAILED: it was listed a moment ago.
 */
extern omb_status omb_wal_fetch(omb_wal_fetcher *fetcher,
								const omb_wal_object *object, int fd,
								uint64_t *size, omb_error *err);
extern void omb_wal_fetcher_free(omb_wal_fetcher *fetcher);

#endif
