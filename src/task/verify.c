/*
 * verify.c: reading everything back and telling what is wrong.
 *
 * For all of a repository each object is read once, whatever backups share
 * it. Packs and WAL files are read by several threads. Memory does not grow
 * with the repository: manifests are read as streams, and of packs only the
 * trailers last used are kept.
 */
#include "task/verify.h"

#include "base/pipeline.h"
#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/claim.h"
#include "repo/manifest.h"
#include "task/walrange.h"

#include <stdlib.h>
#include <string.h>

#define TRAILERS_KEPT 64

typedef enum object_kind
{
	OBJECT_PACK,
	OBJECT_WAL
} object_kind;

typedef struct unit
{
	object_kind kind;
	char *name;
	uint64_t size;
	uint8_t sha256[OMB_SHA256_SIZE];
	omb_wal_object wal;
	omb_error error;
} unit;

/* A pack's blobs by its trailer. */
typedef struct trailer
{
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t used;
	bool good;
	omb_error error;
	uint32_t count;
	omb_blob_ref *blob;
} trailer;

typedef struct verify
{
	const omb_verify_config *config;
	omb_verify_result *result;
	omb_pipeline *pipe;
	omb_coder **coder;
	omb_coder *main_coder;
	trailer trailers[TRAILERS_KEPT];
	uint64_t clock;
	uint64_t total;

	/* walking over WAL in order of name */
	omb_wal_name last_wal;
	bool has_last_wal;
	uint64_t wal_segment_size; /* 0 while no backup told it */
} verify;

static void
report(verify *v, const char *object, const omb_error *problem)
{
	v->result->problems++;
	v->config->problem(object, problem, v->config->arg);
}

/* ---- objects, in threads ---- */

static void
process_unit(void *arg, int worker, void *context)
{
	unit *u = arg;
	verify *v = context;
	omb_wal_facts facts;

	omb_error_clear(&u->error);
	if (u->kind == OBJECT_WAL)
		(void) omb_wal_verify(v->config->repo, &u->wal, &facts, &u->error);
	else
	{
		omb_pack *pack;

		if (omb_pack_open(v->config->repo, u->sha256, &pack, &u->error) ==
			OMB_OK)
		{
			(void) omb_pack_verify(pack, v->coder[worker], &u->error);
			omb_pack_close(pack);
		}
	}
}

static void
collect(verify *v, bool wait, bool *collected)
{
	unit *u = omb_pipeline_next(v->pipe, wait);

	*collected = u != NULL;
	if (u == NULL)
		return;
	if (u->error.status != OMB_OK)
		report(v, u->name, &u->error);
	v->result->bytes += u->size;
	if (u->kind == OBJECT_PACK)
		v->result->packs++;
	else
		v->result->wal_files++;
	v->config->progress(u->kind == OBJECT_PACK ? "packs" : "WAL",
						v->result->bytes, v->total, v->config->arg);
	free(u->name);
	u->name = NULL;
	omb_pipeline_release(v->pipe);
}

static unit *
free_unit(verify *v)
{
	unit *u;
	bool collected;

	do
		collect(v, false, &collected);
	while (collected);
	while ((u = omb_pipeline_slot(v->pipe, false)) == NULL)
		collect(v, true, &collected);
	return u;
}

static void
drain(verify *v)
{
	bool collected;

	while (omb_pipeline_busy(v->pipe))
		collect(v, true, &collected);
}

static void
submit_pack(verify *v, const uint8_t *sha256, uint64_t size)
{
	unit *u = free_unit(v);

	u->kind = OBJECT_PACK;
	u->name = omb_pack_name(sha256);
	u->size = size;
	memcpy(u->sha256, sha256, OMB_SHA256_SIZE);
	omb_pipeline_submit(v->pipe);
}

static void
submit_wal(verify *v, const omb_wal_object *object, uint64_t size)
{
	unit *u = free_unit(v);

	u->kind = OBJECT_WAL;
	u->name = omb_wal_object_name(object);
	u->size = size;
	u->wal = *object;
	omb_pipeline_submit(v->pipe);
}

/* An object whose name is none of ours. */
static void
report_stranger(verify *v, const char *name)
{
	omb_error problem = OMB_ERROR_INIT;

	(void) omb_error_set(&problem, OMB_DAMAGED,
						 "object \"%s\" does not belong there", name);
	report(v, name, &problem);
}

static omb_status
visit_pack(const omb_store_entry *entry, void *arg, omb_error *err)
{
	verify *v = arg;
	uint8_t sha256[OMB_SHA256_SIZE];
	const char *hex = strrchr(entry->name, '/') + 1;
	char *name;

	if (omb_hex_parse(hex, sha256, sizeof(sha256)))
	{
		name = omb_pack_name(sha256);
		if (strcmp(name, entry->name) == 0)
			submit_pack(v, sha256, entry->size);
		else
			report_stranger(v, entry->name);
		free(name);
	}
	else
		report_stranger(v, entry->name);
	return OMB_OK;
}

/* Segments come in order of name: tell where one of a timeline is missing. */
static void
note_gap(verify *v, const omb_wal_name *name)
{
	char from[OMB_WAL_NAME_TEXT];
	char to[OMB_WAL_NAME_TEXT];
	uint64_t size = v->wal_segment_size;
	char *text;

	if (v->has_last_wal && size != 0 &&
		v->last_wal.timeline == name->timeline &&
		omb_wal_segno(name, size) > omb_wal_segno(&v->last_wal, size) + 1)
	{
		omb_wal_name_format(name->timeline,
							omb_wal_segno(&v->last_wal, size) + 1, size, from);
		omb_wal_name_format(name->timeline, omb_wal_segno(name, size) - 1,
							size, to);
		text =
			omb_format("WAL segments \"%s\" to \"%s\" are missing", from, to);
		v->config->note(text, v->config->arg);
		free(text);
	}
	v->last_wal = *name;
	v->has_last_wal = true;
}

static omb_status
visit_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	verify *v = arg;
	omb_wal_object object;
	omb_wal_name name;

	if (!omb_wal_object_parse(entry->name, &object))
	{
		report_stranger(v, entry->name);
		return OMB_OK;
	}
	if (omb_wal_name_parse(object.file, &name) == OMB_WAL_SEGMENT)
		note_gap(v, &name);
	submit_wal(v, &object, entry->size);
	return OMB_OK;
}

static omb_status
add_size(const omb_store_entry *entry, void *arg, omb_error *err)
{
	uint64_t *total = arg;

	*total += entry->size;
	return OMB_OK;
}

/* ---- manifests ---- */

static omb_status
add_blob(const omb_blob_ref *ref, const uint8_t *plain, void *arg,
		 omb_error *err)
{
	trailer *t = arg;

	t->blob = omb_realloc(t->blob, (t->count + 1) * sizeof(omb_blob_ref));
	t->blob[t->count++] = *ref;
	return OMB_OK;
}

/* The trailer of a pack, from memory or by reading it. */
static const trailer *
get_trailer(verify *v, const uint8_t *sha256)
{
	trailer *t = &v->trailers[0];
	omb_pack *pack;
	int i;

	for (i = 0; i < TRAILERS_KEPT; i++)
	{
		trailer *one = &v->trailers[i];

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
extent_fits(verify *v, const omb_manifest *manifest, const omb_extent *extent,
			omb_error *problem)
{
	const omb_blob_ref *blob = &extent->blob;
	const trailer *t;
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
verify_entries(verify *v, omb_manifest *manifest, const char *name)
{
	omb_error problem = OMB_ERROR_INIT;
	bool end = false;
	size_t i;

	while (!end && problem.status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, &problem) != OMB_OK ||
			end)
			break;
		for (i = 0; i < entry.extent_count; i++)
		{
			if (!extent_fits(v, manifest, &entry.extent[i], &problem))
			{
				(void) omb_error_context(&problem, "file \"%s\"", entry.path);
				break;
			}
		}
		omb_entry_clear(&entry);
	}
	if (problem.status != OMB_OK)
		report(v, name, &problem);
}

/* All WAL from a backup's start to its stop must be there. */
static omb_status
verify_backup_wal(verify *v, const omb_backup_info *info, const char *name,
				  bool read, omb_error *err)
{
	uint64_t size = info->wal_segment_size;
	uint64_t segno, last;

	if (!omb_wal_segment_size_valid(size))
		return OMB_OK;
	last = omb_wal_segno_before(info->stop_lsn, size);
	for (segno = omb_wal_segno_at(info->start_lsn, size); segno <= last;
		 segno++)
	{
		char segment[OMB_WAL_NAME_TEXT];
		omb_wal_object object;
		omb_error problem = OMB_ERROR_INIT;

		omb_wal_name_format(info->stop_timeline, segno, size, segment);
		switch (omb_wal_find(v->config->repo, segment, &object, &problem))
		{
			case OMB_OK:
				if (read)
					submit_wal(v, &object, 0);
				break;
			case OMB_NOT_FOUND:
			case OMB_EXISTS:
				(void) omb_error_context(
					&problem, "backup \"%s\" cannot be restored", info->id);
				report(v, name, &problem);
				break;
			default:
				*err = problem;
				return err->status;
		}
	}
	return OMB_OK;
}

static omb_status
verify_backup(const char *id, void *arg, omb_error *err)
{
	verify *v = arg;
	bool alone = v->config->backup != NULL;
	char *name = omb_format(OMB_BACKUP_FOLDER "/%s", id);
	omb_error problem = OMB_ERROR_INIT;
	omb_manifest *manifest;
	uint32_t i;

	v->result->backups++;
	if (omb_manifest_open(v->config->repo, id, &manifest, &problem) != OMB_OK)
	{
		if (alone && problem.status == OMB_NOT_FOUND)
			*err = problem;
		else
			report(v, name, &problem);
		free(name);
		return err->status;
	}
	v->wal_segment_size = manifest->info.wal_segment_size;
	for (i = 0; alone && i < manifest->pack_count; i++)
		v->total += manifest->pack[i].size;
	for (i = 0; alone && i < manifest->pack_count; i++)
		submit_pack(v, manifest->pack[i].sha256, manifest->pack[i].size);
	drain(v);
	verify_entries(v, manifest, name);
	(void) verify_backup_wal(v, &manifest->info, name, alone, err);
	drain(v);
	omb_manifest_close(manifest);
	free(name);
	return err->status;
}

static omb_status
verify_all(verify *v, omb_error *err)
{
	omb_claim claim;
	omb_error problem = OMB_ERROR_INIT;

	if (omb_store_list(v->config->repo->store, "packs", true, add_size,
					   &v->total, err) != OMB_OK ||
		omb_store_list(v->config->repo->store, OMB_WAL_FOLDER, true, add_size,
					   &v->total, err) != OMB_OK ||
		omb_store_list(v->config->repo->store, "packs", true, visit_pack, v,
					   err) != OMB_OK)
		return err->status;
	drain(v);
	if (omb_backup_list(v->config->repo, verify_backup, v, err) != OMB_OK ||
		omb_store_list(v->config->repo->store, OMB_WAL_FOLDER, true, visit_wal,
					   v, err) != OMB_OK)
		return err->status;
	drain(v);
	if (omb_claim_read(v->config->repo, &claim, &problem) != OMB_OK)
		report(v, "marks/claims", &problem);
	omb_claim_clear(&claim);
	return OMB_OK;
}

omb_status
omb_verify(const omb_verify_config *config, omb_verify_result *result,
		   omb_error *err)
{
	verify *v;
	omb_lock *lock;
	int i;

	memset(result, 0, sizeof(*result));
	if (omb_store_lock(config->repo->store, false, &lock, err) != OMB_OK)
		return err->status;
	v = omb_calloc(1, sizeof(*v));
	v->config = config;
	v->result = result;
	v->main_coder = omb_coder_new(NULL);
	v->coder = omb_calloc((size_t) config->jobs, sizeof(omb_coder *));
	for (i = 0; i < config->jobs; i++)
		v->coder[i] = omb_coder_new(NULL);
	v->pipe = omb_pipeline_new(config->jobs, (size_t) (4 * config->jobs),
							   sizeof(unit), process_unit, v);
	if (config->backup != NULL)
		(void) verify_backup(config->backup, v, err);
	else
		(void) verify_all(v, err);
	/* what is under way is reported even when listing failed */
	drain(v);
	omb_pipeline_free(v->pipe);
	for (i = 0; i < config->jobs; i++)
		omb_coder_free(v->coder[i]);
	free(v->coder);
	omb_coder_free(v->main_coder);
	for (i = 0; i < TRAILERS_KEPT; i++)
		free(v->trailers[i].blob);
	free(v);
	omb_store_unlock(lock);
	return err->status;
}
