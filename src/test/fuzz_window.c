/*
 * fuzz_window.c: times with limits, and URLs.
 */
#include "base/buffer.h"
#include "base/location.h"
#include "base/window.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = omb_malloc(size + 1);
	omb_window_error error = { 0, NULL };
	const char *reason = NULL;
	char directory[100];
	omb_window window;
	uint64_t rate;
	int minute;

	memcpy(text, data, size);
	text[size] = '\0';
	if (!omb_window_parse(text, &window, &error))
	{
		/* a mistake has a reason and a place inside the text or at its end */
		if (error.reason == NULL || error.position < 1 ||
			(size_t) error.position > strlen(text) + 1)
			abort();
	}
	for (minute = 0; error.reason == NULL && minute < 7 * 1440; minute += 7)
		(void) omb_window_rate(&window, minute / 1440, minute % 1440, &rate);
	if (!omb_location_check(text, directory, sizeof(directory), &reason) &&
		reason == NULL)
		abort();
	free(text);
	return 0;
}
