/*
 * confirmed.c: did somebody prove to have the recovery code?
 */
#include "repo/confirmed.h"

#include "base/text.h"
#include "repo/stream.h"

#include <inttypes.h>

#define NAME "marks/recovery-code-confirmed"

omb_status
omb_confirmed_read(omb_repository *repo, bool *confirmed, omb_error *err)
{
	omb_object *object = NULL;

	*confirmed = omb_store_open(repo->store, NAME, &object, err) == OMB_OK;
	if (*confirmed)
		omb_object_close(object);
	else if (err->status == OMB_NOT_FOUND)
		omb_error_clear(err);
	return err->status;
}

omb_status
omb_confirmed_put(const char *location, const char *code, omb_error *err)
{
	omb_repository *repo = NULL;
	omb_buf content = OMB_BUF_INIT;
	bool confirmed = false;

	if (omb_repository_open_at(location, NULL, code, &repo, err) != OMB_OK)
		return err->status;
	if (!repo->encrypted)
		(void) omb_error_set(err, OMB_REFUSED,
							 "repository \"%s\" is not encrypted and has no "
							 "recovery code",
							 repo->store->location);
	else if (omb_confirmed_read(repo, &confirmed, err) == OMB_OK && !confirmed)
	{
		omb_buf_printf(&content, "confirmed_at=%" PRId64 "\n", omb_time_now());
		if (omb_stream_put(repo, OMB_KIND_MARK, NAME, content.data,
						   content.len, err) == OMB_EXISTS)
			omb_error_clear(err);
	}
	omb_buf_free(&content);
	omb_repository_free(repo);
	return err->status;
}
