/*
 * manifest.c: writing and reading the manifest of a backup.
 *
 * The coding of single entries is in entry.c, the facts of a backup are in
 * backupinfo.c.
 */
#include "repo/manifest.h"

#include "repo/backupinfo.h"
#include "repo/revision.h"

#include <stdlib.h>
#include <string.h>

#define FOOTER_SIZE 16

/* A record grows with a file's extents: this allows files of some 200 GB. */
#define RECORD_MAX (64 * 1024 * 1024)
/* 32,000 packs for each TB; this allows for some 50 TB. */
#define TAIL_MAX (64 * 1024 * 1024)

struct omb_manifest_writer
{
	omb_repository *repo;
	omb_stream_writer *stream;
	omb_extent_state *state;
	omb_buf record;
	omb_buf sized;
	uint64_t entries;
};

struct omb_manifest_reader
{
	omb_stream_reader *stream;
	omb_extent_state *state;
	omb_buf pending; /* plain bytes not yet used begin at used */
	size_t used;
	uint64_t tail_index;  /* number of the tail's first chunk */
	uint64_t chunk_index; /* number of the next chunk */
	uint64_t entries;
	omb_root last_root;
	char *last_path;
};

int
omb_manifest_compare(omb_root root_a, const char *path_a, omb_root root_b,
					 const char *path_b)
{
	const unsigned char *a = (const unsigned char *) path_a;
	const unsigned char *b = (const unsigned char *) path_b;
	int x, y;

	if (root_a != root_b)
		return root_a < root_b ? -1 : 1;
	while (*a != 0 && *a == *b)
	{
		a++;
		b++;
	}
	/* the end of a path before '/', '/' before the rest */
	x = *a == 0 ? -2 : *a == '/' ? -1 : *a;
	y = *b == 0 ? -2 : *b == '/' ? -1 : *b;
	return x < y ? -1 : x > y ? 1 : 0;
}

omb_status
omb_manifest_create(omb_repository *repo, omb_manifest_writer **out,
					omb_error *err)
{
	static const omb_compression compression = { OMB_METHOD_ZSTD, 3 };
	omb_manifest_writer *writer;
	omb_stream_writer *stream;

	*out = NULL;
	if (omb_stream_create(repo, OMB_KIND_MANIFEST, &compression, &stream,
						  err) != OMB_OK)
		return err->status;
	writer = omb_calloc(1, sizeof(*writer));
	writer->repo = repo;
	writer->stream = stream;
	writer->state = omb_extent_state_new();
	*out = writer;
	return OMB_OK;
}

omb_status
omb_manifest_add(omb_manifest_writer *writer, const omb_entry *entry,
				 omb_error *err)
{
	omb_buf_clear(&writer->record);
	omb_buf_clear(&writer->sized);
	omb_entry_encode(entry, writer->state, &writer->record);
	if (writer->record.len > RECORD_MAX)
		return omb_error_set(err, OMB_FAILED,
							 "file \"%s\" is too large for a manifest",
							 entry->path);
	omb_buf_put_varint(&writer->sized, writer->record.len);
	omb_buf_put(&writer->sized, writer->record.data, writer->record.len);
	writer->entries++;
	return omb_stream_write(writer->stream, writer->sized.data,
							writer->sized.len, err);
}

omb_status
omb_manifest_commit(omb_manifest_writer *writer, omb_backup_info *info,
					omb_pack_table *packs, omb_error *err)
{
	return omb_manifest_commit_revision(writer, info, 1, packs, err);
}

omb_status
omb_manifest_commit_revision(omb_manifest_writer *writer,
							 omb_backup_info *info, uint32_t revision,
							 omb_pack_table *packs, omb_error *err)
{
	static const uint8_t end_of_entries;
	omb_buf text = OMB_BUF_INIT;
	omb_buf tail = OMB_BUF_INIT;
	uint8_t footer[FOOTER_SIZE];
	uint64_t offset = 0, index = 0;
	uint32_t count = omb_pack_table_count(packs);
	uint32_t i;
	char *name;
	omb_stream_writer *stream;

	info->entries = writer->entries;
	omb_backup_info_write(info, &text);
	omb_buf_put_varint(&tail, text.len);
	omb_buf_put(&tail, text.data, text.len);
	omb_buf_put_varint(&tail, count);
	for (i = 0; i < count; i++)
	{
		omb_pack_id id = omb_pack_table_get(packs, i);

		omb_buf_put(&tail, id.sha256, sizeof(id.sha256));
		omb_buf_put_varint(&tail, id.size);
	}
	if (omb_stream_write(writer->stream, &end_of_entries, 1, err) == OMB_OK &&
		omb_stream_break(writer->stream, &offset, &index, err) == OMB_OK &&
		omb_stream_write(writer->stream, tail.data, tail.len, err) == OMB_OK)
	{
		omb_set_u64(footer, offset);
		omb_set_u64(footer + 8, index);
		name = omb_revision_name(info->id, revision);
		stream = writer->stream;
		writer->stream = NULL;
		(void) omb_stream_commit(stream, footer, sizeof(footer), name, err);
		free(name);
		omb_revision_memory_clear(writer->repo->revisions);
	}
	omb_buf_free(&text);
	omb_buf_free(&tail);
	omb_manifest_abort(writer);
	return err->status;
}

void
omb_manifest_abort(omb_manifest_writer *writer)
{
	if (writer == NULL)
		return;
	omb_stream_abort(writer->stream);
	omb_extent_state_free(writer->state);
	omb_buf_free(&writer->record);
	omb_buf_free(&writer->sized);
	free(writer);
}

omb_status
omb_manifest_parse_tail(const void *tail, size_t len, omb_backup_info *info,
						omb_pack_id **pack, uint32_t *pack_count,
						omb_error *err)
{
	omb_cursor cur;
	uint64_t text_len, count, i;
	const uint8_t *text;

	memset(info, 0, sizeof(*info));
	*pack = NULL;
	*pack_count = 0;
	omb_cursor_init(&cur, tail, len);
	text_len = omb_cursor_get_varint(&cur);
	if (text_len > omb_cursor_left(&cur))
		return omb_error_set(err, OMB_DAMAGED, "its tail is damaged");
	text = omb_cursor_get(&cur, (size_t) text_len);
	if (text == NULL ||
		omb_backup_info_read(text, (size_t) text_len, info, err) != OMB_OK)
		return err->status == OMB_OK ?
				   omb_error_set(err, OMB_DAMAGED, "its tail is damaged") :
				   err->status;
	count = omb_cursor_get_varint(&cur);
	if (count > omb_cursor_left(&cur) / (OMB_SHA256_SIZE + 1))
		return omb_error_set(err, OMB_DAMAGED, "its list of packs is damaged");
	*pack = omb_calloc((size_t) count, sizeof(omb_pack_id));
	*pack_count = (uint32_t) count;
	for (i = 0; i < count; i++)
	{
		const uint8_t *sha256 = omb_cursor_get(&cur, OMB_SHA256_SIZE);

		if (sha256 != NULL)
			memcpy((*pack)[i].sha256, sha256, OMB_SHA256_SIZE);
		(*pack)[i].size = omb_cursor_get_varint(&cur);
	}
	if (cur.failed || omb_cursor_left(&cur) != 0)
		return omb_error_set(err, OMB_DAMAGED, "its list of packs is damaged");
	return OMB_OK;
}

/* Read the tail and go back to the entries. */
static omb_status
read_tail(omb_manifest *manifest, const char *id, omb_error *err)
{
	struct omb_manifest_reader *reader = manifest->reader;
	uint8_t footer[FOOTER_SIZE];
	omb_buf tail = OMB_BUF_INIT;
	const uint8_t *data;
	size_t len;
	bool last = false;

	if (omb_stream_footer(reader->stream, footer, err) != OMB_OK)
		return err->status;
	reader->tail_index = omb_get_u64(footer + 8);
	omb_stream_seek(reader->stream, omb_get_u64(footer), reader->tail_index);
	while (!last)
	{
		if (omb_stream_next(reader->stream, &data, &len, &last, err) != OMB_OK)
			break;
		if (tail.len + len > TAIL_MAX)
		{
			(void) omb_error_set(err, OMB_DAMAGED, "its tail is too large");
			break;
		}
		omb_buf_put(&tail, data, len);
	}
	if (err->status == OMB_OK)
		(void) omb_manifest_parse_tail(tail.data, tail.len, &manifest->info,
									   &manifest->pack, &manifest->pack_count,
									   err);
	if (err->status == OMB_OK && strcmp(manifest->info.id, id) != 0)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "it is the manifest of backup \"%s\"",
							 manifest->info.id);
	omb_buf_free(&tail);
	omb_stream_seek(reader->stream, OMB_OBJECT_HEADER_SIZE, 0);
	return err->status;
}

/* Open the object with the highest revision of a manifest. */
static omb_status
open_latest(omb_repository *repo, const char *id, uint32_t *revision,
			omb_stream_reader **stream, omb_error *err)
{
	bool refresh = false;

	for (;;)
	{
		char *name;

		if (omb_revision_latest(repo, id, refresh, revision, err) != OMB_OK)
			return err->status;
		name = omb_revision_name(id, *revision);
		(void) omb_stream_open(repo, OMB_KIND_MANIFEST, name, FOOTER_SIZE,
							   stream, err);
		free(name);
		if (err->status != OMB_NOT_FOUND || refresh)
			return err->status;
		/* prune has written another one since we looked */
		omb_error_clear(err);
		refresh = true;
	}
}

omb_status
omb_manifest_open(omb_repository *repo, const char *id, omb_manifest **out,
				  omb_error *err)
{
	omb_manifest *manifest;
	omb_stream_reader *stream;
	uint32_t revision;

	*out = NULL;
	if (!omb_backup_id_valid(id))
		return omb_error_set(err, OMB_NOT_FOUND, "no backup is called \"%s\"",
							 id);
	if (open_latest(repo, id, &revision, &stream, err) != OMB_OK)
		return err->status;
	manifest = omb_calloc(1, sizeof(*manifest));
	manifest->revision = revision;
	manifest->reader = omb_calloc(1, sizeof(*manifest->reader));
	manifest->reader->stream = stream;
	manifest->reader->state = omb_extent_state_new();
	if (read_tail(manifest, id, err) != OMB_OK)
	{
		(void) omb_error_context(err, "manifest of backup \"%s\"", id);
		omb_manifest_close(manifest);
		return err->status;
	}
	*out = manifest;
	return OMB_OK;
}

void
omb_manifest_expect(omb_manifest *manifest)
{
	omb_stream_expect(manifest->reader->stream);
}

/*
 * See to it that the size in front of the next record, and then the record,
 * are in memory. *size is 0 at the end of the entries.
 */
static omb_status
next_record(struct omb_manifest_reader *reader, size_t *size, omb_error *err)
{
	for (;;)
	{
		omb_cursor cur;
		uint64_t len;
		const uint8_t *data;
		size_t data_len;
		bool last;

		omb_cursor_init(&cur, reader->pending.data + reader->used,
						reader->pending.len - reader->used);
		len = reader->pending.len > reader->used ?
				  omb_cursor_get_varint(&cur) :
				  UINT64_MAX;
		if (!cur.failed && len != UINT64_MAX)
		{
			if (len > RECORD_MAX)
				break;
			if (len <= omb_cursor_left(&cur))
			{
				reader->used = (size_t) (cur.next - reader->pending.data);
				*size = (size_t) len;
				return OMB_OK;
			}
		}
		/* move what is left to the front and get one more chunk */
		if (reader->chunk_index >= reader->tail_index)
			break;
		if (reader->used > 0)
		{
			memmove(reader->pending.data, reader->pending.data + reader->used,
					reader->pending.len - reader->used);
			reader->pending.len -= reader->used;
			reader->used = 0;
		}
		if (omb_stream_next(reader->stream, &data, &data_len, &last, err) !=
			OMB_OK)
			return err->status;
		reader->chunk_index++;
		omb_buf_put(&reader->pending, data, data_len);
	}
	return omb_error_set(err, OMB_DAMAGED, "its entries are damaged");
}

omb_status
omb_manifest_next(omb_manifest *manifest, omb_entry *entry, bool *end,
				  omb_error *err)
{
	struct omb_manifest_reader *reader = manifest->reader;
	size_t size = 0;

	*end = false;
	memset(entry, 0, sizeof(*entry));
	if (next_record(reader, &size, err) != OMB_OK)
		goto failed;
	if (size == 0)
	{
		*end = true;
		if (reader->entries == manifest->info.entries)
			return OMB_OK;
		(void) omb_error_set(err, OMB_DAMAGED, "entries are missing");
		goto failed;
	}
	if (!omb_entry_decode(reader->pending.data + reader->used, size,
						  manifest->pack_count, reader->state, entry))
	{
		(void) omb_error_set(err, OMB_DAMAGED, "an entry is damaged");
		goto failed;
	}
	reader->used += size;
	reader->entries++;
	if (reader->last_path != NULL &&
		omb_manifest_compare(reader->last_root, reader->last_path, entry->root,
							 entry->path) >= 0)
	{
		(void) omb_error_set(err, OMB_DAMAGED, "its entries are out of order");
		goto failed;
	}
	free(reader->last_path);
	reader->last_path = omb_strdup(entry->path);
	reader->last_root = entry->root;
	return OMB_OK;

failed:
	omb_entry_clear(entry);
	return omb_error_context(err, "manifest of backup \"%s\"",
							 manifest->info.id);
}

void
omb_manifest_close(omb_manifest *manifest)
{
	if (manifest == NULL)
		return;
	omb_stream_close(manifest->reader->stream);
	omb_extent_state_free(manifest->reader->state);
	omb_buf_free(&manifest->reader->pending);
	free(manifest->reader->last_path);
	free(manifest->reader);
	omb_backup_info_clear(&manifest->info);
	free(manifest->pack);
	free(manifest);
}

typedef struct list_state
{
	omb_backup_visit visit;
	void *arg;
} list_state;

static omb_status
visit_backup(const omb_revision *revision, void *arg, omb_error *err)
{
	list_state *state = arg;

	return revision->is_latest ? state->visit(revision->id, state->arg, err) :
								 OMB_OK;
}

omb_status
omb_backup_list(omb_repository *repo, omb_backup_visit visit, void *arg,
				omb_error *err)
{
	list_state state;

	state.visit = visit;
	state.arg = arg;
	return omb_revision_list_reading(repo, visit_backup, &state, err);
}
