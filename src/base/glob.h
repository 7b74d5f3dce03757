/*
 * glob.h: shell patterns for paths.
 *
 *   *       any bytes but '/'
 *   ?       one byte but '/'
 *   [a-z]   one byte of these, [!a-z] one byte that is none of these nor '/'
 *   **      any bytes
 *   ** /    (without the space) any number of directories, also none
 *   \x      the byte x
 */
#ifndef OMB_BASE_GLOB_H
#define OMB_BASE_GLOB_H

#include <stdbool.h>

/* Longest pattern. */
#define OMB_GLOB_MAX 255

/* Is it a pattern at all? */
extern bool omb_glob_valid(const char *pattern);

/*
 * Does the whole path fit? The time is that of the length of one times that
 * of the other, whatever the pattern. False for what is no pattern.
 */
extern bool omb_glob_match(const char *pattern, const char *path);

#endif
