/*
 * fault.h: a store that fails on purpose, for tests.
 */
#ifndef OMB_STORE_FAULT_H
#define OMB_STORE_FAULT_H

#include "store/store.h"

/*
 * Passes everything to inner, which it owns, but fails operation number at
 * (from 1; 0 for never) and, with persistent, all after it.
 */
extern omb_store *omb_store_fault_new(omb_store *inner);
extern void omb_store_fault_set(omb_store *store, uint64_t at,
								bool persistent);
/* Refuse, as locked, to remove what has this in its name; NULL for nothing. */
extern void omb_store_fault_keep(omb_store *store, const char *part);
/* Operations since the last _set. */
extern uint64_t omb_store_fault_count(omb_store *store);
extern omb_store *omb_store_fault_inner(omb_store *store);

#endif
