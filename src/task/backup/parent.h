/*
 * parent.h: the backup that a new one builds upon.
 *
 * A new backup walks the data directory in the order of the parent's manifest
 * and asks for each file as it comes. A file is taken over unread when that
 * is beyond doubt; for the others the parent tells the fingerprints of their
 * pages, when the local cache has them, and where the pages are stored.
 */
#ifndef OMB_TASK_PARENT_H
#define OMB_TASK_PARENT_H

#include "codec/fingerprint.h"
#include "repo/manifest.h"

#include <sys/stat.h>

typedef struct omb_parent omb_parent;

/* The state of this machine's clock, as the facts of a backup note it. */
extern char *omb_boot_id(void); /* in new memory; "" when it has none */
extern int64_t omb_clock_offset(void);

/*
 * Open the newest backup that a backup with these facts can build upon; *out
 * is NULL when there is none. What is found to be damaged is passed over, as
 * costing time only, with a warning.
 */
typedef void (*omb_parent_warn)(const char *message, void *arg);
extern omb_status omb_parent_open(omb_repository *repo,
								  const omb_fingerprinter *fingerprinter,
								  const omb_backup_info *facts,
								  omb_parent_warn warn, void *arg,
								  omb_parent **out, omb_error *err);
/* The same for the application's files: the newest that holds any. */
extern omb_status omb_parent_open_files(omb_repository *repo,
										const omb_fingerprinter *fingerprinter,
										const omb_backup_info *facts,
										omb_parent_warn warn, void *arg,
										omb_parent **out, omb_error *err);
/* The newest base backup that can be read; "" when there is none. */
extern omb_status omb_parent_newest_base(omb_repository *repo,
										 char id[OMB_BACKUP_ID_MAX],
										 omb_error *err);
extern const omb_backup_info *omb_parent_info(const omb_parent *parent);

/*
 * The entry of a path, or NULL; paths come in the order of a manifest.
 * *fingerprint is NULL when not known. Both are valid until the next call.
 */
extern const omb_entry *omb_parent_find(omb_parent *parent, omb_root root,
										const char *path,
										const uint64_t **fingerprint);

/*
 * The next entry that is at the path or below it, or NULL after the last; it
 * counts as asked for.
 */
extern const omb_entry *omb_parent_next_below(omb_parent *parent,
											  omb_root root, const char *path,
											  const uint64_t **fingerprint);
/*
 * Is the file certainly what it was when the parent read it? Size, inode and
 * both times must be the same and older than the parent's beginning, on a
 * local file system, since the same boot and with no setting back of the
 * clock in between, and nothing of it may be known to be damaged.
 */
extern bool omb_parent_unchanged(omb_parent *parent, const omb_entry *entry,
								 const struct stat *st, const char *source);

/* Are all packs there in which the entry's content is? */
extern bool omb_parent_is_whole(omb_parent *parent, const omb_entry *entry);
extern uint32_t omb_parent_pack_count(const omb_parent *parent);
/* Is that pack of the parent's in the repository, with its size? */
extern bool omb_parent_has_pack(omb_parent *parent, uint32_t number);
extern const omb_pack_id *omb_parent_pack(const omb_parent *parent,
										  uint32_t number);
extern void omb_parent_free(omb_parent *parent);

#endif
