/*
 * chosenfiles.h: the application's files that fit an instant: which manifests
 * have them, and their entries as if they were one.
 *
 * What a database refers to at an instant may have been deleted or replaced
 * before files were copied next: so entries of the first manifest whose copying
 * began at or after the instant are united with those of the last one that
 * ended before it, and of any between. Where several have a path the latest counts.
 */
#ifndef OMB_TASK_CHOSENFILES_H
#define OMB_TASK_CHOSENFILES_H

#include "repo/manifest.h"

/* The facts of a manifest that has files. */
typedef struct omb_files_facts
{
	char id[OMB_BACKUP_ID_MAX];
	int64_t start_time; /* of copying the files */
	int64_t stop_time;
} omb_files_facts;

/*
 * Of facts in the order of taking: the manifest that counts first, and the
 * first of those before it that add what it lacks; both the same when none
 * does. The instant is not before from and not after until. False without any.
 */
extern bool omb_files_choose(const omb_files_facts *facts, size_t count,
							 int64_t from, int64_t until, size_t *chosen,
							 size_t *first);

typedef struct omb_chosen_files omb_chosen_files;

/* OMB_REFUSED when the repository has no files. */
extern omb_status omb_chosen_files_open(omb_repository *repo, int64_t from,
										int64_t until, omb_chosen_files **out,
										omb_error *err);
/*
 * The next entry, which the caller clears, and the manifest that it is from;
 * number 0 is the chosen one. *end after the last.
 */
extern omb_status omb_chosen_files_next(omb_chosen_files *files,
										omb_entry *entry,
										const omb_manifest **manifest,
										size_t *number, bool *end,
										omb_error *err);
/* The i-th manifest, newest first; NULL behind the last. */
extern const omb_backup_info *omb_chosen_files_info(
	const omb_chosen_files *files, size_t i);
extern void omb_chosen_files_close(omb_chosen_files *files);

#endif
