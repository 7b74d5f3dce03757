/*
 * rewrite.c: moving the live blobs of packs into new packs, in rounds.
 *
 * At the end of each step of a round the repository is valid. Cut short
 * before the last manifest, the new packs that no manifest names are garbage
 * and the others hold some blobs twice; the next prune deals with both.
 */
#include "task/retain/rewrite.h"

#include "base/pipeline.h"
#include "repo/manifest.h"
#include "repo/revision.h"

#include <stdlib.h>
#include <string.h>

/* What one round may hold in memory, and write before it removes anything. */
#define ROUND_PACKS 32
#define ROUND_BLOBS 65536

/* An old pack and where its live blobs went. */
typedef struct moved_pack
{
	const omb_set_pack *pack;
	omb_blob_ref *from; /* the live blobs, in order */
	uint32_t count;
	omb_blob_ref *to; /* by number in the old pack; pack is of round.fresh */
	bool is_good;
	omb_error problem; /* why it is left where it is */
} moved_pack;

typedef struct rewriting
{
	const omb_prune_config *config;
	omb_prune_result *result;
	omb_coder **coder; /* one for each thread */
	uint64_t bytes_done;
	uint64_t bytes_total;

	/* the round */
	moved_pack moved[ROUND_PACKS]; /* in order of name */
	size_t count;
	omb_pack_table *fresh;
	omb_pack_writer **writer; /* one for each thread */
	omb_error *failure;		  /* of each thread's writer */
} rewriting;

typedef struct unit
{
	moved_pack *moved;
} unit;

bool
omb_rewrite_wanted(const omb_prune_config *config, const omb_set_pack *pack)
{
	return pack->is_used && pack->is_listed && !pack->is_strange &&
		   pack->size > config->rewrite_size &&
		   pack->live * 100 < pack->size * config->rewrite_below;
}

/* ---- copying, in threads ---- */

static omb_status
take_live(const omb_blob_ref *ref, const uint8_t *plain, void *arg,
		  omb_error *err)
{
	moved_pack *moved = arg;

	if (omb_set_pack_has(moved->pack, ref->index))
		moved->from[moved->count++] = *ref;
	return OMB_OK;
}

/* Read all live blobs once: only a pack that is whole is touched. */
static omb_status
check_pack(moved_pack *moved, omb_pack *pack, omb_coder *coder, uint8_t *plain,
		   omb_error *err)
{
	uint32_t i;

	moved->from = omb_calloc(moved->pack->live_blobs, sizeof(omb_blob_ref));
	if (omb_pack_list(pack, coder, take_live, moved, err) != OMB_OK)
		return err->status;
	if (moved->count != moved->pack->live_blobs)
		return omb_error_set(err, OMB_DAMAGED,
							 "it does not have all blobs that manifests name");
	for (i = 0; i < moved->count && err->status == OMB_OK; i++)
		(void) omb_pack_read(pack, coder, &moved->from[i], plain, err);
	return err->status;
}

static void
copy_blobs(moved_pack *moved, omb_pack *pack, omb_coder *coder,
		   omb_pack_writer *writer, uint8_t *plain, omb_error *err)
{
	uint32_t i;

	moved->to = omb_calloc(moved->pack->blob_bits, sizeof(omb_blob_ref));
	for (i = 0; i < moved->count && err->status == OMB_OK; i++)
	{
		const omb_blob_ref *from = &moved->from[i];

		if (omb_pack_read(pack, coder, from, plain, err) == OMB_OK)
			(void) omb_pack_add(writer, plain, from->raw,
								&moved->to[from->index], err);
	}
}

static void
copy_pack(void *arg, int worker, void *context)
{
	moved_pack *moved = ((unit *) arg)->moved;
	rewriting *r = context;
	omb_coder *coder = r->coder[worker];
	omb_error *failure = &r->failure[worker];
	omb_pack *pack;
	uint8_t *plain;

	/* after a failure its writer cannot be used */
	if (failure->status != OMB_OK ||
		omb_pack_open(r->config->repo, moved->pack->sha256, &pack,
					  &moved->problem) != OMB_OK)
		return;
	plain = omb_malloc(OMB_BLOB_MAX);
	moved->is_good =
		check_pack(moved, pack, coder, plain, &moved->problem) == OMB_OK;
	if (moved->is_good)
		copy_blobs(moved, pack, coder, r->writer[worker], plain, failure);
	free(plain);
	omb_pack_close(pack);
}

static void
tell_skipped(rewriting *r, const moved_pack *moved)
{
	char *name = omb_pack_name(moved->pack->sha256);
	omb_prune_pack told;

	told.name = name;
	told.size = moved->pack->size;
	told.live = moved->pack->live;
	told.verdict = OMB_PRUNE_SKIP;
	told.reason = moved->problem.message;
	r->result->packs_skipped++;
	r->config->visit(&told, r->config->arg);
	free(name);
}

/* Copy the live blobs of the round's packs, and commit the new ones. */
static omb_status
copy_packs(rewriting *r, omb_error *err)
{
	omb_pipeline *pipe = omb_pipeline_new(r->config->jobs, ROUND_PACKS,
										  sizeof(unit), copy_pack, r);
	size_t i;
	int w;

	for (i = 0; i < r->count; i++)
	{
		unit *u = omb_pipeline_slot(pipe, true);

		u->moved = &r->moved[i];
		omb_pipeline_submit(pipe);
	}
	for (i = 0; i < r->count; i++)
	{
		const unit *u = omb_pipeline_next(pipe, true);

		if (u->moved->problem.status != OMB_OK)
			tell_skipped(r, u->moved);
		r->bytes_done += u->moved->pack->live;
		omb_pipeline_release(pipe);
		r->config->progress("rewriting packs", r->bytes_done, r->bytes_total,
							r->config->arg);
	}
	omb_pipeline_free(pipe);
	for (w = 0; w < r->config->jobs && err->status == OMB_OK; w++)
	{
		*err = r->failure[w];
		if (err->status == OMB_OK)
			(void) omb_pack_finish(r->writer[w], err);
	}
	return err->status;
}

/* ---- manifests ---- */

static int
compare_moved(const void *sha256, const void *moved)
{
	return memcmp(sha256, ((const moved_pack *) moved)->pack->sha256,
				  OMB_SHA256_SIZE);
}

/* The pack of the round that has that name, when its blobs were moved. */
static const moved_pack *
find_moved(const rewriting *r, const uint8_t *sha256)
{
	const moved_pack *found =
		bsearch(sha256, r->moved, r->count, sizeof(moved_pack), compare_moved);

	return found != NULL && found->is_good ? found : NULL;
}

/* Numbers of packs in the new manifest, given when they are first used. */
typedef struct renumbering
{
	const omb_manifest *old;
	const moved_pack **moved; /* for each pack of the old manifest, or NULL */
	omb_pack_table *table;
	uint32_t *kept; /* for each pack of the old manifest, plus 1 */
	uint32_t *made; /* for each new pack of the round, plus 1 */
} renumbering;

static uint32_t
number_pack(renumbering *n, uint32_t *number, const omb_pack_id *id)
{
	if (*number == 0)
		*number = omb_pack_table_add(n->table, id) + 1;
	return *number - 1;
}

/* Say where a blob is in the new manifest. */
static omb_status
renumber(rewriting *r, renumbering *n, omb_blob_ref *blob, omb_error *err)
{
	uint32_t old = blob->pack;
	const moved_pack *moved = n->moved[old];
	const omb_blob_ref *to;
	omb_pack_id id;

	if (moved == NULL)
	{
		blob->pack = number_pack(n, &n->kept[old], &n->old->pack[old]);
		return OMB_OK;
	}
	if (!omb_set_pack_has(moved->pack, blob->index) ||
		moved->to[blob->index].raw != blob->raw)
		return omb_error_set(err, OMB_DAMAGED,
							 "the manifest names a blob that its pack does "
							 "not have");
	to = &moved->to[blob->index];
	id = omb_pack_table_get(r->fresh, to->pack);
	*blob = *to;
	blob->pack = number_pack(n, &n->made[to->pack], &id);
	return OMB_OK;
}

static omb_status
copy_entries(rewriting *r, renumbering *n, omb_manifest *manifest,
			 omb_manifest_writer *writer, omb_error *err)
{
	bool end = false;
	size_t i;

	while (err->status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) != OMB_OK || end)
			break;
		for (i = 0; i < entry.extent_count && err->status == OMB_OK; i++)
		{
			if (!entry.extent[i].is_zero)
				(void) renumber(r, n, &entry.extent[i].blob, err);
		}
		if (err->status == OMB_OK)
			(void) omb_manifest_add(writer, &entry, err);
		omb_entry_clear(&entry);
	}
	return err->status;
}

/* Write the next revision of a manifest and remove the one before. */
static omb_status
write_revision(rewriting *r, renumbering *n, omb_manifest *manifest,
			   omb_error *err)
{
	omb_repository *repo = r->config->repo;
	omb_manifest_writer *writer;
	char *name;

	if (omb_manifest_create(repo, &writer, err) != OMB_OK)
		return err->status;
	if (copy_entries(r, n, manifest, writer, err) != OMB_OK)
	{
		omb_manifest_abort(writer);
		return err->status;
	}
	if (omb_manifest_commit_revision(writer, &manifest->info,
									 manifest->revision + 1, n->table,
									 err) != OMB_OK)
		return err->status;
	name = omb_revision_name(manifest->info.id, manifest->revision);
	(void) omb_store_remove(repo->store, name, err);
	free(name);
	return err->status;
}

static omb_status
rewrite_manifest(const char *id, void *arg, omb_error *err)
{
	rewriting *r = arg;
	renumbering n;
	omb_manifest *manifest;
	bool concerned = false;
	uint32_t i;

	if (omb_manifest_open(r->config->repo, id, &manifest, err) != OMB_OK)
		return err->status;
	n.old = manifest;
	n.moved = omb_calloc(manifest->pack_count, sizeof(*n.moved));
	for (i = 0; i < manifest->pack_count; i++)
	{
		n.moved[i] = find_moved(r, manifest->pack[i].sha256);
		concerned = concerned || n.moved[i] != NULL;
	}
	if (concerned)
	{
		n.table = omb_pack_table_new();
		n.kept = omb_calloc(manifest->pack_count, sizeof(uint32_t));
		n.made = omb_calloc(omb_pack_table_count(r->fresh), sizeof(uint32_t));
		(void) write_revision(r, &n, manifest, err);
		omb_pack_table_free(n.table);
		free(n.kept);
		free(n.made);
	}
	free(n.moved);
	omb_manifest_close(manifest);
	return err->status;
}

/* ---- rounds ---- */

/* Remove the old packs, which no manifest names any more. */
static omb_status
remove_packs(rewriting *r, omb_error *err)
{
	uint64_t before = 0, after = 0;
	uint32_t k, fresh = omb_pack_table_count(r->fresh);
	size_t i;

	for (i = 0; i < r->count && err->status == OMB_OK; i++)
	{
		char *name;

		if (!r->moved[i].is_good)
			continue;
		name = omb_pack_name(r->moved[i].pack->sha256);
		if (omb_store_remove(r->config->repo->store, name, err) == OMB_OK)
		{
			r->result->packs_rewritten++;
			before += r->moved[i].pack->size;
		}
		free(name);
	}
	for (k = 0; k < fresh; k++)
		after += omb_pack_table_get(r->fresh, k).size;
	if (before > after)
		r->result->bytes_saved += before - after;
	return err->status;
}

static omb_status
run_round(rewriting *r, omb_error *err)
{
	omb_repository *repo = r->config->repo;
	size_t i;
	int w;

	r->fresh = omb_pack_table_new();
	for (w = 0; w < r->config->jobs; w++)
	{
		r->writer[w] =
			omb_pack_writer_new(repo, &r->config->compression, r->fresh);
		omb_error_clear(&r->failure[w]);
	}
	if (copy_packs(r, err) == OMB_OK &&
		omb_backup_list(repo, rewrite_manifest, r, err) == OMB_OK &&
		omb_store_settle(repo->store, OMB_BACKUP_FOLDER, err) == OMB_OK)
		(void) remove_packs(r, err);
	for (w = 0; w < r->config->jobs; w++)
		omb_pack_writer_free(r->writer[w]);
	for (i = 0; i < r->count; i++)
	{
		free(r->moved[i].from);
		free(r->moved[i].to);
	}
	omb_pack_table_free(r->fresh);
	memset(r->moved, 0, sizeof(r->moved));
	r->count = 0;
	return err->status;
}

omb_status
omb_rewrite(const omb_prune_config *config, omb_pack_set *set,
			omb_prune_result *result, omb_error *err)
{
	rewriting *r = omb_calloc(1, sizeof(*r));
	size_t jobs = (size_t) config->jobs;
	uint32_t blobs = 0;
	size_t i;

	r->config = config;
	r->result = result;
	r->coder = omb_calloc(jobs, sizeof(*r->coder));
	r->writer = omb_calloc(jobs, sizeof(*r->writer));
	r->failure = omb_calloc(jobs, sizeof(*r->failure));
	for (i = 0; i < jobs; i++)
		r->coder[i] = omb_coder_new(NULL);
	for (i = 0; i < omb_pack_set_size(set); i++)
	{
		const omb_set_pack *pack = omb_pack_set_at(set, i);

		if (omb_rewrite_wanted(config, pack))
			r->bytes_total += pack->live;
	}
	for (i = 0; i < omb_pack_set_size(set) && err->status == OMB_OK; i++)
	{
		const omb_set_pack *pack = omb_pack_set_at(set, i);

		if (!omb_rewrite_wanted(config, pack))
			continue;
		if (r->count > 0 && (r->count == ROUND_PACKS ||
							 blobs + pack->live_blobs > ROUND_BLOBS))
		{
			if (run_round(r, err) != OMB_OK)
				break;
			blobs = 0;
		}
		r->moved[r->count++].pack = pack;
		blobs += pack->live_blobs;
	}
	if (err->status == OMB_OK && r->count > 0)
		(void) run_round(r, err);
	for (i = 0; i < jobs; i++)
		omb_coder_free(r->coder[i]);
	free(r->coder);
	free(r->writer);
	free(r->failure);
	free(r);
	return err->status;
}
