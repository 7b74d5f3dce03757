/*
 * timeline.c: timeline history files.
 */
#include "pgfmt/timeline.h"

#include "pgfmt/lsn.h"

#include <stdlib.h>
#include <string.h>

/* Read one line; false when it is neither an entry nor to be skipped. */
static bool
parse_line(const char *line, size_t len, omb_timeline_path *out)
{
	char text[128];
	char *number, *lsn, *rest = NULL;
	char *end;
	unsigned long timeline;
	size_t i = 0;

	while (i < len && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r'))
		i++;
	if (i == len || line[i] == '#')
		return true;
	/* the reason may be longer than what is looked at */
	len -= i;
	if (len >= sizeof(text))
		len = sizeof(text) - 1;
	memcpy(text, line + i, len);
	text[len] = '\0';
	number = strtok_r(text, " \t\r", &rest);
	lsn = strtok_r(NULL, " \t\r", &rest);
	if (number == NULL || lsn == NULL || *number < '1' || *number > '9' ||
		out->count == OMB_TIMELINE_MAX - 1)
		return false;
	timeline = strtoul(number, &end, 10);
	if (*end != '\0' || timeline > UINT32_MAX ||
		!omb_lsn_parse(lsn, &out->entry[out->count].end))
		return false;
	out->entry[out->count].timeline = (uint32_t) timeline;
	if (out->count > 0 && timeline <= out->entry[out->count - 1].timeline)
		return false;
	out->count++;
	return true;
}

omb_status
omb_timeline_parse(const char *text, size_t len, uint32_t timeline,
				   omb_timeline_path *out, omb_error *err)
{
	size_t start = 0;
	size_t i;

	out->count = 0;
	while (start < len)
	{
		const char *newline = memchr(text + start, '\n', len - start);
		size_t end = newline ? (size_t) (newline - text) : len;

		if (memchr(text + start, 0, end - start) != NULL ||
			!parse_line(text + start, end - start, out))
			return omb_error_set(err, OMB_DAMAGED,
								 "the history of timeline %u is damaged",
								 timeline);
		start = end + 1;
	}
	if (out->count > 0 && out->entry[out->count - 1].timeline >= timeline)
		return omb_error_set(err, OMB_DAMAGED,
							 "the history of timeline %u names a later one",
							 timeline);
	out->entry[out->count].timeline = timeline;
	out->entry[out->count].end = UINT64_MAX;
	out->count++;
	/* what comes later counts: it left the earlier ones before their end */
	for (i = out->count - 1; i > 0; i--)
	{
		if (out->entry[i - 1].end > out->entry[i].end)
			out->entry[i - 1].end = out->entry[i].end;
	}
	return OMB_OK;
}

uint32_t
omb_timeline_at(const omb_timeline_path *path, uint64_t lsn)
{
	size_t i = 0;

	while (i + 1 < path->count && lsn >= path->entry[i].end)
		i++;
	return path->entry[i].timeline;
}

bool
omb_timeline_contains(const omb_timeline_path *path, uint32_t timeline,
					  uint64_t lsn)
{
	size_t i;

	for (i = 0; i < path->count; i++)
	{
		if (path->entry[i].timeline == timeline)
			return lsn <= path->entry[i].end &&
				   (i == 0 || lsn >= path->entry[i - 1].end);
	}
	return false;
}
