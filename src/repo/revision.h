/*
 * revision.h: the objects that hold the manifest of one backup.
 *
 * Objects never change. When prune moves blobs to other packs it writes the
 * manifest again, with the same facts and entries and other places of blobs,
 * as the next revision:
 *
 *   backups/<id>       revision 1, which the backup wrote
 *   backups/<id>.<n>   revision n, from 2, decimal
 *
 * Of several the highest counts; the lower ones are removed once it is
 * committed. Each revision that is there is whole, and no pack is removed
 * while any revision that needs it may come back: a reader that still opens
 * a lower one gets the same backup.
 */
#ifndef OMB_REPO_REVISION_H
#define OMB_REPO_REVISION_H

#include "repo/manifest.h"

typedef struct omb_revision
{
	char id[OMB_BACKUP_ID_MAX];
	uint32_t number;
	bool is_latest;
	uint64_t size; /* of the object */
} omb_revision;

/* Name of the object, in new memory. */
extern char *omb_revision_name(const char *id, uint32_t number);
/* From an object's full name; is_latest and size are left as they are. */
extern bool omb_revision_parse(const char *name, omb_revision *out);

/*
 * Visit all revisions of all backups, oldest backup first, lowest revision
 * first. The listing is complete before the first visit, so that visits may
 * add and remove revisions.
 */
typedef omb_status (*omb_revision_visit)(const omb_revision *revision,
										 void *arg, omb_error *err);
extern omb_status omb_revision_list(omb_repository *repo,
									omb_revision_visit visit, void *arg,
									omb_error *err);

/* The same for visits that open the manifests. */
extern omb_status omb_revision_list_reading(omb_repository *repo,
											omb_revision_visit visit,
											void *arg, omb_error *err);

/*
 * For a store far away, whose list of backups is expected: ask it for what
 * omb_revision_list_reading reads first, and with newest for all of the newest
 * manifest. Needs no key.
 */
extern void omb_revision_expect(omb_store *store, bool newest);

/*
 * The highest revision of a backup; OMB_NOT_FOUND. The last listing is
 * remembered, so that opening thousands of backups lists once: with refresh
 * the folder is listed again.
 */
extern omb_status omb_revision_latest(omb_repository *repo, const char *id,
									  bool refresh, uint32_t *number,
									  omb_error *err);

/* What an open repository remembers of its last listing. */
extern omb_revision_memory *omb_revision_memory_new(void);
/* Forget it: the next question lists again. */
extern void omb_revision_memory_clear(omb_revision_memory *memory);
extern void omb_revision_memory_free(omb_revision_memory *memory);

#endif
