/*
 * point.c: marks.
 */
#include "repo/point.h"

#include "base/text.h"
#include "pgfmt/lsn.h"
#include "repo/backupinfo.h"
#include "repo/markobject.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POINT_MAX 65536

/* So many ids are named when a name is not enough. */
#define IDS_SHOWN 8

bool
omb_stamp_valid(const char *text)
{
	static const char shape[] = "ddddddddTddddddZ-xxxxxxxx";
	size_t i;

	for (i = 0; i < sizeof(shape); i++)
	{
		char c = text[i];
		bool digit = c >= '0' && c <= '9';

		if (shape[i] == 'd' ? !digit :
			shape[i] == 'x' ? !digit && (c < 'a' || c > 'f') :
							  c != shape[i])
			return false;
	}
	return true;
}

/* A line of text that is shown to people. */
static bool
is_name(const char *text)
{
	const char *p;

	for (p = text; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			return false;
	}
	return p > text && p - text <= OMB_POINT_NAME_MAX;
}

bool
omb_point_take(const omb_fields *fields, omb_point *point)
{
	const char *id = omb_fields_get(fields, "id");
	const char *lsn = omb_fields_get(fields, "lsn");

	memset(point, 0, sizeof(*point));
	point->name = omb_fields_get(fields, "name");
	point->detail = omb_fields_get(fields, "detail");
	if (id == NULL || !omb_stamp_valid(id) || lsn == NULL ||
		point->name == NULL || !is_name(point->name) ||
		point->detail == NULL ||
		strlen(point->detail) > OMB_POINT_DETAIL_MAX ||
		!omb_lsn_parse(lsn, &point->lsn) || point->lsn == 0 ||
		!omb_fields_get_i64(fields, "time", &point->time) ||
		!omb_fields_get_u32(fields, "timeline", &point->timeline) ||
		point->timeline == 0)
		return false;
	memcpy(point->id, id, OMB_STAMP_TEXT);
	return true;
}

omb_status
omb_point_put(omb_repository *repo, const omb_point *point, omb_error *err)
{
	char *name = omb_format(OMB_POINT_FOLDER "/%s", point->id);
	omb_buf content = OMB_BUF_INIT;
	char lsn[OMB_LSN_TEXT];

	omb_text_put(&content, "id", point->id);
	omb_text_put(&content, "name", point->name);
	omb_text_put(&content, "detail", point->detail);
	omb_buf_printf(
		&content, "time=%" PRId64 "\nlsn=%s\ntimeline=%" PRIu32 "\n",
		point->time, omb_lsn_format(point->lsn, lsn), point->timeline);
	(void) omb_mark_object_put(repo, name, &content, err);
	omb_buf_free(&content);
	free(name);
	return err->status;
}

typedef struct list_state
{
	omb_repository *repo;
	omb_point_visit visit;
	void *arg;
	uint64_t *unreadable;
} list_state;

static omb_status
visit_mark(const omb_store_entry *entry, void *arg, omb_error *err)
{
	list_state *state = arg;
	const char *id = strrchr(entry->name, '/') + 1;
	omb_buf content = OMB_BUF_INIT;
	omb_mark_found found;
	omb_fields fields;
	omb_point point;

	if (entry->is_folder || !omb_stamp_valid(id))
		return OMB_OK;
	if (omb_mark_object_get(state->repo, entry->name, POINT_MAX, &content,
							&fields, &found, err) == OMB_OK &&
		found != OMB_MARK_ABSENT)
	{
		if (found == OMB_MARK_FOUND && omb_point_take(&fields, &point) &&
			strcmp(point.id, id) == 0)
			state->visit(&point, state->arg);
		else
			(*state->unreadable)++;
	}
	omb_buf_free(&content);
	return err->status;
}

omb_status
omb_point_list(omb_repository *repo, omb_point_visit visit, void *arg,
			   uint64_t *unreadable, omb_error *err)
{
	list_state state = { repo, visit, arg, unreadable };

	*unreadable = 0;
	return omb_store_list(repo->store, OMB_POINT_FOLDER, false, visit_mark,
						  &state, err);
}

typedef struct find_state
{
	const char *name;
	omb_point *out;
	uint64_t found;
	omb_buf ids; /* the newest, for the message */
} find_state;

static void
look(const omb_point *point, void *arg)
{
	find_state *state = arg;

	if (strcmp(point->name, state->name) != 0 &&
		strcmp(point->id, state->name) != 0)
		return;
	*state->out = *point;
	state->out->name = state->out->detail = NULL;
	if (state->found++ < IDS_SHOWN)
		omb_buf_printf(&state->ids, "%s%s", state->ids.len > 0 ? ", " : "",
					   point->id);
}

omb_status
omb_point_find(omb_repository *repo, const char *name, omb_point *out,
			   omb_error *err)
{
	find_state state = { name, out, 0, OMB_BUF_INIT };
	uint64_t unreadable;

	memset(out, 0, sizeof(*out));
	if (omb_point_list(repo, look, &state, &unreadable, err) == OMB_OK &&
		state.found == 0)
	{
		(void) omb_error_set(err, OMB_NOT_FOUND,
							 "the repository has no mark \"%s\"", name);
		if (unreadable > 0)
			omb_error_detail(err, "%" PRIu64 " marks cannot be read.",
							 unreadable);
		omb_error_hint(err, "\"omsupply_backup list --marks\" shows them "
							"all.");
	}
	else if (err->status == OMB_OK && state.found > 1)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "%" PRIu64 " marks have the name \"%s\"",
							 state.found, name);
		omb_error_detail(err, "Their ids are %s%s.", omb_buf_text(&state.ids),
						 state.found > IDS_SHOWN ? ", and others" : "");
		omb_error_hint(err, "Give the id instead of the name; "
							"\"omsupply_backup list --marks\" shows them "
							"all.");
	}
	omb_buf_free(&state.ids);
	return err->status;
}
