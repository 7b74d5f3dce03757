/*
 * expiremarks.h: removing marks that nobody can restore to any more, and
 * thinning out watermarks.
 */
#ifndef OMB_TASK_EXPIREMARKS_H
#define OMB_TASK_EXPIREMARKS_H

#include "task/retain/expire.h"

/* Marks of which the rules keep nothing. */
typedef struct omb_expire_marks omb_expire_marks;

/*
 * Tell the verdict on all marks and watermarks, after omb_retain_decide(). A
 * mark stays as long as the rules keep the WAL of its instant, so that no
 * instant that can be restored loses its name; one that cannot be read stays.
 */
extern omb_status omb_expire_marks_tell(const omb_expire_config *config,
										const omb_retain_plan *plan,
										omb_expire_marks **out,
										omb_error *err);
/*
 * Remove what was told; the store's lock is held alone, and the WAL went
 * before. locked counts what the store keeps locked.
 */
extern omb_status omb_expire_marks_remove(const omb_expire_config *config,
										  const omb_expire_marks *marks,
										  uint64_t *locked, omb_error *err);
/* NULL is fine. */
extern void omb_expire_marks_free(omb_expire_marks *marks);

#endif
