/*
 * mirrorexpire.c: removing from a target what its rules do not keep.
 */
#include "task/mirror/mirrorexpire.h"

#include "base/buffer.h"
#include "repo/pin.h"
#include "store/url.h"
#include "task/mirror/mirrorcopy.h"

#include <stdlib.h>
#include <string.h>

#define PIN_FOLDER "marks/pins"

typedef struct expiry
{
	const omb_mirror_expire_config *config;
	omb_repository *target;
} expiry;

/* Names of objects. */
typedef struct names
{
	omb_store *not_in; /* only those that this store lacks */
	char **name;
	size_t count;
} names;

/* Open the target's repository, with a lock where the store has but a promise. */
static omb_status
open_target(const omb_mirror_expire_config *config, omb_repository **out,
			omb_error *err)
{
	char *directory = omb_url_directory(config->url);
	char *alone = omb_format("%s%csole-user=yes", config->url,
							 strchr(config->url, '?') != NULL ? '&' : '?');

	(void) omb_repository_open_url(directory != NULL ? config->url : alone,
								   config->credentials, config->key_file, NULL,
								   true, out, err);
	free(alone);
	free(directory);
	return err->status;
}

static omb_status
note_pin(const omb_store_entry *entry, void *arg, omb_error *err)
{
	names *n = arg;
	omb_object *object;

	if (omb_store_open(n->not_in, entry->name, &object, err) == OMB_OK)
		omb_object_close(object);
	else if (err->status == OMB_NOT_FOUND)
	{
		omb_error_clear(err);
		n->name = omb_realloc(n->name, (n->count + 1) * sizeof(*n->name));
		n->name[n->count++] = omb_strdup(entry->name);
	}
	return err->status;
}

static void
clear_names(names *n)
{
	size_t i;

	for (i = 0; i < n->count; i++)
		free(n->name[i]);
	free(n->name);
}

/* Pins that the mirror has not copied yet. */
static omb_status
put_pins(expiry *e, omb_error *err)
{
	omb_store *from = e->config->source->store;
	names missing = { e->target->store, NULL, 0 };
	omb_repository_facts facts;
	omb_mirror_route route;
	omb_mirror_copied copied;
	uint8_t *piece = NULL;
	size_t i;

	memset(&route, 0, sizeof(route));
	route.from = from;
	route.to = e->target->store;
	if (omb_repository_look(from, &facts, err) == OMB_OK &&
		omb_store_list(from, PIN_FOLDER, true, note_pin, &missing, err) ==
			OMB_OK &&
		missing.count > 0)
	{
		memcpy(route.repository_id, facts.id, sizeof(facts.id));
		piece = omb_malloc(OMB_MIRROR_PIECE);
	}
	for (i = 0; i < missing.count && err->status == OMB_OK; i++)
	{
		/* it was taken away just now */
		if (omb_mirror_copy(&route, missing.name[i], piece, &copied, err) ==
				OMB_NOT_FOUND &&
			copied.vanished)
			omb_error_clear(err);
	}
	free(piece);
	clear_names(&missing);
	return err->status;
}

/* What was unpinned at the source has its pin at the target still. */
static omb_status
take_pins(expiry *e, omb_error *err)
{
	names extra = { e->config->source->store, NULL, 0 };
	size_t i;

	(void) omb_store_list(e->target->store, PIN_FOLDER, true, note_pin, &extra,
						  err);
	for (i = 0; i < extra.count && err->status == OMB_OK; i++)
	{
		/* what is no pin is left alone */
		(void) omb_pin_remove(e->target,
							  extra.name[i] + strlen(PIN_FOLDER "/"), err);
		if (err->status == OMB_NOT_FOUND || err->status == OMB_USAGE)
			omb_error_clear(err);
	}
	clear_names(&extra);
	return err->status;
}

static void
note_verdict(const omb_expire_row *row, void *arg)
{
	expiry *e = arg;

	if (e->config->keep != NULL &&
		(strcmp(row->object, "backup") == 0 ||
		 strcmp(row->object, "files") == 0) &&
		strcmp(row->verdict, "drop") == 0)
		omb_mirror_keep_dropped(e->config->keep, row->name);
}

static void
ignore_pack(const omb_prune_pack *pack, void *arg)
{
}

static void
ignore_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
}

omb_status
omb_mirror_expire(const omb_mirror_expire_config *config,
				  omb_expire_result *result, omb_prune_result *pruned,
				  omb_error *err)
{
	omb_expire_config expire;
	omb_prune_config prune;
	omb_error ignored = OMB_ERROR_INIT;
	expiry e;

	memset(&e, 0, sizeof(e));
	memset(result, 0, sizeof(*result));
	memset(pruned, 0, sizeof(*pruned));
	e.config = config;
	if (open_target(config, &e.target, err) != OMB_OK)
		return err->status;
	omb_prune_config_init(&prune);
	prune.jobs = config->jobs;
	prune.visit = ignore_pack;
	prune.progress = ignore_progress;
	if (e.target->store->directory == NULL)
		prune.rewrite_below = 0;
	memset(&expire, 0, sizeof(expire));
	expire.repo = e.target;
	expire.rules = config->rules;
	expire.prune = config->prune ? &prune : NULL;
	expire.pruned = config->prune ? pruned : NULL;
	expire.copy_of = config->source->store;
	expire.row = note_verdict;
	expire.arg = &e;
	if (put_pins(&e, err) == OMB_OK && take_pins(&e, err) == OMB_OK)
		(void) omb_expire(&expire, result, err);
	/* also what was dropped before something failed */
	if (config->keep != NULL)
		(void) omb_mirror_keep_save(config->keep, &ignored);
	omb_repository_free(e.target);
	return err->status;
}
