/*
 * azuresign.h: signatures of requests to Azure's Blob service with the key of
 * an account ("Shared Key"). Pure: time, key and request come from the caller.
 */
#ifndef OMB_STORE_AZURESIGN_H
#define OMB_STORE_AZURESIGN_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct omb_azure_signing
{
	const char *account;
	const char *method;
	const char *path;  /* encoded, as in the URL; begins with "/" */
	const char *query; /* encoded and sorted, without "?"; may be "" */
	/* "name: value" with the name in lower case, sorted */
	const char *const *header;
	size_t header_count;
	size_t body_len;
} omb_azure_signing;

/* "Fri, 26 Jun 2015 23:39:12 GMT", the value of x-ms-date; out has room. */
#define OMB_AZURE_DATE_TEXT 40
extern void omb_azure_date(int64_t time, char *out);

/* Append what is signed. */
extern void omb_azure_string_to_sign(const omb_azure_signing *signing,
									 omb_buf *out);

/*
 * Append the value of the header Authorization; false when the key is no
 * base64.
 */
extern bool omb_azure_sign(const omb_azure_signing *signing, const char *key,
						   omb_buf *out);

#endif
