/*
 * verifybackup.c: checking one backup: that its manifest is sound, and that
 * all that it names is there.
 */
#include "task/verify/verifystate.h"

#include "base/text.h"
#include "task/wal/walrange.h"

#include <stdlib.h>
#include <string.h>

static omb_status
add_blob(const omb_blob_ref *ref, const uint8_t *plain, void *arg,
		 omb_error *err)
{
	omb_trailer *t = arg;

	t->blob = omb_realloc(t->blob, (t->count + 1) * sizeof(omb_blob_ref));
	t->blob[t->count++] = *ref;
	return OMB_OK;
}

/* The trailer of a pack, from memory or by reading it. */
static const omb_trailer *
get_trailer(omb_verify_state *v, const uint8_t *sha256)
{
	omb_trailer *t = &v->trailers[0];
	omb_pack *pack;
	int i;

	for (i = 0; i < OMB_TRAILERS_KEPT; i++)
	{
		omb_trailer *one = &v->trailers[i];

		if (one->used != 0 &&
			memcmp(one->sha256, sha256, OMB_SHA256_SIZE) == 0)
		{
			one->used = ++v->clock;
			return one;
		}
		if (one->used < t->used)
			t = one;
	}
	free(t->blob);
	memset(t, 0, sizeof(*t));
	memcpy(t->sha256, sha256, OMB_SHA256_SIZE);
	t->used = ++v->clock;
	if (omb_pack_open(v->config->repo, sha256, &pack, &t->error) == OMB_OK)
	{
		t->good = omb_pack_list(pack, v->main_coder, add_blob, t, &t->error) ==
				  OMB_OK;
		omb_pack_close(pack);
	}
	return t;
}

/* Does the pack have the blob that the extent names? */
static bool
extent_fits(omb_verify_state *v, const omb_manifest *manifest,
			const omb_extent *extent, omb_error *problem)
{
	const omb_blob_ref *blob = &extent->blob;
	const omb_trailer *t;
	const omb_blob_ref *there;

	if (extent->is_zero)
		return true;
	t = get_trailer(v, manifest->pack[blob->pack].sha256);
	if (!t->good)
	{
		*problem = t->error;
		return false;
	}
	there = blob->index < t->count ? &t->blob[blob->index] : NULL;
	if (there != NULL && there->offset == blob->offset &&
		there->stored == blob->stored && there->raw == blob->raw &&
		there->method == blob->method)
		return true;
	(void) omb_error_set(problem, OMB_DAMAGED,
						 "the manifest names a blob that its pack does not "
						 "have");
	return false;
}

static void
verify_entries(omb_verify_state *v, omb_manifest *manifest)
{
	omb_error problem = OMB_ERROR_INIT;
	bool end = false;
	char *name;
	size_t i;

	while (!end && problem.status == OMB_OK && !omb_verify_expired(v))
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, &problem) != OMB_OK ||
			end)
			break;
		for (i = 0; i < entry.extent_count; i++)
		{
			const omb_extent *extent = &entry.extent[i];

			/* what is wrong with a pack was reported with the pack */
			if (!extent->is_zero && v->result->problems.count > 0 &&
				omb_problems_find_pack(
					&v->result->problems,
					manifest->pack[extent->blob.pack].sha256) != NULL)
				continue;
			if (!extent_fits(v, manifest, extent, &problem))
			{
				(void) omb_error_context(&problem, "file \"%s\"", entry.path);
				break;
			}
		}
		omb_entry_clear(&entry);
	}
	v->result->backups += end ? 1 : 0;
	name = omb_format(OMB_BACKUP_FOLDER "/%s", manifest->info.id);
	if (problem.status != OMB_OK)
		(void) omb_verify_report(v, OMB_PROBLEM_BACKUP, name, &problem);
	free(name);
}

static int
compare_packs(const void *a, const void *b)
{
	const omb_stored_pack *x = a;
	const omb_stored_pack *y = b;

	return memcmp(x->sha256, y->sha256, OMB_SHA256_SIZE);
}

omb_stored_pack *
omb_verify_find_pack(const omb_verify_state *v, const uint8_t *sha256)
{
	omb_stored_pack wanted;

	memset(&wanted, 0, sizeof(wanted));
	memcpy(wanted.sha256, sha256, OMB_SHA256_SIZE);
	return v->pack_count == 0 ? NULL :
								bsearch(&wanted, v->pack, v->pack_count,
										sizeof(*v->pack), compare_packs);
}

/* Every pack is there, with the size that the manifest says. */
static void
verify_packs(omb_verify_state *v, const omb_manifest *manifest)
{
	uint32_t i;

	for (i = 0; i < manifest->pack_count; i++)
	{
		const omb_pack_id *id = &manifest->pack[i];
		omb_error problem = OMB_ERROR_INIT;
		const omb_stored_pack *found = omb_verify_find_pack(v, id->sha256);
		char *name = omb_pack_name(id->sha256);

		if (found == NULL)
			(void) omb_error_set(&problem, OMB_NOT_FOUND,
								 "object \"%s\" is missing", name);
		else if (found->size != id->size)
			(void) omb_error_set(&problem, OMB_DAMAGED,
								 "object \"%s\" has a wrong size", name);
		if (problem.status != OMB_OK)
			omb_verify_report_pack(v, id->sha256, &problem);
		free(name);
	}
}

/* All WAL from a backup's start to its stop must be there. */
static omb_status
verify_backup_wal(omb_verify_state *v, const omb_backup_info *info,
				  omb_error *err)
{
	uint64_t size = info->wal_segment_size;
	omb_wal_finder *finder;
	uint64_t segno, last;

	if (!omb_wal_segment_size_valid(size))
		return OMB_OK;
	finder = omb_wal_finder_new(v->config->repo);
	last = omb_wal_segno_before(info->stop_lsn, size);
	for (segno = omb_wal_segno_at(info->start_lsn, size);
		 segno <= last && err->status == OMB_OK; segno++)
	{
		char segment[OMB_WAL_NAME_TEXT];
		omb_wal_listed found;
		omb_error problem = OMB_ERROR_INIT;
		omb_problem *added;

		omb_wal_name_format(info->stop_timeline, segno, size, segment);
		switch (omb_wal_finder_find(finder, segment, &found, &problem))
		{
			case OMB_OK:
				break;
			case OMB_NOT_FOUND:
			case OMB_EXISTS:
				(void) omb_error_context(
					&problem, "backup \"%s\" cannot be restored", info->id);
				added =
					omb_verify_report(v, OMB_PROBLEM_WAL, segment, &problem);
				if (added != NULL)
					memcpy(added->wal.file, segment, strlen(segment) + 1);
				break;
			default:
				*err = problem;
				break;
		}
	}
	omb_wal_finder_free(finder);
	return err->status;
}

omb_status
omb_verify_manifest(omb_verify_state *v, omb_manifest *manifest,
					omb_error *err)
{
	verify_packs(v, manifest);
	if (v->config->fast)
		v->result->backups++;
	else
		verify_entries(v, manifest);
	return verify_backup_wal(v, &manifest->info, err);
}

void
omb_verify_trailers_free(omb_verify_state *v)
{
	int i;

	for (i = 0; i < OMB_TRAILERS_KEPT; i++)
		free(v->trailers[i].blob);
}
