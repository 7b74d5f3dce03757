/*
 * fuzz_json.c: JSON of servers, and files of service accounts.
 */
#include "base/buffer.h"
#include "store/gcs/googletoken.h"
#include "store/jsonread.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf text = OMB_BUF_INIT;
	int64_t number;
	char *url;

	free(omb_json_get_text(data, size, "access_token"));
	(void) omb_json_get_number(data, size, "expires_in", &number);
	if (size > 0 && memchr(data, 0, size) == NULL)
	{
		omb_buf_put(&text, data, size);
		free(omb_google_claim(omb_buf_text(&text), 0, &url, &err));
		free(url);
	}
	omb_buf_free(&text);
	return 0;
}
