/*
 * json.h: writing JSON as a stream.
 *
 * Values are written in order and never kept, so that a list may be as long
 * as it likes. Bytes that are not UTF-8 are written as they are.
 */
#ifndef OMB_BASE_JSON_H
#define OMB_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct omb_json
{
	FILE *out;
	int depth;
	bool first; /* nothing yet at this depth */
} omb_json;

extern void omb_json_begin(omb_json *json, FILE *out);
/* name is NULL inside a list and at the top. */
extern void omb_json_open(omb_json *json, const char *name, char bracket);
extern void omb_json_close(omb_json *json, char bracket);
extern void omb_json_text(omb_json *json, const char *name, const char *value);
/* A value that is JSON already. */
extern void omb_json_raw(omb_json *json, const char *name, const char *value);
extern void omb_json_u64(omb_json *json, const char *name, uint64_t value);
extern void omb_json_bool(omb_json *json, const char *name, bool value);
/* Ends the line. */
extern void omb_json_end(omb_json *json);

#endif
