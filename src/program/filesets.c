/*
 * filesets.c: the sets of the application's files that a server sends with a job.
 */
#include "program/filesets.h"

#include "program/agent.h"

#include <stdlib.h>
#include <string.h>

static omb_status
receive_set(omb_sent_sets *sets, omb_error *err)
{
	omb_file_set *set = &sets->set[sets->count];
	const char **exclude = sets->exclude[sets->count];
	omb_fields fields;
	int i;

	if (omb_agent_receive(&fields, &sets->line[sets->count], err) != OMB_OK)
		return err->status;
	set->name = omb_fields_get(&fields, "name");
	set->path = omb_fields_get(&fields, "path");
	if (strcmp(fields.verb, "file_set") != 0 || set->name == NULL ||
		set->path == NULL)
		return omb_error_set(err, OMB_USAGE,
							 "the server sent \"%s\" instead of a file set",
							 fields.verb);
	for (i = 0; i < fields.count; i++)
	{
		if (strcmp(fields.item[i].name, "exclude") != 0)
			continue;
		if (set->exclude_count == OMB_FILE_EXCLUDES_MAX)
			return omb_error_set(err, OMB_USAGE,
								 "file set \"%s\" has too many excludes",
								 set->name);
		exclude[set->exclude_count++] = fields.item[i].value;
	}
	set->exclude = exclude;
	sets->count++;
	return omb_file_set_check(set, err);
}

omb_status
omb_sent_sets_receive(const omb_fields *job, omb_sent_sets *sets,
					  omb_error *err)
{
	uint32_t count = 0;

	memset(sets, 0, sizeof(*sets));
	(void) omb_fields_get_u32(job, "file_sets", &count);
	if (count > OMB_FILE_SETS_MAX)
		return omb_error_set(err, OMB_USAGE, "there are too many file sets");
	while (sets->count < count && err->status == OMB_OK)
		(void) receive_set(sets, err);
	return err->status;
}

void
omb_sent_sets_free(omb_sent_sets *sets)
{
	size_t i;

	for (i = 0; i < OMB_FILE_SETS_MAX; i++)
		free(sets->line[i]);
}
