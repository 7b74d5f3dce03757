/*
 * webdavclient.c: requests to a WebDAV server, over store/cloud/cloudclient.h.
 */
#include "store/webdav/webdavclient.h"

#include "store/s3/s3sign.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Not all that a server knows: of many files that would be megabytes. */
#define WANTED                                                             \
	"<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\">"  \
	"<prop><resourcetype/><getcontentlength/><getetag/><getlastmodified/>" \
	"</prop></propfind>"

/* What is particular to one server. */
typedef struct server
{
	char *base;	 /* "https://host" */
	bool digest; /* it wants that; learned */
} server;

static void
free_server(void *own)
{
	server *s = own;

	free(s->base);
	free(s);
}

void
omb_dav_url(const omb_cloud_client *client, const char *name, omb_buf *out)
{
	omb_buf_printf(out, "%s/", ((const server *) client->own)->base);
	omb_s3_encode(out, client->prefix, true);
	omb_s3_encode(out, name, true);
}

static omb_status
dav_prepare(omb_cloud_attempt *a, omb_error *err)
{
	const omb_cloud_client *client = a->client;

	omb_dav_url(client, a->call->name, &a->url);
	if (client->keys.user != NULL)
		a->user = omb_strdup(client->keys.user);
	if (client->keys.password != NULL)
		a->password = omb_strdup(client->keys.password);
	a->digest = ((const server *) client->own)->digest;
	return OMB_OK;
}

/* Does it ask for the other way to log in? */
static bool
dav_learn(omb_cloud_attempt *a)
{
	server *s = a->client->own;
	char asked[16] = "";
	bool digest;

	if (a->answer->http.status != 401 || a->learned > 0 ||
		!omb_http_header(&a->answer->http, "www-authenticate", asked,
						 sizeof(asked)))
		return false;
	a->learned++;
	digest = strncasecmp(asked, "digest", 6) == 0;
	if (digest == a->digest)
		return false;
	(void) pthread_mutex_lock(&a->client->lock);
	s->digest = digest;
	(void) pthread_mutex_unlock(&a->client->lock);
	return true;
}

static void
dav_explain(const omb_cloud_call *call, const omb_cloud_answer *answer,
			omb_error *err)
{
	switch (answer->http.status)
	{
		case 401:
			omb_error_hint(err, "Check user and password in the credentials "
								"file.");
			break;
		case 403:
			omb_error_hint(err, "Check that the user may read and write in "
								"the folder on the server.");
			break;
		case 405:
		case 501:
			omb_error_hint(err, "Check that WebDAV is on for that path of the "
								"server.");
			break;
		default:
			if (answer->http.status / 100 == 3)
				omb_error_hint(err, "Check the path: the server wants to send "
									"the request somewhere else.");
	}
}

static bool
is_this_machine(const char *host)
{
	size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

	return (len == 9 && strncasecmp(host, "localhost", 9) == 0) ||
		   (len > 4 && strspn(host, "0123456789.") == len &&
			strncmp(host, "127.", 4) == 0) ||
		   (len == 5 && strncmp(host, "[::1]", 5) == 0);
}

omb_status
omb_dav_client_new(const omb_webdav_config *config, omb_cloud_client **client,
				   omb_error *err)
{
	static const char *const passing[] = { NULL };
	static const omb_cloud_provider provider = {
		.part_size = 1,
		.read_keys = omb_credentials_read_login,
		.prepare = dav_prepare,
		.learn = dav_learn,
		.passing = passing,
		.explain = dav_explain,
		.free_own = free_server,
	};
	const char *scheme = config->tls ? "webdavs" : "webdav";
	server *s;
	char *where;

	*client = NULL;
	if (config->host == NULL || *config->host == '\0' ||
		!omb_cloud_is_word(config->host) ||
		strpbrk(config->host, "/?#@") != NULL)
		return omb_error_set(err, OMB_USAGE,
							 "the URL \"%s://\" names no server", scheme);
	if (config->common.credentials_file == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "there are no credentials for \"%s://%s\"",
							 scheme, config->host);
		omb_error_hint(err, "Give a credentials file with \"user=...\" and "
							"\"password=...\".");
		return err->status;
	}
	if (!config->tls && !config->allow_plain && !is_this_machine(config->host))
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "\"webdav://%s\" would send the password so that "
							 "others can read it",
							 config->host);
		omb_error_hint(err, "Use webdavs://, or add allow-plain=yes where the "
							"network is your own.");
		return err->status;
	}
	s = omb_calloc(1, sizeof(*s));
	s->base =
		omb_format("%s://%s", config->tls ? "https" : "http", config->host);
	where = omb_format("%s://%s", scheme, config->host);
	*client = omb_cloud_client_new(&provider, s, where, &config->common);
	free(where);
	return OMB_OK;
}

/* ---- requests ---- */

omb_status
omb_dav_do(omb_cloud_client *client, const char *method, const char *action,
		   const char *name, const char *const *header, size_t header_count,
		   bool once, int *status, omb_error *err)
{
	omb_cloud_call call = {
		.action = action, .method = method, .name = name, .once = once
	};
	omb_cloud_answer answer = { 0 };

	while (header_count > 0)
		call.header[call.header_count++] = header[--header_count];
	(void) omb_cloud_do(client, &call, &answer, err);
	*status = answer.http.status;
	omb_cloud_answer_free(&answer);
	return err->status;
}

/* One PROPFIND; without a look at what a 404 means. */
static omb_status
ask(omb_cloud_client *client, const char *name, bool with, omb_dav_list *list,
	int64_t *now, omb_error *err)
{
	omb_cloud_call call = { .action = "look at",
							.method = "PROPFIND",
							.name = name,
							.header = { with ? "depth: 1" : "depth: 0",
										"content-type: application/xml" },
							.header_count = 2,
							.body = WANTED,
							.body_len = sizeof(WANTED) - 1 };
	omb_cloud_answer answer = { 0 };
	char *path = omb_format("%s%s", client->prefix, name);
	size_t len = strlen(path);
	const char *slash;

	while (len > 0 && path[len - 1] == '/')
		path[--len] = '\0';
	slash = strrchr(path, '/');
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
	{
		if (answer.http.status != 207 ||
			!omb_dav_parse(answer.http.body.data, answer.http.body.len,
						   slash != NULL ? slash + 1 : path, list))
			(void) omb_cloud_nonsense(client, &call, err);
		if (now != NULL && !omb_http_date(&answer.http, now))
			*now = omb_cloud_client_now(client);
	}
	else if (answer.http.status == 404)
		err->status = OMB_NOT_FOUND;
	omb_cloud_answer_free(&answer);
	free(path);
	return err->status;
}

omb_status
omb_dav_find(omb_cloud_client *client, const char *name, bool with,
			 omb_dav_list *list, int64_t *now, omb_error *err)
{
	omb_dav_list root;
	omb_error absent;

	memset(list, 0, sizeof(*list));
	if (ask(client, name, with, list, now, err) != OMB_NOT_FOUND)
		return err->status;
	absent = *err;
	omb_error_clear(err);
	if (ask(client, "", false, &root, NULL, err) == OMB_OK)
	{
		omb_dav_list_free(&root);
		*err = absent;
	}
	else if (err->status == OMB_NOT_FOUND)
	{
		(void) omb_error_set(err, OMB_FAILED, "there is no folder \"%s\"",
							 client->location);
		omb_error_hint(err, "Create it on the server. Where it was before, "
							"check that its file system is mounted.");
	}
	return err->status;
}

omb_status
omb_dav_look(omb_cloud_client *client, const char *name, uint64_t *size,
			 omb_error *err)
{
	omb_dav_list list;

	if (omb_dav_find(client, name, false, &list, NULL, err) != OMB_OK)
		return err->status;
	*size = list.item[0].size;
	if (list.item[0].is_folder || !list.item[0].has_size)
		(void) omb_error_set(err, OMB_FAILED, "\"%s\" in \"%s\" is no file",
							 name, client->location);
	omb_dav_list_free(&list);
	return err->status;
}
