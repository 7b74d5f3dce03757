/*
 * watermark.h: small values of a database, measured now and then, that are
 * worth knowing after it was lost.
 *
 * A value is the object marks/watermarks/<name>/<stamp>, a sealed stream of
 * kind 'K' with text: name, stamp, time (microseconds since 1970), lsn,
 * timeline, database, value (JSON). The stamp is as in repo/point.h. A name is made of
 * a-z, 0-9, '_' and '-'.
 *
 * They are thinned out by omb_watermark_expire(): counted back from the newest
 * value of the name, all of a day are kept, the last of each hour of a month,
 * and the last of each day of two years. Names with "journal" in them are of
 * parts, of which each counts: those are kept for a month, then all go.
 */
#ifndef OMB_REPO_WATERMARK_H
#define OMB_REPO_WATERMARK_H

#include "repo/point.h"

#define OMB_WATERMARK_FOLDER "marks/watermarks"
#define OMB_WATERMARK_NAME_MAX 60
#define OMB_WATERMARK_VALUE_MAX (256 * 1024)

typedef struct omb_watermark
{
	char stamp[OMB_STAMP_TEXT];
	const char *name;
	const char *database; /* "" when not known */
	const char *value;
	int64_t time;
	uint64_t lsn;
	uint32_t timeline;
} omb_watermark;

/* As omb_point_take(). */
extern bool omb_watermark_take(const omb_fields *fields, omb_watermark *mark);
/*
 * Those with "secret" in their name are shown to nobody; who may read the
 * repository can restore the database that they are from.
 */
extern bool omb_watermark_is_secret(const omb_watermark *mark);
/* Store one; one of the same stamp that is there already is fine. */
extern omb_status omb_watermark_put(omb_repository *repo,
									const omb_watermark *mark, omb_error *err);

/*
 * Visit those of a name (NULL: of all names) with from <= time < to, by name
 * and then oldest first. Those that cannot be read are left out.
 */
typedef omb_status (*omb_watermark_visit)(const omb_watermark *mark, void *arg,
										  omb_error *err);
extern omb_status omb_watermark_list(omb_repository *repo, const char *name,
									 int64_t from, int64_t to,
									 omb_watermark_visit visit, void *arg,
									 omb_error *err);

/*
 * The database of the newest value of that name, in new memory; NULL when
 * there is none.
 */
extern omb_status omb_watermark_database(omb_repository *repo,
										 const char *name, char **database,
										 omb_error *err);

/*
 * Tell of each name how many values are kept and dropped (tell may be NULL),
 * and with remove remove those; then the caller holds the store's lock alone.
 */
typedef void (*omb_watermark_tell)(const char *name, uint64_t kept,
								   uint64_t dropped, void *arg);
extern omb_status omb_watermark_expire(omb_repository *repo, bool remove,
									   omb_watermark_tell tell, void *arg,
									   omb_error *err);

#endif
