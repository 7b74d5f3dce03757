/*
 * cloudcache.c: bytes of objects that were fetched from a cloud.
 *
 * A piece is queued, fetched, there, in this order; it is in the list from the
 * beginning, so that nobody fetches it twice and whoever needs it now can wait
 * for it or take it over. Pieces that were expected are kept until what was
 * expected of them was read, or for a while when they take the room of others;
 * all others are kept as long as there is room, and those that were read more
 * than once (a manifest) longest. A piece that could not be fetched ahead is
 * forgotten: who needs it fetches it again and gets to know why not.
 */
#include "store/cloud/cloudcache.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Fetched with the size: most objects are no longer. */
#define START ((size_t) 16 * 1024)
#define WINDOW_FIRST ((size_t) 128 * 1024)
#define WINDOW_GROWS 4
#define WINDOW_LAST ((size_t) 8 * 1024 * 1024)
/*
 * A piece that is fetched ahead: few long requests take less of the processors'
 * time, here and at the server, than many short ones.
 */
#define PIECE ((size_t) 6 * 1024 * 1024)
/* Bytes that nobody asked for are fetched when they save a request. */
#define GAP ((uint64_t) 64 * 1024)
#define AHEAD_MAX ((size_t) 112 * 1024 * 1024)
#define KEPT_MAX ((size_t) 16 * 1024 * 1024)
#define KEPT_COUNT 256
/* Pieces fetched ahead at once, at most; and before anything is known. */
#define FETCHERS 16
#define FETCHERS_FIRST 4
/*
 * No more than comes within a minute, as far as can be told by the bytes of an
 * answer that was so long: what was fetched and not used is lost when the power
 * fails.
 */
#define WITHIN UINT64_C(60)
#define TELLING ((size_t) 32 * 1024)
/* The headers of packs and other short pieces do not count, and wait for none. */
#define SHORT ((size_t) 4 * 1024)
/*
 * Nobody comes any more for a piece that was fetched ahead so long ago, or for
 * the rest of one that was read so long ago. Who writes to a slow disk comes
 * late.
 */
#define STALE (INT64_C(120) * 1000000)
#define LEFT (INT64_C(2) * 1000000)
/* Queued pieces that another one may be joined to. */
#define JOINED 4
#define FRESH (INT64_C(10) * 1000000)
/* A short piece waits so long for others to be joined to it. */
#define GROWS (INT64_C(5) * 1000)

typedef enum piece_state
{
	QUEUED,
	FETCHING,
	THERE
} piece_state;

typedef struct piece
{
	struct piece *next;
	char *name;
	uint64_t offset;
	size_t len;
	uint8_t *data;
	piece_state state;
	bool ahead;	   /* expected, and not read yet */
	size_t wanted; /* bytes of it that were expected */
	size_t read;   /* and that were read */
	int64_t read_at;
	unsigned users; /* who copy from it, or fetch it */
	uint64_t used;	/* when, in uses */
	int64_t at;		/* fetched; of one that is queued: since when */
	/* of the object */
	char etag[sizeof(((omb_cloud_found *) 0)->etag)];
	uint64_t size;
	bool forgotten; /* goes with its last user */
} piece;

struct omb_cloud_cache
{
	omb_cloud_client *client;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	piece *first;
	piece *last;
	uint64_t uses;
	size_t ahead; /* bytes fetched ahead or under way */
	size_t kept;  /* bytes of the other pieces that are there */
	unsigned kept_count;
	unsigned at_once;  /* pieces to be fetched ahead at once, */
	unsigned fetching; /* and those that are: both without short ones */
	bool stopping;
	pthread_t thread[FETCHERS];
	unsigned threads;
};

/* ---- the list; the cache is locked ---- */

static piece *
add_piece(omb_cloud_cache *cache, const char *name, uint64_t offset,
		  size_t len)
{
	piece *p = omb_calloc(1, sizeof(*p));

	p->name = omb_strdup(name);
	p->offset = offset;
	p->len = len;
	if (cache->last != NULL)
		cache->last->next = p;
	else
		cache->first = p;
	cache->last = p;
	return p;
}

static void
drop_piece(omb_cloud_cache *cache, piece *p)
{
	piece **link = &cache->first;
	piece *before = NULL;

	while (*link != p)
	{
		before = *link;
		link = &before->next;
	}
	*link = p->next;
	if (cache->last == p)
		cache->last = before;
	if (p->ahead && p->state != QUEUED)
		cache->ahead -= p->len;
	else if (p->state == THERE)
	{
		cache->kept -= p->len;
		cache->kept_count--;
	}
	free(p->data);
	free(p->name);
	free(p);
}

/* Is a better to be kept than b? */
static bool
is_dearer(const piece *a, const piece *b)
{
	bool again = a->read > a->len;

	return again != (b->read > b->len) ? again : a->used > b->used;
}

/*
 * Make room: what was read once goes first, and of that what was used longest
 * ago.
 */
static void
trim(omb_cloud_cache *cache)
{
	while (cache->kept > KEPT_MAX || cache->kept_count > KEPT_COUNT)
	{
		piece *least = NULL;
		piece *p;

		for (p = cache->first; p != NULL; p = p->next)
			if (p->state == THERE && !p->ahead && p->users == 0 &&
				(least == NULL || is_dearer(least, p)))
				least = p;
		if (least == NULL)
			return;
		drop_piece(cache, least);
	}
}

/* It counts among the pieces that are kept as long as there is room. */
static void
keep_piece(omb_cloud_cache *cache, piece *p)
{
	if (p->ahead)
		cache->ahead -= p->len;
	p->ahead = false;
	cache->kept += p->len;
	cache->kept_count++;
}

static void
release(omb_cloud_cache *cache, piece *p)
{
	p->users--;
	if (p->forgotten && p->users == 0)
		drop_piece(cache, p);
}

/* So many bytes of a piece were read. */
static void
note_read(omb_cloud_cache *cache, piece *p, size_t len)
{
	p->used = ++cache->uses;
	p->read += len;
	p->read_at = omb_time_steady();
	if (!p->ahead || p->read < p->wanted)
		return;
	keep_piece(cache, p);
	(void) pthread_cond_broadcast(&cache->changed);
}

/* ---- fetching ---- */

/* The size of the object, as the answer to a ranged request tells it. */
static bool
read_total(const omb_cloud_answer *answer, size_t len, uint64_t *total)
{
	char range[64];
	const char *slash;

	if (answer->http.status == 200)
	{
		*total = len;
		return true;
	}
	if (!omb_http_header(&answer->http, "content-range", range, sizeof(range)))
		return false;
	slash = strchr(range, '/');
	return slash != NULL && omb_u64_parse(slash + 1, total);
}

/*
 * What an answer tells of how many may be fetched at once: each of those that
 * came at once had its part of the way.
 */
static void
adapt(omb_cloud_cache *cache, const omb_http_response *http)
{
	uint64_t rate = http->received * UINT64_C(1000000) / (http->carried + 1);
	uint64_t fit = rate * WITHIN / PIECE;

	if (http->received < TELLING)
		return;
	(void) pthread_mutex_lock(&cache->lock);
	if (cache->fetching > 1)
		fit *= cache->fetching;
	cache->at_once = fit < 1 ? 1 : fit < FETCHERS ? (unsigned) fit : FETCHERS;
	(void) pthread_mutex_unlock(&cache->lock);
}

/*
 * Fetch a piece that the caller has marked, without the lock. With an ETag
 * the object has to be that one.
 */
static omb_status
fetch(omb_cloud_cache *cache, piece *p, const char *etag, omb_error *err)
{
	omb_cloud_call call = { .action = "read object",
							.method = "GET",
							.name = p->name,
							.into_size = p->len,
							.offset = p->offset };
	omb_cloud_answer answer = { 0 };
	char *condition = NULL;
	uint8_t *data = omb_malloc(p->len);
	int status;

	call.into = data;
	if (*etag != '\0')
	{
		condition = omb_format("if-match: %s", etag);
		call.header[call.header_count++] = condition;
	}
	(void) omb_cloud_do(cache->client, &call, &answer, err);
	status = answer.http.status;
	if (err->status == OMB_OK && !read_total(&answer, p->len, &p->size))
		(void) omb_cloud_nonsense(cache->client, &call, err);
	if (err->status == OMB_OK)
	{
		(void) omb_http_header(&answer.http, "etag", p->etag, sizeof(p->etag));
		p->data = data;
		adapt(cache, &answer.http);
	}
	else
		free(data);
	omb_cloud_answer_free(&answer);
	free(condition);
	if (err->status != OMB_OK && status == 412)
		return omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" in \"%s\" was replaced while it "
							 "was read",
							 p->name, cache->client->location);
	return err->status;
}

/*
 * A piece was fetched, or not; the cache is locked. Who fetched it is one of
 * its users still: it stays until released.
 */
static void
end_fetch(omb_cloud_cache *cache, piece *p, bool good)
{
	if (good)
	{
		p->state = THERE;
		p->at = omb_time_steady();
		p->used = ++cache->uses;
		if (!p->ahead)
			keep_piece(cache, p);
	}
	else
		p->forgotten = true;
	trim(cache);
	(void) pthread_cond_broadcast(&cache->changed);
}

/* What nobody came for in time gives way. */
static void
drop_stale(omb_cloud_cache *cache)
{
	int64_t now = omb_time_steady();
	piece *p;

	for (p = cache->first; p != NULL; p = p->next)
		if (p->ahead && p->state == THERE &&
			(p->at < now - STALE || (p->read > 0 && p->read_at < now - LEFT)))
			keep_piece(cache, p);
	trim(cache);
}

/* Is it one of those of which only so many are fetched at once? */
static bool
counts(const piece *p)
{
	return p->len > SHORT;
}

/* Is it worth a request, with nothing joined to it? */
static bool
is_long(const piece *p)
{
	return p->len > PIECE / 2;
}

/*
 * The next piece to be fetched ahead, or NULL; the cache is locked. *grows: one
 * is there, but may become longer.
 */
static piece *
next_ahead(omb_cloud_cache *cache, bool *grows)
{
	piece *p;

	*grows = false;
	for (p = cache->first; p != NULL; p = p->next)
	{
		if (p->state != QUEUED ||
			(counts(p) && cache->fetching >= cache->at_once))
			continue;
		if (cache->ahead + p->len > AHEAD_MAX)
		{
			drop_stale(cache);
			return NULL;
		}
		if (is_long(p) || omb_time_steady() - p->at > GROWS)
			return p;
		*grows = true;
	}
	return NULL;
}

/* Wait for a change, or until a piece has grown. */
static void
wait_grown(omb_cloud_cache *cache)
{
	struct timespec until;

	(void) clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long) GROWS * 1000;
	if (until.tv_nsec >= 1000000000)
	{
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void) pthread_cond_timedwait(&cache->changed, &cache->lock, &until);
}

static void *
run_fetcher(void *arg)
{
	omb_cloud_cache *cache = arg;

	(void) pthread_mutex_lock(&cache->lock);
	while (!cache->stopping)
	{
		bool grows;
		piece *p = next_ahead(cache, &grows);
		omb_error ignored = OMB_ERROR_INIT;
		bool good;

		if (p == NULL)
		{
			if (grows)
				wait_grown(cache);
			else
				(void) pthread_cond_wait(&cache->changed, &cache->lock);
			continue;
		}
		p->state = FETCHING;
		p->users++;
		cache->ahead += p->len;
		if (counts(p))
			cache->fetching++;
		(void) pthread_mutex_unlock(&cache->lock);
		good = fetch(cache, p, "", &ignored) == OMB_OK;
		(void) pthread_mutex_lock(&cache->lock);
		end_fetch(cache, p, good);
		if (counts(p))
			cache->fetching--;
		release(cache, p);
	}
	(void) pthread_mutex_unlock(&cache->lock);
	return NULL;
}

void
omb_cloud_cache_expect(omb_cloud_cache *cache, const char *name,
					   uint64_t offset, size_t len)
{
	piece *recent[JOINED] = { NULL, NULL, NULL, NULL };
	unsigned count = 0;
	bool is_news = false; /* for those who fetch */
	piece *p;
	unsigned i;

	if (len == 0 || len > PIECE)
		return;
	(void) pthread_mutex_lock(&cache->lock);
	for (p = cache->first; p != NULL; p = p->next)
	{
		if (strcmp(p->name, name) != 0)
			continue;
		/* it comes already */
		if (offset >= p->offset && offset + len <= p->offset + p->len &&
			!p->forgotten)
			break;
		if (p->state == QUEUED)
			recent[count++ % JOINED] = p;
	}
	for (i = 0; p == NULL && i < JOINED; i++)
	{
		piece *q = recent[i];

		if (q != NULL && offset >= q->offset &&
			offset <= q->offset + q->len + GAP &&
			offset + len - q->offset <= PIECE)
		{
			bool was_long = is_long(q);

			if (offset + len > q->offset + q->len)
				q->len = (size_t) (offset + len - q->offset);
			is_news = !was_long && is_long(q);
			q->wanted += len;
			p = q;
		}
	}
	if (p == NULL)
	{
		p = add_piece(cache, name, offset, len);
		p->ahead = true;
		p->at = omb_time_steady();
		p->wanted = len;
		is_news = true;
	}
	while (cache->threads < FETCHERS &&
		   pthread_create(&cache->thread[cache->threads], NULL, run_fetcher,
						  cache) == 0)
		cache->threads++;
	if (is_news)
		(void) pthread_cond_broadcast(&cache->changed);
	(void) pthread_mutex_unlock(&cache->lock);
}

/* ---- reading ---- */

/* A piece that has a byte of an object, whatever its state. */
static piece *
find_piece(const omb_cloud_cache *cache, const omb_cloud_source *source,
		   uint64_t offset)
{
	piece *p;

	for (p = cache->first; p != NULL; p = p->next)
		if (offset >= p->offset && offset - p->offset < p->len &&
			!p->forgotten && strcmp(p->name, source->name) == 0 &&
			(p->state != THERE || strcmp(p->etag, source->etag) == 0))
			return p;
	return NULL;
}

/* What to fetch for a read that begins at offset. */
static piece *
new_window(omb_cloud_cache *cache, omb_cloud_source *source, uint64_t offset,
		   size_t len)
{
	size_t size = WINDOW_FIRST;
	uint64_t from = offset;

	if (offset == source->next)
	{
		if (source->window < WINDOW_LAST)
			source->window *= WINDOW_GROWS;
		size = source->window;
	}
	else
	{
		source->window = WINDOW_FIRST;
		/* who looks at the end of an object looks for what lies before */
		if (source->size - offset < WINDOW_FIRST)
			from =
				source->size > WINDOW_FIRST ? source->size - WINDOW_FIRST : 0;
	}
	if (offset - from + len > size)
		size = (size_t) (offset - from) + len;
	if (size > source->size - from)
		size = (size_t) (source->size - from);
	return add_piece(cache, source->name, from, size);
}

/*
 * Fetch a piece for a reader that waits for it, and then is a user of it,
 * unless it failed; the cache is locked.
 */
static omb_status
fetch_now(omb_cloud_cache *cache, piece *p, const char *etag, omb_error *err)
{
	p->state = FETCHING;
	p->users++;
	if (p->ahead)
		cache->ahead += p->len;
	(void) pthread_mutex_unlock(&cache->lock);
	(void) fetch(cache, p, etag, err);
	(void) pthread_mutex_lock(&cache->lock);
	end_fetch(cache, p, err->status == OMB_OK);
	if (err->status != OMB_OK)
		release(cache, p);
	return err->status;
}

/* Copy what a piece has of so many bytes; the caller is a user of it. */
static size_t
copy_part(omb_cloud_cache *cache, piece *p, uint64_t offset, uint8_t *out,
		  size_t len)
{
	size_t part = (size_t) (p->offset + p->len - offset);

	if (part > len)
		part = len;
	(void) pthread_mutex_unlock(&cache->lock);
	memcpy(out, p->data + (offset - p->offset), part);
	(void) pthread_mutex_lock(&cache->lock);
	note_read(cache, p, part);
	release(cache, p);
	trim(cache);
	return part;
}

omb_status
omb_cloud_cache_read(omb_cloud_cache *cache, omb_cloud_source *source,
					 uint64_t offset, void *data, size_t len, omb_error *err)
{
	uint8_t *out = data;

	(void) pthread_mutex_lock(&cache->lock);
	while (len > 0 && err->status == OMB_OK)
	{
		piece *p = find_piece(cache, source, offset);
		size_t part;

		if (p == NULL)
			p = new_window(cache, source, offset, len);
		if (p->state == FETCHING)
		{
			(void) pthread_cond_wait(&cache->changed, &cache->lock);
			continue;
		}
		if (p->state == THERE)
			p->users++;
		else if (fetch_now(cache, p, source->etag, err) != OMB_OK)
			break;
		part = copy_part(cache, p, offset, out, len);
		out += part;
		offset += part;
		len -= part;
	}
	source->next = offset;
	(void) pthread_mutex_unlock(&cache->lock);
	return err->status;
}

/* What is known of an object without asking; the cache is locked. */
static piece *
find_known(const omb_cloud_cache *cache, const char *name)
{
	int64_t limit = omb_time_steady() - FRESH;
	piece *p;

	for (p = cache->first; p != NULL; p = p->next)
		if (!p->forgotten && strcmp(p->name, name) == 0 &&
			(p->state != THERE || p->ahead || p->at >= limit))
			return p;
	return NULL;
}

omb_status
omb_cloud_cache_open(omb_cloud_cache *cache, const char *name,
					 omb_cloud_source *source, omb_error *err)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf start = OMB_BUF_INIT;
	omb_cloud_found found;
	piece *p;

	memset(source, 0, sizeof(*source));
	source->window = WINDOW_FIRST / WINDOW_GROWS;
	(void) pthread_mutex_lock(&cache->lock);
	while ((p = find_known(cache, name)) != NULL && p->state != THERE)
	{
		if (p->state == QUEUED)
		{
			if (fetch_now(cache, p, "", &ignored) == OMB_OK)
				release(cache, p);
			omb_error_clear(&ignored);
		}
		else
			(void) pthread_cond_wait(&cache->changed, &cache->lock);
	}
	if (p != NULL)
	{
		source->name = omb_strdup(name);
		source->size = p->size;
		memcpy(source->etag, p->etag, sizeof(source->etag));
		(void) pthread_mutex_unlock(&cache->lock);
		return OMB_OK;
	}
	(void) pthread_mutex_unlock(&cache->lock);
	if (omb_cloud_peek(cache->client, name, START, &found, &start, err) !=
		OMB_OK)
	{
		omb_buf_free(&start);
		return err->status;
	}
	source->name = omb_strdup(name);
	source->size = found.size;
	memcpy(source->etag, found.etag, sizeof(source->etag));
	if (start.len == 0)
	{
		omb_buf_free(&start);
		return OMB_OK;
	}
	source->next = start.len;
	(void) pthread_mutex_lock(&cache->lock);
	p = add_piece(cache, name, 0, start.len);
	p->data = start.data;
	p->size = found.size;
	memcpy(p->etag, found.etag, sizeof(p->etag));
	end_fetch(cache, p, true);
	(void) pthread_mutex_unlock(&cache->lock);
	return OMB_OK;
}

void
omb_cloud_cache_forget(omb_cloud_cache *cache, const char *name)
{
	piece *p, *next;

	(void) pthread_mutex_lock(&cache->lock);
	for (p = cache->first; p != NULL; p = next)
	{
		next = p->next;
		if (strcmp(p->name, name) != 0)
			continue;
		p->forgotten = true;
		if (p->users == 0)
			drop_piece(cache, p);
	}
	(void) pthread_cond_broadcast(&cache->changed);
	(void) pthread_mutex_unlock(&cache->lock);
}

/* ---- the cache ---- */

omb_cloud_cache *
omb_cloud_cache_new(omb_cloud_client *client)
{
	omb_cloud_cache *cache = omb_calloc(1, sizeof(*cache));
	pthread_condattr_t attributes;

	cache->client = client;
	cache->at_once = FETCHERS_FIRST;
	(void) pthread_mutex_init(&cache->lock, NULL);
	/* whose waits do not become hours when the clock is set */
	(void) pthread_condattr_init(&attributes);
	(void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void) pthread_cond_init(&cache->changed, &attributes);
	(void) pthread_condattr_destroy(&attributes);
	return cache;
}

void
omb_cloud_cache_free(omb_cloud_cache *cache)
{
	unsigned i;

	if (cache == NULL)
		return;
	(void) pthread_mutex_lock(&cache->lock);
	cache->stopping = true;
	(void) pthread_cond_broadcast(&cache->changed);
	(void) pthread_mutex_unlock(&cache->lock);
	for (i = 0; i < cache->threads; i++)
		(void) pthread_join(cache->thread[i], NULL);
	while (cache->first != NULL)
		drop_piece(cache, cache->first);
	(void) pthread_cond_destroy(&cache->changed);
	(void) pthread_mutex_destroy(&cache->lock);
	free(cache);
}
