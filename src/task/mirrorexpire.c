/*
 * mirrorexpire.c: removing from a target what its rules do not keep.
 */
#include "task/mirrorexpire.h"

#include "base/buffer.h"
#include "repo/pin.h"
#include "store/url.h"

#include <stdlib.h>
#include <string.h>

#define PIN_FOLDER "marks/pins"

typedef struct expiry
{
	const omb_mirror_expire_config *config;
	omb_repository *target;
	char **unpin; /* ids */
	size_t unpin_count;
} expiry;

/* Open the target's repository, with a lock where the store has but a promise. */
static omb_status
open_target(const omb_mirror_expire_config *config, omb_repository **out,
			omb_error *err)
{
	char *directory = omb_url_directory(config->url);
	char *alone = omb_format("%s%csole-user=yes", config->url,
							 strchr(config->url, '?') != NULL ? '&' : '?');

	if (directory == NULL &&
		omb_repository_open_url(alone, config->credentials, config->key_file,
								NULL, out, err) == OMB_USAGE)
		omb_error_clear(err);
	if (err->status == OMB_OK && *out == NULL)
		(void) omb_repository_open_url(config->url, config->credentials,
									   config->key_file, NULL, out, err);
	free(alone);
	free(directory);
	return err->status;
}

static omb_status
note_pin(const omb_store_entry *entry, void *arg, omb_error *err)
{
	expiry *e = arg;
	omb_object *object;

	if (omb_store_open(e->config->source->store, entry->name, &object, err) ==
		OMB_OK)
		omb_object_close(object);
	else if (err->status == OMB_NOT_FOUND)
	{
		omb_error_clear(err);
		e->unpin =
			omb_realloc(e->unpin, (e->unpin_count + 1) * sizeof(*e->unpin));
		e->unpin[e->unpin_count++] =
			omb_strdup(entry->name + strlen(PIN_FOLDER "/"));
	}
	return err->status;
}

/* What was unpinned at the source has its pin at the target still. */
static omb_status
take_pins(expiry *e, omb_error *err)
{
	size_t i;

	(void) omb_store_list(e->target->store, PIN_FOLDER, true, note_pin, e,
						  err);
	for (i = 0; i < e->unpin_count; i++)
	{
		/* what is no pin is left alone */
		if (err->status == OMB_OK &&
			(omb_pin_remove(e->target, e->unpin[i], err) == OMB_NOT_FOUND ||
			 err->status == OMB_USAGE))
			omb_error_clear(err);
		free(e->unpin[i]);
	}
	free(e->unpin);
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
	expire.row = note_verdict;
	expire.arg = &e;
	if (take_pins(&e, err) == OMB_OK)
		(void) omb_expire(&expire, result, err);
	/* also what was dropped before something failed */
	if (config->keep != NULL)
		(void) omb_mirror_keep_save(config->keep, &ignored);
	omb_repository_free(e.target);
	return err->status;
}
