/*
 * verify.c: checking a repository and telling what is wrong.
 *
 * Objects are read once, whatever backups share them, by several threads. The
 * packs, WAL files and marks are numbered, in this order, each kind by name; a run that
 * is limited in time begins at a number that the seed gives, goes round, and
 * ends where the time ends, so that runs with different seeds cover
 * everything. Manifests come after the packs: what is wrong with a pack is
 * reported once. Memory grows with the number of packs, by 48 bytes each.
 */
#include "task/verify/verify.h"

#include "base/text.h"
#include "repo/claim.h"
#include "task/verify/verifymarks.h"
#include "task/verify/verifystate.h"

#include <stdlib.h>
#include <string.h>

typedef enum object_kind
{
	OBJECT_PACK,
	OBJECT_WAL,
	OBJECT_MARK
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

/* ---- shared with the other parts ---- */

omb_problem *
omb_verify_report(omb_verify_state *v, omb_problem_kind kind,
				  const char *object, const omb_error *problem)
{
	uint64_t before = v->result->problems.total;
	omb_problem *added =
		omb_problems_add(&v->result->problems, kind, object, problem);

	if (v->result->problems.total > before)
		v->config->problem(object, problem, v->config->arg);
	return added;
}

void
omb_verify_report_pack(omb_verify_state *v, const uint8_t *sha256,
					   const omb_error *problem)
{
	char *name = omb_pack_name(sha256);
	omb_problem *added = omb_verify_report(v, OMB_PROBLEM_PACK, name, problem);

	if (added != NULL)
		memcpy(added->sha256, sha256, OMB_SHA256_SIZE);
	free(name);
}

/* Spreads all bits over all bits. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Does an object belong to the sample? */
static bool
is_selected(const omb_verify_state *v, const char *name)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	if (v->config->sample <= 0)
		return true;
	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t) *name) * UINT64_C(1099511628211);
	return (double) (mix(hash ^ mix(v->config->seed)) % 1000000) <
		   v->config->sample * 10000;
}

bool
omb_verify_expired(const omb_verify_state *v)
{
	return v->deadline != 0 && omb_time_steady() >= v->deadline;
}

/* ---- objects, in threads ---- */

static void
process_unit(void *arg, int worker, void *context)
{
	unit *u = arg;
	omb_verify_state *v = context;
	omb_wal_facts facts;

	omb_error_clear(&u->error);
	if (u->kind == OBJECT_WAL)
		(void) omb_wal_verify(v->config->repo, &u->wal, &facts, &u->error);
	else if (u->kind == OBJECT_MARK)
	{
		/* one may have been removed since: pins are */
		if (omb_verify_mark(v->config->repo, u->name, &u->error) ==
			OMB_NOT_FOUND)
			omb_error_clear(&u->error);
	}
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
report_unit(omb_verify_state *v, const unit *u)
{
	omb_problem *added;

	if (u->kind == OBJECT_PACK)
		omb_verify_report_pack(v, u->sha256, &u->error);
	else if (u->kind == OBJECT_MARK)
		(void) omb_verify_report(v, OMB_PROBLEM_MARK, u->name, &u->error);
	else
	{
		added = omb_verify_report(v, OMB_PROBLEM_WAL, u->name, &u->error);
		if (added != NULL)
			added->wal = u->wal;
	}
}

static void
collect(omb_verify_state *v, bool wait, bool *collected)
{
	unit *u = omb_pipeline_next(v->pipe, wait);

	*collected = u != NULL;
	if (u == NULL)
		return;
	if (u->error.status != OMB_OK)
		report_unit(v, u);
	v->result->bytes += u->size;
	if (u->kind == OBJECT_PACK)
		v->result->packs++;
	else if (u->kind == OBJECT_WAL)
		v->result->wal_files++;
	else
		v->result->marks++;
	v->config->progress(u->kind == OBJECT_PACK ? "packs" :
						u->kind == OBJECT_WAL  ? "WAL" :
												 "marks",
						v->result->bytes, v->result->bytes_total,
						v->config->arg);
	free(u->name);
	u->name = NULL;
	omb_pipeline_release(v->pipe);
}

static unit *
free_unit(omb_verify_state *v)
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
drain(omb_verify_state *v)
{
	bool collected;

	while (omb_pipeline_busy(v->pipe))
		collect(v, true, &collected);
}

/* Read an object, when it is in the sample and there is time. */
static void
submit(omb_verify_state *v, const char *name, uint64_t size,
	   const uint8_t *sha256, const omb_wal_object *wal)
{
	unit *u;

	if (v->config->fast || v->config->skip_contents || !is_selected(v, name) ||
		omb_verify_expired(v))
		return;
	u = free_unit(v);
	u->kind = wal ? OBJECT_WAL : sha256 ? OBJECT_PACK : OBJECT_MARK;
	u->name = omb_strdup(name);
	u->size = size;
	if (wal != NULL)
		u->wal = *wal;
	else if (sha256 != NULL)
		memcpy(u->sha256, sha256, OMB_SHA256_SIZE);
	omb_pipeline_submit(v->pipe);
}

/* Those of the packs with these numbers that are wanted. */
static void
submit_packs(omb_verify_state *v, size_t from, size_t to)
{
	size_t i;

	for (i = from; i < to && i < v->pack_count; i++)
	{
		char *name = omb_pack_name(v->pack[i].sha256);

		if (v->pack[i].wanted)
			submit(v, name, v->pack[i].size, v->pack[i].sha256, NULL);
		free(name);
	}
}

/* Numbers of WAL files, or of marks. */
typedef struct object_range
{
	omb_verify_state *v;
	uint64_t from;
	uint64_t to;
	uint64_t next;
} object_range;

static omb_status
submit_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	object_range *range = arg;
	omb_wal_object object;

	if (omb_wal_object_parse(entry->name, &object) &&
		range->next++ >= range->from && range->next <= range->to)
		submit(range->v, entry->name, entry->size, NULL, &object);
	return OMB_OK;
}

static omb_status
submit_mark(const omb_store_entry *entry, void *arg, omb_error *err)
{
	object_range *range = arg;

	if (!entry->is_folder && omb_verify_is_mark(entry->name) &&
		range->next++ >= range->from && range->next <= range->to)
		submit(range->v, entry->name, entry->size, NULL, NULL);
	return OMB_OK;
}

/* Of a kind whose first number is base, those with numbers from..to-1. */
static omb_status
submit_listed(omb_verify_state *v, const char *folder, omb_store_visit visit,
			  uint64_t base, uint64_t from, uint64_t to, omb_error *err)
{
	object_range range;

	if (to <= base)
		return OMB_OK;
	memset(&range, 0, sizeof(range));
	range.v = v;
	range.from = from > base ? from - base : 0;
	range.to = to - base;
	return omb_store_list(v->config->repo->store, folder, true, visit, &range,
						  err);
}

/* Objects with numbers from..to-1 over all. */
static omb_status
submit_range(omb_verify_state *v, uint64_t from, uint64_t to, omb_error *err)
{
	uint64_t wal = v->pack_count;
	uint64_t marks = wal + v->result->wal_files_total;

	submit_packs(v, (size_t) from, (size_t) to);
	if (submit_listed(v, OMB_WAL_FOLDER, submit_wal, wal, from,
					  to < marks ? to : marks, err) == OMB_OK)
		(void) submit_listed(v, OMB_MARKS_FOLDER, submit_mark, marks, from, to,
							 err);
	return err->status;
}

/* ---- what there is ---- */

/* An object whose name is none of ours. */
static void
report_stranger(omb_verify_state *v, const char *name)
{
	omb_error problem = OMB_ERROR_INIT;

	(void) omb_error_set(&problem, OMB_DAMAGED,
						 "object \"%s\" does not belong there", name);
	(void) omb_verify_report(v, OMB_PROBLEM_OTHER, name, &problem);
}

static omb_status
note_pack(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_verify_state *v = arg;
	uint8_t sha256[OMB_SHA256_SIZE];
	const char *hex = strrchr(entry->name, '/') + 1;
	char *name = omb_hex_parse(hex, sha256, sizeof(sha256)) ?
					 omb_pack_name(sha256) :
					 NULL;
	omb_stored_pack *pack;

	if (name == NULL || strcmp(name, entry->name) != 0)
	{
		if (v->config->backup == NULL)
			report_stranger(v, entry->name);
		free(name);
		return OMB_OK;
	}
	free(name);
	if (v->pack_count == v->pack_cap)
	{
		v->pack_cap = v->pack_cap ? 2 * v->pack_cap : 1024;
		v->pack = omb_realloc(v->pack, v->pack_cap * sizeof(*v->pack));
	}
	pack = &v->pack[v->pack_count++];
	memcpy(pack->sha256, sha256, OMB_SHA256_SIZE);
	pack->size = entry->size;
	pack->wanted = v->config->backup == NULL;
	return OMB_OK;
}

static omb_status
note_wal(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_verify_state *v = arg;
	omb_wal_object object;

	if (!omb_wal_object_parse(entry->name, &object))
	{
		report_stranger(v, entry->name);
		return OMB_OK;
	}
	v->result->wal_files_total++;
	if (is_selected(v, entry->name))
		v->result->bytes_total += entry->size;
	return OMB_OK;
}

static omb_status
note_mark(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_verify_state *v = arg;

	if (entry->is_folder || !omb_verify_is_mark(entry->name))
		return OMB_OK;
	v->result->marks_total++;
	if (is_selected(v, entry->name))
		v->result->bytes_total += entry->size;
	return OMB_OK;
}

/* ---- the whole ---- */

/* Read the packs and the WAL of one backup. */
static omb_status
read_one(omb_verify_state *v, const omb_manifest *manifest, omb_error *err)
{
	const omb_backup_info *info = &manifest->info;
	uint64_t size = info->wal_segment_size;
	uint64_t segno;
	size_t start;
	size_t i;

	for (i = 0; i < manifest->pack_count; i++)
	{
		omb_stored_pack *pack =
			omb_verify_find_pack(v, manifest->pack[i].sha256);

		if (pack != NULL)
		{
			pack->wanted = true;
			v->result->bytes_total += pack->size;
		}
	}
	v->result->packs_total = manifest->pack_count;
	start = v->deadline != 0 && v->pack_count > 0 ?
				(size_t) (mix(v->config->seed) % v->pack_count) :
				0;
	submit_packs(v, start, v->pack_count);
	submit_packs(v, 0, start);
	for (segno = omb_wal_segno_at(info->start_lsn, size ? size : 1);
		 omb_wal_segment_size_valid(size) && err->status == OMB_OK &&
		 segno <= omb_wal_segno_before(info->stop_lsn, size);
		 segno++)
	{
		char segment[OMB_WAL_NAME_TEXT];
		omb_wal_object object;
		omb_error ignored = OMB_ERROR_INIT;
		char *name;

		v->result->wal_files_total++;
		omb_wal_name_format(info->stop_timeline, segno, size, segment);
		/* a missing one is reported with the backup */
		if (omb_wal_find(v->config->repo, segment, &object, &ignored) !=
			OMB_OK)
			continue;
		name = omb_wal_object_name(&object);
		submit(v, name, 0, NULL, &object);
		free(name);
	}
	drain(v);
	v->deadline = v->last_deadline;
	return err->status;
}

static omb_status
verify_backup(const char *id, void *arg, omb_error *err)
{
	omb_verify_state *v = arg;
	bool alone = v->config->backup != NULL;
	char *name = omb_format(OMB_BACKUP_FOLDER "/%s", id);
	omb_error problem = OMB_ERROR_INIT;
	omb_manifest *manifest;

	v->result->backups_total++;
	if (omb_manifest_open(v->config->repo, id, &manifest, &problem) != OMB_OK)
	{
		if (alone && problem.status == OMB_NOT_FOUND)
			*err = problem;
		else
			(void) omb_verify_report(v, OMB_PROBLEM_BACKUP, name, &problem);
		free(name);
		return err->status;
	}
	if (!alone || read_one(v, manifest, err) == OMB_OK)
		(void) omb_verify_manifest(v, manifest, err);
	omb_manifest_close(manifest);
	free(name);
	return err->status;
}

static omb_status
verify_all(omb_verify_state *v, omb_error *err)
{
	omb_store *store = v->config->repo->store;
	omb_claim claim;
	omb_error problem = OMB_ERROR_INIT;
	uint64_t all, start;
	size_t i;

	if (omb_store_list(store, OMB_WAL_FOLDER, true, note_wal, v, err) !=
			OMB_OK ||
		omb_store_list(store, OMB_MARKS_FOLDER, true, note_mark, v, err) !=
			OMB_OK)
		return err->status;
	for (i = 0; i < v->pack_count; i++)
	{
		char *name = omb_pack_name(v->pack[i].sha256);

		if (is_selected(v, name))
			v->result->bytes_total += v->pack[i].size;
		free(name);
	}
	v->result->packs_total = v->pack_count;
	all = v->pack_count + v->result->wal_files_total + v->result->marks_total;
	start = v->deadline != 0 && all > 0 ? mix(v->config->seed) % all : 0;
	if (!v->config->fast && (submit_range(v, start, all, err) != OMB_OK ||
							 submit_range(v, 0, start, err) != OMB_OK))
		return err->status;
	drain(v);
	v->deadline = v->last_deadline;
	if (omb_backup_list(v->config->repo, verify_backup, v, err) != OMB_OK)
		return err->status;
	if (omb_claim_read(v->config->repo, &claim, &problem) != OMB_OK)
		(void) omb_verify_report(v, OMB_PROBLEM_OTHER, "marks/claims",
								 &problem);
	omb_claim_clear(&claim);
	return OMB_OK;
}

omb_status
omb_verify(const omb_verify_config *config, omb_verify_result *result,
		   omb_error *err)
{
	omb_verify_state *v;
	omb_lock *lock;
	int i;

	memset(result, 0, sizeof(*result));
	if (omb_store_lock(config->repo->store, false, &lock, err) != OMB_OK)
		return err->status;
	v = omb_calloc(1, sizeof(*v));
	v->config = config;
	v->result = result;
	if (config->max_seconds > 0)
	{
		/* a quarter is for the manifests */
		v->deadline =
			omb_time_steady() + (int64_t) config->max_seconds * 750000;
		v->last_deadline =
			v->deadline + (int64_t) config->max_seconds * 250000;
	}
	v->main_coder = omb_coder_new(NULL);
	v->coder = omb_calloc((size_t) config->jobs, sizeof(omb_coder *));
	for (i = 0; i < config->jobs; i++)
		v->coder[i] = omb_coder_new(NULL);
	v->pipe = omb_pipeline_new(config->jobs, (size_t) (4 * config->jobs),
							   sizeof(unit), process_unit, v);
	if (omb_store_list(config->repo->store, "packs", true, note_pack, v,
					   err) == OMB_OK)
		(void) (config->backup != NULL ?
					verify_backup(config->backup, v, err) :
					verify_all(v, err));
	/* what is under way is reported even when listing failed */
	drain(v);
	omb_pipeline_free(v->pipe);
	for (i = 0; i < config->jobs; i++)
		omb_coder_free(v->coder[i]);
	free(v->coder);
	omb_coder_free(v->main_coder);
	omb_verify_trailers_free(v);
	free(v->pack);
	free(v);
	omb_store_unlock(lock);
	return err->status;
}
