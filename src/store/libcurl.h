/*
 * libcurl.h: the functions of libcurl that http.c calls.
 *
 * It is loaded when the first of them is needed: it brings two dozen other
 * libraries, and to load these takes twice as long as all else that a process
 * does before it begins, of which recovery starts one for each WAL segment.
 *
 * libcurl's macros that check the types of options do not see calls of
 * easy_setopt: numbers are passed as long or curl_off_t, as each option says.
 */
#ifndef OMB_STORE_LIBCURL_H
#define OMB_STORE_LIBCURL_H

#include "base/error.h"

#include <curl/curl.h>

typedef struct omb_libcurl
{
	CURLcode (*global_init)(long flags);
	CURL *(*easy_init)(void);
	void (*easy_cleanup)(CURL *curl);
	void (*easy_reset)(CURL *curl);
	CURLcode (*easy_setopt)(CURL *curl, CURLoption option, ...);
	CURLcode (*easy_getinfo)(CURL *curl, CURLINFO info, ...);
	CURLcode (*easy_perform)(CURL *curl);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list,
									   const char *text);
	void (*slist_free_all)(struct curl_slist *list);
	time_t (*getdate)(const char *text, const time_t *unused);
} omb_libcurl;

/*
 * The functions, for as long as the process lives; by any thread. NULL when the
 * library cannot be loaded; a second call does not try again.
 */
extern const omb_libcurl *omb_libcurl_load(omb_error *err);

#endif
