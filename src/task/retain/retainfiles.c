/*
 * retainfiles.c: which backups of the application's files are kept, and why.
 */
#include "task/retain/retain.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

omb_retain_files *
omb_retain_add_files(omb_retain_plan *plan)
{
	omb_retain_files *added;

	plan->files = omb_realloc(plan->files,
							  (plan->files_count + 1) * sizeof(*plan->files));
	added = &plan->files[plan->files_count++];
	memset(added, 0, sizeof(*added));
	return added;
}

/* The first reason is enough. */
static void
keep(omb_retain_files *files, const char *why, const char *id)
{
	files->keep = true;
	if (files->reason == NULL)
		files->reason =
			id == NULL ? omb_strdup(why) : omb_format("%s \"%s\"", why, id);
}

/* The first one after a backup; the number of all when there is none. */
static size_t
first_after(const omb_retain_plan *plan, const omb_retain_backup *backup)
{
	size_t after = 0;

	while (after < plan->files_count &&
		   strcmp(plan->files[after].id, backup->id) < 0)
		after++;
	return after;
}

/* What instants at and behind a backup may need. */
static void
keep_around(omb_retain_plan *plan, const omb_retain_backup *backup)
{
	size_t after = first_after(plan, backup);
	size_t i;

	if (after > 0)
		keep(&plan->files[after - 1], "the last one before backup",
			 backup->id);
	if (after < plan->files_count)
		keep(&plan->files[after], "the first one after backup", backup->id);
	for (i = after; i < plan->files_count && backup->window; i++)
		keep(&plan->files[i], "instants can be restored from backup",
			 backup->id);
}

void
omb_retain_decide_files(omb_retain_plan *plan)
{
	size_t i;

	for (i = 0; i < plan->files_count; i++)
	{
		omb_retain_files *files = &plan->files[i];

		files->keep = false;
		free(files->reason);
		files->reason = NULL;
		if (files->pin != NULL && files->pin[0] != '\0')
			keep(files, "pinned:", files->pin);
		else if (files->pin != NULL)
			keep(files, "pinned", NULL);
		if (plan->keeps_all)
			keep(files, "no rule is set", NULL);
		if (i == plan->files_count - 1)
			keep(files, "the newest one", NULL);
	}
	for (i = 0; i < plan->count; i++)
	{
		if (plan->backup[i].keep)
			keep_around(plan, &plan->backup[i]);
	}
	for (i = 0; i < plan->files_count; i++)
	{
		if (!plan->files[i].keep)
			plan->files[i].reason =
				omb_strdup("no instant that can be restored needs it");
	}
}

uint32_t
omb_retain_files_turn(const omb_retain_plan *plan, size_t number)
{
	uint32_t turn = 0;
	size_t i;

	if (plan->files[number].pin != NULL || plan->keeps_all ||
		number == plan->files_count - 1)
		return OMB_RETAIN_NEVER;
	for (i = 0; i < plan->count; i++)
	{
		const omb_retain_backup *backup = &plan->backup[i];
		size_t after = first_after(plan, backup);

		/* the same that keep_around() keeps */
		if (backup->keep && backup->turn > turn &&
			(number + 1 == after || number == after ||
			 (number > after && backup->window)))
			turn = backup->turn;
	}
	return turn;
}
