/*
 * removal.h: removing many objects of a store, gathered so that few requests
 * are needed.
 */
#ifndef OMB_TASK_REMOVAL_H
#define OMB_TASK_REMOVAL_H

#include "store/store.h"

/*
 * Told of each object: it is gone, or the store keeps it locked, and refused
 * says why.
 */
typedef void (*omb_removal_done)(const char *name, uint64_t size,
								 const omb_error *refused, void *arg);

typedef struct omb_removal omb_removal;

extern omb_removal *omb_removal_new(omb_store *store, omb_removal_done done,
									void *arg);
/* Remove an object, now or with others later. */
extern omb_status omb_removal_add(omb_removal *removal, const char *name,
								  uint64_t size, omb_error *err);
/* Remove what was gathered: when it returns OMB_OK all were told. */
extern omb_status omb_removal_flush(omb_removal *removal, omb_error *err);
/* Forgets what was gathered; NULL is fine. */
extern void omb_removal_free(omb_removal *removal);

#endif
