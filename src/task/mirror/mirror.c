/*
 * mirror.c: copying a repository from one store to another.
 *
 * The work is done in rounds. Each looks at the source anew and sends what is
 * missing; a round ends early when its time is over, so that WAL that was
 * archived meanwhile does not wait for the packs of a backup. A round that
 * only counts tells what is missing.
 */
#include "task/mirror/mirror.h"

#include "base/text.h"
#include "repo/unfinished.h"
#include "task/mirror/mirrorrun.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rounds in a row that send nothing, before it is left at that. */
#define IDLE_ROUNDS_MAX 5

/* The list of a target that is used all the time is saved that often. */
#define SAVE_SECONDS 60

struct omb_mirror_session
{
	omb_mirror_config config;
	omb_mirror_run run;
};

void
omb_mirror_config_init(omb_mirror_config *config)
{
	memset(config, 0, sizeof(*config));
	config->jobs = 4;
	config->round_seconds = OMB_MIRROR_ROUND;
	config->max_failures = OMB_MIRROR_FAILURES;
}

static char *
cache_path(const omb_store *from, const char *url, const char *what)
{
	uint8_t sha256[OMB_SHA256_SIZE];
	char hex[2 * OMB_SHA256_SIZE + 1];

	if (from->directory == NULL)
		return NULL;
	omb_sha256(url, strlen(url), sha256);
	(void) omb_hex_format(sha256, sizeof(sha256), hex);
	hex[16] = '\0';
	return omb_format("%s/" OMB_CACHE_FOLDER "/target-%s-%s", from->directory,
					  hex, what);
}

char *
omb_mirror_list_path(const omb_store *from, const char *url)
{
	return cache_path(from, url, "list");
}

char *
omb_mirror_dropped_path(const omb_store *from, const char *url)
{
	return cache_path(from, url, "dropped");
}

char *
omb_mirror_locked_path(const omb_store *from, const char *url)
{
	return cache_path(from, url, "locked");
}

/* ---- what the target has ---- */

typedef struct listing
{
	omb_mirror_run *r;
	char *folder; /* of the last object */
	omb_mirror_items folders;
} listing;

static omb_status
note_object(const omb_store_entry *entry, void *arg, omb_error *err)
{
	listing *l = arg;
	const char *slash = strrchr(entry->name, '/');
	size_t len = slash ? (size_t) (slash - entry->name) : 0;

	omb_mirror_sender_note(l->r->sender, entry->name, entry->size);
	if (l->folder == NULL || strlen(l->folder) != len ||
		strncmp(l->folder, entry->name, len) != 0)
	{
		free(l->folder);
		l->folder = omb_format("%.*s", (int) len, entry->name);
		(void) omb_mirror_items_add(&l->folders, l->folder, 0);
	}
	return OMB_OK;
}

/*
 * Somebody may have been killed between putting an object under its name and
 * making that durable; from now on we rely on what we see.
 */
static omb_status
settle_folders(omb_mirror_run *r, const omb_mirror_items *folders,
			   omb_error *err)
{
	size_t i;

	for (i = 0; i < folders->count && err->status == OMB_OK; i++)
	{
		char *folder = folders->item[i].name;
		char *slash;

		(void) omb_store_settle(r->config->to, folder, err);
		while (err->status == OMB_OK && (slash = strrchr(folder, '/')) != NULL)
		{
			*slash = '\0';
			(void) omb_store_settle(r->config->to, folder, err);
		}
	}
	return err->status;
}

omb_status
omb_mirror_list_target(omb_mirror_run *r, omb_error *err)
{
	listing l;

	memset(&l, 0, sizeof(l));
	l.r = r;
	r->has_list = false;
	r->config->progress("listing the target", 0, 0, r->config->arg);
	omb_mirror_set_clear(omb_mirror_sender_known(r->sender));
	if (omb_store_list(r->config->to, "", true, note_object, &l, err) ==
			OMB_OK &&
		!r->config->dry_run)
		(void) settle_folders(r, &l.folders, err);
	omb_mirror_items_clear(&l.folders);
	free(l.folder);
	r->fresh = r->has_list = err->status == OMB_OK;
	r->listed_at = omb_time_now();
	return err->status;
}

/* A target without "repository" may have keys of an earlier run of ours. */
static omb_status
check_stranger(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_mirror_run *r = arg;
	omb_object *object = NULL;

	/* of a file system, or of a probe (task/mirror/probe.h) */
	if (strncmp(entry->name, "lost+found", 10) == 0 ||
		strncmp(entry->name, "probe/", 6) == 0)
		return OMB_OK;
	if (strncmp(entry->name, "keys/", 5) == 0 &&
		omb_store_open(r->config->from, entry->name, &object, err) == OMB_OK)
	{
		omb_object_close(object);
		return OMB_OK;
	}
	if (err->status != OMB_OK && err->status != OMB_NOT_FOUND)
		return err->status;
	omb_error_clear(err);
	(void) omb_error_set(err, OMB_REFUSED,
						 "target \"%s\" is neither empty nor a repository",
						 r->config->to->location);
	omb_error_detail(err, "It contains \"%s\".", entry->name);
	omb_error_hint(err, "Give a target that is empty.");
	return err->status;
}

/* The target is empty, or holds the same repository. */
static omb_status
check_target(omb_mirror_run *r, omb_error *err)
{
	const char *location = r->config->to->location;
	omb_repository_facts facts;

	if (omb_repository_look(r->config->to, &facts, err) == OMB_OK)
	{
		if (memcmp(facts.id, r->facts.id, sizeof(facts.id)) == 0)
			return OMB_OK;
		(void) omb_error_set(err, OMB_REFUSED,
							 "target \"%s\" holds another repository",
							 location);
		omb_error_hint(err, "Give each repository a target of its own.");
		return err->status;
	}
	if (err->status != OMB_NOT_FOUND)
		return err->status;
	omb_error_clear(err);
	r->is_new = true;
	if (omb_store_list(r->config->to, "", true, check_stranger, r, err) ==
			OMB_OK &&
		r->listed_before > 0 && !r->config->reconcile)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "target \"%s\" is empty, but was not before",
							 location);
		omb_error_hint(err, "Check that its disk or share is mounted. If it "
							"was emptied on purpose, run the mirror with "
							"--reconcile.");
	}
	return err->status;
}

/* Read the list of the target that the last run has left. */
static void
load_list(omb_mirror_run *r)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_mirror_list list;

	if (r->config->list_path == NULL ||
		omb_mirror_set_load(omb_mirror_sender_known(r->sender),
							r->config->list_path, r->facts.id, &list,
							&ignored) != OMB_OK)
		return;
	r->listed_before = list.count;
	r->listed_at = list.listed_at;
	r->has_list = !list.is_open;
	r->is_open = list.is_open;
	r->saved = list.count;
}

static bool
is_old(int64_t time, int64_t seconds)
{
	int64_t age = omb_time_now() - time;

	return age < 0 || age >= seconds * 1000000;
}

static void
save_list(omb_mirror_run *r, bool is_open)
{
	omb_error ignored = OMB_ERROR_INIT;

	/* without it the next run lists the target, and that is all */
	if (r->config->list_path == NULL || r->config->dry_run)
		return;
	(void) omb_mirror_set_save(omb_mirror_sender_known(r->sender),
							   r->config->list_path, r->facts.id, is_open,
							   r->listed_at, &ignored);
	r->is_open = is_open;
	r->saved_at = omb_time_now();
	r->saved = omb_mirror_set_count(omb_mirror_sender_known(r->sender));
}

/* Is there something in memory that the file should have now? */
static bool
is_worth_saving(const omb_mirror_run *r)
{
	return (r->is_open || r->fresh ||
			r->saved !=
				omb_mirror_set_count(omb_mirror_sender_known(r->sender))) &&
		   (r->fresh || is_old(r->saved_at, SAVE_SECONDS));
}

/* ---- rounds ---- */

static omb_status
count_missing(omb_mirror_run *r, omb_error *err)
{
	omb_mirror_sender_count(r->sender, true);
	(void) omb_mirror_round(r, err);
	omb_mirror_sender_count(r->sender, false);
	return err->status;
}

/* What a restore from the target could reach now. */
static void
tell_current(omb_mirror_run *r, omb_mirror_result *result)
{
	const omb_mirror_set *known = omb_mirror_sender_known(r->sender);
	omb_wal_object object;
	size_t i;

	result->is_current = r->has_backup || result->backups > 0;
	for (i = 0; i < r->wal.count; i++)
	{
		if (r->wal.item[i].state == OMB_MIRROR_GONE ||
			omb_mirror_set_has(known, r->wal.item[i].name))
			continue;
		result->is_current = false;
		if (result->waiting_wal[0] == '\0' &&
			omb_wal_object_parse(r->wal.item[i].name, &object))
			(void) snprintf(result->waiting_wal, sizeof(result->waiting_wal),
							"%s", object.file);
	}
	if (r->wal_capped)
		result->is_current = false;
	if (result->is_current && r->config->current != NULL)
		r->config->current(r->began, r->config->arg);
}

static omb_status
do_rounds(omb_mirror_run *r, omb_mirror_result *result, omb_error *err)
{
	uint64_t objects = 0;
	int idle = 0;

	do
	{
		if (omb_mirror_round(r, err) != OMB_OK)
			return err->status;
		omb_mirror_sender_result(r->sender, result);
		tell_current(r, result);
		idle = result->objects == objects ? idle + 1 : 0;
		objects = result->objects;
	} while (omb_mirror_sender_again(r->sender) && idle < IDLE_ROUNDS_MAX);
	return OMB_OK;
}

/* What is missing at the end is an error. */
static omb_status
judge(omb_mirror_run *r, const omb_mirror_result *result, omb_error *err)
{
	const omb_error *stop = omb_mirror_sender_stopped(r->sender);
	const omb_error *first = omb_mirror_sender_problem(r->sender);
	char size[OMB_SIZE_TEXT];

	if (result->missing == 0)
		return OMB_OK;
	if (stop != NULL)
	{
		*err = *stop;
		(void) omb_error_context(err, "the mirror was given up");
	}
	else
	{
		/* what a store cannot do does not pass by itself */
		(void) omb_error_set(err,
							 result->damaged > 0 ? OMB_DAMAGED :
							 first != NULL &&
									 first->status == OMB_UNSUPPORTED ?
												   OMB_UNSUPPORTED :
												   OMB_FAILED,
							 "the copy of the repository is not complete");
		if (result->damaged > 0)
			omb_error_hint(err, "Run: omsupply_backup verify");
		else if (first != NULL && first->hint[0] != '\0')
			omb_error_hint(err, "%s", first->hint);
	}
	if (first != NULL && stop == NULL)
		omb_error_detail(
			err,
			"%" PRIu64 " objects, %s, %" PRIu64 " backups among "
			"them, are missing at \"%s\". The first failure was: "
			"%s.",
			result->missing, omb_size_format(result->bytes_missing, size),
			result->backups_missing, r->config->to->location, first->message);
	else
		omb_error_detail(err,
						 "%" PRIu64 " objects, %s, %" PRIu64 " backups among "
						 "them, are missing at \"%s\".",
						 result->missing,
						 omb_size_format(result->bytes_missing, size),
						 result->backups_missing, r->config->to->location);
	return err->status;
}

static bool
is_incomplete(const omb_mirror_run *r, const omb_mirror_result *result)
{
	return result->failed > 0 || omb_mirror_sender_again(r->sender) ||
		   omb_mirror_sender_stopped(r->sender) != NULL;
}

/* The target is ours, and locked unless nothing is written. */
static omb_status
mirror_locked(omb_mirror_run *r, omb_mirror_result *result, omb_error *err)
{
	if ((!r->has_list || r->config->reconcile || r->is_new ||
		 is_old(r->listed_at, OMB_MIRROR_LIST_AGE)) &&
		omb_mirror_list_target(r, err) != OMB_OK)
		return err->status;
	if (count_missing(r, err) != OMB_OK)
		return err->status;
	omb_mirror_sender_result(r->sender, result);
	if (r->config->dry_run)
		return OMB_OK;
	if (result->missing > 0)
	{
		if (!r->is_open)
			save_list(r, true);
		/* what was archived while we worked is for the next run */
		if (do_rounds(r, result, err) == OMB_OK && is_incomplete(r, result))
			(void) count_missing(r, err);
		else
			omb_mirror_sender_forget_count(r->sender);
		omb_mirror_sender_result(r->sender, result);
	}
	result->listed = r->fresh;
	tell_current(r, result);
	r->complete = err->status == OMB_OK && result->missing == 0;
	if (err->status == OMB_OK && is_worth_saving(r))
		save_list(r, false);
	return err->status == OMB_OK ? judge(r, result, err) : err->status;
}

omb_status
omb_mirror_begin(const omb_mirror_config *config, omb_mirror_session **out,
				 omb_error *err)
{
	omb_mirror_session *session;
	omb_mirror_run *r;

	*out = NULL;
	if ((config->newest > 0 || config->keep != NULL) && config->repo == NULL)
		return omb_error_set(err, OMB_USAGE,
							 "choosing backups to mirror needs the key");
	session = omb_calloc(1, sizeof(*session));
	session->config = *config;
	r = &session->run;
	r->config = &session->config;
	if (omb_repository_look(config->from, &r->facts, err) != OMB_OK)
	{
		free(session);
		return err->status;
	}
	r->sender = omb_mirror_sender_new(r->config, r->facts.id);
	load_list(r);
	*out = session;
	return OMB_OK;
}

omb_status
omb_mirror_step(omb_mirror_session *session, bool full,
				omb_mirror_result *result, omb_error *err)
{
	omb_mirror_run *r = &session->run;
	omb_lock *lock = NULL;

	memset(result, 0, sizeof(*result));
	r->fresh = r->is_new = false;
	r->quick =
		!full && r->complete && !is_old(r->looked_at, OMB_MIRROR_FULL_AGE);
	r->complete = false;
	omb_mirror_sender_begin_run(r->sender);
	if (check_target(r, err) == OMB_OK &&
		(r->config->dry_run ||
		 omb_store_lock(r->config->to, false, &lock, err) == OMB_OK))
		(void) mirror_locked(r, result, err);
	omb_store_unlock(lock);
	if (r->has_list)
		r->listed_before =
			omb_mirror_set_count(omb_mirror_sender_known(r->sender));
	return err->status;
}

void
omb_mirror_unlist(omb_mirror_session *session)
{
	session->run.has_list = false;
	session->run.complete = false;
	save_list(&session->run, true);
}

void
omb_mirror_end(omb_mirror_session *session)
{
	omb_mirror_run *r;

	if (session == NULL)
		return;
	r = &session->run;
	if (r->has_list && r->is_open)
		save_list(r, false);
	omb_mirror_items_clear(&r->wal);
	free(r->backup);
	omb_mirror_sender_free(r->sender);
	free(session);
}

omb_status
omb_mirror(const omb_mirror_config *config, omb_mirror_result *result,
		   omb_error *err)
{
	omb_mirror_session *session;

	memset(result, 0, sizeof(*result));
	if (omb_mirror_begin(config, &session, err) == OMB_OK)
		(void) omb_mirror_step(session, true, result, err);
	omb_mirror_end(session);
	return err->status;
}
