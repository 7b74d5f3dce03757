/*
 * unfinished.h: which packs a backup that did not come to its end has stored.
 *
 * A backup notes each pack that it has committed in a journal, so that the
 * next attempt takes the packs over and prune spares them meanwhile. A journal
 * is the file cache/unfinished-<backup id> below the directory of the
 * repository, a sequence of 32-byte SHA-256 names of packs. It is no object of
 * the repository: it is appended to, it is not sealed, and losing it or its
 * end costs time and no data, so it is not synced either. Whoever reads one
 * believes nothing of it: a name may be that of no pack, or of one that was
 * removed since.
 *
 * A repository that is not in a local directory has no journals: then
 * nothing is written and nothing is found.
 */
#ifndef OMB_REPO_UNFINISHED_H
#define OMB_REPO_UNFINISHED_H

#include "repo/repository.h"

/* Folder below the repository's directory for what can be made anew. */
#define OMB_CACHE_FOLDER "cache"

/* A journal open for appending. */
typedef struct omb_unfinished omb_unfinished;

/*
 * Begin the journal of a backup; OMB_EXISTS when it has one. *out is NULL
 * when the repository is not in a directory, which the others take for a
 * journal.
 */
extern omb_status omb_unfinished_begin(omb_repository *repo, const char *id,
									   omb_unfinished **out, omb_error *err);
/* Note a pack that was committed. Several threads may do so at once. */
extern omb_status omb_unfinished_append(omb_unfinished *journal,
										const uint8_t sha256[OMB_SHA256_SIZE],
										omb_error *err);
/* Close the journal and leave it where it is. */
extern void omb_unfinished_close(omb_unfinished *journal);

/*
 * Visit all journals, oldest backup first; changed_at is when something was
 * last noted, in microseconds since 1970. A visit may remove the journal.
 */
typedef omb_status (*omb_unfinished_visit)(const char *id, int64_t changed_at,
										   void *arg, omb_error *err);
extern omb_status omb_unfinished_list(omb_repository *repo,
									  omb_unfinished_visit visit, void *arg,
									  omb_error *err);

/* Visit the packs noted in a journal, in order; OMB_NOT_FOUND. */
typedef omb_status (*omb_unfinished_pack)(
	const uint8_t sha256[OMB_SHA256_SIZE], void *arg, omb_error *err);
extern omb_status omb_unfinished_read(omb_repository *repo, const char *id,
									  omb_unfinished_pack visit, void *arg,
									  omb_error *err);

/* Remove a journal; one that is not there is fine. */
extern omb_status omb_unfinished_remove(omb_repository *repo, const char *id,
										omb_error *err);

#endif
