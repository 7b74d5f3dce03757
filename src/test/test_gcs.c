/*
 * test_gcs.c: the parts of the Google store that need no server: signatures,
 * claims of service accounts, JSON, credentials, descriptions.
 */
#include "test/tap.h"
#include "test/descriptions.h"

#include "store/gcs/gcs.h"
#include "store/gcs/gcsclient.h"
#include "store/gcs/googletoken.h"
#include "store/jsonread.h"
#include "store/s3/s3sign.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EMPTY_HASH \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* A key that was made for this test, as it is in a JSON text. */
#define PRIVATE_KEY                                                       \
	"-----BEGIN PRIVATE KEY-----\\n"                                      \
	"MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQDD9gCGWQs8FqBK\\n" \
	"KnOOuNbq8XMfE1B6FQ/Q8jFY8LbUipe6Cvus88par5yQvimzUdy+cWgA3yQTl1p9\\n" \
	"dHSXdIXVGcZfZ5StAJQcuhaeHD889umHB1ksxk+/EEqTFl9Mw9E3jvyXcBLjzj0N\\n" \
	"bq4KfLXHF/bd0KxBZm59siyxvnkwpHdOvkXXr7hTrH2cOf/9cIhLUYIwfNWJYmb8\\n" \
	"qHZWeY15MFqneLLItbu+JuevCHiTX+7OevPsogLlQxr1/lojWvNLH3CpvV16KTCm\\n" \
	"eLywLBhh815zio4EQHETaMH5Pw1tJ55NWx1PXE4JI6+VJv9qAvT15cAvWHx+F+Qq\\n" \
	"3giZUJRTAgMBAAECggEAAjhuYLDvmw2ylHfCRj+H7kxjS1qmEpjcf541VImqhXwD\\n" \
	"vhyG8rqMdDybLI5LEKuzyzo9Vtn9O0LMYeS8HkWevDLSxM/6pxjJ+0CMjKjk4PIq\\n" \
	"fgvL3q42LYPbJHftB1FzGtfbutrCDAmRNyHy7OflQDOtHQeGFcBtLhVvwwMI6Okr\\n" \
	"5LEhkzjeLKwfchxrg337fIu96bbxSkjPRfsWwE9lrp1LxxCjvCfOmFmeMNmyLuOI\\n" \
	"ygS9MA2Rg7yBcT8btSDjSyyAR/tUPp/35jzWZuHhrDBBawlDg3WGboRkAXA0l/x9\\n" \
	"5GLqj+07dkypJL9B1BfOT7Kc5Kf1/BmKMxnEGXh+mQKBgQDgTDemOKBWo2TFuTsL\\n" \
	"BR5XBasvC/EQ7c3Lgj01t6Y2Dm1W+bjTvvpHUYvxyCkuZDUxGxgnFjLPN7+kIZI0\\n" \
	"ii9CG1SJEgKDkBthoLxT+O3g2dVaMdJZF3rF5y3cMiV7OtMQ+KWLuh+JgZgtPkpu\\n" \
	"drahG0Tpx+Tz06epXzIX6mKrhwKBgQDfqHkEk2SrjScQ0QwMX5ILcedj8kO3f59g\\n" \
	"q3QION7tX2Sg9csKaEdL1EwJY+l7fI3KeN/vy+aPaPkp+G4GNv3nW5NiJtw2Y1O/\\n" \
	"O0K0PYXeSkvu2f7BvbysmyhySBiGncoCuHj7ZtaF8v2rosWdhBMrRwn8GCTISGv9\\n" \
	"WZOIbEJ71QKBgFB+Ka5mPew5oO1wJucyhAvYxfERSQa5QJRa/dpsOKLHlKeU4KZk\\n" \
	"r+6uLhmrqlOytIAV6BoG1l8U85pUTeK7AHCp3DGAnBRYv+rOQyejesKpie5fWMyO\\n" \
	"J4okB4oxGNBbcOlzQf2d4rl3H4SFCTMROUMhxR5clSaHe3DF7/UzMQu7AoGABqee\\n" \
	"ojI4hpo2lVuC/kNBtzF2bxTgSu9zMI8pbq0yhOGXvupRVkfwByOT95uPcOst1N5v\\n" \
	"21S30YCQGV2Y+HpeZ6nj4sHBP6UI8uGyhGZoO0r+o2a9G8qneINNWskmYasEPbx7\\n" \
	"bQ+MRoQKZDb9pkgtwdXlSCj3vzXYcLtflmmSONkCgYASOv2ID2T1prQ+rtfm7ZDD\\n" \
	"VZOSeROlV+ONkt1S9ReLCEtGP+2+Sh2MfYXxlBbLxEkBPMriPyV5WOfrxTtac9X+\\n" \
	"XyBS2UFLVOqeGeGnq1ZWKpkaTpFGCo/NA8hs1gM+BGt6CNC+zMyKP1E/p4AdncbQ\\n" \
	"X5pNsYLNLHRg/08biCXzXA==\\n"                                         \
	"-----END PRIVATE KEY-----\\n"

#define ACCOUNT(email, key, url)                                         \
	"{ \"type\": \"service_account\", \"private_key_id\": \"key-1\",\n"  \
	"  \"private_key\": \"" key "\", \"client_email\": \"" email "\",\n" \
	"  \"token_uri\": \"" url "\" }\n"
#define TOKEN_URL "https://oauth2.googleapis.com/token"

/* As openssl computes them for these. */
static const char good_signature[] =
	"b459f5f5d7158579e0dca9587a9c219d030c720f79e8d3e57f87a6cb6b2ed53d";
static const char good_claim[] =
	"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImtleS0xIn0.eyJpc3"
	"MiOiJzdmNAdGVzdC5leGFtcGxlIiwic2NvcGUiOiJodHRwczovL3d3dy5nb29n"
	"bGVhcGlzLmNvbS9hdXRoL2RldnN0b3JhZ2UucmVhZF93cml0ZSIsImF1ZCI6Im"
	"h0dHBzOi8vb2F1dGgyLmdvb2dsZWFwaXMuY29tL3Rva2VuIiwiaWF0IjoxNzk1"
	"MjUxNjAwLCJleHAiOjE3OTUyNTUyMDB9.ZV813aGQ02uIUc7YL8KAlLfMO54S1"
	"2hz_hZ2vZhoVZuC-UfTHyJYtxksX2qTQIf6YRNMXY-TLrODItyprIDwiSeJAcM"
	"QODrPFHrFRwIbWXZsCLjUlR3hRGHnrY8PFCAwIOiN59gFr0hQ6VWiYMQ9hYYA0"
	"WzWECEgR-KfPzI2QcHK9jhiQqEkNQwio0Hoo2ulLGctSa6lAyqFOVz55pAZvIs"
	"Ahhtg66nB91VYtQhbyuULYjAdgmP1wTMjaH7wyXH_eye0CtWj-nWy6PCffP3Wz"
	"SwG4fZbilDS-U0YICEXNAKLyoMELZDsAnymZurLt4jANUycWV1CEixVI2GJRO6"
	"ahQ";

static void
test_signatures(void)
{
	static const char *const get[] = { "host: storage.googleapis.com",
									   "x-goog-content-sha256: " EMPTY_HASH,
									   "x-goog-date: 20261121T090000Z" };
	omb_s3_signing signing = { .google = true,
							   .access_key_id = "GOOG1",
							   .secret_access_key = "secret",
							   .region = "auto",
							   .time = INT64_C(1795251600) * 1000000,
							   .method = "GET",
							   .path = "/bucket/a%20b",
							   .query = "",
							   .header = get,
							   .header_count = LENGTH(get),
							   .payload_hash = EMPTY_HASH };
	omb_buf out = OMB_BUF_INIT;
	char *wanted = omb_format(
		"GOOG4-HMAC-SHA256 Credential=GOOG1/20261121/auto/storage/"
		"goog4_request,SignedHeaders=host;x-goog-content-sha256;x-goog-date,"
		"Signature=%s",
		good_signature);

	omb_s3_sign(&signing, &out);
	is_text(omb_buf_text(&out), wanted, "a signature");
	omb_buf_clear(&out);
	omb_gcs_put_hash(0xe3069283, &out);
	is_text(omb_buf_text(&out),
			"x-goog-hash: crc32c=4waSgw==", "what the server compares with");
	omb_buf_free(&out);
	free(wanted);
}

static void
test_claims(void)
{
	static const char *const wrong[] = {
		"",
		"{}",
		"[]",
		"text",
		ACCOUNT("svc@test.example", PRIVATE_KEY, "ftp://x/SECRET1"),
		ACCOUNT("svc@test.example", PRIVATE_KEY, "https://x/ SECRET1"),
		ACCOUNT("svc\\\"SECRET1", PRIVATE_KEY, TOKEN_URL),
		ACCOUNT("svc\\nSECRET1", PRIVATE_KEY, TOKEN_URL),
		ACCOUNT("svc@test.example", "SECRET1", TOKEN_URL),
		ACCOUNT("svc@test.example",
				"-----BEGIN PRIVATE KEY-----\\nMC4CAQAw\\n"
				"-----END PRIVATE KEY-----\\n",
				TOKEN_URL),
		/* what would ask for a password, and a key of another kind */
		ACCOUNT("svc@test.example",
				"-----BEGIN RSA PRIVATE KEY-----\\nProc-Type: 4,ENCRYPTED\\n"
				"DEK-Info: AES-128-CBC,00000000000000000000000000000000\\n\\n"
				"AAAA\\n-----END RSA PRIVATE KEY-----\\n",
				TOKEN_URL),
		ACCOUNT("svc@test.example",
				"-----BEGIN PRIVATE KEY-----\\n"
				"MC4CAQAwBQYDK2VwBCIEIHBoZLo0Qf0AYSt83RGOSi57Wvn7mUSAsqqmJt4P"
				"d9/e\\n-----END PRIVATE KEY-----\\n",
				TOKEN_URL),
	};
	const int64_t now = INT64_C(1795251600) * 1000000 + 999999;
	omb_error err = OMB_ERROR_INIT;
	char *claim, *url;
	size_t i;

	claim = omb_google_claim(
		ACCOUNT("svc@test.example", PRIVATE_KEY, TOKEN_URL), now, &url, &err);
	is_text(claim, good_claim, "a claim, signed");
	is_text(url, TOKEN_URL, "who takes it");
	free(claim);
	free(url);
	for (i = 0; i < LENGTH(wrong); i++)
	{
		claim = omb_google_claim(wrong[i], now, &url, &err);
		ok(claim == NULL && url == NULL && err.status == OMB_USAGE &&
			   strstr(err.message, "SECRET") == NULL && err.hint[0] != '\0',
		   "account %zu is refused: %s", i, err.message);
		omb_error_clear(&err);
	}
}

static void
test_json(void)
{
	static const char good[] = " {\"a\": \"x\\u00e4\", \"n\": -12, \"d\": 1.5,"
							   " \"o\": {\"a\": \"y\"}, \"z\": null} ";
	static const char *const wrong[] = {
		"",
		"\"a\"",
		"[\"a\"]",
		"{\"a\": \"x\"",
		"{\"a\": \"x\"} {",
		"{\"a\": \"x\", \"a\": \"y\"}",
		"{\"a\": \"\\u0000\"}",
		"{\"a\": \"\xff\"}",
		"{'a': 'x'}",
		"{\"b\": \"x\"}",
		"{\"a\": 1}",
	};
	int64_t number = 0;
	char *text = omb_json_get_text(good, strlen(good), "a");
	size_t i;

	is_text(text, "x\xc3\xa4", "a text");
	free(text);
	ok(omb_json_get_number(good, strlen(good), "n", &number) && number == -12,
	   "a number");
	ok(!omb_json_get_number(good, strlen(good), "d", &number) &&
		   !omb_json_get_number(good, strlen(good), "a", &number) &&
		   !omb_json_get_number(good, strlen(good), "none", &number) &&
		   number == -12,
	   "what is none");
	ok(omb_json_get_text(good, strlen(good), "o") == NULL &&
		   omb_json_get_text(good, strlen(good), "z") == NULL,
	   "nor are other values texts");
	for (i = 0; i < LENGTH(wrong); i++)
		ok(omb_json_get_text(wrong[i], strlen(wrong[i]), "a") == NULL,
		   "no text in %s", wrong[i]);
	ok(omb_json_get_text(NULL, 0, "a") == NULL, "nor in nothing");
}

static void
test_credentials(void)
{
	char path[] = "/tmp/omb-test-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	omb_credentials c, d;
	omb_store *store;
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	(void) close(fd);
	ok(read_text(omb_credentials_read_google, path,
				 "access_key_id=a\nsecret_access_key=b\n", 0600, &c,
				 &err) == OMB_OK &&
		   c.json == NULL,
	   "a pair of keys");
	ok(read_text(omb_credentials_read_google, path, "{ \"x\": 1 }", 0600, &d,
				 &err) == OMB_OK,
	   "a file of JSON");
	is_text(d.json, "{ \"x\": 1 }", "as it is");
	ok(!omb_credentials_same(&c, &d) && omb_credentials_same(&d, &d),
	   "they differ");
	omb_credentials_wipe(&c);
	omb_credentials_wipe(&d);
	ok(read_text(omb_credentials_read_google, path, "{ \"x\": 1 }", 0604, &d,
				 &err) == OMB_REFUSED,
	   "one that others may read is refused");
	ok(read_text(omb_credentials_read_google, path,
				 "access_key_id=a\nsecret_access_key=b\n"
				 "session_token=SECRET\n",
				 0600, &c, &err) == OMB_USAGE &&
		   strstr(err.message, "SECRET") == NULL,
	   "Google has no temporary keys");
	ok(read_text(omb_credentials_read_google, path, "access_key_id=SECRET\n",
				 0600, &c, &err) == OMB_USAGE &&
		   c.access_key_id == NULL,
	   "half a pair is none");
	omb_error_clear(&err);
	ok(read_text(
		   omb_credentials_read_google, path,
		   ACCOUNT("svc@test.example", PRIVATE_KEY, "http://token.invalid/"),
		   0600, &c, &err) == OMB_OK &&
		   omb_store_open_url("gs://b/x", path, &store, &err) == OMB_OK &&
		   omb_store_confirm(store, "x", &err) == OMB_REFUSED,
	   "a claim is not sent without TLS: %s", err.message);
	omb_error_clear(&err);
	omb_store_free(store);
	ok(omb_store_open_url("gs://b/x?endpoint=http%3A%2F%2Flocalhost.invalid",
						  path, &store, &err) == OMB_OK &&
		   omb_store_confirm(store, "x", &err) == OMB_REFUSED,
	   "nor a token");
	omb_error_clear(&err);
	omb_store_free(store);
	omb_credentials_wipe(&c);
	(void) unlink(path);
}

static void
test_descriptions(void)
{
	static const char *const wrong[] = {
		"gs://",
		"gs:///prefix",
		"gs://Bucket/x",
		"gs://b%2Fc/x",
		"gs://bucket/x?endpoint=host",
		"gs://bucket/x?endpoint=https%3A%2F%2Fuser:secret@host",
		"gs://bucket/x?storage-class=a%0D%0Ab",
		"gs://bucket/x?kms-key=a%20b",
		"gs://bucket/x?region=x",
		"gs://bucket/x?key=secret",
		"gs://bucket/x?sole-user=maybe",
	};
	urls_are_refused(wrong, LENGTH(wrong));
	url_is_taken("gs://my.bucket_1/p/q?storage-class=NEARLINE",
				 "gs://my.bucket_1/p/q");
}

int
main(void)
{
	test_signatures();
	test_claims();
	test_json();
	test_credentials();
	test_descriptions();
	return tap_done();
}
