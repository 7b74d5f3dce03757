/*
 * facts.c: reading what task/retain/retain.h decides on from a repository.
 */
#include "task/retain/facts.h"

#include "repo/manifest.h"
#include "repo/pin.h"
#include "task/wal/walrange.h"

#include <stdlib.h>
#include <string.h>

static omb_status
add_files(omb_repository *repo, const char *id, omb_retain_plan *plan,
		  omb_error *err)
{
	omb_retain_files *added = omb_retain_add_files(plan);
	omb_pin pin;

	memcpy(added->id, id, strlen(id) + 1);
	if (omb_pin_read(repo, id, &pin, err) == OMB_OK && pin.pinned)
	{
		added->pin = pin.reason;
		pin.reason = NULL;
	}
	omb_pin_clear(&pin);
	return err->status;
}

omb_status
omb_facts_add_backup(omb_repository *repo, const char *id,
					 omb_retain_plan *plan, omb_error *err)
{
	omb_manifest *manifest;
	omb_retain_backup *added;
	omb_pin pin;

	if (omb_manifest_open(repo, id, &manifest, err) != OMB_OK)
		return err->status;
	if (!omb_backup_is_base(&manifest->info))
	{
		omb_manifest_close(manifest);
		return add_files(repo, id, plan, err);
	}
	added = omb_retain_add(plan);
	memcpy(added->id, manifest->info.id, sizeof(added->id));
	added->stop_time = manifest->info.stop_time;
	added->start_lsn = manifest->info.start_lsn;
	added->stop_lsn = manifest->info.stop_lsn;
	added->timeline = manifest->info.stop_timeline;
	added->wal_segment_size = manifest->info.wal_segment_size;
	added->damaged_pages = manifest->info.damaged_pages;
	omb_manifest_close(manifest);
	if (omb_pin_read(repo, id, &pin, err) == OMB_OK && pin.pinned)
	{
		added->pin = pin.reason;
		pin.reason = NULL;
	}
	omb_pin_clear(&pin);
	return err->status;
}

omb_status
omb_facts_timelines(omb_repository *repo, omb_retain_plan *plan,
					omb_error *err)
{
	uint32_t *timeline = NULL;
	size_t count = 0;
	size_t i;

	(void) omb_timelines(repo, &timeline, &count, err);
	for (i = 0; i < count && err->status == OMB_OK; i++)
	{
		/* the first has no history */
		if (timeline[i] == 1)
			continue;
		plan->path = omb_realloc(plan->path, (plan->path_count + 1) *
												 sizeof(omb_timeline_path));
		if (omb_timeline_path_read(repo, timeline[i],
								   &plan->path[plan->path_count],
								   err) == OMB_OK)
			plan->path_count++;
		else if (err->status == OMB_NOT_FOUND)
			omb_error_clear(err);
	}
	free(timeline);
	return err->status;
}
