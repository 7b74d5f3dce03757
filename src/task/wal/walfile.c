/*
 * walfile.c: opening a file of pg_wal.
 */
#include "task/wal/walfile.h"

#include "base/file.h"
#include "pgfmt/walname.h"
#include "pgfmt/walsegment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* History and .backup files have a few hundred bytes. */
#define SMALL_FILE_MAX (1024 * 1024)

omb_status
omb_wal_file_open(const char *folder, const char *file, uint64_t segment_size,
				  uint64_t system_identifier, int *fd, uint64_t *size,
				  omb_error *err)
{
	char *path = omb_format("%s/%s", folder, file);
	omb_wal_name name;
	omb_wal_kind kind = omb_wal_name_parse(file, &name);
	uint8_t page[8192];
	struct stat st;
	ssize_t n;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) != 0)
	{
		bool absent = errno == ENOENT;

		(void) omb_error_set_errno(err, errno, "could not open file \"%s\"",
								   path);
		if (absent)
			err->status = OMB_NOT_FOUND;
		goto done;
	}
	*size = (uint64_t) st.st_size;
	if (kind == OMB_WAL_SEGMENT || kind == OMB_WAL_PARTIAL)
	{
		if (*size != segment_size)
		{
			(void) omb_error_set(err, OMB_DAMAGED,
								 "file \"%s\" has %" PRIu64
								 " bytes instead of %" PRIu64,
								 path, *size, segment_size);
			goto done;
		}
		n = omb_pread_full(*fd, page, sizeof(page), 0);
		if (n < 0)
			(void) omb_error_set_errno(err, errno,
									   "could not read file \"%s\"", path);
		else
			(void) omb_wal_header_check(page, (size_t) n, file, segment_size,
										system_identifier, err);
	}
	else if (*size > SMALL_FILE_MAX)
		(void) omb_error_set(err, OMB_DAMAGED, "file \"%s\" is too large",
							 path);
	(void) posix_fadvise(*fd, 0, 0, POSIX_FADV_SEQUENTIAL);

done:
	free(path);
	if (err->status != OMB_OK && *fd >= 0)
	{
		(void) close(*fd);
		*fd = -1;
	}
	return err->status;
}
