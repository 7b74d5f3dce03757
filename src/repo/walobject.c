/*
 * walobject.c: names, facts and reading of archived WAL files.
 */
#include "repo/walobject.h"

#include "base/fields.h"
#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/backupinfo.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct omb_wal_reader
{
	omb_stream_reader *stream;
	omb_wal_object object;
	omb_wal_facts facts;
	omb_repository *repo;
	omb_ghash *hash; /* NULL after the end */
	uint64_t done;
	bool at_end;
};

char *
omb_wal_folder(const char *file)
{
	omb_wal_name name;

	if (strlen(file) > OMB_WAL_FILE_MAX)
		return NULL;
	switch (omb_wal_name_parse(file, &name))
	{
		case OMB_WAL_SEGMENT:
		case OMB_WAL_PARTIAL:
		case OMB_WAL_BACKUP_HISTORY:
			return omb_format(OMB_WAL_FOLDER "/%08X/%08X%08X", name.timeline,
							  name.timeline, name.log);
		case OMB_WAL_HISTORY:
			return omb_format(OMB_WAL_FOLDER "/%08X", name.timeline);
		case OMB_WAL_OTHER:
			break;
	}
	return NULL;
}

char *
omb_wal_object_name(const omb_wal_object *object)
{
	char *folder = omb_wal_folder(object->file);
	char *name = omb_format("%s/%s-%s", folder ? folder : OMB_WAL_FOLDER,
							object->file, object->id);

	free(folder);
	return name;
}

bool
omb_wal_object_parse(const char *name, omb_wal_object *out)
{
	const char *file = strrchr(name, '/');
	const char *dash = strrchr(name, '-');
	uint8_t id[(OMB_WAL_ID_TEXT - 1) / 2];
	char *again;
	bool good;

	if (file == NULL || dash == NULL || dash < file ||
		(size_t) (dash - file - 1) > OMB_WAL_FILE_MAX ||
		!omb_hex_parse(dash + 1, id, sizeof(id)))
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(out->file, file + 1, (size_t) (dash - file - 1));
	memcpy(out->id, dash + 1, OMB_WAL_ID_TEXT - 1);
	again = omb_wal_object_name(out);
	good = strcmp(again, name) == 0;
	free(again);
	return good;
}

omb_ghash *
omb_wal_id_begin(const omb_repository *repo)
{
	uint8_t key[OMB_KEY_SIZE];
	omb_ghash *hash;

	omb_keyring_derive(&repo->keyring, "omsupply_backup wal id", key);
	hash = omb_ghash_new(key);
	omb_wipe(key, sizeof(key));
	return hash;
}

void
omb_wal_id_final(const omb_repository *repo, omb_ghash *hash,
				 char out[OMB_WAL_ID_TEXT])
{
	uint8_t key[OMB_KEY_SIZE];
	uint8_t universal[OMB_GHASH_SIZE];
	uint8_t digest[OMB_SHA256_SIZE];
	omb_hash *hmac = omb_hash_new();

	omb_ghash_final(hash, universal);
	omb_ghash_free(hash);
	omb_keyring_derive(&repo->keyring, "omsupply_backup wal id, second", key);
	omb_hash_begin(hmac, key, sizeof(key));
	omb_hash_update(hmac, universal, sizeof(universal));
	omb_hash_final(hmac, digest);
	omb_hash_free(hmac);
	omb_wipe(key, sizeof(key));
	(void) omb_hex_format(digest, (OMB_WAL_ID_TEXT - 1) / 2, out);
}

static omb_status
add_to_list(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_wal_list *list = arg;
	omb_wal_object object;

	if (entry->is_folder || !omb_wal_object_parse(entry->name, &object))
		return OMB_OK;
	list->item =
		omb_realloc(list->item, (list->count + 1) * sizeof(*list->item));
	list->item[list->count].object = object;
	list->item[list->count].size = entry->size;
	list->count++;
	return OMB_OK;
}

omb_status
omb_wal_list_read(omb_store *store, const char *file, omb_wal_list *list,
				  omb_error *err)
{
	omb_wal_list_clear(list);
	list->folder = omb_wal_folder(file);
	if (list->folder == NULL)
		return omb_error_set(err, OMB_USAGE,
							 "\"%s\" is not the name of a WAL file", file);
	if (omb_store_list(store, list->folder, false, add_to_list, list, err) !=
		OMB_OK)
		omb_wal_list_clear(list);
	return err->status;
}

omb_status
omb_wal_list_find(const omb_wal_list *list, const char *file,
				  omb_wal_listed *out, omb_error *err)
{
	bool found = false;
	size_t i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < list->count; i++)
	{
		if (strcmp(list->item[i].object.file, file) != 0)
			continue;
		if (found)
		{
			(void) omb_error_set(err, OMB_EXISTS,
								 "the repository has two different copies of "
								 "WAL file \"%s\"",
								 file);
			omb_error_detail(err, "Their ids are %s and %s.", out->object.id,
							 list->item[i].object.id);
			return err->status;
		}
		found = true;
		*out = list->item[i];
	}
	if (!found)
		(void) omb_error_set(err, OMB_NOT_FOUND,
							 "WAL file \"%s\" is not in the repository", file);
	return err->status;
}

void
omb_wal_list_clear(omb_wal_list *list)
{
	free(list->folder);
	free(list->item);
	memset(list, 0, sizeof(*list));
}

void
omb_wal_expect(omb_repository *repo, const omb_wal_listed *object,
			   uint64_t len)
{
	char *name = omb_wal_object_name(&object->object);

	omb_store_expect_all(repo->store, name,
						 len < object->size ? len : object->size);
	free(name);
}

omb_status
omb_wal_find(omb_repository *repo, const char *file, omb_wal_object *out,
			 omb_error *err)
{
	return omb_wal_find_in(repo->store, file, out, err);
}

omb_status
omb_wal_find_in(omb_store *store, const char *file, omb_wal_object *out,
				omb_error *err)
{
	omb_wal_list list = { NULL, NULL, 0 };
	omb_wal_listed found;

	memset(out, 0, sizeof(*out));
	if (omb_wal_list_read(store, file, &list, err) == OMB_OK &&
		omb_wal_list_find(&list, file, &found, err) == OMB_OK)
		*out = found.object;
	omb_wal_list_clear(&list);
	return err->status;
}

void
omb_wal_facts_write(const omb_wal_facts *facts, omb_buf *out)
{
	omb_buf text = OMB_BUF_INIT;

	omb_text_put(&text, "file", facts->file);
	omb_buf_printf(&text, "size=%" PRIu64 "\narchived_at=%" PRId64 "\n",
				   facts->size, facts->archived_at);
	omb_buf_put_varint(out, text.len);
	omb_buf_put(out, text.data, text.len);
	omb_buf_free(&text);
}

omb_status
omb_wal_facts_read(const uint8_t *data, size_t len, omb_wal_facts *out,
				   omb_error *err)
{
	omb_cursor cur;
	omb_fields fields;
	const char *file;
	char *text;
	bool good;

	memset(out, 0, sizeof(*out));
	omb_cursor_init(&cur, data, len);
	text = omb_cursor_get_text(&cur, 4096);
	good = text != NULL && omb_cursor_left(&cur) == 0 &&
		   omb_fields_parse_text(text, strlen(text), &fields) &&
		   (file = omb_fields_get(&fields, "file")) != NULL &&
		   strlen(file) <= OMB_WAL_FILE_MAX &&
		   omb_fields_get_u64(&fields, "size", &out->size) &&
		   omb_fields_get_i64(&fields, "archived_at", &out->archived_at);
	if (good)
		memcpy(out->file, file, strlen(file) + 1);
	free(text);
	if (!good)
		return omb_error_set(err, OMB_DAMAGED,
							 "the facts of a WAL file are damaged");
	return OMB_OK;
}

omb_status
omb_wal_open(omb_repository *repo, const omb_wal_object *object,
			 omb_wal_reader **out, omb_error *err)
{
	char *name = omb_wal_object_name(object);
	omb_stream_reader *stream;
	omb_wal_reader *reader;
	const uint8_t *data;
	size_t len;

	*out = NULL;
	(void) omb_stream_open(repo, OMB_KIND_WAL, name, 0, &stream, err);
	free(name);
	if (err->status != OMB_OK)
		return err->status;
	reader = omb_calloc(1, sizeof(*reader));
	reader->stream = stream;
	reader->object = *object;
	reader->repo = repo;
	reader->hash = omb_wal_id_begin(repo);
	if (omb_stream_next(stream, &data, &len, &reader->at_end, err) == OMB_OK)
		(void) omb_wal_facts_read(data, len, &reader->facts, err);
	if (err->status == OMB_OK && strcmp(reader->facts.file, object->file) != 0)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "the object of WAL file \"%s\" holds \"%s\"",
							 object->file, reader->facts.file);
	if (err->status != OMB_OK)
	{
		omb_wal_close(reader);
		return omb_error_context(err, "WAL file \"%s\"", object->file);
	}
	*out = reader;
	return OMB_OK;
}

const omb_wal_facts *
omb_wal_reader_facts(const omb_wal_reader *reader)
{
	return &reader->facts;
}

omb_status
omb_wal_next(omb_wal_reader *reader, const uint8_t **data, size_t *len,
			 omb_error *err)
{
	char id[OMB_WAL_ID_TEXT];

	*len = 0;
	while (!reader->at_end && *len == 0)
	{
		if (omb_stream_next(reader->stream, data, len, &reader->at_end, err) !=
			OMB_OK)
			return omb_error_context(err, "WAL file \"%s\"",
									 reader->object.file);
		omb_ghash_update(reader->hash, *data, *len);
		reader->done += *len;
	}
	if (*len > 0)
		return OMB_OK;
	omb_wal_id_final(reader->repo, reader->hash, id);
	reader->hash = NULL;
	if (reader->done != reader->facts.size ||
		strcmp(id, reader->object.id) != 0)
		return omb_error_set(err, OMB_DAMAGED,
							 "WAL file \"%s\" is not what its name says",
							 reader->object.file);
	return OMB_OK;
}

void
omb_wal_close(omb_wal_reader *reader)
{
	if (reader == NULL)
		return;
	omb_stream_close(reader->stream);
	omb_ghash_free(reader->hash);
	free(reader);
}

omb_status
omb_wal_verify(omb_repository *repo, const omb_wal_object *object,
			   omb_wal_facts *facts, omb_error *err)
{
	omb_wal_reader *reader;
	const uint8_t *data;
	size_t len;

	if (omb_wal_open(repo, object, &reader, err) != OMB_OK)
		return err->status;
	*facts = reader->facts;
	do
	{
		if (omb_wal_next(reader, &data, &len, err) != OMB_OK)
			break;
	} while (len > 0);
	omb_wal_close(reader);
	return err->status;
}

omb_status
omb_wal_get_small(omb_repository *repo, const char *file, size_t max,
				  omb_buf *out, omb_error *err)
{
	omb_wal_object object;
	omb_wal_reader *reader;
	const uint8_t *data;
	size_t len;
	size_t start = out->len;

	if (omb_wal_find(repo, file, &object, err) != OMB_OK ||
		omb_wal_open(repo, &object, &reader, err) != OMB_OK)
		return err->status;
	while (omb_wal_next(reader, &data, &len, err) == OMB_OK && len > 0)
	{
		if (out->len - start + len > max)
		{
			(void) omb_error_set(err, OMB_DAMAGED,
								 "WAL file \"%s\" is larger than %zu bytes",
								 file, max);
			break;
		}
		omb_buf_put(out, data, len);
	}
	omb_wal_close(reader);
	return err->status;
}
