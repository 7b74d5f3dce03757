/*
 * memory.h: a store in memory, for tests.
 */
#ifndef OMB_STORE_MEMORY_H
#define OMB_STORE_MEMORY_H

#include "store/store.h"

extern omb_store *omb_store_memory_new(void);

/* The bytes of an object, to look at or to damage; NULL when absent. */
extern omb_buf *omb_store_memory_bytes(omb_store *store, const char *name);

#endif
