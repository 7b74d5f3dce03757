/*
 * fuzz_webdav.c: what a WebDAV server answers to PROPFIND.
 */
#include "store/webdav/webdavxml.h"

#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_dav_list list;
	size_t i;

	if (!omb_dav_parse(data, size, "", &list))
		return 0;
	/* all but the first are one level below it */
	for (i = 1; i < list.count; i++)
		if (strncmp(list.item[i].path, list.item[0].path,
					strlen(list.item[0].path)) != 0 ||
			*omb_dav_name(&list.item[i]) == '\0')
			__builtin_trap();
	omb_dav_list_free(&list);
	return 0;
}
