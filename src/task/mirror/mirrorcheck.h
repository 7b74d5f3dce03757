/*
 * mirrorcheck.h: comparing a copy of a repository with the original.
 */
#ifndef OMB_TASK_MIRRORCHECK_H
#define OMB_TASK_MIRRORCHECK_H

#include "task/mirror/mirror.h"

typedef struct omb_mirror_check_result
{
	uint64_t compared; /* objects that both have */
	uint64_t read;	   /* of these, read at the target */
	uint64_t changed;  /* other size or other bytes */
	uint64_t strange;  /* names at the target that no object has */
	uint64_t extra;	   /* only at the target, as after other retention */
	uint64_t healed;
} omb_mirror_check_result;

/*
 * Compare the sizes of all objects that both have, and read so many percent
 * of them at the target: packs against their names, others against the
 * source's bytes. What differs is told to the config's problem. With heal the
 * source's object is checked and put in the place of the target's; that takes
 * the target's exclusive lock. OMB_DAMAGED when anything differs and was not
 * healed. What is missing at the target is not looked for: that is what
 * omb_mirror() does.
 */
extern omb_status omb_mirror_check(const omb_mirror_config *config,
								   unsigned sample, bool heal,
								   omb_mirror_check_result *result,
								   omb_error *err);

#endif
