/*
 * test_url.c: naming stores by URL.
 */
#include "test/tap.h"

#include "store/url.h"

#include <stdlib.h>
#include <unistd.h>

static omb_status
status_of(const char *text)
{
	omb_error err = OMB_ERROR_INIT;
	omb_url url;

	if (omb_url_parse(text, &url, &err) == OMB_OK)
		omb_url_clear(&url);
	return err.status;
}

static void
is_directory(const char *text, const char *wanted)
{
	char *got = omb_url_directory(text);

	if (wanted == NULL)
		ok(got == NULL, "\"%s\" is no directory", text);
	else
		is_text(got, wanted, text);
	free(got);
}

static void
directories(void)
{
	is_directory("/var/backups", "/var/backups");
	is_directory("relative/dir", "relative/dir");
	is_directory("/with%20percent?and#", "/with%20percent?and#");
	is_directory("file:///var/backups", "/var/backups");
	is_directory("FILE:///var/back%20ups%2f", "/var/back ups/");
	is_directory("file://localhost/x", "/x");
	is_directory("file://other/x", NULL);
	is_directory("file://x", NULL);
	is_directory("file:///x?a=b", NULL);
	is_directory("s3://bucket/x", NULL);
	is_directory("", NULL);
}

static void
pieces(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_url url;

	(void) omb_url_parse("s3://my-bucket//a/b%2Bc/?endpoint=https%3A%2F%2Fh"
						 "%3A9000&region=eu-1&ca-file=/x=y&empty=",
						 &url, &err);
	ok(err.status == OMB_OK, "a URL with options is read");
	is_text(url.scheme, "s3", "scheme");
	is_text(url.host, "my-bucket", "bucket");
	is_text(url.path, "a/b+c", "prefix without outer slashes");
	is_text(omb_url_option_get(&url, "endpoint"), "https://h:9000",
			"an option is decoded");
	is_text(omb_url_option_get(&url, "region"), "eu-1", "a second option");
	is_text(omb_url_option_get(&url, "ca-file"), "/x=y",
			"only the first equals sign cuts");
	is_text(omb_url_option_get(&url, "empty"), "", "an empty value");
	ok(omb_url_option_get(&url, "other") == NULL, "an option not given");
	omb_url_clear(&url);
	(void) omb_url_parse("s3://bucket", &url, &err);
	is_text(url.path, "", "no prefix");
	omb_url_clear(&url);
}

static void
mistakes(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;

	ok(status_of("s3://b/x#y") == OMB_USAGE, "a fragment is refused");
	ok(status_of("s3://b/x?a") == OMB_USAGE, "an option needs a value");
	ok(status_of("s3://b/x?=a") == OMB_USAGE, "an option needs a name");
	ok(status_of("s3://b/%zz") == OMB_USAGE, "bad hex digits are refused");
	ok(status_of("s3://b/%4") == OMB_USAGE, "cut hex digits are refused");
	ok(status_of("s3://b/%00") == OMB_USAGE, "a zero byte is refused");
	ok(status_of("s3://b/?1=1&1=1&1=1&1=1&1=1&1=1&1=1&1=1&1=1&1=1&1=1&1=1&1=1"
				 "&1=1&1=1&1=1&1=1") == OMB_USAGE,
	   "too many options are refused");
	(void) omb_store_open_url("s3://me:hunter2@b/x", NULL, &store, &err);
	ok(err.status == OMB_USAGE && store == NULL,
	   "a password in a URL is refused");
	ok(strstr(err.message, "hunter2") == NULL, "and not repeated");
	omb_error_clear(&err);
	(void) omb_store_open_url("s3://bucket/x?colour=red", NULL, &store, &err);
	ok(err.status == OMB_USAGE && strstr(err.message, "colour"),
	   "an option that is none is named");
	omb_error_clear(&err);
	(void) omb_store_open_url("s3://bucket/x?style=odd", NULL, &store, &err);
	ok(err.status == OMB_USAGE, "a value that is none is refused");
	omb_error_clear(&err);
	(void) omb_store_open_url("s3:///x", NULL, &store, &err);
	ok(err.status == OMB_USAGE, "a bucket is needed");
	omb_error_clear(&err);
	(void) omb_store_open_url("ftp://host/x", NULL, &store, &err);
	ok(err.status == OMB_USAGE, "an unknown kind is a mistake");
}

static omb_status
opened(const char *text, const char *location)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;

	if (omb_store_open_url(text, "/none", &store, &err) == OMB_OK)
	{
		is_text(store->location, location, text);
		omb_store_free(store);
	}
	return err.status;
}

static void
sftp(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;

	(void) opened("sftp://host", "sftp://host");
	(void) opened("sftp://me@host:22/~/a%20b/", "sftp://me@host/~/a b");
	(void) opened("sftp://me@[fe80::1%25eth0]:2222//a?host-key=SHA256:+/x",
				  "sftp://me@[fe80::1%eth0]:2222/a");
	ok(opened("sftp:///x", "") == OMB_USAGE, "a server is needed");
	ok(opened("sftp://host:x/", "") == OMB_USAGE, "a port is a number");
	ok(opened("sftp://host:0/", "") == OMB_USAGE, "and not 0");
	ok(opened("sftp://fe80::1/", "") == OMB_USAGE,
	   "an address with colons needs brackets");
	ok(opened("sftp://[fe80::1]x/", "") == OMB_USAGE, "and nothing behind");
	ok(opened("sftp://host/?ca-file=x", "") == OMB_USAGE &&
		   opened("sftp://host/?sole-user=maybe", "") == OMB_USAGE &&
		   opened("sftp://host/?known-hosts=x", "") == OMB_USAGE &&
		   opened("sftp://host/?host-key=MD5:x", "") == OMB_USAGE,
	   "options that make no sense are refused");
	(void) omb_store_open_url("sftp://me:hunter2@host/x", "/none", &store,
							  &err);
	ok(err.status == OMB_USAGE && strstr(err.message, "hunter2") == NULL,
	   "a password in a URL is refused and not repeated");
	omb_error_clear(&err);
	(void) omb_store_open_url("sftp://host/x", NULL, &store, &err);
	ok(err.status == OMB_USAGE && strstr(err.hint, "key_file"),
	   "credentials are needed");
}

static void
opening(void)
{
	char dir[] = "/tmp/omb-url-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;
	omb_store *store = NULL;
	char *url, *path;

	ok(mkdtemp(dir) != NULL, "a directory");
	url = omb_format("file://%s", dir);
	ok(omb_store_open_url(url, NULL, &store, &err) == OMB_OK &&
		   omb_store_put(store, "thing", "abc", 3, &err) == OMB_OK,
	   "an object is stored in a store opened by URL");
	omb_store_free(store);
	ok(omb_store_open_url(dir, NULL, &store, &err) == OMB_OK &&
		   omb_store_get(store, "thing", 10, &content, &err) == OMB_OK &&
		   content.len == 3,
	   "and read in the same opened by path");
	(void) omb_store_remove(store, "thing", &err);
	omb_store_free(store);
	omb_buf_free(&content);
	path = omb_format("%s/tmp", dir);
	(void) rmdir(path);
	ok(rmdir(dir) == 0, "nothing else was made");
	free(path);
	free(url);
	url = omb_url_absolute("s3://b/x");
	is_text(url, "s3://b/x", "a URL is absolute");
	free(url);
	url = omb_url_absolute("x");
	ok(url[0] == '/', "a directory is made absolute");
	free(url);
}

int
main(void)
{
	directories();
	pieces();
	mistakes();
	sftp();
	opening();
	return tap_done();
}
