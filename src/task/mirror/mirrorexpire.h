/*
 * mirrorexpire.h: removing from a target what its rules do not keep.
 */
#ifndef OMB_TASK_MIRROREXPIRE_H
#define OMB_TASK_MIRROREXPIRE_H

#include "task/retain/expire.h"
#include "task/mirror/mirrorkeep.h"

typedef struct omb_mirror_expire_config
{
	omb_repository *source;
	const char *url; /* of the target */
	const char *credentials;
	const char *key_file;
	omb_retain_rules rules;
	omb_mirror_keep *keep; /* notes what was dropped; or NULL */
	/* Packs, too: not while packs are there that await their manifest. */
	bool prune;
	int jobs;
} omb_mirror_expire_config;

/*
 * Pins at the target become those of the source. Then expire, there, by the
 * target's rules (task/retain/expire.h). Packs are removed, but rewritten only in a
 * directory: elsewhere each byte has to come and go over the network. Where a
 * store has no lock that others see, the caller says by calling that nobody
 * else removes anything there.
 */
extern omb_status omb_mirror_expire(const omb_mirror_expire_config *config,
									omb_expire_result *result,
									omb_prune_result *pruned, omb_error *err);

#endif
