/*
 * jsonread.h: members of a JSON object, as servers and files of keys have them.
 */
#ifndef OMB_STORE_JSONREAD_H
#define OMB_STORE_JSONREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The text of a member, in new memory; NULL when the bytes are not one whole
 * object, or there is no text of that name in it.
 */
extern char *omb_json_get_text(const void *data, size_t len, const char *name);
/* The same with a whole number. */
extern bool omb_json_get_number(const void *data, size_t len, const char *name,
								int64_t *value);

#endif
