/*
 * cloudlist.c: listing what is in a cloud store.
 */
#include "store/cloud/cloudlist.h"

#include "base/file.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Lists that are asked for ahead. */
#define ASKED_MAX 4
/* An answer is believed for so many seconds. */
#define FRESH (INT64_C(10) * 1000000)

/* The first page of a list, asked for by a thread of its own. */
typedef struct asked
{
	omb_cloud_client *client;
	char *folder; /* NULL: not in use */
	bool recursive;
	int64_t at;
	pthread_t thread;
	bool good;
	omb_cloud_page page;
} asked;

struct omb_cloud_lists
{
	omb_cloud_client *client;
	pthread_mutex_t lock;
	asked asked[ASKED_MAX];
};

static int
compare_items(const void *a, const void *b)
{
	return strcmp(((const omb_cloud_item *) a)->key,
				  ((const omb_cloud_item *) b)->key);
}

/* Fetch one page. */
static omb_status
fetch_page(omb_cloud_client *client, const char *folder, bool recursive,
		   const char *token, omb_cloud_page *page, omb_error *err)
{
	omb_cloud_call call = { .action = "list objects", .method = "GET" };
	omb_cloud_answer answer = { 0 };
	omb_buf query = OMB_BUF_INIT;

	client->provider->put_list_query(client, folder, recursive, token, &query);
	call.query = omb_buf_text(&query);
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK &&
		!client->provider->parse_page(answer.http.body.data,
									  answer.http.body.len, page))
		(void) omb_cloud_nonsense(client, &call, err);
	omb_buf_free(&query);
	omb_cloud_answer_free(&answer);
	return err->status;
}

/* Keys become names; what is none of ours is left out. */
static omb_status
clean_page(omb_cloud_client *client, omb_cloud_page *page, omb_error *err)
{
	const char *prefix = client->prefix;
	size_t skip = strlen(prefix);
	size_t kept = 0;
	size_t i;

	for (i = 0; i < page->count; i++)
	{
		omb_cloud_item *item = &page->item[i];
		size_t len = strlen(item->key);

		if (strncmp(item->key, prefix, skip) != 0)
			return omb_error_set(err, OMB_FAILED,
								 "could not list objects in \"%s\": the "
								 "server names others",
								 client->location);
		memmove(item->key, item->key + skip, len - skip + 1);
		len -= skip;
		if (item->is_folder && len > 0 && item->key[len - 1] == '/')
			item->key[len - 1] = '\0';
		if (omb_path_is_safe(item->key))
		{
			omb_cloud_item swap = page->item[kept];

			page->item[kept++] = *item;
			*item = swap;
		}
	}
	for (i = kept; i < page->count; i++)
		free(page->item[i].key);
	page->count = kept;
	return OMB_OK;
}

static omb_status
visit_items(const omb_cloud_page *page, omb_store_visit visit, void *arg,
			omb_error *err)
{
	size_t i;

	for (i = 0; i < page->count && err->status == OMB_OK; i++)
	{
		omb_store_entry entry = { page->item[i].key, page->item[i].is_folder,
								  page->item[i].size };

		(void) visit(&entry, arg, err);
	}
	return err->status;
}

/* Move the items of a page to the end of another. */
static void
join_pages(omb_cloud_page *all, omb_cloud_page *page)
{
	if (page->count == 0)
		return;
	all->item = omb_realloc(all->item,
							(all->count + page->count) * sizeof(*all->item));
	memcpy(all->item + all->count, page->item,
		   page->count * sizeof(*page->item));
	all->count += page->count;
	page->count = 0;
}

/* ---- expecting ---- */

static void *
run_ask(void *arg)
{
	asked *a = arg;
	omb_error ignored = OMB_ERROR_INIT;

	a->good = fetch_page(a->client, a->folder, a->recursive, NULL, &a->page,
						 &ignored) == OMB_OK;
	return NULL;
}

/* Wait for an answer and forget it; page gets it, or NULL. */
static bool
take_answer(asked *a, omb_cloud_page *page)
{
	bool taken = false;

	(void) pthread_join(a->thread, NULL);
	if (a->good && page != NULL)
	{
		*page = a->page;
		taken = true;
	}
	else if (a->good)
		omb_cloud_page_free(&a->page);
	free(a->folder);
	memset(a, 0, sizeof(*a));
	return taken;
}

void
omb_cloud_expect_list(omb_cloud_lists *lists, const char *folder,
					  bool recursive)
{
	size_t i = 0;

	(void) pthread_mutex_lock(&lists->lock);
	while (i < ASKED_MAX && lists->asked[i].folder != NULL)
		i++;
	if (i < ASKED_MAX)
	{
		asked *a = &lists->asked[i];

		a->client = lists->client;
		a->folder = omb_strdup(folder);
		a->recursive = recursive;
		a->at = omb_time_steady();
		if (pthread_create(&a->thread, NULL, run_ask, a) != 0)
		{
			free(a->folder);
			memset(a, 0, sizeof(*a));
		}
	}
	(void) pthread_mutex_unlock(&lists->lock);
}

void
omb_cloud_lists_forget(omb_cloud_lists *lists)
{
	size_t i;

	(void) pthread_mutex_lock(&lists->lock);
	for (i = 0; i < ASKED_MAX; i++)
		if (lists->asked[i].folder != NULL)
			(void) take_answer(&lists->asked[i], NULL);
	(void) pthread_mutex_unlock(&lists->lock);
}

/* The first page, when it was expected and the answer is new and good. */
static bool
find_answer(omb_cloud_lists *lists, const char *folder, bool recursive,
			omb_cloud_page *page)
{
	bool found = false;
	size_t i;

	(void) pthread_mutex_lock(&lists->lock);
	for (i = 0; i < ASKED_MAX && !found; i++)
	{
		asked *a = &lists->asked[i];

		if (a->folder != NULL && a->recursive == recursive &&
			strcmp(a->folder, folder) == 0)
			found = take_answer(a, omb_time_steady() - a->at <= FRESH ? page :
																		NULL);
	}
	(void) pthread_mutex_unlock(&lists->lock);
	return found;
}

omb_cloud_lists *
omb_cloud_lists_new(omb_cloud_client *client)
{
	omb_cloud_lists *lists = omb_calloc(1, sizeof(*lists));

	lists->client = client;
	(void) pthread_mutex_init(&lists->lock, NULL);
	return lists;
}

void
omb_cloud_lists_free(omb_cloud_lists *lists)
{
	if (lists == NULL)
		return;
	omb_cloud_lists_forget(lists);
	(void) pthread_mutex_destroy(&lists->lock);
	free(lists);
}

/* ---- listing ---- */

/*
 * A server sorts by whole keys, "a-b" before "a/": within one folder objects
 * come in order, but folders among them do not. So one folder is listed whole
 * and sorted, and all objects are visited page by page.
 */
omb_status
omb_cloud_list(omb_cloud_lists *lists, const char *folder, bool recursive,
			   omb_store_visit visit, void *arg, omb_error *err)
{
	omb_cloud_client *client = lists->client;
	omb_cloud_page all = { 0 };
	omb_cloud_page page = { 0 };
	char *token = NULL;

	do
	{
		if (token != NULL || !find_answer(lists, folder, recursive, &page))
			(void) fetch_page(client, folder, recursive, token, &page, err);
		free(token);
		token = page.token;
		page.token = NULL;
		if (err->status == OMB_OK && clean_page(client, &page, err) == OMB_OK)
		{
			if (recursive)
				(void) visit_items(&page, visit, arg, err);
			else
				join_pages(&all, &page);
		}
		omb_cloud_page_free(&page);
	} while (err->status == OMB_OK && token != NULL);
	free(token);
	if (err->status == OMB_OK && all.count > 0)
	{
		qsort(all.item, all.count, sizeof(*all.item), compare_items);
		(void) visit_items(&all, visit, arg, err);
	}
	omb_cloud_page_free(&all);
	return err->status;
}
