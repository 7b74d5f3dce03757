/*
 * libcurl.c: loading libcurl.
 */
#include "store/libcurl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* This number stands for the interface, which has not changed since 2006. */
#define LIBRARY "libcurl.so.4"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static omb_libcurl functions;
static char failure[512]; /* "" when it is loaded */

static void
note_failure(void)
{
	const char *text = dlerror();

	(void) snprintf(failure, sizeof(failure), "%s",
					text != NULL ? text : "unknown error");
}

static void
find(void *library, const char *name, void *function)
{
	void *found = dlsym(library, name);

	if (found == NULL && failure[0] == '\0')
		note_failure();
	memcpy(function, &found, sizeof(found));
}

static void
load(void)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
	{
		note_failure();
		return;
	}
	find(library, "curl_global_init", &functions.global_init);
	find(library, "curl_easy_init", &functions.easy_init);
	find(library, "curl_easy_cleanup", &functions.easy_cleanup);
	find(library, "curl_easy_reset", &functions.easy_reset);
	find(library, "curl_easy_setopt", &functions.easy_setopt);
	find(library, "curl_easy_getinfo", &functions.easy_getinfo);
	find(library, "curl_easy_perform", &functions.easy_perform);
	find(library, "curl_easy_strerror", &functions.easy_strerror);
	find(library, "curl_slist_append", &functions.slist_append);
	find(library, "curl_slist_free_all", &functions.slist_free_all);
	find(library, "curl_getdate", &functions.getdate);
	if (failure[0] == '\0' &&
		functions.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		(void) snprintf(failure, sizeof(failure), "it could not start");
}

const omb_libcurl *
omb_libcurl_load(omb_error *err)
{
	(void) pthread_once(&once, load);
	if (failure[0] == '\0')
		return &functions;
	(void) omb_error_set(err, OMB_FAILED, "could not load library \"%s\": %s",
						 LIBRARY, failure);
	(void) omb_error_hint(err, "Install libcurl (on Debian the package "
							   "libcurl4).");
	return NULL;
}
