/*
 * point.h: marks: instants with a name that a restore can aim at.
 *
 * In the WAL a mark is a restore point with a name that is its own,
 * "mark <id>". What people call it is in the object marks/points/<id>, a
 * sealed stream of kind 'K' with text: id, name, detail (JSON, or empty), time
 * (microseconds since 1970), lsn (the end of the restore point), timeline. The
 * id, "20261120T231502Z-1a2b3c4d", is the time with its microseconds (5 hex
 * digits) and 3 random hex digits, so that ids sort by time. Names may repeat.
 */
#ifndef OMB_REPO_POINT_H
#define OMB_REPO_POINT_H

#include "base/fields.h"
#include "repo/repository.h"

#define OMB_POINT_FOLDER "marks/points"
#define OMB_STAMP_TEXT 26
#define OMB_POINT_NAME_MAX 255
#define OMB_POINT_DETAIL_MAX 16384
/* "mark " and the id */
#define OMB_POINT_RESTORE_POINT_MAX (5 + OMB_STAMP_TEXT)

typedef struct omb_point
{
	char id[OMB_STAMP_TEXT];
	const char *name;
	const char *detail;
	int64_t time;
	uint64_t lsn;
	uint32_t timeline;
} omb_point;

/* "20261120T231502Z-1a2b3c4d" */
extern bool omb_stamp_valid(const char *text);

/*
 * Take a mark from fields, whose texts it then shares; false when something
 * is missing or makes no sense.
 */
extern bool omb_point_take(const omb_fields *fields, omb_point *point);

/* Store one; one of the same id that is there already is fine. */
extern omb_status omb_point_put(omb_repository *repo, const omb_point *point,
								omb_error *err);

/*
 * Visit all, oldest first; texts are valid during the call. Those that cannot
 * be read are counted, and left out.
 */
typedef void (*omb_point_visit)(const omb_point *point, void *arg);
extern omb_status omb_point_list(omb_repository *repo, omb_point_visit visit,
								 void *arg, uint64_t *unreadable,
								 omb_error *err);

/*
 * The mark of that name or id; name and detail are not filled. OMB_NOT_FOUND,
 * OMB_REFUSED when several have the name.
 */
extern omb_status omb_point_find(omb_repository *repo, const char *name,
								 omb_point *out, omb_error *err);

#endif
