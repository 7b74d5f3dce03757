/*
 * s3xml.c: uploads in parts, the removal of many objects, and locks.
 */
#include "store/s3/s3xml.h"

#include "store/xmlread.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- multipart uploads ---- */

typedef struct multiparts_reader
{
	omb_s3_multiparts list;
	omb_s3_multipart item; /* being read */
	bool more;
	bool found;
} multiparts_reader;

static bool
end_upload(void *out)
{
	multiparts_reader *r = out;
	omb_s3_multipart *item;

	if (r->item.key == NULL || r->item.id == NULL || r->item.started == 0)
		return false;
	item = omb_xml_add((void **) &r->list.item, &r->list.count, &r->list.cap,
					   sizeof(*item));
	*item = r->item;
	memset(&r->item, 0, sizeof(r->item));
	return true;
}

#define UPLOADS "ListMultipartUploadsResult"

static const omb_xml_field multiparts_fields[] = {
	OMB_XML_FIELD(UPLOADS, OMB_XML_SEEN, multiparts_reader, found),
	OMB_XML_FIELD_IS(UPLOADS "/IsTruncated", "true", multiparts_reader, more),
	OMB_XML_FIELD(UPLOADS "/NextKeyMarker", OMB_XML_TEXT, multiparts_reader,
				  list.next_key),
	OMB_XML_FIELD(UPLOADS "/NextUploadIdMarker", OMB_XML_TEXT,
				  multiparts_reader, list.next_id),
	OMB_XML_FIELD(UPLOADS "/Upload/Key", OMB_XML_TEXT, multiparts_reader,
				  item.key),
	OMB_XML_FIELD(UPLOADS "/Upload/UploadId", OMB_XML_TEXT, multiparts_reader,
				  item.id),
	OMB_XML_FIELD(UPLOADS "/Upload/Initiated", OMB_XML_TIME, multiparts_reader,
				  item.started),
	OMB_XML_FIELD_END(UPLOADS "/Upload", end_upload),
};

bool
omb_s3_parse_multiparts(const void *data, size_t len, omb_s3_multiparts *out)
{
	multiparts_reader r;
	bool good;

	memset(&r, 0, sizeof(r));
	good = omb_xml_read_fields(data, len, multiparts_fields,
							   LENGTH(multiparts_fields), &r) &&
		   r.found &&
		   (!r.more || (r.list.next_key != NULL && r.list.next_id != NULL));
	free(r.item.key);
	free(r.item.id);
	*out = r.list;
	if (!good)
		omb_s3_multiparts_free(out);
	else if (!r.more)
	{
		free(out->next_key);
		free(out->next_id);
		out->next_key = NULL;
		out->next_id = NULL;
	}
	return good;
}

void
omb_s3_multiparts_free(omb_s3_multiparts *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
	{
		free(list->item[i].key);
		free(list->item[i].id);
	}
	free(list->item);
	free(list->next_key);
	free(list->next_id);
	memset(list, 0, sizeof(*list));
}

typedef struct parts_reader
{
	uint64_t size; /* of the part being read */
	int64_t time;
	uint64_t bytes;
	int64_t newest;
	bool found;
} parts_reader;

static bool
end_part(void *out)
{
	parts_reader *r = out;

	r->bytes += r->size;
	if (r->time > r->newest)
		r->newest = r->time;
	r->size = 0;
	r->time = 0;
	return true;
}

#define PARTS "ListPartsResult"

static const omb_xml_field parts_fields[] = {
	OMB_XML_FIELD(PARTS, OMB_XML_SEEN, parts_reader, found),
	OMB_XML_FIELD(PARTS "/Part/Size", OMB_XML_U64, parts_reader, size),
	OMB_XML_FIELD(PARTS "/Part/LastModified", OMB_XML_TIME, parts_reader,
				  time),
	OMB_XML_FIELD_END(PARTS "/Part", end_part),
};

bool
omb_s3_parse_parts(const void *data, size_t len, uint64_t *bytes,
				   int64_t *newest)
{
	parts_reader r;
	bool good;

	memset(&r, 0, sizeof(r));
	good = omb_xml_read_fields(data, len, parts_fields, LENGTH(parts_fields),
							   &r) &&
		   r.found;
	*bytes = r.bytes;
	*newest = r.newest;
	return good;
}

typedef struct upload_reader
{
	char *id;
	bool completed;
} upload_reader;

static const omb_xml_field created_fields[] = {
	OMB_XML_FIELD("InitiateMultipartUploadResult/UploadId", OMB_XML_TEXT,
				  upload_reader, id),
};

bool
omb_s3_parse_upload_id(const void *data, size_t len, char **id)
{
	upload_reader r = { NULL, false };

	*id = NULL;
	if (omb_xml_read_fields(data, len, created_fields, LENGTH(created_fields),
							&r) &&
		r.id != NULL && r.id[0] != '\0')
	{
		*id = r.id;
		return true;
	}
	free(r.id);
	return false;
}

static const omb_xml_field completed_fields[] = {
	OMB_XML_FIELD("CompleteMultipartUploadResult", OMB_XML_SEEN, upload_reader,
				  completed),
};

bool
omb_s3_parse_completed(const void *data, size_t len)
{
	upload_reader r = { NULL, false };

	return omb_xml_read_fields(data, len, completed_fields,
							   LENGTH(completed_fields), &r) &&
		   r.completed;
}

/* ---- DeleteObjects ---- */

typedef struct fates_reader
{
	omb_s3_fates fates;
	char *key; /* being read */
	bool found;
} fates_reader;

static bool
add_fate(fates_reader *r, bool is_deleted)
{
	omb_s3_fate *fate;

	if (r->key == NULL)
		return false;
	fate = omb_xml_add((void **) &r->fates.item, &r->fates.count,
					   &r->fates.cap, sizeof(*fate));
	fate->key = r->key;
	fate->is_deleted = is_deleted;
	r->key = NULL;
	return true;
}

static bool
end_deleted(void *out)
{
	return add_fate(out, true);
}

static bool
end_refused(void *out)
{
	return add_fate(out, false);
}

static const omb_xml_field fates_fields[] = {
	OMB_XML_FIELD("DeleteResult", OMB_XML_SEEN, fates_reader, found),
	OMB_XML_FIELD("DeleteResult/Deleted/Key", OMB_XML_TEXT, fates_reader, key),
	OMB_XML_FIELD_END("DeleteResult/Deleted", end_deleted),
	OMB_XML_FIELD("DeleteResult/Error/Key", OMB_XML_TEXT, fates_reader, key),
	OMB_XML_FIELD_END("DeleteResult/Error", end_refused),
};

bool
omb_s3_parse_deleted(const void *data, size_t len, omb_s3_fates *out)
{
	fates_reader r;
	bool good;

	memset(&r, 0, sizeof(r));
	good = omb_xml_read_fields(data, len, fates_fields, LENGTH(fates_fields),
							   &r) &&
		   r.found;
	free(r.key);
	*out = r.fates;
	if (!good)
		omb_s3_fates_free(out);
	return good;
}

void
omb_s3_fates_free(omb_s3_fates *fates)
{
	size_t i;

	for (i = 0; i < fates->count; i++)
		free(fates->item[i].key);
	free(fates->item);
	memset(fates, 0, sizeof(*fates));
}

/* ---- locks ---- */

typedef struct retention_reader
{
	char mode[16];
	int64_t until;
} retention_reader;

static const omb_xml_field retention_fields[] = {
	OMB_XML_FIELD("Retention/Mode", OMB_XML_SHORT, retention_reader, mode),
	OMB_XML_FIELD("Retention/RetainUntilDate", OMB_XML_TIME, retention_reader,
				  until),
};

bool
omb_s3_parse_retention(const void *data, size_t len, bool *compliance,
					   int64_t *until)
{
	retention_reader r;
	bool good;

	memset(&r, 0, sizeof(r));
	good = omb_xml_read_fields(data, len, retention_fields,
							   LENGTH(retention_fields), &r) &&
		   r.until != 0;
	*compliance = strcmp(r.mode, "COMPLIANCE") == 0;
	*until = r.until;
	return good && (*compliance || strcmp(r.mode, "GOVERNANCE") == 0);
}

typedef struct state_reader
{
	bool found;
	bool enabled;
} state_reader;

static const omb_xml_field versioning_fields[] = {
	OMB_XML_FIELD("VersioningConfiguration", OMB_XML_SEEN, state_reader,
				  found),
	OMB_XML_FIELD_IS("VersioningConfiguration/Status", "Enabled", state_reader,
					 enabled),
};

static const omb_xml_field lock_fields[] = {
	OMB_XML_FIELD("ObjectLockConfiguration", OMB_XML_SEEN, state_reader,
				  found),
	OMB_XML_FIELD_IS("ObjectLockConfiguration/ObjectLockEnabled", "Enabled",
					 state_reader, enabled),
};

static bool
parse_state(const void *data, size_t len, const omb_xml_field *field,
			size_t count, bool *enabled)
{
	state_reader r = { false, false };
	bool good = omb_xml_read_fields(data, len, field, count, &r) && r.found;

	*enabled = good && r.enabled;
	return good;
}

bool
omb_s3_parse_versioning(const void *data, size_t len, bool *enabled)
{
	return parse_state(data, len, versioning_fields, LENGTH(versioning_fields),
					   enabled);
}

bool
omb_s3_parse_lock_config(const void *data, size_t len, bool *enabled)
{
	return parse_state(data, len, lock_fields, LENGTH(lock_fields), enabled);
}
