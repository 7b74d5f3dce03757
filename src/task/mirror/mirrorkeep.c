/*
 * mirrorkeep.c: what a target with rules of its own is to have.
 */
#include "task/mirror/mirrorkeep.h"

#include "base/file.h"
#include "repo/pin.h"
#include "task/retain/facts.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "omsdrop1\n"
#define FILE_MAX ((size_t) 4 * 1024 * 1024)
#define PIN_FOLDER "marks/pins"

struct omb_mirror_keep
{
	omb_retain_rules rules;
	char *path;
	char *seen; /* the backups and pins that were decided on */
	omb_retain_plan plan;
	char **unwanted; /* ids, at the source now */
	size_t unwanted_count;
	char **dropped; /* ids, at the target */
	size_t dropped_count;
};

static void
add_id(char ***list, size_t *count, const char *id)
{
	*list = omb_realloc(*list, (*count + 1) * sizeof(**list));
	(*list)[(*count)++] = omb_strdup(id);
}

static void
clear_ids(char ***list, size_t *count)
{
	size_t i;

	for (i = 0; i < *count; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
	*count = 0;
}

static bool
has_id(char *const *list, size_t count, const char *id)
{
	size_t i;

	for (i = 0; i < count; i++)
	{
		if (strcmp(list[i], id) == 0)
			return true;
	}
	return false;
}

static char *
rules_text(const omb_retain_rules *r)
{
	return omb_format("%u %u %u %u %u %u %u\n", r->keep_last, r->keep_days,
					  r->keep_weeks, r->keep_months, r->keep_years,
					  r->keep_wal_days, r->minimum);
}

/* What cannot be read, or was noted by other rules, counts for nothing. */
static void
load(omb_mirror_keep *keep)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;
	char *head = rules_text(&keep->rules);
	const char *text = "";
	size_t len = strlen(head);

	if (keep->path != NULL &&
		omb_file_read(keep->path, FILE_MAX, &content, &ignored) == OMB_OK &&
		memchr(content.data, '\0', content.len) == NULL)
		text = omb_buf_text(&content);
	if (strncmp(text, MAGIC, strlen(MAGIC)) == 0 &&
		strncmp(text + strlen(MAGIC), head, len) == 0)
	{
		text += strlen(MAGIC) + len;
		while (*text != '\0')
		{
			size_t line = strcspn(text, "\n");
			char *id = omb_format("%.*s", (int) line, text);

			if (line > 0 && line < OMB_BACKUP_ID_MAX)
				omb_mirror_keep_dropped(keep, id);
			free(id);
			text += line + (text[line] == '\n');
		}
	}
	free(head);
	omb_buf_free(&content);
}

omb_mirror_keep *
omb_mirror_keep_new(const omb_retain_rules *rules, const char *path)
{
	omb_mirror_keep *keep = omb_calloc(1, sizeof(*keep));

	keep->rules = *rules;
	keep->path = path ? omb_strdup(path) : NULL;
	load(keep);
	return keep;
}

void
omb_mirror_keep_free(omb_mirror_keep *keep)
{
	if (keep == NULL)
		return;
	omb_retain_clear(&keep->plan);
	clear_ids(&keep->unwanted, &keep->unwanted_count);
	clear_ids(&keep->dropped, &keep->dropped_count);
	free(keep->seen);
	free(keep->path);
	free(keep);
}

static omb_status
add_pin(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_buf_printf(arg, "%s\n", entry->name);
	return OMB_OK;
}

/* What was pinned after the target dropped it is wanted again. */
static bool
is_pinned(omb_repository *repo, const char *id, omb_error *err)
{
	omb_pin pin;
	bool pinned = omb_pin_read(repo, id, &pin, err) == OMB_OK && pin.pinned;

	omb_pin_clear(&pin);
	return pinned;
}

static omb_status
decide(omb_mirror_keep *keep, omb_repository *repo, const omb_revision *backup,
	   size_t count, omb_error *err)
{
	size_t i;

	omb_retain_clear(&keep->plan);
	clear_ids(&keep->unwanted, &keep->unwanted_count);
	keep->plan.rules = keep->rules;
	/* rules take them in the order in which they were taken */
	for (i = count; i > 0 && err->status == OMB_OK; i--)
	{
		const char *id = backup[i - 1].id;

		if (has_id(keep->dropped, keep->dropped_count, id) &&
			!is_pinned(repo, id, err))
		{
			add_id(&keep->unwanted, &keep->unwanted_count, id);
			continue;
		}
		if (err->status != OMB_OK)
			break;
		switch (omb_facts_add_backup(repo, id, &keep->plan, err))
		{
			case OMB_NOT_FOUND:
			case OMB_DAMAGED:
			case OMB_UNSUPPORTED:
				omb_error_clear(err);
				break;
			default:
				break;
		}
	}
	if (err->status != OMB_OK ||
		omb_facts_timelines(repo, &keep->plan, err) != OMB_OK)
		return err->status;
	omb_retain_decide(&keep->plan);
	omb_retain_decide_files(&keep->plan);
	for (i = 0; i < keep->plan.count; i++)
	{
		if (!keep->plan.backup[i].keep)
			add_id(&keep->unwanted, &keep->unwanted_count,
				   keep->plan.backup[i].id);
	}
	for (i = 0; i < keep->plan.files_count; i++)
	{
		if (!keep->plan.files[i].keep)
			add_id(&keep->unwanted, &keep->unwanted_count,
				   keep->plan.files[i].id);
	}
	return OMB_OK;
}

omb_status
omb_mirror_keep_look(omb_mirror_keep *keep, omb_repository *repo,
					 const omb_revision *backup, size_t count, omb_error *err)
{
	omb_buf seen = OMB_BUF_INIT;
	size_t i;

	for (i = 0; i < count; i++)
		omb_buf_printf(&seen, "%s.%u\n", backup[i].id, backup[i].number);
	omb_buf_printf(&seen, "%zu\n", keep->dropped_count);
	if (omb_store_list(repo->store, PIN_FOLDER, true, add_pin, &seen, err) ==
			OMB_OK &&
		(keep->seen == NULL || strcmp(keep->seen, omb_buf_text(&seen)) != 0))
	{
		free(keep->seen);
		keep->seen = NULL;
		if (decide(keep, repo, backup, count, err) == OMB_OK)
			keep->seen = omb_strdup(omb_buf_text(&seen));
	}
	omb_buf_free(&seen);
	return err->status;
}

bool
omb_mirror_keep_wants(const omb_mirror_keep *keep, const char *id)
{
	return !has_id(keep->unwanted, keep->unwanted_count, id);
}

bool
omb_mirror_keep_wants_wal(const omb_mirror_keep *keep,
						  const omb_wal_name *name)
{
	return omb_retain_wal_decide(&keep->plan, name).why != OMB_RETAIN_UNUSED;
}

void
omb_mirror_keep_dropped(omb_mirror_keep *keep, const char *id)
{
	if (!has_id(keep->dropped, keep->dropped_count, id))
		add_id(&keep->dropped, &keep->dropped_count, id);
}

omb_status
omb_mirror_keep_save(omb_mirror_keep *keep, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	char *head = rules_text(&keep->rules);
	size_t i;

	if (keep->path != NULL)
	{
		omb_buf_printf(&content, MAGIC "%s", head);
		for (i = 0; i < keep->dropped_count; i++)
			omb_buf_printf(&content, "%s\n", keep->dropped[i]);
		(void) omb_file_replace(keep->path, content.data, content.len, 0600,
								err);
	}
	omb_buf_free(&content);
	free(head);
	return err->status;
}
