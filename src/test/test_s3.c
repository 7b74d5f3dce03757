/*
 * test_s3.c: the parts of the S3 store that need no server: signatures,
 * answers, pauses, credentials, descriptions.
 */
#include "test/tap.h"
#include "test/descriptions.h"

#include "store/cloud/cloudxml.h"
#include "store/http.h"
#include "store/retry.h"
#include "store/s3/awskeys.h"
#include "store/s3/s3.h"
#include "store/s3/s3sign.h"
#include "store/s3/s3xml.h"
#include "store/s3/stsxml.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EMPTY_HASH \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* ---- signatures: the examples of Amazon's description of S3 ---- */

static void
check_signature(const char *method, const char *path, const char *query,
				const char *const *header, size_t header_count,
				const char *hash, const char *wanted, const char *name)
{
	omb_s3_signing signing = { 0 };
	omb_buf out = OMB_BUF_INIT;
	const char *signature;

	signing.access_key_id = "AKIAIOSFODNN7EXAMPLE";
	signing.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
	signing.region = "us-east-1";
	signing.time = INT64_C(1369353600) * 1000000;
	signing.method = method;
	signing.path = path;
	signing.query = query;
	signing.header = header;
	signing.header_count = header_count;
	signing.payload_hash = hash;
	omb_s3_sign(&signing, &out);
	signature = strstr(omb_buf_text(&out), "Signature=");
	is_text(signature != NULL ? signature + 10 : NULL, wanted, name);
	ok(strncmp(omb_buf_text(&out),
			   "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
			   "us-east-1/s3/aws4_request,SignedHeaders=",
			   98) == 0,
	   "%s: the rest of it", name);
	omb_buf_free(&out);
}

static void
test_signatures(void)
{
	static const char *const get[] = { "host: examplebucket.s3.amazonaws.com",
									   "range: bytes=0-9",
									   "x-amz-content-sha256: " EMPTY_HASH,
									   "x-amz-date: 20130524T000000Z" };
	static const char *const put[] = {
		"date: Fri, 24 May 2013 00:00:00 GMT",
		"host: examplebucket.s3.amazonaws.com",
		"x-amz-content-sha256: "
		"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
		"x-amz-date: 20130524T000000Z",
		"x-amz-storage-class: REDUCED_REDUNDANCY"
	};
	static const char *const list[] = { "host: examplebucket.s3.amazonaws.com",
										"x-amz-content-sha256: " EMPTY_HASH,
										"x-amz-date: 20130524T000000Z" };
	omb_buf path = OMB_BUF_INIT;
	char text[OMB_S3_HASH_TEXT];
	char date[17];

	omb_s3_date(INT64_C(1369353600) * 1000000, date);
	is_text(date, "20130524T000000Z", "a date");
	omb_s3_hash("Welcome to Amazon S3.", 21, text);
	is_text(text,
			"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			"hash of a payload");
	omb_s3_encode(&path, "/test$file.text", true);
	is_text(omb_buf_text(&path), "/test%24file.text", "an encoded path");
	omb_buf_clear(&path);
	omb_s3_encode(&path, "a/b +~\xc3\xa4", false);
	is_text(omb_buf_text(&path), "a%2Fb%20%2B~%C3%A4", "an encoded value");

	check_signature(
		"GET", "/test.txt", "", get, LENGTH(get), EMPTY_HASH,
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		"reading a range");
	check_signature(
		"PUT", "/test%24file.text", "", put, LENGTH(put), text,
		"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		"storing");
	check_signature(
		"GET", "/", "lifecycle=", list, LENGTH(list), EMPTY_HASH,
		"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		"a parameter without value");
	check_signature(
		"GET", "/", "max-keys=2&prefix=J", list, LENGTH(list), EMPTY_HASH,
		"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		"listing");
	omb_buf_free(&path);
}

/* ---- answers ---- */

static const char page_text[] =
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	"<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
	"<Name>b</Name><Prefix>p%2F</Prefix><MaxKeys>1000</MaxKeys>"
	"<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
	"<Contents><Key>p/a%26b+c&apos;</Key><Size>12345678901</Size></Contents>"
	"<Contents><Key>p/%C3%A4</Key><Size>0</Size></Contents>"
	"<NextContinuationToken>t&amp;1</NextContinuationToken>"
	"<CommonPrefixes><Prefix>p/folder/</Prefix></CommonPrefixes>"
	"</ListBucketResult>";

static void
test_pages(void)
{
	static const char *const wrong[] = {
		"",
		" ",
		"text",
		"<ListBucketResult>",
		"<Other/>",
		"<ListBucketResult><Contents><Size>1</Size></Contents>"
		"</ListBucketResult>",
		"<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents>"
		"</ListBucketResult>",
		"<ListBucketResult><IsTruncated>true</IsTruncated>"
		"</ListBucketResult>",
		"<ListBucketResult><EncodingType>url</EncodingType><Contents>"
		"<Key>%0</Key></Contents></ListBucketResult>",
		"<ListBucketResult><EncodingType>url</EncodingType><Contents>"
		"<Key>%00</Key></Contents></ListBucketResult>",
		"<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult/>",
		"<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>",
		"<Error><Code>InternalError</Code></Error>"
	};
	omb_cloud_page page;
	size_t i;

	ok(omb_cloud_parse_page(page_text, strlen(page_text), &page) &&
		   page.count == 3,
	   "a page of a listing");
	is_text(page.item[0].key, "p/a&b c'", "a key, decoded");
	is_u64(page.item[0].size, UINT64_C(12345678901), "its size");
	is_text(page.item[1].key, "p/\xc3\xa4", "a key with other letters");
	is_text(page.item[2].key, "p/folder/", "a folder");
	ok(page.item[2].is_folder && !page.item[1].is_folder, "known as one");
	is_text(page.token, "t&1", "the next page");
	omb_cloud_page_free(&page);
	for (i = 0; i < strlen(page_text); i++)
		if (omb_cloud_parse_page(page_text, i, &page))
			break;
	is_u64(i, strlen(page_text), "one that was cut anywhere is no page");
	for (i = 0; i < LENGTH(wrong); i++)
		ok(!omb_cloud_parse_page(wrong[i], strlen(wrong[i]), &page),
		   "nor is %s", wrong[i]);
	ok(omb_cloud_parse_page("<ListBucketResult/>", 19, &page) &&
		   page.count == 0 && page.token == NULL,
	   "one with nothing is the last one");
	omb_cloud_page_free(&page);
}

static void
test_deleted(void)
{
	static const char text[] =
		"<DeleteResult><Deleted><Key>a &amp; b</Key></Deleted><Error>"
		"<Key>c</Key><Code>AccessDenied</Code><Message/></Error><Deleted>"
		"<DeleteMarker>true</DeleteMarker><Key>d</Key></Deleted>"
		"</DeleteResult>";
	omb_s3_fates fates;
	size_t i;

	ok(omb_s3_parse_deleted(text, strlen(text), &fates) && fates.count == 3 &&
		   fates.item[0].is_deleted && !fates.item[1].is_deleted &&
		   fates.item[2].is_deleted,
	   "what became of several objects");
	is_text(fates.item[0].key, "a & b", "a key");
	is_text(fates.item[1].key, "c", "one that was refused");
	omb_s3_fates_free(&fates);
	for (i = 0; i < strlen(text); i++)
		if (omb_s3_parse_deleted(text, i, &fates))
			break;
	is_u64(i, strlen(text), "an answer that was cut anywhere tells nothing");
	ok(!omb_s3_parse_deleted("<DeleteResult><Deleted/></DeleteResult>", 39,
							 &fates),
	   "nor does one without keys");
	ok(omb_s3_parse_deleted("<DeleteResult/>", 15, &fates) && fates.count == 0,
	   "one may be empty");
	omb_s3_fates_free(&fates);
}

static void
test_answers(void)
{
	static const char error_text[] =
		"\n  <Error><Code>AuthorizationHeaderMalformed</Code><Message/>"
		"<Region>eu-west-1</Region></Error>";
	static const char uploads[] =
		"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
		"<NextKeyMarker></NextKeyMarker><NextUploadIdMarker/>"
		"<Upload><Key>k</Key><UploadId>2~x</UploadId>"
		"<Initiated>2026-11-20T23:15:02.000Z</Initiated></Upload>"
		"</ListMultipartUploadsResult>";
	static const char parts[] =
		"<ListPartsResult><Part><PartNumber>1</PartNumber>"
		"<LastModified>2026-11-20T23:15:02.000Z</LastModified>"
		"<Size>5</Size></Part><Part><Size>7</Size>"
		"<LastModified>2026-11-20T23:15:01.000Z</LastModified></Part>"
		"</ListPartsResult>";
	static const char started[] = "<InitiateMultipartUploadResult><UploadId>"
								  "2~x</UploadId>"
								  "</InitiateMultipartUploadResult>";
	static const char completed[] =
		"<CompleteMultipartUploadResult><ETag>\"x\"</ETag>"
		"</CompleteMultipartUploadResult>";
	const int64_t when = INT64_C(1795216502) * 1000000;
	omb_s3_multiparts list;
	omb_cloud_error error;
	uint64_t bytes;
	int64_t newest;
	char *id;

	ok(omb_cloud_parse_error(error_text, strlen(error_text), &error),
	   "an error, after the space of a server that took long");
	is_text(error.code, "AuthorizationHeaderMalformed", "its code");
	is_text(error.message, "", "its message, which may be missing");
	is_text(error.region, "eu-west-1", "where the bucket is");
	ok(!omb_cloud_parse_error(page_text, strlen(page_text), &error) &&
		   !omb_cloud_parse_error("<Error>", 7, &error),
	   "other answers are no errors");

	ok(omb_s3_parse_multiparts(uploads, strlen(uploads), &list) &&
		   list.count == 1 && list.next_key == NULL,
	   "unfinished uploads");
	is_text(list.item[0].id, "2~x", "the id of one");
	is_u64((uint64_t) list.item[0].started, (uint64_t) when, "when it began");
	omb_s3_multiparts_free(&list);
	ok(!omb_s3_parse_multiparts(uploads, strlen(uploads) - 1, &list),
	   "a list that is not whole is refused");

	ok(omb_s3_parse_parts(parts, strlen(parts), &bytes, &newest) &&
		   bytes == 12 && newest == when,
	   "its parts");
	ok(omb_s3_parse_upload_id(started, strlen(started), &id) &&
		   strcmp(id, "2~x") == 0,
	   "an upload begins");
	free(id);
	ok(!omb_s3_parse_upload_id(started, 40, &id) && id == NULL,
	   "it does not with half an answer");
	ok(omb_s3_parse_completed(completed, strlen(completed)) &&
		   !omb_s3_parse_completed(completed, strlen(completed) - 3) &&
		   !omb_s3_parse_completed(error_text, strlen(error_text)),
	   "only a whole answer says that it is complete");
}

/* ---- pauses ---- */

static bool
always(void *arg)
{
	return true;
}

static void
test_pauses(void)
{
	static const omb_retry_policy policy = { 8, 100, 2000, 60, NULL, NULL };
	static const omb_retry_policy brief = { 3, 1, 2, 60, NULL, NULL };
	static const omb_retry_policy late = { 100, 2000, 2000, 1, NULL, NULL };
	static const omb_retry_policy stopped = { 3,   60000,  60000,
											  600, always, NULL };
	omb_error err = OMB_ERROR_INIT;
	omb_retry retry;
	uint32_t draw, tries;
	uint64_t low, high;
	bool good = true;

	for (tries = 1; tries < 50; tries++)
	{
		uint64_t whole = tries < 6 ? UINT64_C(100) << (tries - 1) : 2000;

		if (whole > 2000)
			whole = 2000;
		low = UINT64_MAX;
		high = 0;
		for (draw = 0; draw < 5000; draw++)
		{
			uint64_t pause = omb_retry_pause(&policy, tries, 0, draw);

			low = pause < low ? pause : low;
			high = pause > high ? pause : high;
		}
		good = good && low == whole / 2 && high == whole;
	}
	ok(good, "pauses double, spread over their half, and have a bound");
	ok(omb_retry_pause(&policy, 1, 1000, 7) >= 1000,
	   "the server is left alone for as long as it wants");
	ok(omb_retry_pause(&policy, 1, 3600000, 499) <= 2500, "within the bound");

	omb_retry_begin(&retry, &brief);
	for (tries = 0; tries < 10; tries++)
	{
		(void) omb_error_set(&err, OMB_FAILED, "it failed");
		if (!omb_retry_again(&retry, 0, &err))
			break;
	}
	is_u64(tries, 2, "three tries have two pauses");
	is_text(err.message, "it failed", "the last error stays");
	ok(strncmp(err.detail, "Gave up after 3 attempts in", 27) == 0,
	   "with how often it was tried");

	omb_retry_begin(&retry, &late);
	(void) omb_error_set(&err, OMB_FAILED, "it failed");
	ok(!omb_retry_again(&retry, 0, &err) && err.detail[0] == '\0',
	   "no pause goes past the deadline");
	omb_retry_begin(&retry, &stopped);
	ok(!omb_retry_again(&retry, 0, &err) && err.status == OMB_CANCELLED,
	   "a pause ends when it is not wanted any more");
	ok(omb_retry_status(503) && omb_retry_status(429) &&
		   !omb_retry_status(403) && !omb_retry_status(501) &&
		   !omb_retry_status(412),
	   "what may pass");
}

/* ---- credentials ---- */

static void
test_temporary_keys(void)
{
	static const char json[] =
		"{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":"
		"\"s/+\",\"Token\":\"t==\",\"Expiration\":\"2026-11-20T23:15:02Z\"}";
	static const char *const wrong[] = {
		"",
		"{}",
		"[]",
		"{\"Code\":\"Failed\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":"
		"\"s\",\"Token\":\"t\",\"Expiration\":\"2026-11-20T23:15:02Z\"}",
		"{\"AccessKeyId\":\"a\\nb\",\"SecretAccessKey\":\"s\",\"Token\":"
		"\"t\",\"Expiration\":\"2026-11-20T23:15:02Z\"}",
		"{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\",\"Token\":"
		"\"t\",\"Expiration\":\"soon\"}"
	};
	static const char xml[] =
		"<AssumeRoleWithWebIdentityResponse xmlns=\"https://x/\">"
		"<AssumeRoleWithWebIdentityResult><Credentials>"
		"<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
		"<SessionToken>t</SessionToken>"
		"<Expiration>2026-11-20T23:15:02Z</Expiration></Credentials>"
		"</AssumeRoleWithWebIdentityResult>"
		"</AssumeRoleWithWebIdentityResponse>";
	static const char *const safe[] = {
		"https://keys.example/x", "http://127.0.0.1:80/x",
		"http://localhost/x",	  "http://169.254.170.2/x",
		"http://[::1]:1/x",		  "http://169.254.170.23/v1"
	};
	static const char *const unsafe[] = { "http://192.0.2.1/x",
										  "http://127.0.0.1.example/x",
										  "http://localhost@192.0.2.1/",
										  "ftp://127.0.0.1/",
										  "/x",
										  "http://127.0.0.1 /x" };
	omb_credentials keys;
	omb_sts_keys sts;
	size_t i;

	ok(omb_aws_keys_parse(json, strlen(json), &keys) &&
		   keys.expires == INT64_C(1795216502) * 1000000,
	   "keys of a metadata service");
	is_text(keys.secret_access_key, "s/+", "the secret");
	is_text(keys.session_token, "t==", "the token");
	omb_credentials_wipe(&keys);
	for (i = 0; i < strlen(json); i++)
		if (omb_aws_keys_parse(json, i, &keys))
			break;
	is_u64(i, strlen(json), "an answer that was cut anywhere holds none");
	for (i = 0; i < LENGTH(wrong); i++)
		ok(!omb_aws_keys_parse(wrong[i], strlen(wrong[i]), &keys),
		   "nor does %s", wrong[i]);
	ok(omb_sts_parse(xml, strlen(xml), &sts) &&
		   sts.expires == INT64_C(1795216502) * 1000000,
	   "keys of the token service");
	is_text(sts.token, "t", "with their token");
	free(sts.id);
	free(sts.secret);
	free(sts.token);
	for (i = 0; i < strlen(xml); i++)
		if (omb_sts_parse(xml, i, &sts))
			break;
	is_u64(i, strlen(xml), "an answer that was cut anywhere holds none");
	for (i = 0; i < LENGTH(safe); i++)
		ok(omb_aws_container_url_is_safe(safe[i]), "may be asked: %s",
		   safe[i]);
	for (i = 0; i < LENGTH(unsafe); i++)
		ok(!omb_aws_container_url_is_safe(unsafe[i]), "may not: %s",
		   unsafe[i]);
}

static void
test_credentials(void)
{
	static const char *const wrong[] = {
		"",
		"access_key_id=SECRET1\n",
		"secret_access_key=SECRET1\n",
		"access_key_id=SECRET1\nsecret_access_key=\n",
		"access_key_id=a\nsecret_access_key=SECRET1\nother=SECRET1\n",
		"access_key_id=a\naccess_key_id=SECRET1\nsecret_access_key=b\n",
		"access_key_id=a\nsecret_access_key=SECRET1 SECRET1\n",
		"SECRET1"
	};
	char path[] = "/tmp/omb-test-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	omb_credentials c;
	size_t i;
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	(void) close(fd);
	ok(read_text(omb_credentials_read, path,
				 "# comment\r\n\naccess_key_id=AK\r\n"
				 "secret_access_key=a=b/+\nsession_token=T==",
				 0600, &c, &err) == OMB_OK,
	   "a file of credentials");
	is_text(c.access_key_id, "AK", "the key's name");
	is_text(c.secret_access_key, "a=b/+", "the key");
	is_text(c.session_token, "T==", "the token");
	omb_credentials_wipe(&c);
	ok(c.secret_access_key == NULL, "forgotten");
	ok(read_text(omb_credentials_read, path,
				 "access_key_id=a\nsecret_access_key=b\n", 0640, &c,
				 &err) == OMB_REFUSED,
	   "one that others may read is refused");
	for (i = 0; i < LENGTH(wrong); i++)
		ok(read_text(omb_credentials_read, path, wrong[i], 0600, &c, &err) ==
				   OMB_USAGE &&
			   strstr(err.message, "SECRET") == NULL &&
			   strstr(err.hint, "SECRET") == NULL && c.access_key_id == NULL &&
			   c.secret_access_key == NULL,
		   "wrong file %zu is refused without showing it", i);
	omb_error_clear(&err);
	(void) unlink(path);
	ok(omb_credentials_read(path, &c, &err) == OMB_FAILED, "no file");
	omb_error_clear(&err);

	(void) unsetenv("AWS_ACCESS_KEY_ID");
	(void) unsetenv("AWS_SESSION_TOKEN");
	(void) setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
	ok(omb_credentials_read(NULL, &c, &err) == OMB_USAGE,
	   "half of an environment");
	omb_error_clear(&err);
	(void) setenv("AWS_ACCESS_KEY_ID", "i", 1);
	ok(omb_credentials_read(NULL, &c, &err) == OMB_OK &&
		   strcmp(c.secret_access_key, "s") == 0 && c.session_token == NULL,
	   "the environment");
	omb_credentials_wipe(&c);
}

/* ---- descriptions, headers ---- */

static void
test_descriptions(void)
{
	static const omb_s3_config wrong[] = {
		{ .bucket = NULL },
		{ .bucket = "" },
		{ .bucket = "a/b" },
		{ .bucket = "a", .endpoint = "host" },
		{ .bucket = "a", .endpoint = "ftp://host" },
		{ .bucket = "a", .endpoint = "https://" },
		{ .bucket = "a", .endpoint = "https://user:secret@host" },
		{ .bucket = "a", .endpoint = "https://host/path" },
		{ .bucket = "a", .endpoint = "https://host\r\nx: y" },
		{ .bucket = "a", .region = "not one" },
		{ .bucket = "a", .storage_class = "A\r\nx-y: z" },
		{ .bucket = "a", .encryption = "AES256\n" },
		{ .bucket = "a", .kms_key_id = "k\177" },
	};
	omb_s3_config good = { .bucket = "b", .common.prefix = "p/q" };
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;
	size_t i;

	for (i = 0; i < LENGTH(wrong); i++)
	{
		ok(omb_store_s3_new(&wrong[i], &store, &err) == OMB_USAGE &&
			   store == NULL && strstr(err.message, "secret") == NULL,
		   "description %zu is refused", i);
		omb_error_clear(&err);
	}
	ok(omb_store_s3_new(&good, &store, &err) == OMB_OK, "a good one");
	is_text(store->location, "s3://b/p/q", "where it is");
	omb_store_free(store);
}

/* A server that takes connections and never answers. */
static void
test_silence(void)
{
	struct sockaddr_in address = { 0 };
	socklen_t len = sizeof(address);
	omb_s3_config config = { .bucket = "b",
							 .common.tries = 1,
							 .common.stall_seconds = 1 };
	omb_error err = OMB_ERROR_INIT;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	omb_store *store;
	char *endpoint;

	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 ||
		bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listener, 8) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &len) != 0)
		abort();
	endpoint = omb_format("http://127.0.0.1:%d", ntohs(address.sin_port));
	config.endpoint = endpoint;
	(void) setenv("AWS_ACCESS_KEY_ID", "i", 1);
	(void) setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
	(void) setenv("no_proxy", "127.0.0.1", 1);
	ok(omb_store_s3_new(&config, &store, &err) == OMB_OK &&
		   omb_store_confirm(store, "x", &err) == OMB_FAILED &&
		   strstr(err.message, "did not answer in time") != NULL,
	   "silence is given up: %s", err.message);
	ok(strstr(err.message, "SECRET") == NULL, "without showing the key");
	omb_error_clear(&err);
	omb_store_free(store);

	config.common.tries = 0;
	config.common.stall_seconds = 0;
	config.common.cancelled = always;
	ok(omb_store_s3_new(&config, &store, &err) == OMB_OK &&
		   omb_store_confirm(store, "x", &err) == OMB_CANCELLED,
	   "a request ends when it is not wanted any more");
	omb_error_clear(&err);
	omb_store_free(store);
	(void) close(listener);
	free(endpoint);
}

static void
test_headers(void)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nETag:\"a\"\r\n"
							   "Date: Sat, 21 Nov 2026 09:00:00 GMT \r\n"
							   "x-empty:\r\n\r\n";
	omb_http_response response = { 0 };
	char value[16];
	int64_t time;

	omb_buf_put(&response.header, text, strlen(text));
	ok(omb_http_header(&response, "etag", value, sizeof(value)) &&
		   strcmp(value, "\"a\"") == 0,
	   "a header, in any case of letters");
	ok(omb_http_header(&response, "x-empty", value, sizeof(value)) &&
		   value[0] == '\0',
	   "an empty one");
	ok(!omb_http_header(&response, "tag", value, sizeof(value)) &&
		   !omb_http_header(&response, "HTTP/1.1 200 OK", value,
							sizeof(value)),
	   "what is none");
	ok(omb_http_header(&response, "date", value, sizeof(value)) &&
		   strlen(value) == sizeof(value) - 1,
	   "one that is too long is cut");
	ok(omb_http_date(&response, &time) &&
		   time == INT64_C(1795251600) * 1000000,
	   "the server's time");
	omb_http_response_free(&response);
}

int
main(void)
{
	test_signatures();
	test_pages();
	test_answers();
	test_deleted();
	test_pauses();
	test_credentials();
	test_temporary_keys();
	test_descriptions();
	test_headers();
	test_silence();
	return tap_done();
}
