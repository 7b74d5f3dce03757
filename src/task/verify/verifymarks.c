/*
 * verifymarks.c: checking marks: what a repository knows beside backups and WAL.
 */
#include "task/verify/verifymarks.h"

#include "repo/stream.h"
#include "repo/watermark.h"

#include <string.h>

#define CLAIM_FOLDER "marks/claims/"

/* None is written that is larger. */
#define MARK_MAX (4 * OMB_WATERMARK_VALUE_MAX)

static bool
begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

bool
omb_verify_is_mark(const char *name)
{
	return begins(name, OMB_MARKS_FOLDER "/") && !begins(name, CLAIM_FOLDER);
}

/* Does the text belong to the object of that name? */
static bool
fits(const char *name, char *text, size_t len)
{
	const char *stamp = strrchr(name, '/') + 1;
	omb_fields fields;
	omb_watermark watermark;
	omb_point point;

	if (begins(name, OMB_POINT_FOLDER "/"))
		return omb_fields_parse_text(text, len, &fields) &&
			   omb_point_take(&fields, &point) && strcmp(point.id, stamp) == 0;
	if (begins(name, OMB_WATERMARK_FOLDER "/"))
		return omb_fields_parse_text(text, len, &fields) &&
			   omb_watermark_take(&fields, &watermark) &&
			   strcmp(watermark.stamp, stamp) == 0;
	return true;
}

omb_status
omb_verify_mark(omb_repository *repo, const char *name, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;

	if (omb_stream_get(repo, OMB_KIND_MARK, name, MARK_MAX, &content, err) ==
			OMB_OK &&
		!fits(name, omb_buf_text(&content), content.len))
		(void) omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" does not say what its name says",
							 name);
	omb_buf_free(&content);
	return err->status;
}
