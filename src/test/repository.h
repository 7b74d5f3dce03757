/*
 * repository.h: repositories for tests. Include it after tap.h, in the one .c
 * file of a test program only.
 */
#ifndef OMB_TEST_REPOSITORY_H
#define OMB_TEST_REPOSITORY_H

#include "repo/manifest.h"
#include "repo/revision.h"
#include "store/fault.h"
#include "store/memory.h"

#include <stdlib.h>

/* End the test unless that worked. */
static void __attribute__((unused)) check(const omb_error *err)
{
	if (err->status == OMB_OK)
		return;
	printf("Bail out! %s\n", err->message);
	exit(1);
}

/* A new one, without a key file, in a store that it then owns. */
static __attribute__((unused)) omb_repository *
new_repository(omb_store *store)
{
	omb_repository *repo = NULL;
	omb_error err = OMB_ERROR_INIT;
	char code[OMB_RECOVERY_CODE_TEXT];

	(void) omb_repository_prepare(store, false, NULL, code, &repo, &err);
	check(&err);
	(void) omb_repository_commit(repo, &err);
	check(&err);
	return repo;
}

/* In memory, behind a store that can be told to fail. */
static __attribute__((unused)) omb_repository *
new_memory_repository(void)
{
	return new_repository(omb_store_fault_new(omb_store_memory_new()));
}

/* The facts of a full backup, to be cleared by the caller. */
static void __attribute__((unused))
set_info(omb_backup_info *info, const char *id)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->id, id, strlen(id));
	memcpy(info->kind, "full", 5);
	info->label = omb_strdup("a label");
	info->program_version = omb_strdup("1.0");
	info->pgdata = omb_strdup("/data");
	info->backup_label = omb_strdup("START\n");
	info->tablespace_map = omb_strdup("");
	info->bytes_stored = 77;
}

typedef struct removing
{
	omb_repository *repo;
	const char *id;
} removing;

static omb_status
remove_revision(const omb_revision *revision, void *arg, omb_error *err)
{
	removing *r = arg;
	char *name;

	if (strcmp(revision->id, r->id) != 0)
		return OMB_OK;
	name = omb_revision_name(revision->id, revision->number);
	(void) omb_store_remove(r->repo->store, name, err);
	free(name);
	return err->status;
}

/* All manifests of a backup go, and nothing else. */
static void __attribute__((unused))
remove_manifests(omb_repository *repo, const char *id)
{
	removing r = { repo, id };
	omb_error err = OMB_ERROR_INIT;

	(void) omb_revision_list(repo, remove_revision, &r, &err);
	omb_revision_memory_clear(repo->revisions);
	check(&err);
}

#endif
