/*
 * gap.c: WAL that was given up.
 */
#include "repo/gap.h"

#include "base/fields.h"
#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/backupinfo.h"
#include "repo/markobject.h"
#include "repo/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "marks/gaps"
#define MARK_MAX 16384

static bool
is_segment(const char *file)
{
	omb_wal_name name;

	return omb_wal_name_parse(file, &name) == OMB_WAL_SEGMENT;
}

static bool
take_file(const omb_fields *fields, const char *name, char *out)
{
	const char *value = omb_fields_get(fields, name);

	if (value == NULL || !is_segment(value))
		return false;
	(void) snprintf(out, OMB_WAL_FILE_MAX + 1, "%s", value);
	return true;
}

static bool
take(const omb_fields *fields, omb_gap *gap)
{
	memset(gap, 0, sizeof(*gap));
	return take_file(fields, "first", gap->first) &&
		   take_file(fields, "last", gap->last) &&
		   omb_fields_get_u64(fields, "files", &gap->files) &&
		   omb_fields_get_i64(fields, "since", &gap->since) &&
		   omb_fields_get_i64(fields, "until", &gap->until);
}

typedef struct list_state
{
	omb_repository *repo;
	omb_gap_visit visit;
	void *arg;
	unsigned int highest;
} list_state;

static omb_status
visit_mark(const omb_store_entry *entry, void *arg, omb_error *err)
{
	list_state *state = arg;
	const char *digits = strrchr(entry->name, '/') + 1;
	omb_buf content = OMB_BUF_INIT;
	omb_mark_found found;
	omb_fields fields;
	uint64_t number;
	omb_gap gap;

	if (entry->is_folder || strlen(digits) != 8 ||
		!omb_u64_parse(digits, &number))
		return OMB_OK;
	if (number > state->highest)
		state->highest = (unsigned int) number;
	if (state->visit != NULL)
	{
		if (omb_mark_object_get(state->repo, entry->name, MARK_MAX, &content,
								&fields, &found, err) == OMB_OK &&
			found == OMB_MARK_FOUND && take(&fields, &gap))
			state->visit(&gap, state->arg);
		omb_buf_free(&content);
	}
	return err->status;
}

omb_status
omb_gap_list(omb_repository *repo, omb_gap_visit visit, void *arg,
			 omb_error *err)
{
	list_state state = { repo, visit, arg, 0 };

	return omb_store_list(repo->store, FOLDER, false, visit_mark, &state, err);
}

typedef struct behind_state
{
	const char *segment;
	omb_gap *nearest;
	bool found;
} behind_state;

static void
look_behind(const omb_gap *gap, void *arg)
{
	behind_state *state = arg;

	if (strcmp(gap->last, state->segment) > 0 &&
		(!state->found || strcmp(gap->first, state->nearest->first) < 0))
	{
		*state->nearest = *gap;
		state->found = true;
	}
}

omb_status
omb_gap_behind(omb_repository *repo, const char *segment, omb_gap *out,
			   bool *found, omb_error *err)
{
	behind_state state = { segment, out, false };

	(void) omb_gap_list(repo, look_behind, &state, err);
	*found = state.found;
	return err->status;
}

typedef struct same_state
{
	const omb_gap *gap;
	bool found;
} same_state;

static void
look_same(const omb_gap *gap, void *arg)
{
	same_state *state = arg;

	if (strcmp(gap->first, state->gap->first) == 0 &&
		strcmp(gap->last, state->gap->last) == 0)
		state->found = true;
}

omb_status
omb_gap_put(omb_repository *repo, const omb_gap *gap, omb_error *err)
{
	same_state same = { gap, false };
	list_state state = { repo, look_same, &same, 0 };
	omb_buf content = OMB_BUF_INIT;
	char *name;

	if (!is_segment(gap->first) || !is_segment(gap->last))
		return omb_error_set(err, OMB_USAGE,
							 "\"%s\" to \"%s\" is no range of WAL segments",
							 gap->first, gap->last);
	if (omb_store_list(repo->store, FOLDER, false, visit_mark, &state, err) !=
			OMB_OK ||
		same.found)
		return err->status;
	omb_text_put(&content, "first", gap->first);
	omb_text_put(&content, "last", gap->last);
	omb_buf_printf(&content,
				   "files=%" PRIu64 "\nsince=%" PRId64 "\nuntil=%" PRId64 "\n",
				   gap->files, gap->since, gap->until);
	name = omb_format(FOLDER "/%08u", state.highest + 1);
	(void) omb_stream_put(repo, OMB_KIND_MARK, name, content.data, content.len,
						  err);
	free(name);
	omb_buf_free(&content);
	return err->status;
}
