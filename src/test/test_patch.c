/*
 * test_patch.c: patching files, and the CRC of zeros.
 */
#include "test/tap.h"

#include "base/file.h"
#include "codec/crc32c.h"
#include "task/restore/patch.h"
#include "task/restore/placeunit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCKS 16
#define SIZE (BLOCKS * OMB_PATCH_BLOCK)

static char path[] = "/tmp/omb_test_patch.XXXXXX";
static uint8_t data[SIZE];
static uint8_t local[OMB_BLOB_MAX];
static uint8_t found[2 * SIZE];

/* A file with the data, and data other than zeros. */
static int
new_file(size_t len)
{
	int fd;
	size_t i;

	for (i = 0; i < SIZE; i++)
		data[i] = (uint8_t) (i / OMB_PATCH_BLOCK + 1);
	memcpy(path + strlen(path) - 6, "XXXXXX", 6);
	fd = mkstemp(path);
	(void) omb_pwrite_full(fd, data, len, 0);
	return fd;
}

static void
end_file(int fd)
{
	(void) close(fd);
	(void) unlink(path);
}

static bool
has(int fd, const uint8_t *wanted, size_t len)
{
	return omb_pread_full(fd, found, sizeof(found), 0) == (ssize_t) len &&
		   memcmp(found, wanted, len) == 0;
}

static void
only_differing_blocks_are_written(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_patch_mask differ;
	uint64_t written = 0;
	int fd = new_file(SIZE);

	ok(omb_patch_compare(fd, 0, data, SIZE, local, &differ, &err) == OMB_OK &&
		   differ == 0,
	   "a file that is the same");
	data[0] = 99;
	data[5 * OMB_PATCH_BLOCK + 8191] = 99;
	data[6 * OMB_PATCH_BLOCK] = 99;
	data[SIZE - 1] = 99;
	(void) omb_patch_compare(fd, 0, data, SIZE, local, &differ, &err);
	is_u64(differ, 1 | 1 << 5 | 1 << 6 | 1 << 15, "blocks that differ");
	ok(omb_patch_write(fd, 0, data, SIZE, differ, &written) == 0 &&
		   has(fd, data, SIZE),
	   "are written");
	is_u64(written, 4 * OMB_PATCH_BLOCK, "and no others");
	end_file(fd);
}

static void
ends_are_exact(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_patch_mask differ;
	uint64_t written = 0;
	size_t len = 2 * OMB_PATCH_BLOCK + 100;
	int fd = new_file(len - 1);

	(void) omb_patch_compare(fd, 0, data, len, local, &differ, &err);
	is_u64(differ, 1 << 2, "a file that is too short differs at its end");
	ok(omb_patch_write(fd, 0, data, len, differ, &written) == 0 &&
		   has(fd, data, len) && written == 100,
	   "a part of a block is written, not more");
	(void) omb_patch_compare(fd, 100, data + 100, 300, local, &differ, &err);
	is_u64(differ, 0, "a range within the file");
	end_file(fd);
}

static void
zeros_become_zeros(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_patch_mask differ;
	int fd = new_file(SIZE);

	(void) omb_patch_compare(fd, 8192, NULL, 3 * 8192, local, &differ, &err);
	is_u64(differ, 1, "data where zeros should be");
	ok(omb_patch_zero(fd, 8192, 3 * 8192) == 0, "is replaced");
	memset(data + 8192, 0, 3 * 8192);
	ok(has(fd, data, SIZE), "and nothing else");
	(void) omb_patch_compare(fd, 8192, NULL, 3 * 8192, local, &differ, &err);
	is_u64(differ, 0, "zeros where zeros should be");
	(void) omb_patch_compare(fd, SIZE - 100, NULL, 200, local, &differ, &err);
	is_u64(differ, 1, "a file that ends before the zeros");
	end_file(fd);
}

static void
files_with_other_names_are_replaced(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_entry entry;
	char *other;
	bool existing = true;
	struct stat st;
	int fd = new_file(100);
	int opened;

	memset(&entry, 0, sizeof(entry));
	entry.mode = 0640;
	entry.size = 100;
	opened = omb_patch_open(&entry, path, &existing, &err);
	ok(opened >= 0 && existing && fstat(opened, &st) == 0 &&
		   (st.st_mode & 07777) == 0640,
	   "a file is opened as it is, with the mode of the entry");
	(void) close(opened);
	entry.mtime = (uint64_t) st.st_mtim.tv_sec * 1000000000 +
				  (uint64_t) st.st_mtim.tv_nsec;
	ok(omb_patch_looks_same(&entry, path), "it looks the same");
	entry.mtime++;
	ok(!omb_patch_looks_same(&entry, path), "not with another time");
	entry.mtime--;
	other = omb_format("%s.other", path);
	ok(link(path, other) == 0 && !omb_patch_looks_same(&entry, path),
	   "nor when it has another name");
	opened = omb_patch_open(&entry, path, &existing, &err);
	ok(opened >= 0 && !existing && stat(other, &st) == 0 && st.st_size == 100,
	   "which keeps its content when the file is opened");
	(void) close(opened);
	(void) unlink(other);
	free(other);
	end_file(fd);
}

static void
crc_of_zeros_is_that_of_zeros(void)
{
	static const uint64_t sizes[] = { 0, 1, 2, 3, 8192, 12345, 2 * SIZE };
	uint32_t whole;
	size_t i;

	memset(found, 0, sizeof(found));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		is_u64(omb_crc32c_zeros(sizes[i]),
			   omb_crc32c(0, found, (size_t) sizes[i]), "CRC of zeros");
	whole = omb_crc32c_zeros(UINT64_C(1) << 40);
	is_u64(omb_crc32c_combine(omb_crc32c_zeros(UINT64_C(1) << 39),
							  omb_crc32c_zeros(UINT64_C(1) << 39),
							  UINT64_C(1) << 39),
		   whole, "of a terabyte");
}

int
main(void)
{
	only_differing_blocks_are_written();
	ends_are_exact();
	zeros_become_zeros();
	files_with_other_names_are_replaced();
	crc_of_zeros_is_that_of_zeros();
	return tap_done();
}
