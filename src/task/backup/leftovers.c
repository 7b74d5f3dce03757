/*
 * leftovers.c: finding again what an unfinished backup has stored.
 */
#include "task/backup/leftovers.h"

#include "repo/manifest.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Blobs known at a time, in each of two halves: some 20 MB. */
#define HALF_BLOBS (256 * 1024)
#define SLOTS (2 * (HALF_BLOBS + OMB_PACK_BLOBS_MAX))

typedef struct blob
{
	uint8_t id[OMB_CONTENT_ID_SIZE];
	uint32_t pack; /* index in leftovers.pack */
	uint32_t index;
	uint32_t offset;
	uint32_t stored;
	uint32_t raw;
	uint8_t method;
} blob;

typedef struct half
{
	blob *blob;
	size_t count;
	uint32_t *slot; /* number of a blob and 1, or 0 */
} half;

typedef struct pack
{
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t size;
	bool is_numbered;
	bool is_bad;
	uint32_t number;
} pack;

struct omb_leftovers
{
	omb_repository *repo;
	omb_pack_table *table;
	pthread_mutex_t lock;
	char (*journal)[OMB_BACKUP_ID_MAX];
	size_t journal_count;
	pack *pack;
	size_t pack_count;
	size_t next_pack; /* the first one whose blobs are not known yet */
	half older;
	half newer;
};

static omb_status
add_pack(const uint8_t sha256[OMB_SHA256_SIZE], void *arg, omb_error *err)
{
	omb_leftovers *leftovers = arg;
	pack *one;

	leftovers->pack = omb_realloc(leftovers->pack,
								  (leftovers->pack_count + 1) * sizeof(pack));
	one = &leftovers->pack[leftovers->pack_count++];
	memset(one, 0, sizeof(*one));
	memcpy(one->sha256, sha256, OMB_SHA256_SIZE);
	return OMB_OK;
}

static omb_status
add_journal(const char *id, int64_t changed_at, void *arg, omb_error *err)
{
	omb_leftovers *leftovers = arg;

	leftovers->journal =
		omb_realloc(leftovers->journal,
					(leftovers->journal_count + 1) * OMB_BACKUP_ID_MAX);
	memcpy(leftovers->journal[leftovers->journal_count++], id, strlen(id) + 1);
	return omb_unfinished_read(leftovers->repo, id, add_pack, leftovers, err);
}

/* ---- blobs by content ---- */

static void
half_clear(half *h)
{
	free(h->blob);
	free(h->slot);
	memset(h, 0, sizeof(*h));
}

static size_t
slot_of(const uint8_t id[OMB_CONTENT_ID_SIZE])
{
	return (size_t) (omb_get_u64(id) % SLOTS);
}

static const blob *
half_find(const half *h, const uint8_t id[OMB_CONTENT_ID_SIZE], size_t len)
{
	size_t at = slot_of(id);

	if (h->count == 0)
		return NULL;
	for (; h->slot[at] != 0; at = (at + 1) % SLOTS)
	{
		const blob *b = &h->blob[h->slot[at] - 1];

		if (b->raw == len && memcmp(b->id, id, OMB_CONTENT_ID_SIZE) == 0)
			return b;
	}
	return NULL;
}

typedef struct adding
{
	half *to;
	uint32_t pack;
} adding;

static omb_status
add_blob(const omb_blob_ref *ref, const uint8_t id[OMB_CONTENT_ID_SIZE],
		 void *arg, omb_error *err)
{
	adding *a = arg;
	blob *b = &a->to->blob[a->to->count++];
	size_t at = slot_of(id);

	memcpy(b->id, id, OMB_CONTENT_ID_SIZE);
	b->pack = a->pack;
	b->index = ref->index;
	b->offset = ref->offset;
	b->stored = ref->stored;
	b->raw = ref->raw;
	b->method = ref->method;
	while (a->to->slot[at] != 0)
		at = (at + 1) % SLOTS;
	a->to->slot[at] = (uint32_t) a->to->count;
	return OMB_OK;
}

/* Fill a half from the next packs. */
static void
half_fill(omb_leftovers *leftovers, omb_coder *coder, half *h)
{
	half_clear(h);
	h->blob = omb_malloc((HALF_BLOBS + OMB_PACK_BLOBS_MAX) * sizeof(blob));
	h->slot = omb_calloc(SLOTS, sizeof(uint32_t));
	while (leftovers->next_pack < leftovers->pack_count &&
		   h->count < HALF_BLOBS)
	{
		pack *p = &leftovers->pack[leftovers->next_pack];
		omb_error ignored = OMB_ERROR_INIT;
		omb_pack *opened;
		adding a;

		a.to = h;
		a.pack = (uint32_t) leftovers->next_pack++;
		/* one that is gone or damaged has nothing for us */
		if (omb_pack_open(leftovers->repo, p->sha256, &opened, &ignored) !=
			OMB_OK)
			continue;
		p->size = omb_pack_size(opened);
		(void) omb_pack_list_contents(opened, coder, add_blob, &a, &ignored);
		omb_pack_close(opened);
	}
}

omb_status
omb_leftovers_open(omb_repository *repo, omb_pack_table *table,
				   omb_leftovers **out, omb_error *err)
{
	omb_leftovers *leftovers = omb_calloc(1, sizeof(*leftovers));
	omb_coder *coder;

	*out = NULL;
	leftovers->repo = repo;
	leftovers->table = table;
	(void) pthread_mutex_init(&leftovers->lock, NULL);
	if (omb_unfinished_list(repo, add_journal, leftovers, err) != OMB_OK ||
		leftovers->journal_count == 0)
	{
		omb_leftovers_free(leftovers);
		return err->status;
	}
	coder = omb_coder_new(NULL);
	half_fill(leftovers, coder, &leftovers->older);
	if (leftovers->next_pack < leftovers->pack_count)
		half_fill(leftovers, coder, &leftovers->newer);
	omb_coder_free(coder);
	*out = leftovers;
	return OMB_OK;
}

/* Number a pack on its first use. */
static bool
use_pack(omb_leftovers *leftovers, pack *p)
{
	omb_error problem = OMB_ERROR_INIT;
	omb_pack_id id;
	char *name;

	if (p->is_numbered || p->is_bad)
		return !p->is_bad;
	/* whoever wrote it may have been killed before it was durable */
	name = omb_pack_name(p->sha256);
	p->is_bad =
		omb_store_confirm(leftovers->repo->store, name, &problem) != OMB_OK;
	free(name);
	if (p->is_bad)
		return false;
	memcpy(id.sha256, p->sha256, OMB_SHA256_SIZE);
	id.size = p->size;
	p->number = omb_pack_table_add(leftovers->table, &id);
	p->is_numbered = true;
	return true;
}

bool
omb_leftovers_find(omb_leftovers *leftovers, omb_coder *coder,
				   const uint8_t id[OMB_CONTENT_ID_SIZE], size_t len,
				   omb_blob_ref *ref)
{
	const blob *found;
	bool usable = false;

	if (leftovers == NULL)
		return false;
	(void) pthread_mutex_lock(&leftovers->lock);
	found = half_find(&leftovers->older, id, len);
	if (found == NULL)
	{
		found = half_find(&leftovers->newer, id, len);
		if (found != NULL && leftovers->next_pack < leftovers->pack_count)
		{
			/* we have left the older half behind */
			half_clear(&leftovers->older);
			leftovers->older = leftovers->newer;
			memset(&leftovers->newer, 0, sizeof(leftovers->newer));
			half_fill(leftovers, coder, &leftovers->newer);
		}
	}
	if (found != NULL)
	{
		pack *p = &leftovers->pack[found->pack];

		usable = use_pack(leftovers, p);
		ref->pack = p->number;
		ref->index = found->index;
		ref->offset = found->offset;
		ref->stored = found->stored;
		ref->raw = found->raw;
		ref->method = found->method;
	}
	(void) pthread_mutex_unlock(&leftovers->lock);
	return usable;
}

omb_status
omb_leftovers_remove(omb_leftovers *leftovers, omb_error *err)
{
	size_t i;

	for (i = 0; leftovers != NULL && i < leftovers->journal_count; i++)
	{
		if (omb_unfinished_remove(leftovers->repo, leftovers->journal[i],
								  err) != OMB_OK)
			break;
	}
	return err->status;
}

void
omb_leftovers_free(omb_leftovers *leftovers)
{
	if (leftovers == NULL)
		return;
	half_clear(&leftovers->older);
	half_clear(&leftovers->newer);
	(void) pthread_mutex_destroy(&leftovers->lock);
	free(leftovers->journal);
	free(leftovers->pack);
	free(leftovers);
}
