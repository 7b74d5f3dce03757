/*
 * mirrorset.c: what a target is known to hold.
 *
 * A hash table with open addressing. Nothing is ever removed from it.
 */
#include "task/mirror/mirrorset.h"

#include "base/buffer.h"
#include "base/file.h"
#include "codec/crypto.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "omstgt01"
#define HEADER_SIZE 48
#define NAME_SIZE 16
#define ITEM_SIZE (NAME_SIZE + 8)
#define FILE_MAX ((size_t) 1024 * 1024 * 1024)
#define FIRST_SLOTS 1024

typedef struct item
{
	uint8_t name[NAME_SIZE]; /* all zero: a free slot */
	uint64_t size;
} item;

struct omb_mirror_set
{
	item *slot;
	size_t slots; /* a power of two */
	size_t used;
};

static const uint8_t nobody[NAME_SIZE];

static bool
is_free(const item *slot)
{
	return memcmp(slot->name, nobody, NAME_SIZE) == 0;
}

static void
name_hash(const char *name, uint8_t out[NAME_SIZE])
{
	uint8_t sha256[OMB_SHA256_SIZE];

	omb_sha256(name, strlen(name), sha256);
	memcpy(out, sha256, NAME_SIZE);
	/* that it is all zero does not happen, and must not */
	if (memcmp(out, nobody, NAME_SIZE) == 0)
		out[0] = 1;
}

/* The slot that has the name, or the free one where it would go. */
static item *
slot_of(item *slot, size_t slots, const uint8_t name[NAME_SIZE])
{
	size_t i = (size_t) omb_get_u64(name) & (slots - 1);

	while (!is_free(&slot[i]) && memcmp(slot[i].name, name, NAME_SIZE) != 0)
		i = (i + 1) & (slots - 1);
	return &slot[i];
}

omb_mirror_set *
omb_mirror_set_new(void)
{
	omb_mirror_set *set = omb_calloc(1, sizeof(*set));

	omb_mirror_set_clear(set);
	return set;
}

void
omb_mirror_set_free(omb_mirror_set *set)
{
	if (set == NULL)
		return;
	free(set->slot);
	free(set);
}

void
omb_mirror_set_clear(omb_mirror_set *set)
{
	free(set->slot);
	set->slots = FIRST_SLOTS;
	set->used = 0;
	set->slot = omb_calloc(set->slots, sizeof(*set->slot));
}

static void
grow(omb_mirror_set *set)
{
	size_t slots = 2 * set->slots;
	item *slot = omb_calloc(slots, sizeof(*slot));
	size_t i;

	for (i = 0; i < set->slots; i++)
	{
		if (!is_free(&set->slot[i]))
			*slot_of(slot, slots, set->slot[i].name) = set->slot[i];
	}
	free(set->slot);
	set->slot = slot;
	set->slots = slots;
}

static void
add_hash(omb_mirror_set *set, const uint8_t name[NAME_SIZE], uint64_t size)
{
	item *slot;

	if (set->used >= set->slots / 4 * 3)
		grow(set);
	slot = slot_of(set->slot, set->slots, name);
	if (is_free(slot))
		set->used++;
	memcpy(slot->name, name, NAME_SIZE);
	slot->size = size;
}

void
omb_mirror_set_add(omb_mirror_set *set, const char *name, uint64_t size)
{
	uint8_t hash[NAME_SIZE];

	name_hash(name, hash);
	add_hash(set, hash, size);
}

bool
omb_mirror_set_find(const omb_mirror_set *set, const char *name,
					uint64_t *size)
{
	uint8_t hash[NAME_SIZE];
	const item *slot;

	name_hash(name, hash);
	slot = slot_of(set->slot, set->slots, hash);
	if (is_free(slot))
		return false;
	*size = slot->size;
	return true;
}

bool
omb_mirror_set_has(const omb_mirror_set *set, const char *name)
{
	uint64_t size;

	return omb_mirror_set_find(set, name, &size);
}

uint64_t
omb_mirror_set_count(const omb_mirror_set *set)
{
	return set->used;
}

/* Check everything before the first item is believed. */
static bool
is_whole(const omb_buf *content, const uint8_t *repository_id)
{
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t count;

	if (content->len < HEADER_SIZE + OMB_SHA256_SIZE ||
		memcmp(content->data, MAGIC, 8) != 0 ||
		memcmp(content->data + 16, repository_id, OMB_REPOSITORY_ID_SIZE) != 0)
		return false;
	omb_sha256(content->data, content->len - OMB_SHA256_SIZE, sha256);
	if (memcmp(sha256, content->data + content->len - OMB_SHA256_SIZE,
			   OMB_SHA256_SIZE) != 0)
		return false;
	count = omb_get_u64(content->data + 8) != 0 ?
				0 :
				omb_get_u64(content->data + 40);
	return count <= FILE_MAX / ITEM_SIZE &&
		   content->len == HEADER_SIZE + count * ITEM_SIZE + OMB_SHA256_SIZE;
}

omb_status
omb_mirror_set_load(omb_mirror_set *set, const char *path,
					const uint8_t repository_id[OMB_REPOSITORY_ID_SIZE],
					omb_mirror_list *list, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	uint64_t i;

	memset(list, 0, sizeof(*list));
	if (omb_file_read(path, FILE_MAX, &content, err) == OMB_OK &&
		!is_whole(&content, repository_id))
		(void) omb_error_set(err, OMB_DAMAGED, "file \"%s\" is damaged", path);
	if (err->status == OMB_OK)
	{
		list->is_open = omb_get_u64(content.data + 8) != 0;
		list->listed_at = (int64_t) omb_get_u64(content.data + 32);
		list->count = omb_get_u64(content.data + 40);
		for (i = 0; i < list->count && !list->is_open; i++)
		{
			const uint8_t *at = content.data + HEADER_SIZE + i * ITEM_SIZE;

			add_hash(set, at, omb_get_u64(at + NAME_SIZE));
		}
	}
	omb_buf_free(&content);
	return err->status;
}

omb_status
omb_mirror_set_save(const omb_mirror_set *set, const char *path,
					const uint8_t repository_id[OMB_REPOSITORY_ID_SIZE],
					bool is_open, int64_t listed_at, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	uint8_t sha256[OMB_SHA256_SIZE];
	size_t i;

	(void) omb_buf_reserve(&content,
						   HEADER_SIZE + OMB_SHA256_SIZE +
							   (is_open ? 0 : set->used) * ITEM_SIZE);
	omb_buf_put(&content, MAGIC, 8);
	omb_buf_put_u64(&content, is_open ? 1 : 0);
	omb_buf_put(&content, repository_id, OMB_REPOSITORY_ID_SIZE);
	omb_buf_put_u64(&content, (uint64_t) listed_at);
	omb_buf_put_u64(&content, set->used);
	for (i = 0; i < set->slots && !is_open; i++)
	{
		if (is_free(&set->slot[i]))
			continue;
		omb_buf_put(&content, set->slot[i].name, NAME_SIZE);
		omb_buf_put_u64(&content, set->slot[i].size);
	}
	omb_sha256(content.data, content.len, sha256);
	omb_buf_put(&content, sha256, sizeof(sha256));
	(void) omb_file_replace(path, content.data, content.len, 0600, err);
	omb_buf_free(&content);
	return err->status;
}
