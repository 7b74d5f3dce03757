/*
 * googletoken.h: a Google service account's tokens. Its file of JSON has a
 * private key, with which a claim is signed (a JSON Web Token, RS256), for
 * which a server of Google's gives a token that is good for an hour.
 */
#ifndef OMB_STORE_GOOGLETOKEN_H
#define OMB_STORE_GOOGLETOKEN_H

#include "store/http.h"

/*
 * The signed claim, in new memory, and the URL that takes it. NULL with err
 * when the JSON is none of a service account. Pure but for the signature.
 */
extern char *omb_google_claim(const char *json, int64_t now, char **url,
							  omb_error *err);

typedef struct omb_google_token
{
	char *text;	   /* NULL: none */
	int64_t until; /* omb_time_now() of the server that gave it */
} omb_google_token;

/*
 * Get a token. clock is what this machine's clock is behind the server's;
 * when it turns out to be the reason of a refusal, it is corrected and tried
 * again. After a failure the response tells why, with failure
 * OMB_HTTP_TIMEOUT when another try may do.
 */
extern omb_status omb_google_token_get(omb_http *http, const char *json,
									   int64_t *clock, omb_google_token *token,
									   omb_http_response *response,
									   omb_error *err);
/* Overwrite and free. */
extern void omb_google_token_wipe(omb_google_token *token);

#endif
