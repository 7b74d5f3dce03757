/*
 * rewrite.h: moving the live blobs of packs into new packs.
 */
#ifndef OMB_TASK_REWRITE_H
#define OMB_TASK_REWRITE_H

#include "task/retain/packset.h"
#include "task/retain/prune.h"

/* Whether so little of a pack is in use that it is to be rewritten. */
extern bool omb_rewrite_wanted(const omb_prune_config *config,
							   const omb_set_pack *pack);

/*
 * Rewrite all packs of the set that are to be, in rounds: copy the blobs and
 * commit the new packs; write the next revision of each manifest that uses
 * one of the old packs; remove the lower revisions, then the old packs. The
 * set knows of all manifests.
 */
extern omb_status omb_rewrite(const omb_prune_config *config,
							  omb_pack_set *set, omb_prune_result *result,
							  omb_error *err);

#endif
