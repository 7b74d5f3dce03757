/*
 * location.h: the form of the URL of a store, as far as it can be judged
 * without the store: is it a URL of a kind that we know, and without secrets?
 *
 * URLs are shown in tables, dumps, logs and lists of processes.
 *
 * Used in the server part, too: no memory is allocated and nothing else of
 * this program is needed.
 */
#ifndef OMB_BASE_LOCATION_H
#define OMB_BASE_LOCATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMB_LOCATION_MAX 1000

/*
 * False, with *reason in words, when the URL must not be used. For file:// the
 * directory is written to directory, else the empty text.
 */
extern bool omb_location_check(const char *url, char *directory, size_t size,
							   const char **reason);

/*
 * The options "object-lock" and "lock-days" of a bucket, NULL where they are
 * not given: for how many days objects are locked, 0 for not at all. False,
 * with *reason in words.
 */
#define OMB_LOCATION_LOCK_DAYS_MIN 2
#define OMB_LOCATION_LOCK_DAYS_MAX 3650
extern bool omb_location_lock(const char *mode, const char *days,
							  bool *compliance, uint32_t *count,
							  const char **reason);

#endif
