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

#define OMB_LOCATION_MAX 1000

/*
 * False, with *reason in words, when the URL must not be used. For file:// the
 * directory is written to directory, else the empty text.
 */
extern bool omb_location_check(const char *url, char *directory, size_t size,
							   const char **reason);

#endif
