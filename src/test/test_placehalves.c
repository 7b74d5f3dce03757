/*
 * test_placehalves.c: where a backup is divided to be placed from two sides.
 */
#include "test/tap.h"

#include "test/repository.h"

#include "task/restore/placehalves.h"

#include <string.h>

#define ID "20260101T000000Z-0000"
/* Blobs of a unit: one alone is worth two sides. */
#define UNIT 128

static void
ignore_expected(omb_store *store, const char *name, uint64_t offset,
				size_t len)
{
}

/* A file of so many units, whose blobs nobody reads. */
static void
add_file(omb_manifest_writer *manifest, char name, char units)
{
	omb_error err = OMB_ERROR_INIT;
	omb_entry entry;
	omb_extent extent;
	int i;

	memset(&entry, 0, sizeof(entry));
	memset(&extent, 0, sizeof(extent));
	entry.type = OMB_ENTRY_FILE;
	entry.path = omb_format("%c", name);
	extent.length = OMB_BLOB_MAX;
	extent.blob.raw = OMB_BLOB_MAX;
	extent.blob.stored = OMB_BLOB_MAX / 2;
	extent.blob.offset = 64;
	for (i = 0; i < (units - '0') * UNIT; i++)
	{
		omb_entry_add_extent(&entry, &extent);
		entry.size += extent.length;
		extent.blob.index++;
		extent.blob.offset += extent.blob.stored;
	}
	(void) omb_manifest_add(manifest, &entry, &err);
	check(&err);
	omb_entry_clear(&entry);
}

/*
 * After how many files the second half begins, of files with so many units, a
 * digit for each.
 */
static uint64_t
middle_of(const char *units, bool is_far, int jobs)
{
	omb_store *store = omb_store_memory_new();
	omb_store_ops ops = *store->ops;
	omb_repository *repo = new_repository(store);
	omb_pack_table *table = omb_pack_table_new();
	omb_place_middle middle = { "", UINT64_MAX };
	omb_error err = OMB_ERROR_INIT;
	omb_manifest_writer *manifest;
	omb_backup_info info;
	omb_pack_id pack;
	const char *u;

	ops.expect = is_far ? ignore_expected : NULL;
	store->ops = &ops;
	memset(&pack, 0, sizeof(pack));
	pack.size = UINT64_C(1) << 30;
	(void) omb_pack_table_add(table, &pack);
	(void) omb_manifest_create(repo, &manifest, &err);
	check(&err);
	for (u = units; *u != '\0'; u++)
		add_file(manifest, (char) ('a' + (u - units)), *u);
	set_info(&info, ID);
	(void) omb_manifest_commit(manifest, &info, table, &err);
	check(&err);
	omb_place_halves_expect(repo, ID, jobs, &middle);
	omb_backup_info_clear(&info);
	omb_pack_table_free(table);
	omb_repository_free(repo);
	return middle.number;
}

int
main(void)
{
	is_u64(middle_of("1111", true, 2), 2, "files of one size");
	is_u64(middle_of("11111", true, 2), 2, "an odd number of them");
	is_u64(middle_of("1118", true, 2), 3, "the middle lies in the last one");
	is_u64(middle_of("811111", true, 2), 1, "or in the first one");
	is_u64(middle_of("14211", true, 2), 2, "its end is nearer");
	is_u64(middle_of("11241", true, 2), 3, "its beginning is nearer");
	is_u64(middle_of("050100", true, 2), 2, "others are empty");
	is_u64(middle_of("0005", true, 2), 0, "one file is not divided");
	is_u64(middle_of("500", true, 2), 0, "wherever it stands");
	is_u64(middle_of("000", true, 2), 0, "empty files are not worth it");
	is_u64(middle_of("", true, 2), 0, "and neither is nothing");
	is_u64(middle_of("1111", true, 1), 0, "one thread works on one side");
	is_u64(middle_of("1111", false, 2), UINT64_MAX,
		   "a store that is near is not asked");
	return tap_done();
}
