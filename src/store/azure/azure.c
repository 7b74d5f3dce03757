/*
 * azure.c: speaking to Azure's Blob service.
 */
#include "store/azure/azure.h"

#include "base/base64.h"
#include "codec/crypto.h"
#include "store/azure/azuresign.h"
#include "store/azure/azurexml.h"
#include "store/s3/s3sign.h"

#include <stdlib.h>
#include <string.h>

/* The version of the protocol, of 2021: block lists may have a condition,
 * errors a code in their header. */
#define VERSION "2021-12-02"
/* The service's limits; a block may have up to 4000 MiB. */
#define BLOCKS_MAX 50000
#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"

/* What is particular to one container. */
typedef struct container
{
	char *base;	 /* URL up to the container, "https://..", without "/" */
	size_t path; /* where the path begins in it */
	char *account;
	char *name;
} container;

static void
free_container(void *own)
{
	container *c = own;

	free(c->base);
	free(c->account);
	free(c->name);
	free(c);
}

/* ---- one try ---- */

static omb_status
azure_prepare(omb_cloud_attempt *a, omb_error *err)
{
	const omb_cloud_client *client = a->client;
	const omb_credentials *keys = &client->keys;
	const omb_cloud_call *call = a->call;
	const container *c = client->own;
	const char *query = call->query != NULL ? call->query : "";
	omb_azure_signing signing = { 0 };
	omb_buf authorization = OMB_BUF_INIT;
	char date[OMB_AZURE_DATE_TEXT];

	omb_buf_printf(&a->url, "%s/%s", c->base, c->name);
	if (call->name != NULL)
	{
		omb_buf_put_u8(&a->url, '/');
		omb_s3_encode(&a->url, client->prefix, true);
		omb_s3_encode(&a->url, call->name, true);
	}
	omb_azure_date(a->time, date);
	omb_cloud_add_header(a, "x-ms-date: %s", date);
	omb_cloud_add_header(a, "x-ms-version: " VERSION);
	omb_cloud_sort_headers(a);
	signing.account = c->account;
	signing.method = call->method;
	signing.path = omb_buf_text(&a->url) + c->path;
	signing.query = query;
	signing.header = (const char *const *) a->header;
	signing.header_count = a->header_count;
	signing.body_len = call->body_len;
	if (keys->account_key == NULL)
	{
		if (omb_cloud_is_private(c->base, err) == OMB_OK)
			omb_buf_printf(&a->url, "?%s%s%s", query,
						   *query != '\0' ? "&" : "", keys->sas_token);
	}
	else if (omb_azure_sign(&signing, keys->account_key, &authorization))
	{
		omb_cloud_add_header(a, "authorization: %s",
							 omb_buf_text(&authorization));
		if (*query != '\0')
			omb_buf_printf(&a->url, "?%s", query);
	}
	else
		(void) omb_error_set(err, OMB_USAGE,
							 "account_key of Azure is no base64");
	omb_buf_free(&authorization);
	return err->status;
}

static void
azure_explain(const omb_cloud_call *call, const omb_cloud_answer *answer,
			  omb_error *err)
{
	static const char *const bad_key[] = { "AuthenticationFailed",
										   "InvalidAuthenticationInfo",
										   "NoAuthenticationInformation",
										   "AuthorizationFailure", NULL };
	const char *code = answer->error.code;

	if (omb_cloud_is_code(answer, bad_key))
		omb_error_hint(err,
					   "Check account_key or sas_token in the credentials "
					   "file, and whether the token has expired. It needs "
					   "read, create, write, delete and list (rcwdl) on the "
					   "container.");
	else if (strcmp(code, "ContainerNotFound") == 0)
		omb_error_hint(err, "Check the name of the container, or create it.");
	else if (strcmp(code, "BlobImmutableDueToPolicy") == 0)
		err->status = OMB_REFUSED; /* it is locked */
	else if (strcmp(code, "BlobArchived") == 0)
		omb_error_hint(err, "Set the access tier of the blobs to one that can "
							"be read, and wait until that is done.");
	else if (answer->http.status == 403 || answer->http.status == 401)
		omb_error_hint(err, "The token needs read, create, write, delete and "
							"list (rcwdl) on the container; to restore, read "
							"and list are enough.");
	else if (answer->http.status / 100 == 3)
		omb_error_hint(err, "Check the endpoint of the target.");
}

/* ---- listing ---- */

static void
put_list_query(const omb_cloud_client *client, const char *folder,
			   bool recursive, const char *token, omb_buf *query)
{
	omb_buf_printf(query, "comp=list");
	if (!recursive)
		omb_buf_printf(query, "&delimiter=%%2F");
	if (token != NULL)
	{
		omb_buf_printf(query, "&marker=");
		omb_s3_encode(query, token, false);
	}
	omb_buf_printf(query, "&prefix=");
	omb_s3_encode(query, client->prefix, false);
	omb_s3_encode(query, folder, false);
	if (*folder != '\0')
		omb_buf_printf(query, "%%2F");
	omb_buf_printf(query, "&restype=container");
}

/* ---- writing ---- */

/* The MD5 of a body, by which the server sees whether it is whole. */
static void
put_md5(const void *data, size_t len, omb_cloud_call *call, omb_buf *text)
{
	uint8_t md5[OMB_MD5_SIZE];

	if (!omb_md5(len > 0 ? data : "", len, md5))
		return;
	omb_buf_printf(text, "content-md5: ");
	omb_base64_put(text, md5, sizeof(md5));
	call->header[call->header_count++] = omb_buf_text(text);
}

static void
put_headers(omb_cloud_client *client, const void *data, size_t len,
			omb_cloud_call *call, omb_buf *text)
{
	call->header[call->header_count++] = "x-ms-blob-type: BlockBlob";
	put_md5(data, len, call, text);
}

/*
 * The name of a block, which all have the same length: a blob may have blocks
 * of several writers, who do not want each other's.
 */
static void
put_block_id(const omb_cloud_parts *parts, omb_buf *out)
{
	char *name = omb_format("%s%05u", parts->mark, parts->number);

	omb_base64_put(out, name, strlen(name));
	free(name);
}

static omb_status
parts_begin(omb_cloud_client *client, omb_cloud_parts *parts, omb_error *err)
{
	return OMB_OK;
}

static omb_status
parts_send(omb_cloud_client *client, omb_cloud_parts *parts, omb_error *err)
{
	omb_cloud_call call = { .action = "store a part of object",
							.method = "PUT",
							.name = parts->name,
							.body = parts->data,
							.body_len = parts->len };
	omb_cloud_answer answer = { 0 };
	omb_buf id = OMB_BUF_INIT;
	omb_buf query = OMB_BUF_INIT;
	omb_buf text = OMB_BUF_INIT;

	put_block_id(parts, &id);
	omb_buf_printf(&query, "blockid=");
	omb_s3_encode(&query, omb_buf_text(&id), false);
	omb_buf_printf(&query, "&comp=block");
	call.query = omb_buf_text(&query);
	put_md5(parts->data, parts->len, &call, &text);
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
		omb_buf_printf(&parts->list, "<Uncommitted>%s</Uncommitted>",
					   omb_buf_text(&id));
	omb_cloud_answer_free(&answer);
	omb_buf_free(&text);
	omb_buf_free(&query);
	omb_buf_free(&id);
	return err->status;
}

static void
parts_finish(const omb_cloud_client *client, omb_cloud_parts *parts,
			 omb_cloud_call *call, omb_buf *text)
{
	size_t i;

	omb_buf_printf(text,
				   "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>"
				   "%s</BlockList>",
				   omb_buf_text(&parts->list));
	call->method = "PUT";
	call->query = "comp=blocklist";
	call->body = text->data;
	call->body_len = text->len;
	for (i = 0; i < parts->header_count; i++)
		call->header[call->header_count++] = parts->header[i];
}

/* ---- the client ---- */

static omb_status
check_config(const omb_azure_config *config, omb_error *err)
{
	if (config->account == NULL || *config->account == '\0' ||
		config->account[strspn(config->account, LOWER)] != '\0')
		return omb_error_set(err, OMB_USAGE,
							 "the name of an Azure storage account has "
							 "lower-case letters and digits only");
	if (config->container == NULL || *config->container == '\0' ||
		config->container[strspn(config->container, LOWER "-$")] != '\0')
		return omb_error_set(err, OMB_USAGE,
							 "the name of an Azure container has lower-case "
							 "letters, digits and \"-\" only");
	if (!omb_cloud_is_word(config->access_tier))
		return omb_error_set(err, OMB_USAGE,
							 "the access tier must be a word of ASCII "
							 "characters");
	return OMB_OK;
}

static container *
new_container(const omb_azure_config *config, omb_error *err)
{
	size_t len = strlen(config->account);
	char *scheme = NULL;
	char *host = NULL;
	container *c;

	if (config->endpoint != NULL &&
		omb_cloud_endpoint(config->endpoint, &scheme, &host, err) != OMB_OK)
		return NULL;
	c = omb_calloc(1, sizeof(*c));
	c->account = omb_strdup(config->account);
	c->name = omb_strdup(config->container);
	if (host == NULL)
		c->base = omb_format("https://%s.blob.core.windows.net", c->account);
	else if (strncmp(host, c->account, len) == 0 && host[len] == '.')
		c->base = omb_format("%s%s", scheme, host);
	else
		c->base = omb_format("%s%s/%s", scheme, host, c->account);
	c->path = host == NULL ? strlen(c->base) : strlen(scheme) + strlen(host);
	free(scheme);
	free(host);
	return c;
}

omb_status
omb_azure_client_new(const omb_azure_config *config, omb_cloud_client **client,
					 omb_error *err)
{
	static const char *const passing[] = {
		"ServerBusy",  "InternalError",	 "OperationTimedOut",
		"Md5Mismatch", "RequestTimeout", "IncompleteBody",
		NULL
	};
	static const omb_cloud_provider provider = {
		.mark = "x-ms-meta-omb_upload",
		.create_only = "if-none-match: *",
		.absent = "BlobNotFound",
		.part_size = 1024 * 1024,
		.parts_max = BLOCKS_MAX,
		.read_keys = omb_credentials_read_azure,
		.prepare = azure_prepare,
		.passing = passing,
		.explain = azure_explain,
		.put_list_query = put_list_query,
		.parse_page = omb_azure_parse_blobs,
		.put_headers = put_headers,
		.parts_begin = parts_begin,
		.parts_send = parts_send,
		.parts_finish = parts_finish,
		.free_own = free_container,
	};
	container *c;
	char *where;

	*client = NULL;
	if (check_config(config, err) != OMB_OK)
		return err->status;
	c = new_container(config, err);
	if (c == NULL)
		return err->status;
	where = omb_format("azblob://%s/%s", c->account, c->name);
	*client = omb_cloud_client_new(&provider, c, where, &config->common);
	free(where);
	omb_cloud_client_option(*client, "x-ms-access-tier", config->access_tier);
	return OMB_OK;
}

omb_status
omb_store_azure_new(const omb_azure_config *config, omb_store **out,
					omb_error *err)
{
	omb_cloud_client *client;

	*out = NULL;
	if (omb_azure_client_new(config, &client, err) == OMB_OK)
		*out = omb_store_cloud_new(client);
	return err->status;
}
