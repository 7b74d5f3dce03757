/*
 * test_azure.c: the parts of the Azure store that need no server: signatures,
 * listings, credentials, descriptions.
 */
#include "test/tap.h"
#include "test/descriptions.h"

#include "base/base64.h"
#include "codec/crypto.h"
#include "store/azure/azure.h"
#include "store/azure/azuresign.h"
#include "store/azure/azurexml.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
test_base64(void)
{
	/* the examples of RFC 4648 */
	static const char *const example[][2] = { { "", "" },
											  { "f", "Zg==" },
											  { "fo", "Zm8=" },
											  { "foo", "Zm9v" },
											  { "foob", "Zm9vYg==" },
											  { "fooba", "Zm9vYmE=" },
											  { "foobar", "Zm9vYmFy" } };
	static const char *const wrong[] = {
		"Z",	"Zg",		"Zg=",	  "Zh==", "Zm9=",	 "Z===",
		"====", "Zg==Zg==", "Zm9v\n", "Z-_=", "Zm9vYm F"
	};
	omb_buf out = OMB_BUF_INIT;
	size_t i;

	for (i = 0; i < LENGTH(example); i++)
	{
		omb_buf_clear(&out);
		omb_base64_put(&out, example[i][0], strlen(example[i][0]));
		is_text(omb_buf_text(&out), example[i][1], "bytes as text");
		omb_buf_clear(&out);
		ok(omb_base64_parse(example[i][1], &out) &&
			   strcmp(omb_buf_text(&out), example[i][0]) == 0,
		   "and back");
	}
	for (i = 0; i < LENGTH(wrong); i++)
		ok(!omb_base64_parse(wrong[i], &out), "text %zu is none", i);
	omb_buf_clear(&out);
	omb_base64_put_url(&out, "\xfb\xff\xfe?", 4);
	is_text(omb_buf_text(&out), "-__-Pw", "text for a URL");
	omb_buf_free(&out);
}

/* The examples of Microsoft's description of Shared Key. */
static void
test_signatures(void)
{
	static const char *const list[] = {
		"x-ms-date: Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version: 2015-02-21"
	};
	static const char *const put[] = {
		"content-type: text/plain; charset=UTF-8",
		"x-ms-date: Sun, 20 Sep 2009 20:36:40 GMT",
		"x-ms-meta-m1: v1",
		"x-ms-meta-m2: v2",
		"x-ms-version: 2009-09-19",
	};
	static const char *const get[] = { "if-match: \"0x8D1\"",
									   "range: bytes=10-19" };
	omb_azure_signing s = { .account = "myaccount",
							.method = "GET",
							.path = "/mycontainer",
							.query = "comp=metadata&restype=container"
									 "&timeout=20",
							.header = list,
							.header_count = LENGTH(list) };
	omb_buf out = OMB_BUF_INIT;
	char date[OMB_AZURE_DATE_TEXT];

	omb_azure_date(INT64_C(1435361952) * 1000000, date);
	is_text(date, "Fri, 26 Jun 2015 23:39:12 GMT", "a date");
	omb_azure_string_to_sign(&s, &out);
	is_text(omb_buf_text(&out),
			"GET\n\n\n\n\n\n\n\n\n\n\n\n"
			"x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
			"x-ms-version:2015-02-21\n"
			"/myaccount/mycontainer\ncomp:metadata\nrestype:container\n"
			"timeout:20",
			"what is signed of a listing");
	omb_buf_clear(&out);
	ok(omb_azure_sign(&s, "c2VjcmV0IGtleSBvZiBhIHRlc3Q=", &out),
	   "it is signed");
	/* as openssl computes it */
	is_text(omb_buf_text(&out),
			"SharedKey myaccount:bvAaj6mUuELrcoXaZx2Xg8Zt6wVxKoOxx1zQvk2FuTI=",
			"with HMAC-SHA-256");
	ok(!omb_azure_sign(&s, "no base64", &out) && !omb_azure_sign(&s, "", &out),
	   "what is no key does not sign");

	omb_buf_clear(&out);
	s.method = "PUT";
	s.path = "/mycontainer/my%20blob";
	s.query = "";
	s.header = put;
	s.header_count = LENGTH(put);
	s.body_len = 11;
	omb_azure_string_to_sign(&s, &out);
	is_text(omb_buf_text(&out),
			"PUT\n\n\n11\n\ntext/plain; charset=UTF-8\n\n\n\n\n\n\n"
			"x-ms-date:Sun, 20 Sep 2009 20:36:40 GMT\nx-ms-meta-m1:v1\n"
			"x-ms-meta-m2:v2\nx-ms-version:2009-09-19\n"
			"/myaccount/mycontainer/my%20blob",
			"what is signed of a blob");
	omb_buf_clear(&out);
	s.method = "GET";
	s.query = "comp=list&prefix=a%2Fb%20%2B%3D";
	s.header = get;
	s.header_count = LENGTH(get);
	s.body_len = 0;
	omb_azure_string_to_sign(&s, &out);
	is_text(omb_buf_text(&out),
			"GET\n\n\n\n\n\n\n\n\"0x8D1\"\n\n\nbytes=10-19\n"
			"/myaccount/mycontainer/my%20blob\ncomp:list\nprefix:a/b +=",
			"headers in their places, values decoded");
	omb_buf_free(&out);
}

static const char page_text[] =
	"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>"
	"<EnumerationResults ServiceEndpoint=\"https://a.blob.core.windows.net/\" "
	"ContainerName=\"c\"><Prefix>p/</Prefix><MaxResults>3</MaxResults>"
	"<Delimiter>/</Delimiter><Blobs>"
	"<Blob><Name>p/a&amp;b%26</Name><Properties>"
	"<Content-Length>12345678901</Content-Length>"
	"<Content-MD5/><BlobType>BlockBlob</BlobType></Properties>"
	"<OrMetadata /></Blob>"
	"<Blob><Name>p/dir</Name><Properties><Content-Length>0</Content-Length>"
	"<ResourceType>directory</ResourceType></Properties></Blob>"
	"<BlobPrefix><Name>p/folder/</Name></BlobPrefix>"
	"<Blob><Name>p/\xc3\xa4</Name><Properties>"
	"<Content-Length>0</Content-Length><ResourceType>file</ResourceType>"
	"</Properties></Blob></Blobs>"
	"<NextMarker>2!92!x&lt;</NextMarker></EnumerationResults>";

static void
test_pages(void)
{
	static const char *const wrong[] = {
		"",
		"text",
		"<EnumerationResults>",
		"<ListBucketResult/>",
		"<EnumerationResults><Blobs><Blob/></Blobs></EnumerationResults>",
		"<EnumerationResults><Blobs><Blob><Name>a</Name><Properties>"
		"<Content-Length>-1</Content-Length></Properties></Blob></Blobs>"
		"</EnumerationResults>",
		"<!DOCTYPE x [<!ENTITY a \"b\">]><EnumerationResults/>",
	};
	omb_cloud_page page;
	size_t i;

	ok(omb_azure_parse_blobs(page_text, strlen(page_text), &page) &&
		   page.count == 3,
	   "a page of a listing, without the folder that is a blob");
	is_text(page.item[0].key, "p/a&b%26", "a name");
	is_u64(page.item[0].size, UINT64_C(12345678901), "its size");
	ok(!page.item[0].is_folder && page.item[1].is_folder, "a folder");
	is_text(page.item[1].key, "p/folder/", "its name");
	is_text(page.item[2].key, "p/\xc3\xa4", "a name with other letters");
	is_text(page.token, "2!92!x<", "the next page");
	omb_cloud_page_free(&page);
	for (i = 0; i < strlen(page_text); i++)
		if (omb_azure_parse_blobs(page_text, i, &page))
			break;
	is_u64(i, strlen(page_text), "one that was cut anywhere is no page");
	for (i = 0; i < LENGTH(wrong); i++)
		ok(!omb_azure_parse_blobs(wrong[i], strlen(wrong[i]), &page),
		   "nor is %s", wrong[i]);
	ok(omb_azure_parse_blobs("<EnumerationResults><NextMarker/>"
							 "</EnumerationResults>",
							 54, &page) &&
		   page.count == 0 && page.token == NULL,
	   "one with nothing is the last one");
	omb_cloud_page_free(&page);
}

static void
test_credentials(void)
{
	static const char *const wrong[] = {
		"",
		"account_key=\n",
		"account_key=SECRET1\nsas_token=sig=SECRET1\n",
		"access_key_id=a\nsecret_access_key=SECRET1\n",
		"sas_token=SECRET1\n",
		"sas_token=https://a.blob.core.windows.net/c?sig=SECRET1\n",
		"{}"
	};
	char path[] = "/tmp/omb-test-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	omb_credentials c;
	omb_store *store;
	size_t i;
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	(void) close(fd);
	ok(read_text(omb_credentials_read_azure, path, "account_key=a2V5\n", 0600,
				 &c, &err) == OMB_OK,
	   "a key");
	is_text(c.account_key, "a2V5", "as it is");
	omb_credentials_wipe(&c);
	ok(read_text(omb_credentials_read_azure, path,
				 "# x\nsas_token=?sp=r&sig=a%3D\n", 0600, &c, &err) == OMB_OK,
	   "a token");
	is_text(c.sas_token, "sp=r&sig=a%3D", "without the question mark");
	omb_credentials_wipe(&c);
	for (i = 0; i < LENGTH(wrong); i++)
		ok(read_text(omb_credentials_read_azure, path, wrong[i], 0600, &c,
					 &err) == OMB_USAGE &&
			   strstr(err.message, "SECRET") == NULL &&
			   strstr(err.hint, "SECRET") == NULL && c.account_key == NULL &&
			   c.sas_token == NULL,
		   "wrong file %zu is refused without showing it", i);
	omb_error_clear(&err);
	ok(read_text(omb_credentials_read_azure, path, "sas_token=sig=SECRET\n",
				 0600, &c, &err) == OMB_OK &&
		   omb_store_open_url("azblob://a/c?endpoint=http%3A%2F%2F"
							  "127.0.0.1.invalid",
							  path, &store, &err) == OMB_OK &&
		   omb_store_confirm(store, "x", &err) == OMB_REFUSED &&
		   strstr(err.message, "SECRET") == NULL,
	   "a token is not sent without TLS: %s", err.message);
	omb_error_clear(&err);
	omb_credentials_wipe(&c);
	omb_store_free(store);
	(void) unlink(path);
}

static void
test_descriptions(void)
{
	static const char *const wrong[] = {
		"azblob://",
		"azblob:///c",
		"azblob://account",
		"azblob://account/",
		"azblob://Account/c",
		"azblob://account/C%0D%0Ax",
		"azblob://account/c?endpoint=host",
		"azblob://account/c?endpoint=https%3A%2F%2Fuser:secret@host",
		"azblob://account/c?access-tier=a%0D%0Ab",
		"azblob://account/c?region=x",
		"azblob://account/c?sas_token=secret",
		"azblob://account/c?sole-user=maybe",
	};
	urls_are_refused(wrong, LENGTH(wrong));
	url_is_taken("azblob://account/c/p/q?access-tier=Cool",
				 "azblob://account/c/p/q");
	url_is_taken("azblob://account/c", "azblob://account/c");
}

int
main(void)
{
	test_base64();
	test_signatures();
	test_pages();
	test_credentials();
	test_descriptions();
	return tap_done();
}
