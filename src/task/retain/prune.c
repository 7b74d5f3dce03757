/*
 * prune.c: marking what backups use and removing the rest.
 *
 * The set of packs covers all names at once unless the repository is huge
 * (task/retain/packset.h); then what follows is done for one range of names after
 * the other. All manifests are read, and the packs and blobs that they name
 * are marked; journals of unfinished backups mark packs to spare. The packs
 * that are there and not marked are removed, and those with few live blobs
 * rewritten (task/retain/rewrite.h). Nothing is removed before all manifests were
 * read once.
 */
#include "task/retain/prune.h"

#include "base/text.h"
#include "repo/manifest.h"
#include "repo/revision.h"
#include "repo/unfinished.h"
#include "task/retain/packset.h"
#include "task/retain/removal.h"
#include "task/retain/rewrite.h"

#include <stdlib.h>
#include <string.h>

/*
 * An upload that has not been written to for so long is not under way; the
 * archiver takes no lock.
 */
#define UPLOAD_SECONDS 3600

typedef struct prune
{
	const omb_prune_config *config;
	omb_prune_result *result;
	omb_pack_set *set;
	omb_removal *removal; /* of packs */
	bool is_first;		  /* range of names */
	int64_t now;
	uint64_t manifest_bytes; /* read so far, in this range */
	uint64_t manifest_total;
} prune;

void
omb_prune_config_init(omb_prune_config *config)
{
	memset(config, 0, sizeof(*config));
	config->compression.method = OMB_METHOD_ZSTD;
	config->compression.level = 3;
	config->jobs = 1;
	config->grace = OMB_PRUNE_GRACE;
	config->rewrite_below = OMB_PRUNE_REWRITE_BELOW;
	config->max_packs = OMB_PRUNE_PACKS;
	config->max_bytes = OMB_PRUNE_BYTES;
	config->rewrite_size = 1024 * 1024;
}

/* ---- marking ---- */

/* Mark what the entries use. */
static omb_status
mark_entries(prune *p, omb_manifest *manifest, omb_error *err)
{
	bool end = false;
	size_t i;

	while (!end)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) != OMB_OK)
			return err->status;
		for (i = 0; i < entry.extent_count; i++)
		{
			const omb_blob_ref *blob = &entry.extent[i].blob;

			if (!entry.extent[i].is_zero)
				omb_pack_set_count(p->set, manifest->pack[blob->pack].sha256,
								   blob);
		}
		omb_entry_clear(&entry);
	}
	return OMB_OK;
}

static void
hint_unreadable(const omb_revision *revision, omb_error *err)
{
	char *name = omb_revision_name(revision->id, revision->number);

	omb_error_hint(err,
				   "No pack was removed, because that backup may need it. "
				   "Run: omsupply_backup verify. If the backup is lost, "
				   "remove the object \"%s\" and try again.",
				   name);
	free(name);
}

static omb_status
mark_manifest(const omb_revision *revision, void *arg, omb_error *err)
{
	prune *p = arg;
	omb_manifest *manifest;
	uint32_t i;

	if (!revision->is_latest)
		return OMB_OK;
	if (omb_manifest_open(p->config->repo, revision->id, &manifest, err) ==
		OMB_OK)
	{
		for (i = 0; i < manifest->pack_count; i++)
		{
			omb_set_pack *pack =
				omb_pack_set_add(p->set, manifest->pack[i].sha256);

			if (pack != NULL)
				pack->is_used = true;
		}
		(void) mark_entries(p, manifest, err);
		omb_manifest_close(manifest);
	}
	if (err->status != OMB_OK)
	{
		if (p->is_first)
			hint_unreadable(revision, err);
		return err->status;
	}
	if (p->is_first)
		p->result->backups++;
	p->manifest_bytes += revision->size;
	p->config->progress("reading manifests", p->manifest_bytes,
						p->manifest_total, p->config->arg);
	return OMB_OK;
}

static omb_status
add_size(const omb_revision *revision, void *arg, omb_error *err)
{
	prune *p = arg;

	if (revision->is_latest)
		p->manifest_total += revision->size;
	return OMB_OK;
}

static omb_status
spare_pack(const uint8_t sha256[OMB_SHA256_SIZE], void *arg, omb_error *err)
{
	prune *p = arg;
	omb_set_pack *pack = omb_pack_set_add(p->set, sha256);

	if (pack != NULL)
		pack->is_spared = true;
	return OMB_OK;
}

/*
 * Whether a journal says what the next backup can take over: it is young
 * enough, and its backup was not finished after all.
 */
static omb_status
journal_counts(prune *p, const char *id, int64_t changed_at, bool *counts,
			   omb_error *err)
{
	uint32_t number;

	*counts = p->config->grace > 0 &&
			  changed_at > p->now - (int64_t) p->config->grace * 1000000;
	if (*counts && omb_revision_latest(p->config->repo, id, false, &number,
									   err) == OMB_OK)
		*counts = false;
	else if (err->status == OMB_NOT_FOUND)
		omb_error_clear(err);
	return err->status;
}

static omb_status
mark_journal(const char *id, int64_t changed_at, void *arg, omb_error *err)
{
	prune *p = arg;
	bool counts;

	if (journal_counts(p, id, changed_at, &counts, err) == OMB_OK && counts)
		(void) omb_unfinished_read(p->config->repo, id, spare_pack, p, err);
	return err->status;
}

static omb_status
remove_journal(const char *id, int64_t changed_at, void *arg, omb_error *err)
{
	prune *p = arg;
	bool counts;

	if (journal_counts(p, id, changed_at, &counts, err) == OMB_OK && !counts)
		(void) omb_unfinished_remove(p->config->repo, id, err);
	return err->status;
}

/* Mark all that is in use or to be spared. */
static omb_status
mark_all(prune *p, omb_error *err)
{
	omb_repository *repo = p->config->repo;

	p->manifest_bytes = 0;
	p->manifest_total = 0;
	if (omb_revision_list(repo, add_size, p, err) != OMB_OK ||
		omb_revision_list(repo, mark_manifest, p, err) != OMB_OK)
		return err->status;
	return omb_unfinished_list(repo, mark_journal, p, err);
}

/* ---- sweeping ---- */

static void
tell(prune *p, const char *name, const omb_set_pack *pack, uint64_t size,
	 omb_prune_verdict verdict, const char *reason)
{
	omb_prune_pack told;

	told.name = name;
	told.size = size;
	told.live = pack ? pack->live : 0;
	told.verdict = verdict;
	told.reason = reason;
	p->config->visit(&told, p->config->arg);
}

static bool
parse_pack_name(const char *name, uint8_t sha256[OMB_SHA256_SIZE])
{
	const char *hex = strrchr(name, '/');
	char *proper;
	bool same;

	if (hex == NULL || !omb_hex_parse(hex + 1, sha256, OMB_SHA256_SIZE))
		return false;
	proper = omb_pack_name(sha256);
	same = strcmp(name, proper) == 0;
	free(proper);
	return same;
}

/* A pack that nothing marked is gone, or locked. */
static void
pack_done(const char *name, uint64_t size, const omb_error *refused, void *arg)
{
	prune *p = arg;

	if (refused != NULL)
	{
		p->result->packs_locked++;
		tell(p, name, NULL, size, OMB_PRUNE_SPARE, refused->message);
		return;
	}
	p->result->packs_removed++;
	p->result->bytes_removed += size;
	tell(p, name, NULL, size, OMB_PRUNE_REMOVE, "no backup uses it");
}

/* Note that a pack is there; remove it when nothing marked it. */
static omb_status
sweep_pack(const omb_store_entry *entry, void *arg, omb_error *err)
{
	prune *p = arg;
	uint8_t sha256[OMB_SHA256_SIZE];
	omb_set_pack *pack;

	/* what is none of ours is left alone; verify tells of it */
	if (!parse_pack_name(entry->name, sha256) ||
		!omb_pack_set_covers(p->set, sha256))
		return OMB_OK;
	p->result->packs++;
	pack = omb_pack_set_find(p->set, sha256);
	if (pack != NULL)
	{
		pack->is_listed = true;
		pack->size = entry->size;
		if (pack->is_used)
			return OMB_OK;
		p->result->packs_spared++;
		tell(p, entry->name, pack, entry->size, OMB_PRUNE_SPARE,
			 "an unfinished backup has stored it");
		return OMB_OK;
	}
	if (p->result->backups == 0)
	{
		p->result->packs_spared++;
		tell(p, entry->name, NULL, entry->size, OMB_PRUNE_SPARE,
			 "the repository has no backup");
		return OMB_OK;
	}
	if (!p->config->dry_run)
		return omb_removal_add(p->removal, entry->name, entry->size, err);
	pack_done(entry->name, entry->size, NULL, p);
	return OMB_OK;
}

static omb_status
sweep(prune *p, omb_error *err)
{
	omb_store *store = p->config->repo->store;

	p->removal = omb_removal_new(store, pack_done, p);
	if (omb_store_list(store, "packs", true, sweep_pack, p, err) == OMB_OK)
		(void) omb_removal_flush(p->removal, err);
	omb_removal_free(p->removal);
	return err->status;
}

/*
 * Whether rewriting frees more bytes than the manifests have that it has to
 * write again.
 */
static bool
rewriting_pays(prune *p)
{
	uint64_t saved = 0;
	size_t i;

	for (i = 0; i < omb_pack_set_size(p->set); i++)
	{
		const omb_set_pack *pack = omb_pack_set_at(p->set, i);

		if (omb_rewrite_wanted(p->config, pack))
			saved += pack->size - pack->live;
	}
	return saved > p->manifest_total;
}

/* Tell about the packs in use, once it is known which are there. */
static void
judge_used(prune *p, bool rewrite)
{
	size_t i;

	omb_pack_set_sort(p->set);
	for (i = 0; i < omb_pack_set_size(p->set); i++)
	{
		const omb_set_pack *pack = omb_pack_set_at(p->set, i);
		char *name;

		if (!pack->is_used)
			continue;
		name = omb_pack_name(pack->sha256);
		if (!pack->is_listed)
		{
			p->result->packs_missing++;
			tell(p, name, pack, 0, OMB_PRUNE_MISSING,
				 "a backup uses it, and it is not there");
		}
		else if (rewrite && omb_rewrite_wanted(p->config, pack))
		{
			tell(p, name, pack, pack->size, OMB_PRUNE_REWRITE,
				 "backups use little of it");
			if (p->config->dry_run)
			{
				p->result->packs_rewritten++;
				p->result->bytes_saved += pack->size - pack->live;
			}
		}
		else
			tell(p, name, pack, pack->size, OMB_PRUNE_KEEP, "in use");
		free(name);
	}
}

static omb_status
remove_leftover_revision(const omb_revision *revision, void *arg,
						 omb_error *err)
{
	prune *p = arg;
	char *name;

	if (revision->is_latest)
		return OMB_OK;
	p->result->revisions++;
	if (p->config->dry_run)
		return OMB_OK;
	name = omb_revision_name(revision->id, revision->number);
	if (omb_store_remove(p->config->repo->store, name, err) == OMB_REFUSED)
		omb_error_clear(err); /* locked, and the pack it names are too */
	free(name);
	return err->status;
}

/*
 * Manifests that are gone must not come back after a crash, with packs that
 * are removed now; whoever removed them may have been killed before it saw to
 * that.
 */
static omb_status
settle_manifests(prune *p, omb_error *err)
{
	if (omb_revision_list(p->config->repo, remove_leftover_revision, p, err) !=
			OMB_OK ||
		p->config->dry_run)
		return err->status;
	return omb_store_settle(p->config->repo->store, OMB_BACKUP_FOLDER, err);
}

/* All there is to do for the range of names that the set covers. */
static omb_status
prune_range(prune *p, omb_error *err)
{
	bool rewrite;

	if (mark_all(p, err) != OMB_OK)
		return err->status;
	if (p->is_first && settle_manifests(p, err) != OMB_OK)
		return err->status;
	p->is_first = false;
	p->config->progress("removing packs", 0, 0, p->config->arg);
	if (sweep(p, err) != OMB_OK)
		return err->status;
	rewrite = rewriting_pays(p);
	judge_used(p, rewrite);
	if (p->config->dry_run || !rewrite)
		return OMB_OK;
	return omb_rewrite(p->config, p->set, p->result, err);
}

/* What is no pack: old journals, what uploads have left. */
static omb_status
remove_leftovers(prune *p, omb_error *err)
{
	const omb_prune_config *config = p->config;
	omb_store_swept swept;
	uint64_t seconds =
		config->grace > UPLOAD_SECONDS ? config->grace : UPLOAD_SECONDS;

	if (!config->dry_run &&
		omb_unfinished_list(config->repo, remove_journal, p, err) != OMB_OK)
		return err->status;
	if (omb_store_sweep(config->repo->store, seconds, !config->dry_run, &swept,
						err) != OMB_OK)
		return err->status;
	p->result->leftovers = swept.count;
	p->result->bytes_leftovers = swept.bytes;
	return OMB_OK;
}

omb_status
omb_prune(const omb_prune_config *config, omb_prune_result *result,
		  omb_error *err)
{
	omb_prune_config own = *config;
	omb_lock *lock = NULL;
	omb_lock_rule rule;
	prune p;

	memset(result, 0, sizeof(*result));
	memset(&p, 0, sizeof(p));
	if (omb_store_lock_rule(config->repo->store, &rule) && rule.days > 0)
		own.rewrite_below = 0;
	if (config->lock == NULL &&
		omb_store_lock(config->repo->store, true, &lock, err) != OMB_OK)
		return err->status;
	p.config = &own;
	p.result = result;
	p.set = omb_pack_set_new(config->max_packs, config->max_bytes);
	p.is_first = true;
	p.now = omb_time_now();
	omb_pack_set_first(p.set);
	do
		(void) prune_range(&p, err);
	while (err->status == OMB_OK && omb_pack_set_next(p.set));
	if (err->status == OMB_OK)
		(void) remove_leftovers(&p, err);
	omb_pack_set_free(p.set);
	omb_store_unlock(lock);
	return err->status;
}
