/*
 * descriptions.h: descriptions of stores and files of credentials, of which
 * most are refused. Include it after tap.h, in the one .c file of a test
 * program only.
 */
#ifndef OMB_TEST_DESCRIPTIONS_H
#define OMB_TEST_DESCRIPTIONS_H

#include "store/credentials.h"
#include "store/url.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

typedef omb_status (*credentials_reader)(const char *path,
										 omb_credentials *out, omb_error *err);

/* Read a file that has just been given that text and mode. */
static omb_status
read_text(credentials_reader read, const char *path, const char *text,
		  mode_t mode, omb_credentials *out, omb_error *err)
{
	FILE *f = fopen(path, "w");

	omb_error_clear(err);
	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 ||
		chmod(path, mode) != 0)
		abort();
	return read(path, out, err);
}

/* Each is refused, without telling the word "secret". */
static void __attribute__((unused))
urls_are_refused(const char *const *url, size_t count)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;
	size_t i;

	for (i = 0; i < count; i++)
	{
		ok(omb_store_open_url(url[i], NULL, &store, &err) == OMB_USAGE &&
			   store == NULL && strstr(err.message, "secret") == NULL,
		   "%s is refused: %s", url[i], err.message);
		omb_error_clear(&err);
	}
}

/* One is taken, and the store tells that location. */
static void __attribute__((unused))
url_is_taken(const char *url, const char *location)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;

	ok(omb_store_open_url(url, NULL, &store, &err) == OMB_OK, "%s: %s", url,
	   err.message);
	is_text(store->location, location, "where it is");
	omb_store_free(store);
}

#endif
