/*
 * xmlread.h: reading XML from servers. Pure.
 */
#ifndef OMB_STORE_XMLREAD_H
#define OMB_STORE_XMLREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Told at the end of each element, its path of names without prefixes
 * ("Error/Code") and the text directly in it. False ends the reading.
 */
typedef bool (*omb_xml_element)(const char *path, const char *text, void *arg);

/* False when it is no whole document, or somebody ended it. */
extern bool omb_xml_read(const void *data, size_t len, omb_xml_element end,
						 void *arg);

/* ---- the same by a table ---- */

typedef enum omb_xml_kind
{
	OMB_XML_SEEN,  /* bool: there is such an element */
	OMB_XML_IS,	   /* bool: its text is the word */
	OMB_XML_TEXT,  /* char *, in new memory; one before is freed */
	OMB_XML_SHORT, /* char[], cut */
	OMB_XML_U64,   /* uint64_t; what is none ends the reading */
	OMB_XML_TIME,  /* int64_t, microseconds since 1970; as above */
	OMB_XML_END	   /* a function is called; false ends the reading */
} omb_xml_kind;

/* What to do with the elements of a path, for a structure. */
typedef struct omb_xml_field
{
	const char *path;
	omb_xml_kind kind;
	size_t offset; /* of the member */
	size_t size;
	const char *word;
	bool (*end)(void *out);
} omb_xml_field;

#define OMB_XML_FIELD(path, kind, type, member)                           \
	{                                                                     \
		path, kind, offsetof(type, member), sizeof(((type *) 0)->member), \
			NULL, NULL                                                    \
	}
#define OMB_XML_FIELD_IS(path, word, type, member)              \
	{                                                           \
		path, OMB_XML_IS, offsetof(type, member), 0, word, NULL \
	}
#define OMB_XML_FIELD_END(path, function)       \
	{                                           \
		path, OMB_XML_END, 0, 0, NULL, function \
	}

/*
 * Fill *out by the table; paths that it does not have are ignored. All paths
 * have the same root, and a document with another one is not read. What was
 * filled before it failed is for the caller to free.
 */
extern bool omb_xml_read_fields(const void *data, size_t len,
								const omb_xml_field *field, size_t count,
								void *out);

/* An array of items of one size gets one more, all zeros. */
extern void *omb_xml_add(void **items, size_t *count, size_t *cap,
						 size_t size);

#endif
