/*
 * mirrorcheck.c: comparing a copy of a repository with the original.
 */
#include "task/mirror/mirrorcheck.h"

#include "base/buffer.h"
#include "base/text.h"
#include "repo/manifest.h"
#include "repo/revision.h"
#include "repo/walobject.h"
#include "task/mirror/mirrorcopy.h"
#include "task/mirror/mirrorsend.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* So many objects are read in one run. */
#define READ_MAX 500000
#define MARK_MAX (64 * 1024)

typedef struct check
{
	const omb_mirror_config *config;
	omb_mirror_check_result *result;
	omb_repository_facts facts;
	omb_mirror_set *source;	 /* what it has */
	omb_mirror_items sample; /* to be read */
	omb_mirror_items bad;	 /* other at the target than at the source */
	unsigned percent;
	uint8_t *piece;
} check;

static omb_status
note_source(const omb_store_entry *entry, void *arg, omb_error *err)
{
	check *c = arg;

	omb_mirror_set_add(c->source, entry->name, entry->size);
	return OMB_OK;
}

static bool
is_sampled(const check *c)
{
	uint32_t number;

	if (c->percent == 0 || c->sample.count == READ_MAX)
		return false;
	omb_random(&number, sizeof(number));
	return number % 100 < c->percent;
}

static void
tell(const check *c, const char *name, omb_status status, const char *what)
{
	omb_error problem = OMB_ERROR_INIT;

	(void) omb_error_set(&problem, status, "object \"%s\" of \"%s\" %s", name,
						 c->config->to->location, what);
	c->config->problem(name, &problem, c->config->arg);
}

static omb_status
compare_object(const omb_store_entry *entry, void *arg, omb_error *err)
{
	check *c = arg;
	omb_revision revision;
	uint64_t size;

	if (strncmp(entry->name, "lost+found", 10) == 0)
		return OMB_OK;
	if (!omb_mirror_is_object(entry->name))
	{
		c->result->strange++;
		tell(c, entry->name, OMB_DAMAGED, "is none of a repository");
		return OMB_OK;
	}
	if (!omb_mirror_set_find(c->source, entry->name, &size))
	{
		c->result->extra++;
		return OMB_OK;
	}
	/* prune writes revisions of its own, here and there */
	if (omb_revision_parse(entry->name, &revision) && revision.number > 1)
		return OMB_OK;
	c->result->compared++;
	if (size != entry->size)
	{
		c->result->changed++;
		tell(c, entry->name, OMB_DAMAGED, "has another size than it had");
		(void) omb_mirror_items_add(&c->bad, entry->name, size);
	}
	else if (is_sampled(c))
		(void) omb_mirror_items_add(&c->sample, entry->name, size);
	return OMB_OK;
}

/* Read an object at the target; *same tells whether it is what it should be. */
static omb_status
read_object(const check *c, const char *name, bool *same, omb_error *err)
{
	uint8_t here[OMB_SHA256_SIZE], there[OMB_SHA256_SIZE];

	*same = true;
	if (omb_mirror_hash(c->config->to, name, c->piece, there, err) != OMB_OK)
	{
		/* a target that cannot read its own bytes has lost them */
		*same = err->status != OMB_DAMAGED;
		if (!*same)
			omb_error_clear(err);
		return err->status;
	}
	if (strncmp(name, "packs/", 6) == 0)
	{
		if (!omb_hex_parse(strrchr(name, '/') + 1, here, sizeof(here)))
			return OMB_OK;
	}
	else if (omb_mirror_hash(c->config->from, name, c->piece, here, err) !=
			 OMB_OK)
	{
		/* retention has removed it meanwhile */
		if (err->status == OMB_NOT_FOUND)
			omb_error_clear(err);
		return err->status;
	}
	*same = memcmp(here, there, sizeof(here)) == 0;
	return OMB_OK;
}

static omb_status
read_sample(check *c, omb_error *err)
{
	uint64_t total = 0, done = 0;
	size_t i;

	for (i = 0; i < c->sample.count; i++)
		total += c->sample.item[i].size;
	for (i = 0; i < c->sample.count; i++)
	{
		const omb_mirror_item *item = &c->sample.item[i];
		bool same;

		if (read_object(c, item->name, &same, err) != OMB_OK)
		{
			/* removed meanwhile: the mirror will see */
			if (err->status != OMB_NOT_FOUND)
				return err->status;
			omb_error_clear(err);
			continue;
		}
		c->result->read++;
		if (!same)
		{
			c->result->changed++;
			tell(c, item->name, OMB_DAMAGED, "has other bytes than it had");
			(void) omb_mirror_items_add(&c->bad, item->name, item->size);
		}
		done += item->size;
		c->config->progress("reading the target", done, total, c->config->arg);
	}
	return OMB_OK;
}

/* ---- healing ---- */

static omb_status
prove_manifest(const check *c, const char *id, omb_error *err)
{
	omb_manifest *manifest;
	bool end = false;

	if (omb_manifest_open(c->config->repo, id, &manifest, err) != OMB_OK)
		return err->status;
	while (!end && err->status == OMB_OK)
	{
		omb_entry entry;

		memset(&entry, 0, sizeof(entry));
		(void) omb_manifest_next(manifest, &entry, &end, err);
		omb_entry_clear(&entry);
	}
	omb_manifest_close(manifest);
	return err->status;
}

/*
 * Is the source's object good? When two differ somebody has to be right: a
 * pack proves itself by its name, other objects by their seals.
 */
static omb_status
prove_source(const check *c, const char *name, omb_error *err)
{
	omb_repository *repo = c->config->repo;
	omb_mirror_route route;
	omb_mirror_copied copied;
	omb_revision revision;
	omb_wal_object wal;
	omb_wal_facts facts;
	omb_buf content = OMB_BUF_INIT;

	memset(&route, 0, sizeof(route));
	route.from = c->config->from;
	memcpy(route.repository_id, c->facts.id, sizeof(route.repository_id));
	if (omb_mirror_copy(&route, name, c->piece, &copied, err) != OMB_OK ||
		strncmp(name, "packs/", 6) == 0)
		return err->status;
	if (repo == NULL)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "which of the two objects \"%s\" is good cannot "
							 "be told without the key",
							 name);
		omb_error_hint(err, "Give --key-file or --recovery-code-file.");
	}
	else if (omb_revision_parse(name, &revision))
		(void) prove_manifest(c, revision.id, err);
	else if (omb_wal_object_parse(name, &wal))
		(void) omb_wal_verify(repo, &wal, &facts, err);
	else if (strncmp(name, "marks/", 6) == 0)
		(void) omb_stream_get(repo, OMB_KIND_MARK, name, MARK_MAX, &content,
							  err);
	else
		(void) omb_error_set(err, OMB_REFUSED,
							 "which of the two objects \"%s\" is good cannot "
							 "be told",
							 name);
	omb_buf_free(&content);
	return err->status;
}

/* Put the source's object in the place of the target's. */
static omb_status
heal_object(const check *c, const char *name, omb_error *err)
{
	omb_mirror_route route;
	omb_mirror_copied copied;
	char *folder;
	char *slash;

	if (prove_source(c, name, err) != OMB_OK)
		return err->status;
	memset(&route, 0, sizeof(route));
	route.from = c->config->from;
	route.to = c->config->to;
	memcpy(route.repository_id, c->facts.id, sizeof(route.repository_id));
	if (omb_store_remove(route.to, name, err) == OMB_NOT_FOUND)
		omb_error_clear(err);
	folder = omb_strdup(name);
	slash = strrchr(folder, '/');
	*(slash ? slash : folder) = '\0';
	if (err->status == OMB_OK &&
		omb_store_settle(route.to, folder, err) == OMB_OK)
		(void) omb_mirror_copy(&route, name, c->piece, &copied, err);
	free(folder);
	return err->status;
}

static omb_status
heal(check *c, omb_error *err)
{
	omb_lock *lock;
	size_t i;

	if (c->bad.count == 0 ||
		omb_store_lock(c->config->to, true, &lock, err) != OMB_OK)
		return err->status;
	for (i = 0; i < c->bad.count; i++)
	{
		omb_error problem = OMB_ERROR_INIT;
		const char *name = c->bad.item[i].name;

		if (heal_object(c, name, &problem) == OMB_OK)
			c->result->healed++;
		else
			c->config->problem(name, &problem, c->config->arg);
	}
	omb_store_unlock(lock);
	return OMB_OK;
}

/* Both must be the same repository: nothing else can be compared. */
static omb_status
check_same(check *c, omb_error *err)
{
	omb_repository_facts other;

	if (omb_repository_look(c->config->from, &c->facts, err) == OMB_OK &&
		omb_repository_look(c->config->to, &other, err) == OMB_OK &&
		memcmp(c->facts.id, other.id, sizeof(other.id)) != 0)
		(void) omb_error_set(err, OMB_REFUSED,
							 "target \"%s\" holds another repository",
							 c->config->to->location);
	return err->status;
}

omb_status
omb_mirror_check(const omb_mirror_config *config, unsigned sample,
				 bool with_heal, omb_mirror_check_result *result,
				 omb_error *err)
{
	check c;

	memset(&c, 0, sizeof(c));
	memset(result, 0, sizeof(*result));
	c.config = config;
	c.result = result;
	c.percent = sample;
	c.source = omb_mirror_set_new();
	c.piece = omb_malloc(OMB_MIRROR_PIECE);
	if (check_same(&c, err) == OMB_OK &&
		omb_store_list(config->from, "", true, note_source, &c, err) ==
			OMB_OK &&
		omb_store_list(config->to, "", true, compare_object, &c, err) ==
			OMB_OK &&
		read_sample(&c, err) == OMB_OK && with_heal)
		(void) heal(&c, err);
	if (err->status == OMB_OK &&
		result->changed + result->strange > result->healed)
	{
		(void) omb_error_set(err, OMB_DAMAGED,
							 "the copy at \"%s\" is not as it was made",
							 config->to->location);
		omb_error_detail(err,
						 "%" PRIu64 " objects changed, %" PRIu64
						 " strange, %" PRIu64 " healed.",
						 result->changed, result->strange, result->healed);
		if (!with_heal && result->changed > 0)
			omb_error_hint(err, "Run the mirror with --check --heal.");
	}
	omb_mirror_items_clear(&c.sample);
	omb_mirror_items_clear(&c.bad);
	omb_mirror_set_free(c.source);
	free(c.piece);
	return err->status;
}
