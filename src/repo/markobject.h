/*
 * markobject.h: an object under marks/ that is text in the notation of
 * base/fields.h, in a sealed stream.
 */
#ifndef OMB_REPO_MARKOBJECT_H
#define OMB_REPO_MARKOBJECT_H

#include "base/fields.h"
#include "repo/repository.h"

/*
 * Store one whose name is random: one that is there already is the same, from
 * before a crash, and fine.
 */
extern omb_status omb_mark_object_put(omb_repository *repo, const char *name,
									  const omb_buf *content, omb_error *err);

typedef enum omb_mark_found
{
	OMB_MARK_ABSENT,
	OMB_MARK_UNREADABLE, /* damaged, of another version, or no such text */
	OMB_MARK_FOUND
} omb_mark_found;

/*
 * Read one of at most max bytes. Its fields share the text in content, which
 * must be empty. One that cannot be understood is no failure: one bad mark must
 * not hide the others.
 */
extern omb_status omb_mark_object_get(omb_repository *repo, const char *name,
									  size_t max, omb_buf *content,
									  omb_fields *fields,
									  omb_mark_found *found, omb_error *err);

#endif
