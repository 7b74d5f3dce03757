/*
 * webdavxml.c: what a WebDAV server answers to PROPFIND.
 *
 * Servers write addresses in different ways: with or without the server, with
 * or without "/" at the end of a folder, more or less of it encoded, and behind
 * a proxy with another beginning. So paths are decoded and compared with each
 * other: the shortest is what was asked about, and all others are one level
 * below it. Where that is not so the answer is refused: something that is left
 * out would be taken for absent.
 */
#include "store/webdav/webdavxml.h"

#include "base/buffer.h"
#include "base/percent.h"
#include "base/text.h"
#include "store/xmlread.h"

#include <stdlib.h>
#include <string.h>

#define RESPONSE "multistatus/response"
#define PROPSTAT RESPONSE "/propstat"
#define PROP PROPSTAT "/prop/"

typedef struct reader
{
	omb_dav_list *list;
	omb_dav_item item; /* of this response */
	omb_dav_item prop; /* of this propstat */
	bool prop_good;
	bool item_good; /* no status of its own that says otherwise */
	bool found;
} reader;

/* The path of an address, decoded; NULL when it makes no sense. */
static char *
decode_href(const char *text)
{
	const char *host = strstr(text, "://");
	char *path, *out;
	size_t len;

	/* white space around it is the writer's layout */
	while (*text != '\0' && strchr(" \t\r\n", *text) != NULL)
		text++;
	if (host != NULL && strcspn(text, "/") > (size_t) (host - text))
		text = host + 3 + strcspn(host + 3, "/");
	if (*text != '/' && *text != '\0')
		return NULL;
	len = strcspn(text, " \t\r\n");
	path = omb_malloc(len + 1);
	if (!omb_percent_decode(text, len, path, len + 1))
	{
		free(path);
		return NULL;
	}
	out = path + strlen(path);
	while (out > path && out[-1] == '/')
		out--;
	*out = '\0';
	return path;
}

static void
keep(char *out, size_t size, const char *text)
{
	if (strlen(text) < size)
		memcpy(out, text, strlen(text) + 1);
}

/* "HTTP/1.1 200 OK" */
static bool
is_success(const char *status)
{
	const char *code = strchr(status, ' ');

	return code != NULL && code[1] == '2';
}

static void
add_item(reader *r)
{
	omb_dav_list *list = r->list;

	if (list->count == list->cap)
	{
		list->cap = list->cap ? 2 * list->cap : 64;
		list->item = omb_realloc(list->item, list->cap * sizeof(*list->item));
	}
	list->item[list->count++] = r->item;
}

static bool
end_prop(reader *r, const char *name, const char *text)
{
	if (strcmp(name, "resourcetype/collection") == 0)
		r->prop.is_folder = true;
	else if (strcmp(name, "getcontentlength") == 0 && *text != '\0')
	{
		r->prop.has_size = true;
		return omb_u64_parse(text, &r->prop.size);
	}
	else if (strcmp(name, "getetag") == 0 && text[0] == '"')
		keep(r->prop.etag, sizeof(r->prop.etag), text);
	else if (strcmp(name, "getlastmodified") == 0)
		keep(r->prop.changed, sizeof(r->prop.changed), text);
	return true;
}

static bool
end_response(reader *r)
{
	if (r->item.path == NULL)
		return false;
	if (r->item_good)
		add_item(r);
	else
		free(r->item.path);
	memset(&r->item, 0, sizeof(r->item));
	r->item_good = true;
	return true;
}

static bool
on_element(const char *path, const char *text, void *arg)
{
	reader *r = arg;

	if (strncmp(path, "multistatus", 11) != 0)
		return false;
	if (strcmp(path, "multistatus") == 0)
		r->found = true;
	else if (strcmp(path, RESPONSE "/href") == 0)
	{
		if (r->item.path != NULL)
			return false;
		r->item.path = decode_href(text);
		return r->item.path != NULL;
	}
	else if (strcmp(path, RESPONSE "/status") == 0)
		r->item_good = is_success(text);
	else if (strncmp(path, PROP, sizeof(PROP) - 1) == 0)
		return end_prop(r, path + sizeof(PROP) - 1, text);
	else if (strcmp(path, PROPSTAT "/status") == 0)
		r->prop_good = is_success(text);
	else if (strcmp(path, PROPSTAT) == 0)
	{
		/* in another one is what the resource does not have */
		if (r->prop_good)
		{
			r->prop.path = r->item.path;
			r->item = r->prop;
		}
		memset(&r->prop, 0, sizeof(r->prop));
		r->prop_good = false;
	}
	else if (strcmp(path, RESPONSE) == 0)
		return end_response(r);
	return true;
}

const char *
omb_dav_name(const omb_dav_item *item)
{
	const char *slash = strrchr(item->path, '/');

	return slash != NULL ? slash + 1 : item->path;
}

/* Bring what was asked about to the front; do the others lie in it? */
static bool
is_consistent(omb_dav_list *list, const char *name)
{
	size_t shortest = 0;
	omb_dav_item own;
	size_t len, i;

	for (i = 1; i < list->count; i++)
		if (strlen(list->item[i].path) < strlen(list->item[shortest].path))
			shortest = i;
	own = list->item[shortest];
	list->item[shortest] = list->item[0];
	list->item[0] = own;
	len = strlen(own.path);
	if (*name != '\0' && strcmp(omb_dav_name(&own), name) != 0)
		return false;
	for (i = 1; i < list->count; i++)
	{
		const char *path = list->item[i].path;

		if (strncmp(path, own.path, len) != 0 || path[len] != '/' ||
			path[len + 1] == '\0' || strchr(path + len + 1, '/') != NULL)
			return false;
	}
	return true;
}

bool
omb_dav_parse(const void *data, size_t len, const char *name,
			  omb_dav_list *list)
{
	reader r = { .list = list, .item_good = true };
	bool good;

	memset(list, 0, sizeof(*list));
	good = omb_xml_read(data, len, on_element, &r) && r.found &&
		   list->count > 0 && is_consistent(list, name);
	free(r.item.path);
	if (!good)
		omb_dav_list_free(list);
	return good;
}

void
omb_dav_list_free(omb_dav_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		free(list->item[i].path);
	free(list->item);
	memset(list, 0, sizeof(*list));
}
