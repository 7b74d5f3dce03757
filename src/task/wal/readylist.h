/*
 * readylist.h: the WAL files that the server has marked as ready to archive.
 */
#ifndef OMB_TASK_READYLIST_H
#define OMB_TASK_READYLIST_H

#include <stdbool.h>

typedef struct omb_ready_list omb_ready_list;

/* Over <wal_dir>/archive_status. */
extern omb_ready_list *omb_ready_list_new(const char *wal_dir);

/*
 * The next file in the archiver's order, reading the directory again when
 * the last reading is used up; NULL, once, when there is nothing more, and
 * then it begins anew. Valid until the next call.
 */
extern const char *omb_ready_list_next(omb_ready_list *list);
extern bool omb_ready_list_has(omb_ready_list *list, const char *file);
extern void omb_ready_list_free(omb_ready_list *list);

/* The archiver's order: timeline histories first, then by name. */
extern int omb_ready_compare(const char *a, const char *b);

#endif
