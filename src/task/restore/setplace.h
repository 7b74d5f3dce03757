/*
 * setplace.h: putting entries of file sets in place, by several threads.
 */
#ifndef OMB_TASK_SETPLACE_H
#define OMB_TASK_SETPLACE_H

#include "repo/manifest.h"

typedef struct omb_set_place_config
{
	omb_repository *repo;
	int jobs;	/* threads */
	bool delta; /* files that are there and differ are replaced */
	void (*progress)(const char *step, uint64_t bytes_written, void *arg);
	/* So many more extents of the entry that is added are being read. */
	void (*reading)(size_t extents, void *arg);
	void *arg;
} omb_set_place_config;

typedef struct omb_set_place_result
{
	uint64_t files;
	uint64_t files_same; /* left alone */
	uint64_t bytes_written;
} omb_set_place_result;

typedef struct omb_set_place omb_set_place;

extern omb_set_place *omb_set_place_new(const omb_set_place_config *config);
/*
 * Have an entry placed; it is taken over. Entries come in the order of a manifest. root is the
 * directory of its set; one from a manifest of number 0 has to fit the tree,
 * one of another number is left out where a file or link is instead of its
 * directory.
 */
extern omb_status omb_set_place_add(omb_set_place *place, omb_entry *entry,
									const omb_manifest *manifest,
									size_t number, const char *root,
									omb_error *err);
/* All entries were added: have all of them in place, durably. */
extern omb_status omb_set_place_end(omb_set_place *place, omb_error *err);
extern void omb_set_place_result_of(const omb_set_place *place,
									omb_set_place_result *result);
extern void omb_set_place_free(omb_set_place *place);

#endif
