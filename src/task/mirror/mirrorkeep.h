/*
 * mirrorkeep.h: what a target with rules of its own is to have.
 *
 * A target keeps by other rules than the repository that it is a copy of. What
 * its rules would drop is not copied: task/retain/retain.h decides on the backups of
 * the source. As the target may have backups that the source has no more, it
 * can decide otherwise than that; so what was dropped there is remembered, in
 * a file:
 *
 *   omsdrop1
 *   <the rules, as text>
 *   <backup id>           a line each
 *
 * With other rules nothing that it says counts. The file is no object of the
 * repository; losing it costs a copy that is removed again.
 */
#ifndef OMB_TASK_MIRRORKEEP_H
#define OMB_TASK_MIRRORKEEP_H

#include "repo/revision.h"
#include "task/retain/retain.h"

/* Belongs to one thread. */
typedef struct omb_mirror_keep omb_mirror_keep;

/* path is the file, or NULL. */
extern omb_mirror_keep *omb_mirror_keep_new(const omb_retain_rules *rules,
											const char *path);
extern void omb_mirror_keep_free(omb_mirror_keep *keep);

/*
 * Decide on these backups of the repository. When they and the pins are the
 * same as the last time nothing is read.
 */
extern omb_status omb_mirror_keep_look(omb_mirror_keep *keep,
									   omb_repository *repo,
									   const omb_revision *backup,
									   size_t count, omb_error *err);
/* One whose manifest cannot be read is wanted. */
extern bool omb_mirror_keep_wants(const omb_mirror_keep *keep, const char *id);
extern bool omb_mirror_keep_wants_wal(const omb_mirror_keep *keep,
									  const omb_wal_name *name);

/* The target has dropped a backup; _save writes the file. */
extern void omb_mirror_keep_dropped(omb_mirror_keep *keep, const char *id);
extern omb_status omb_mirror_keep_save(omb_mirror_keep *keep, omb_error *err);

#endif
