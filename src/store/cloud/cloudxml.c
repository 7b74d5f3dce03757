/*
 * cloudxml.c: errors, and listings of S3 and of Google.
 */
#include "store/cloud/cloudxml.h"

#include "base/percent.h"
#include "store/xmlread.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

typedef struct error_reader
{
	omb_cloud_error error;
	bool found;
} error_reader;

static const omb_xml_field error_fields[] = {
	OMB_XML_FIELD("Error", OMB_XML_SEEN, error_reader, found),
	OMB_XML_FIELD("Error/Code", OMB_XML_SHORT, error_reader, error.code),
	OMB_XML_FIELD("Error/Message", OMB_XML_SHORT, error_reader, error.message),
	OMB_XML_FIELD("Error/Region", OMB_XML_SHORT, error_reader, error.region),
};

bool
omb_cloud_parse_error(const void *data, size_t len, omb_cloud_error *error)
{
	error_reader r;
	bool good;

	memset(&r, 0, sizeof(r));
	good = omb_xml_read_fields(data, len, error_fields, LENGTH(error_fields),
							   &r) &&
		   r.found;
	*error = r.error;
	return good;
}

/* ---- ListObjectsV2 ---- */

typedef struct page_reader
{
	omb_cloud_page page;
	omb_cloud_item item; /* being read */
	char *token;
	bool encoded;
	bool more;
	bool found;
} page_reader;

/* In place; false when it is not encoded rightly. */
static bool
url_decode(char *text)
{
	size_t len = strlen(text);
	char *plus;

	for (plus = text; (plus = strchr(plus, '+')) != NULL;)
		*plus = ' ';
	return omb_percent_decode(text, len, text, len + 1);
}

bool
omb_cloud_page_add(omb_cloud_page *page, omb_cloud_item *item, bool is_folder)
{
	omb_cloud_item *added;

	if (item->key == NULL)
		return false;
	added = omb_xml_add((void **) &page->item, &page->count, &page->cap,
						sizeof(*added));
	*added = *item;
	added->is_folder = is_folder;
	memset(item, 0, sizeof(*item));
	return true;
}

static bool
end_object(void *out)
{
	page_reader *r = out;

	return omb_cloud_page_add(&r->page, &r->item, false);
}

static bool
end_folder(void *out)
{
	page_reader *r = out;

	return omb_cloud_page_add(&r->page, &r->item, true);
}

#define PAGE "ListBucketResult"

static const omb_xml_field page_fields[] = {
	OMB_XML_FIELD(PAGE, OMB_XML_SEEN, page_reader, found),
	OMB_XML_FIELD_IS(PAGE "/IsTruncated", "true", page_reader, more),
	OMB_XML_FIELD(PAGE "/NextContinuationToken", OMB_XML_TEXT, page_reader,
				  token),
	OMB_XML_FIELD_IS(PAGE "/EncodingType", "url", page_reader, encoded),
	OMB_XML_FIELD(PAGE "/Contents/Key", OMB_XML_TEXT, page_reader, item.key),
	OMB_XML_FIELD(PAGE "/Contents/Size", OMB_XML_U64, page_reader, item.size),
	OMB_XML_FIELD_END(PAGE "/Contents", end_object),
	OMB_XML_FIELD(PAGE "/CommonPrefixes/Prefix", OMB_XML_TEXT, page_reader,
				  item.key),
	OMB_XML_FIELD_END(PAGE "/CommonPrefixes", end_folder),
};

bool
omb_cloud_parse_page(const void *data, size_t len, omb_cloud_page *page)
{
	page_reader r;
	bool good;
	size_t i;

	memset(&r, 0, sizeof(r));
	good =
		omb_xml_read_fields(data, len, page_fields, LENGTH(page_fields), &r) &&
		r.found && (!r.more || (r.token != NULL && r.token[0] != '\0'));
	for (i = 0; good && r.encoded && i < r.page.count; i++)
		good = url_decode(r.page.item[i].key);
	free(r.item.key);
	if (good && r.more)
		r.page.token = r.token;
	else
		free(r.token);
	if (!good)
		omb_cloud_page_free(&r.page);
	*page = r.page;
	return good;
}

void
omb_cloud_page_free(omb_cloud_page *page)
{
	size_t i;

	for (i = 0; i < page->count; i++)
		free(page->item[i].key);
	free(page->item);
	free(page->token);
	memset(page, 0, sizeof(*page));
}
