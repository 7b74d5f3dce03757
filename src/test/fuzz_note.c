/*
 * fuzz_note.c: notes of a server, which are marks and watermarks.
 */
#include "base/buffer.h"
#include "task/notes.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = omb_malloc(size + 1);
	omb_point point;
	omb_watermark mark;

	memcpy(text, data, size);
	text[size] = '\0';
	switch (omb_note_parse(text, size, &point, &mark))
	{
		case OMB_NOTE_POINT:
			if (!omb_stamp_valid(point.id) ||
				strlen(point.name) > OMB_POINT_NAME_MAX ||
				strlen(point.detail) > OMB_POINT_DETAIL_MAX)
				abort();
			break;
		case OMB_NOTE_WATERMARK:
			/* it becomes a part of an object's name */
			if (!omb_stamp_valid(mark.stamp) ||
				strchr(mark.name, '/') != NULL || mark.name[0] == '.' ||
				strlen(mark.value) > OMB_WATERMARK_VALUE_MAX)
				abort();
			break;
		case OMB_NOTE_NONSENSE:
			break;
	}
	free(text);
	return 0;
}
