/*
 * early.c: which backups go early for lack of space.
 *
 * A pack goes with the last backup that names it, a WAL file with the last one
 * that needs it. What each turn frees is known before anything is removed, so
 * a dry run tells what a run does.
 */
#include "task/retain/early.h"

#include "base/buffer.h"
#include "repo/walobject.h"
#include "task/retain/packset.h"
#include "task/retain/prune.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

typedef struct early
{
	omb_repository *repo;
	const omb_retain_plan *plan;
	omb_pack_set *set;
	uint32_t last_turn;
	uint64_t *frees; /* by turn */
} early;

omb_status
omb_early_available(const omb_repository *repo, uint64_t *bytes,
					omb_error *err)
{
	const char *directory = omb_repository_directory(repo);
	struct statvfs fs;

	*bytes = 0;
	if (directory == NULL)
		return omb_error_set(err, OMB_UNSUPPORTED,
							 "the free space of a repository can only be "
							 "measured where it is a directory");
	if (statvfs(directory, &fs) != 0)
		return omb_error_set_errno(
			err, errno, "could not look at file system of \"%s\"", directory);
	*bytes = (uint64_t) fs.f_bavail * fs.f_frsize;
	return OMB_OK;
}

static void
add(early *e, uint32_t turn, uint64_t bytes)
{
	if (turn != OMB_RETAIN_NEVER)
		e->frees[turn] += bytes;
}

static omb_status
measure_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	early *e = arg;
	omb_wal_object object;
	omb_wal_name name;

	if (!omb_wal_object_parse(entry->name, &object))
		return OMB_OK;
	(void) omb_wal_name_parse(object.file, &name);
	add(e, omb_retain_wal_turn(e->plan, &name), entry->size);
	return OMB_OK;
}

/* A pack goes when the last of those goes that name it. */
static omb_status
mark_packs(early *e, const char *id, uint32_t turn, omb_error *err)
{
	omb_manifest *manifest;
	uint32_t i;

	if (omb_manifest_open(e->repo, id, &manifest, err) != OMB_OK)
		return err->status;
	for (i = 0; i < manifest->pack_count; i++)
	{
		omb_set_pack *pack =
			omb_pack_set_add(e->set, manifest->pack[i].sha256);

		if (pack == NULL)
			continue;
		pack->size = manifest->pack[i].size;
		if (turn > pack->turn)
			pack->turn = turn;
	}
	omb_manifest_close(manifest);
	return OMB_OK;
}

static omb_status
measure_packs(early *e, omb_error *err)
{
	size_t i;

	for (i = 0; i < e->plan->count; i++)
	{
		if (mark_packs(e, e->plan->backup[i].id, e->plan->backup[i].turn,
					   err) != OMB_OK)
			return err->status;
	}
	for (i = 0; i < e->plan->files_count; i++)
	{
		if (mark_packs(e, e->plan->files[i].id,
					   omb_retain_files_turn(e->plan, i), err) != OMB_OK)
			return err->status;
	}
	for (i = 0; i < omb_pack_set_size(e->set); i++)
	{
		const omb_set_pack *pack = omb_pack_set_at(e->set, i);

		add(e, pack->turn, pack->size);
	}
	return OMB_OK;
}

omb_status
omb_early_decide(omb_repository *repo, omb_retain_plan *plan,
				 uint64_t available, uint64_t wanted, uint32_t *dropped,
				 omb_error *err)
{
	early e;

	*dropped = 0;
	memset(&e, 0, sizeof(e));
	e.repo = repo;
	e.plan = plan;
	e.last_turn = omb_retain_order(plan);
	if (available >= wanted || e.last_turn == 0)
		return OMB_OK;
	e.frees = omb_calloc((size_t) e.last_turn + 1, sizeof(uint64_t));
	e.set = omb_pack_set_new(OMB_PRUNE_PACKS, OMB_PRUNE_BYTES);
	if (omb_store_list(repo->store, OMB_WAL_FOLDER, true, measure_wal, &e,
					   err) == OMB_OK)
	{
		omb_pack_set_first(e.set);
		do
			(void) measure_packs(&e, err);
		while (err->status == OMB_OK && omb_pack_set_next(e.set));
	}
	if (err->status == OMB_OK)
		*dropped =
			omb_retain_early(plan, e.frees, e.last_turn, available, wanted);
	omb_pack_set_free(e.set);
	free(e.frees);
	return err->status;
}
