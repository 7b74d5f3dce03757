/*
 * jsonread.c: members of a JSON object, over jansson, which no other file
 * knows.
 */
#include "store/jsonread.h"

#include "base/buffer.h"

#include <jansson.h>

/* The member of an object, which the caller lets go. */
static json_t *
read_object(const void *data, size_t len)
{
	return data != NULL ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL) :
						  NULL;
}

char *
omb_json_get_text(const void *data, size_t len, const char *name)
{
	json_t *object = read_object(data, len);
	const char *text = json_string_value(json_object_get(object, name));
	char *copy = text != NULL ? omb_strdup(text) : NULL;

	json_decref(object);
	return copy;
}

bool
omb_json_get_number(const void *data, size_t len, const char *name,
					int64_t *value)
{
	json_t *object = read_object(data, len);
	json_t *member = json_object_get(object, name);
	bool found = json_is_integer(member);

	if (found)
		*value = json_integer_value(member);
	json_decref(object);
	return found;
}
