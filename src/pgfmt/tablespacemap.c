/*
 * tablespacemap.c: the file tablespace_map of a base backup.
 */
#include "pgfmt/tablespacemap.h"

void
omb_tablespace_map_add(omb_buf *out, const char *oid, const char *path)
{
	omb_buf_printf(out, "%s ", oid);
	for (; *path; path++)
	{
		if (*path == '\n' || *path == '\r' || *path == '\\')
			omb_buf_put_u8(out, '\\');
		omb_buf_put(out, path, 1);
	}
	omb_buf_put_u8(out, '\n');
}
