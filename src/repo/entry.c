/*
 * entry.c: coding of one entry of a manifest; see manifest.h for the bytes.
 */
#include "repo/manifest.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

#define EXTENT_ZERO 1
#define EXTENT_SAME 2
#define EXTENT_WHOLE 4
#define EXTENT_BEHIND 8
#define EXTENT_METHOD_SHIFT 4
#define EXTENT_BITS 0x3f

/* Linux has no longer paths. */
#define PATH_BYTES_MAX 4096

/* What "before" and "last" refer to. */
typedef struct last_blob
{
	uint32_t next_index; /* 0 when no blob of the pack was named yet */
	uint32_t next_offset;
} last_blob;

struct omb_extent_state
{
	omb_blob_ref before;
	bool has_before;
	last_blob *pack;
	uint32_t count;
};

omb_extent_state *
omb_extent_state_new(void)
{
	return omb_calloc(1, sizeof(omb_extent_state));
}

void
omb_extent_state_free(omb_extent_state *state)
{
	if (state == NULL)
		return;
	free(state->pack);
	free(state);
}

/* The last blob named in a pack. */
static last_blob *
last_in_pack(omb_extent_state *state, uint32_t pack)
{
	if (pack >= state->count)
	{
		uint32_t count = state->count ? state->count : 64;

		while (count <= pack)
			count *= 2;
		state->pack = omb_realloc(state->pack, count * sizeof(last_blob));
		memset(state->pack + state->count, 0,
			   (count - state->count) * sizeof(last_blob));
		state->count = count;
	}
	return &state->pack[pack];
}

static void
remember(omb_extent_state *state, const omb_blob_ref *blob)
{
	last_blob *last = last_in_pack(state, blob->pack);

	last->next_index = blob->index + 1;
	last->next_offset = blob->offset + blob->stored;
	state->before = *blob;
	state->has_before = true;
}

static bool
same_blob(const omb_blob_ref *a, const omb_blob_ref *b)
{
	return a->pack == b->pack && a->index == b->index &&
		   a->offset == b->offset && a->stored == b->stored &&
		   a->raw == b->raw && a->method == b->method;
}

void
omb_entry_clear(omb_entry *entry)
{
	free(entry->path);
	free(entry->target);
	free(entry->damaged);
	free(entry->extent);
	memset(entry, 0, sizeof(*entry));
}

void
omb_entry_add_extent(omb_entry *entry, const omb_extent *extent)
{
	omb_extent *previous = entry->extent_count > 0 ?
							   &entry->extent[entry->extent_count - 1] :
							   NULL;

	if (extent->length == 0)
		return;
	if (previous != NULL && extent->is_zero && previous->is_zero)
	{
		previous->length += extent->length;
		return;
	}
	if (previous != NULL && !extent->is_zero && !previous->is_zero &&
		same_blob(&previous->blob, &extent->blob) &&
		previous->start + previous->length == extent->start)
	{
		previous->length += extent->length;
		return;
	}
	if (entry->extent_count == entry->extent_cap)
	{
		entry->extent_cap = entry->extent_cap ? 2 * entry->extent_cap : 4;
		entry->extent =
			omb_realloc(entry->extent, entry->extent_cap * sizeof(omb_extent));
	}
	entry->extent[entry->extent_count++] = *extent;
}

static void
encode_extent(const omb_extent *extent, omb_extent_state *state, omb_buf *out)
{
	const omb_blob_ref *blob = &extent->blob;
	const last_blob *last;
	bool same, behind, whole;

	if (extent->is_zero)
	{
		omb_buf_put_u8(out, EXTENT_ZERO);
		omb_buf_put_varint(out, extent->length);
		return;
	}
	last = last_in_pack(state, blob->pack);
	same = state->has_before && same_blob(&state->before, blob);
	behind = !same && last->next_index == blob->index &&
			 last->next_offset == blob->offset && blob->index > 0;
	whole = extent->start == 0 && extent->length == blob->raw;
	omb_buf_put_u8(out, (uint8_t) ((same ? EXTENT_SAME : 0) |
								   (behind ? EXTENT_BEHIND : 0) |
								   (whole ? EXTENT_WHOLE : 0) |
								   blob->method << EXTENT_METHOD_SHIFT));
	if (!same)
	{
		omb_buf_put_varint(out, blob->pack);
		if (!behind)
		{
			omb_buf_put_varint(out, blob->index);
			omb_buf_put_varint(out, blob->offset);
		}
		omb_buf_put_varint(out, blob->stored);
		omb_buf_put_varint(out, blob->raw);
	}
	if (!whole)
	{
		omb_buf_put_varint(out, extent->start);
		omb_buf_put_varint(out, extent->length);
	}
	remember(state, blob);
}

void
omb_entry_encode(const omb_entry *entry, omb_extent_state *state, omb_buf *out)
{
	uint32_t before = 0;
	size_t i;

	omb_buf_put_u8(out, (uint8_t) entry->type);
	omb_buf_put_u8(out, (uint8_t) entry->root);
	omb_buf_put_text(out, entry->path);
	omb_buf_put_varint(out, entry->mode);
	omb_buf_put_varint(out, entry->mtime);
	if (entry->root == OMB_ROOT_FILES)
	{
		omb_buf_put_varint(out, entry->uid);
		omb_buf_put_varint(out, entry->gid);
	}
	if (entry->type == OMB_ENTRY_LINK)
		omb_buf_put_text(out, entry->target);
	if (entry->type != OMB_ENTRY_FILE)
		return;
	omb_buf_put_varint(out, entry->ctime);
	omb_buf_put_varint(out, entry->inode);
	omb_buf_put_varint(out, entry->size);
	omb_buf_put_u32(out, entry->crc32c);
	omb_buf_put_varint(out, entry->damaged_count);
	for (i = 0; i < entry->damaged_count; i++)
	{
		omb_buf_put_varint(out, entry->damaged[i] - before);
		before = entry->damaged[i];
	}
	omb_buf_put_varint(out, entry->extent_count);
	for (i = 0; i < entry->extent_count; i++)
		encode_extent(&entry->extent[i], state, out);
}

/* A varint that must fit 32 bits. */
static uint32_t
get_u32(omb_cursor *cur)
{
	uint64_t value = omb_cursor_get_varint(cur);

	if (value > UINT32_MAX)
		cur->failed = true;
	return (uint32_t) value;
}

/* Decode one extent; the cursor fails on any nonsense. */
static void
decode_extent(omb_cursor *cur, uint32_t pack_count, omb_extent_state *state,
			  omb_extent *out)
{
	uint8_t bits = omb_cursor_get_u8(cur);
	omb_blob_ref *blob = &out->blob;

	memset(out, 0, sizeof(*out));
	if ((bits & ~EXTENT_BITS) != 0 ||
		((bits & EXTENT_SAME) &&
		 (!state->has_before || (bits & EXTENT_BEHIND))))
		cur->failed = true;
	if (cur->failed)
		return;
	if (bits & EXTENT_ZERO)
	{
		out->is_zero = true;
		out->length = omb_cursor_get_varint(cur);
		return;
	}
	if (bits & EXTENT_SAME)
		*blob = state->before;
	else
	{
		blob->pack = get_u32(cur);
		/* before it is used as an index */
		if (cur->failed || blob->pack >= pack_count)
		{
			cur->failed = true;
			return;
		}
		if (bits & EXTENT_BEHIND)
		{
			const last_blob *last = last_in_pack(state, blob->pack);

			blob->index = last->next_index;
			blob->offset = last->next_offset;
		}
		else
		{
			blob->index = get_u32(cur);
			blob->offset = get_u32(cur);
		}
		blob->stored = get_u32(cur);
		blob->raw = get_u32(cur);
	}
	blob->method = (uint8_t) (bits >> EXTENT_METHOD_SHIFT);
	if (bits & EXTENT_WHOLE)
		out->length = blob->raw;
	else
	{
		out->start = get_u32(cur);
		out->length = get_u32(cur);
	}
	if (blob->raw > OMB_BLOB_MAX || blob->stored > OMB_SEALED_MAX(blob->raw) ||
		blob->offset > UINT32_MAX - blob->stored || out->start > blob->raw ||
		out->length > blob->raw - out->start || out->length == 0)
		cur->failed = true;
	if (!cur->failed)
		remember(state, blob);
}

/* The part of a record that only files have. */
static void
decode_file(omb_cursor *cur, uint32_t pack_count, omb_extent_state *state,
			omb_entry *entry)
{
	uint64_t count, i;
	uint64_t total = 0;
	uint64_t block = 0;

	entry->ctime = omb_cursor_get_varint(cur);
	entry->inode = omb_cursor_get_varint(cur);
	entry->size = omb_cursor_get_varint(cur);
	entry->crc32c = omb_cursor_get_u32(cur);
	/* each takes at least a byte, so these bound what is allocated */
	count = omb_cursor_get_varint(cur);
	if (count > omb_cursor_left(cur))
		cur->failed = true;
	if (cur->failed)
		return;
	entry->damaged = omb_calloc((size_t) count, sizeof(uint32_t));
	entry->damaged_count = (size_t) count;
	for (i = 0; i < count; i++)
	{
		block += get_u32(cur);
		if (block > UINT32_MAX)
			cur->failed = true;
		entry->damaged[i] = (uint32_t) block;
	}
	count = omb_cursor_get_varint(cur);
	if (count > omb_cursor_left(cur))
		cur->failed = true;
	if (cur->failed)
		return;
	entry->extent = omb_calloc((size_t) count, sizeof(omb_extent));
	entry->extent_count = entry->extent_cap = (size_t) count;
	for (i = 0; i < count && !cur->failed; i++)
	{
		decode_extent(cur, pack_count, state, &entry->extent[i]);
		if (entry->extent[i].length > entry->size - total)
			cur->failed = true;
		total += entry->extent[i].length;
	}
	if (total != entry->size)
		cur->failed = true;
}

bool
omb_entry_decode(const void *record, size_t len, uint32_t pack_count,
				 omb_extent_state *state, omb_entry *entry)
{
	omb_cursor cur;
	uint8_t type, root;

	memset(entry, 0, sizeof(*entry));
	omb_cursor_init(&cur, record, len);
	type = omb_cursor_get_u8(&cur);
	root = omb_cursor_get_u8(&cur);
	entry->path = omb_cursor_get_text(&cur, PATH_BYTES_MAX);
	entry->mode = get_u32(&cur);
	entry->mtime = omb_cursor_get_varint(&cur);
	if ((type != OMB_ENTRY_DIRECTORY && type != OMB_ENTRY_FILE &&
		 type != OMB_ENTRY_LINK) ||
		root > OMB_ROOT_FILES || entry->path == NULL || entry->mode > 07777 ||
		/* the data directory itself is the one entry with an empty path */
		!(omb_path_is_safe(entry->path) ||
		  (entry->path[0] == '\0' && type == OMB_ENTRY_DIRECTORY &&
		   root != OMB_ROOT_FILES)))
		cur.failed = true;
	if (!cur.failed && root == OMB_ROOT_FILES)
	{
		entry->uid = get_u32(&cur);
		entry->gid = get_u32(&cur);
	}
	entry->type = (omb_entry_type) type;
	entry->root = (omb_root) root;
	if (!cur.failed && type == OMB_ENTRY_LINK)
		entry->target = omb_cursor_get_text(&cur, PATH_BYTES_MAX);
	if (!cur.failed && type == OMB_ENTRY_FILE)
		decode_file(&cur, pack_count, state, entry);
	if (!cur.failed && omb_cursor_left(&cur) == 0)
		return true;
	omb_entry_clear(entry);
	return false;
}
