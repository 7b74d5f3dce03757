/*
 * azurexml.c: listings of Azure.
 */
#include "store/azure/azurexml.h"

#include "store/xmlread.h"

#include <stdlib.h>
#include <string.h>

typedef struct blobs_reader
{
	omb_cloud_page page;
	omb_cloud_item item; /* being read */
	char *token;
	bool is_directory; /* of an account with a tree of names */
	bool found;
} blobs_reader;

static bool
end_blob(void *out)
{
	blobs_reader *r = out;

	if (r->is_directory && r->item.key != NULL)
	{
		free(r->item.key);
		memset(&r->item, 0, sizeof(r->item));
		r->is_directory = false;
		return true;
	}
	return omb_cloud_page_add(&r->page, &r->item, false);
}

static bool
end_prefix(void *out)
{
	blobs_reader *r = out;

	return omb_cloud_page_add(&r->page, &r->item, true);
}

#define BLOBS "EnumerationResults"
#define BLOB BLOBS "/Blobs/Blob"
#define PREFIX BLOBS "/Blobs/BlobPrefix"

static const omb_xml_field blobs_fields[] = {
	OMB_XML_FIELD(BLOBS, OMB_XML_SEEN, blobs_reader, found),
	OMB_XML_FIELD(BLOBS "/NextMarker", OMB_XML_TEXT, blobs_reader, token),
	OMB_XML_FIELD(BLOB "/Name", OMB_XML_TEXT, blobs_reader, item.key),
	OMB_XML_FIELD(BLOB "/Properties/Content-Length", OMB_XML_U64, blobs_reader,
				  item.size),
	OMB_XML_FIELD_IS(BLOB "/Properties/ResourceType", "directory",
					 blobs_reader, is_directory),
	OMB_XML_FIELD_END(BLOB, end_blob),
	OMB_XML_FIELD(PREFIX "/Name", OMB_XML_TEXT, blobs_reader, item.key),
	OMB_XML_FIELD_END(PREFIX, end_prefix),
};

bool
omb_azure_parse_blobs(const void *data, size_t len, omb_cloud_page *page)
{
	blobs_reader r;
	bool good;

	memset(&r, 0, sizeof(r));
	good = omb_xml_read_fields(data, len, blobs_fields,
							   sizeof(blobs_fields) / sizeof(blobs_fields[0]),
							   &r) &&
		   r.found;
	free(r.item.key);
	if (good && r.token != NULL && r.token[0] != '\0')
		r.page.token = r.token;
	else
		free(r.token);
	if (!good)
		omb_cloud_page_free(&r.page);
	*page = r.page;
	return good;
}
