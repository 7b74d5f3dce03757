/*
 * fields.h: named text values, the one notation for everything small.
 *
 * Two forms with the same escapes:
 *   line   "verb name=value name=value\n"   server <-> agent, over pipes
 *   text   "name=value\nname=value\n"       small objects of the repository
 * In a value the bytes 0x01..0x20, 0x7f, '%' and '=' are written %XX (two
 * upper-case hex digits); NUL cannot occur. Names and verbs are made of
 * a-z, 0-9, '_' and '-'. A name may repeat (a list).
 *
 * Used on both sides of the pipe: no memory is allocated here and nothing of
 * PostgreSQL is needed.
 */
#ifndef OMB_BASE_FIELDS_H
#define OMB_BASE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMB_FIELDS_MAX 96

/* No line of the protocol is longer, both sides refuse one that is. */
#define OMB_LINE_MAX (1024 * 1024)

typedef struct omb_field
{
	const char *name;
	const char *value;
} omb_field;

typedef struct omb_fields
{
	const char *verb; /* "" in the text form */
	int count;
	omb_field item[OMB_FIELDS_MAX];
} omb_fields;

/*
 * Parse len bytes in place: text is cut into names and values, which then
 * belong to it; text[len] must be writable. False when the bytes do not have
 * the form above or have more than OMB_FIELDS_MAX fields.
 */
extern bool omb_fields_parse_line(char *text, size_t len, omb_fields *out);
extern bool omb_fields_parse_text(char *text, size_t len, omb_fields *out);

/* The first value of that name, or NULL. */
extern const char *omb_fields_get(const omb_fields *fields, const char *name);
/* The value as a number; false when absent or not a number that fits. */
extern bool omb_fields_get_u64(const omb_fields *fields, const char *name,
							   uint64_t *value);
extern bool omb_fields_get_u32(const omb_fields *fields, const char *name,
							   uint32_t *value);
extern bool omb_fields_get_i64(const omb_fields *fields, const char *name,
							   int64_t *value);

/* Bytes that a value needs when escaped, without a terminator. */
extern size_t omb_fields_escaped_size(const char *value);
/* Write the escaped value and a terminator; returns the end. */
extern char *omb_fields_escape(const char *value, char *out);

#endif
