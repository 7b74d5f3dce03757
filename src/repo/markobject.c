/*
 * markobject.c: small texts under marks/.
 */
#include "repo/markobject.h"

#include "repo/stream.h"

omb_status
omb_mark_object_put(omb_repository *repo, const char *name,
					const omb_buf *content, omb_error *err)
{
	if (omb_stream_put(repo, OMB_KIND_MARK, name, content->data, content->len,
					   err) == OMB_EXISTS)
	{
		omb_error_clear(err);
		(void) omb_store_confirm(repo->store, name, err);
	}
	return err->status;
}

omb_status
omb_mark_object_get(omb_repository *repo, const char *name, size_t max,
					omb_buf *content, omb_fields *fields,
					omb_mark_found *found, omb_error *err)
{
	*found = OMB_MARK_UNREADABLE;
	switch (omb_stream_get(repo, OMB_KIND_MARK, name, max, content, err))
	{
		case OMB_OK:
			if (omb_fields_parse_text(omb_buf_text(content), content->len,
									  fields))
				*found = OMB_MARK_FOUND;
			break;
		case OMB_NOT_FOUND:
			*found = OMB_MARK_ABSENT;
			omb_error_clear(err);
			break;
		case OMB_DAMAGED:
		case OMB_UNSUPPORTED:
			omb_error_clear(err);
			break;
		default:
			break;
	}
	return err->status;
}
