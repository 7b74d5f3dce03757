/*
 * test_repo.c: repository, streams, packs and manifests: round trips,
 * hostile bytes, and a failure at each operation of the store.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/text.h"
#include "repo/backupinfo.h"
#include "repo/manifest.h"
#include "repo/walobject.h"

#include <stdlib.h>
#include <unistd.h>

static const omb_compression zstd = { OMB_METHOD_ZSTD, 1 };

static omb_store *
memory_of(omb_repository *repo)
{
	return omb_store_fault_inner(repo->store);
}

static omb_status
put_stream(omb_repository *repo, const char *name, size_t len, omb_error *err)
{
	omb_stream_writer *writer;
	uint8_t byte = 0;
	size_t i;

	if (omb_stream_create(repo, OMB_KIND_MARK, &zstd, &writer, err) != OMB_OK)
		return err->status;
	for (i = 0; i < len; i++)
	{
		byte = (uint8_t) (i % 251);
		if (omb_stream_write(writer, &byte, 1, err) != OMB_OK)
		{
			omb_stream_abort(writer);
			return err->status;
		}
	}
	return omb_stream_commit(writer, NULL, 0, name, err);
}

static bool
stream_is(omb_repository *repo, const char *name, size_t len)
{
	omb_buf out = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;
	bool good = omb_stream_get(repo, OMB_KIND_MARK, name, 1 << 24, &out,
							   &err) == OMB_OK &&
				out.len == len;
	size_t i;

	for (i = 0; good && i < len; i++)
		good = out.data[i] == i % 251;
	omb_buf_free(&out);
	return good;
}

static void
test_streams(void)
{
	static const size_t sizes[] = {
		0, 1, OMB_BLOB_MAX - 1, OMB_BLOB_MAX, OMB_BLOB_MAX + 1, 400000
	};
	omb_repository *repo = new_memory_repository();
	omb_error err = OMB_ERROR_INIT;
	omb_buf *bytes;
	omb_buf out = OMB_BUF_INIT;
	size_t i, whole;
	int opened = 0;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		char *name = omb_format("marks/%zu", i);

		ok(put_stream(repo, name, sizes[i], &err) == OMB_OK &&
			   stream_is(repo, name, sizes[i]),
		   "a stream of %zu bytes comes back", sizes[i]);
		free(name);
	}
	ok(omb_stream_get(repo, OMB_KIND_MARK, "marks/5", 1000, &out, &err) ==
		   OMB_DAMAGED,
	   "a stream larger than expected is refused");
	omb_error_clear(&err);
	bytes = omb_store_memory_bytes(memory_of(repo), "marks/5");
	whole = bytes->len;
	for (i = 0; i < whole; i++)
	{
		bytes->len = i;
		if (stream_is(repo, "marks/5", 400000))
			opened++;
	}
	bytes->len = whole;
	is_u64((uint64_t) opened, 0, "cut anywhere it is damaged");
	for (i = 0; i < whole; i++)
	{
		bytes->data[i] ^= 0x10;
		if (stream_is(repo, "marks/5", 400000))
			opened++;
		bytes->data[i] ^= 0x10;
	}
	is_u64((uint64_t) opened, 0, "with any byte changed it is damaged");
	omb_buf_put(bytes, "x", 1);
	ok(!stream_is(repo, "marks/5", 400000), "with a byte more it is damaged");
	bytes->len = whole;
	ok(stream_is(repo, "marks/5", 400000), "and as it was it is good");
	omb_buf_free(&out);
	omb_repository_free(repo);
}

/* Fill a blob with bytes that depend on a number. */
static void
fill(uint8_t *plain, size_t len, uint32_t number)
{
	size_t i;

	for (i = 0; i < len; i++)
		plain[i] = (uint8_t) (number + i / (1 + number % 9));
}

#define BLOBS 40

static omb_status
put_pack(omb_repository *repo, omb_pack_table *table, omb_blob_ref *ref,
		 omb_error *err)
{
	omb_pack_writer *writer = omb_pack_writer_new(repo, &zstd, table);
	uint8_t *plain = omb_malloc(OMB_BLOB_MAX);
	uint32_t i;

	for (i = 0; i < BLOBS && err->status == OMB_OK; i++)
	{
		size_t len = 1 + i * 3000;

		fill(plain, len, i);
		(void) omb_pack_add(writer, plain, len, &ref[i], err);
	}
	if (err->status == OMB_OK)
		(void) omb_pack_finish(writer, err);
	omb_pack_writer_free(writer);
	free(plain);
	return err->status;
}

static void
test_packs(void)
{
	omb_repository *repo = new_memory_repository();
	omb_pack_table *table = omb_pack_table_new();
	omb_blob_ref ref[BLOBS];
	omb_error err = OMB_ERROR_INIT;
	omb_pack *pack;
	omb_pack_id id;
	omb_coder *coder = omb_coder_new(NULL);
	uint8_t *plain = omb_malloc(OMB_BLOB_MAX);
	uint8_t *wanted = omb_malloc(OMB_BLOB_MAX);
	char *name;
	omb_buf *bytes;
	bool same = true;
	uint32_t i;
	size_t at;
	int opened = 0;

	ok(put_pack(repo, table, ref, &err) == OMB_OK, "a pack is written");
	is_u64(omb_pack_table_count(table), 1, "one");
	id = omb_pack_table_get(table, 0);
	ok(omb_pack_open(repo, id.sha256, &pack, &err) == OMB_OK, "it opens");
	for (i = 0; i < BLOBS; i++)
	{
		fill(wanted, ref[i].raw, i);
		same = same &&
			   omb_pack_read(pack, coder, &ref[i], plain, &err) == OMB_OK &&
			   memcmp(plain, wanted, ref[i].raw) == 0;
	}
	ok(same, "all blobs come back");
	ref[3].index = 4;
	ok(omb_pack_read(pack, coder, &ref[3], plain, &err) == OMB_DAMAGED,
	   "a blob asked for under another number is damage");
	omb_error_clear(&err);
	ok(omb_pack_verify(pack, coder, &err) == OMB_OK, "it verifies");
	omb_pack_close(pack);

	name = omb_pack_name(id.sha256);
	bytes = omb_store_memory_bytes(memory_of(repo), name);
	is_u64(bytes->len, id.size, "its size is known");
	for (at = 0; at < bytes->len; at += 1 + at % 97)
	{
		bytes->data[at] ^= 1;
		if (omb_pack_open(repo, id.sha256, &pack, &err) == OMB_OK)
		{
			omb_error_clear(&err);
			if (omb_pack_verify(pack, coder, &err) == OMB_OK)
				opened++;
			omb_pack_close(pack);
		}
		omb_error_clear(&err);
		bytes->data[at] ^= 1;
	}
	is_u64((uint64_t) opened, 0, "with any byte changed it does not verify");
	free(name);
	free(plain);
	free(wanted);
	omb_coder_free(coder);
	omb_pack_table_free(table);
	omb_repository_free(repo);
}

static void
test_a_pack_opened_again_needs_no_header(void)
{
	omb_repository *repo = new_memory_repository();
	omb_pack_table *table = omb_pack_table_new();
	omb_blob_ref ref[BLOBS];
	omb_error err = OMB_ERROR_INIT;
	omb_coder *coder = omb_coder_new(NULL);
	uint8_t *plain = omb_malloc(OMB_BLOB_MAX);
	omb_object_key key = { { 1 } };
	omb_pack *pack = NULL;
	omb_pack_id id;
	omb_buf *bytes;
	char *name;

	(void) put_pack(repo, table, ref, &err);
	id = omb_pack_table_get(table, 0);
	name = omb_pack_name(id.sha256);
	bytes = omb_store_memory_bytes(memory_of(repo), name);
	ok(omb_pack_open_again(repo, id.sha256, &pack, &err) == OMB_OK,
	   "a pack opens");
	omb_pack_close(pack);
	bytes->data[0] ^= 1;
	ok(omb_pack_open_again(repo, id.sha256, &pack, &err) == OMB_OK &&
		   omb_pack_read(pack, coder, &ref[1], plain, &err) == OMB_OK,
	   "and again without its header");
	omb_pack_close(pack);
	ok(omb_pack_open(repo, id.sha256, &pack, &err) == OMB_DAMAGED,
	   "which who wants to know does read");
	omb_error_clear(&err);
	/* another one whose name begins like it takes the place */
	id.sha256[OMB_SHA256_SIZE - 1] ^= 1;
	ok(!omb_pack_keys_find(repo->pack_keys, id.sha256, &key) &&
		   omb_pack_open_again(repo, id.sha256, &pack, &err) == OMB_NOT_FOUND,
	   "a name that only begins like it is another");
	omb_error_clear(&err);
	omb_pack_keys_note(repo->pack_keys, id.sha256, &key);
	id.sha256[OMB_SHA256_SIZE - 1] ^= 1;
	ok(omb_pack_open_again(repo, id.sha256, &pack, &err) == OMB_DAMAGED,
	   "one that was forgotten is read again");
	free(name);
	free(plain);
	omb_coder_free(coder);
	omb_pack_table_free(table);
	omb_repository_free(repo);
}

static void
set_strange_info(omb_backup_info *info)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->id, "20261120T231502Z-7f3a", 22);
	memcpy(info->kind, "full", 5);
	info->label = omb_strdup("a label = 100 %\nsecond line");
	info->program_version = omb_strdup("1.0");
	info->pgdata = omb_strdup("/data");
	info->backup_label = omb_strdup("START WAL LOCATION: 0/2000028\n");
	info->tablespace_map = omb_strdup("");
	info->system_identifier = UINT64_MAX - 5;
	info->start_time = -1;
	info->stop_lsn = 0x123456789A;
}

/* Random entries in order: the manifest must give them back. */
static void
make_entry(omb_entry *entry, uint32_t number, const omb_blob_ref *ref)
{
	omb_extent extent;
	uint32_t i;

	memset(entry, 0, sizeof(*entry));
	entry->type = number % 5 == 0  ? OMB_ENTRY_DIRECTORY :
				  number % 11 == 0 ? OMB_ENTRY_LINK :
									 OMB_ENTRY_FILE;
	entry->path = omb_format("dir/%06u", number);
	entry->mode = 0600;
	entry->mtime = UINT64_C(1700000000000000000) + number;
	if (entry->type == OMB_ENTRY_LINK)
		entry->target = omb_strdup("/somewhere");
	if (entry->type != OMB_ENTRY_FILE)
		return;
	entry->inode = number;
	entry->crc32c = number * 2654435761U;
	for (i = 0; i < number % 6; i++)
	{
		memset(&extent, 0, sizeof(extent));
		extent.is_zero = (number + i) % 4 == 0;
		extent.blob = ref[(number * 7 + i) % BLOBS];
		extent.start = i % 2 ? extent.blob.raw / 3 : 0;
		extent.length = extent.is_zero ? UINT64_C(5000000000) * (i + 1) :
										 extent.blob.raw - extent.start;
		omb_entry_add_extent(entry, &extent);
	}
	for (i = 0; i < entry->extent_count; i++)
		entry->size += entry->extent[i].length;
	if (number % 13 == 1)
	{
		entry->damaged_count = 2;
		entry->damaged = omb_calloc(2, sizeof(uint32_t));
		entry->damaged[0] = number;
		entry->damaged[1] = UINT32_MAX;
	}
}

static bool
same_entry(const omb_entry *a, const omb_entry *b)
{
	size_t i;
	bool same = a->type == b->type && strcmp(a->path, b->path) == 0 &&
				a->mode == b->mode && a->mtime == b->mtime &&
				a->size == b->size && a->crc32c == b->crc32c &&
				a->inode == b->inode && a->extent_count == b->extent_count &&
				a->damaged_count == b->damaged_count;

	for (i = 0; same && i < a->damaged_count; i++)
		same = a->damaged[i] == b->damaged[i];
	for (i = 0; same && i < a->extent_count; i++)
	{
		const omb_extent *x = &a->extent[i];
		const omb_extent *y = &b->extent[i];

		same =
			x->is_zero == y->is_zero && x->length == y->length &&
			(x->is_zero ||
			 (x->start == y->start && x->blob.pack == y->blob.pack &&
			  x->blob.index == y->blob.index &&
			  x->blob.offset == y->blob.offset &&
			  x->blob.stored == y->blob.stored && x->blob.raw == y->blob.raw &&
			  x->blob.method == y->blob.method));
	}
	return same;
}

#define ENTRIES 3000

static omb_status
put_manifest(omb_repository *repo, omb_pack_table *table,
			 const omb_blob_ref *ref, omb_error *err)
{
	omb_manifest_writer *writer;
	omb_backup_info info;
	uint32_t i;

	if (omb_manifest_create(repo, &writer, err) != OMB_OK)
		return err->status;
	for (i = 0; i < ENTRIES && err->status == OMB_OK; i++)
	{
		omb_entry entry;

		make_entry(&entry, i, ref);
		(void) omb_manifest_add(writer, &entry, err);
		omb_entry_clear(&entry);
	}
	set_strange_info(&info);
	if (err->status == OMB_OK)
		(void) omb_manifest_commit(writer, &info, table, err);
	else
		omb_manifest_abort(writer);
	omb_backup_info_clear(&info);
	return err->status;
}

/* Read all; the number of entries that are as they were, or -1 on damage. */
static int
read_manifest(omb_repository *repo, const omb_blob_ref *ref, omb_error *err)
{
	omb_manifest *manifest;
	bool end = false;
	int good = 0;
	uint32_t i;

	if (omb_manifest_open(repo, "20261120T231502Z-7f3a", &manifest, err) !=
		OMB_OK)
		return -1;
	for (i = 0; !end; i++)
	{
		omb_entry got, wanted;

		if (omb_manifest_next(manifest, &got, &end, err) != OMB_OK)
		{
			omb_manifest_close(manifest);
			return -1;
		}
		if (end)
			break;
		make_entry(&wanted, i, ref);
		if (same_entry(&got, &wanted))
			good++;
		omb_entry_clear(&got);
		omb_entry_clear(&wanted);
	}
	omb_manifest_close(manifest);
	return good;
}

static void
test_manifest(void)
{
	omb_repository *repo = new_memory_repository();
	omb_pack_table *table = omb_pack_table_new();
	omb_blob_ref ref[BLOBS];
	omb_error err = OMB_ERROR_INIT;
	omb_manifest *manifest;
	omb_buf *bytes;
	size_t at;
	int opened = 0;

	(void) put_pack(repo, table, ref, &err);
	ok(put_manifest(repo, table, ref, &err) == OMB_OK,
	   "a manifest is written");
	is_u64((uint64_t) read_manifest(repo, ref, &err), ENTRIES,
		   "all entries come back");
	ok(omb_manifest_open(repo, "20261120T231502Z-7f3a", &manifest, &err) ==
		   OMB_OK,
	   "its facts are read");
	is_text(manifest->info.label, "a label = 100 %\nsecond line",
			"a label of any text");
	is_u64(manifest->info.system_identifier, UINT64_MAX - 5, "a number");
	ok(manifest->info.start_time == -1, "a time before 1970");
	omb_manifest_close(manifest);
	ok(omb_manifest_open(repo, "20261120T231502Z-0000", &manifest, &err) ==
		   OMB_NOT_FOUND,
	   "a backup that is not there");
	omb_error_clear(&err);
	ok(omb_manifest_open(repo, "../repository", &manifest, &err) ==
		   OMB_NOT_FOUND,
	   "a name that is no id");
	omb_error_clear(&err);

	bytes = omb_store_memory_bytes(memory_of(repo),
								   "backups/20261120T231502Z-7f3a");
	for (at = 0; at < bytes->len; at += 1 + at % 61)
	{
		bytes->data[at] ^= 4;
		if (read_manifest(repo, ref, &err) >= 0)
			opened++;
		omb_error_clear(&err);
		bytes->data[at] ^= 4;
	}
	is_u64((uint64_t) opened, 0, "with any byte changed it is damaged");
	omb_pack_table_free(table);
	omb_repository_free(repo);
}

static void
test_order(void)
{
	ok(omb_manifest_compare(OMB_ROOT_PGDATA, "a", OMB_ROOT_PGDATA, "a/b") <
			   0 &&
		   omb_manifest_compare(OMB_ROOT_PGDATA, "a/b", OMB_ROOT_PGDATA,
								"a-b") < 0 &&
		   omb_manifest_compare(OMB_ROOT_PGDATA, "a-b", OMB_ROOT_PGDATA,
								"a\xff") < 0 &&
		   omb_manifest_compare(OMB_ROOT_PGDATA, "", OMB_ROOT_PGDATA, "a") <
			   0 &&
		   omb_manifest_compare(OMB_ROOT_PGDATA, "z", OMB_ROOT_CONFIG, "a") <
			   0 &&
		   omb_manifest_compare(OMB_ROOT_PGDATA, "a", OMB_ROOT_PGDATA, "a") ==
			   0,
	   "a directory comes before what is in it, that before its siblings");
}

/* Everything a backup writes, with the store failing at each operation. */
static void
test_failure_at_each_operation(void)
{
	omb_repository *repo = new_memory_repository();
	uint64_t at, count = 0;
	int wrong = 0;
	bool done = false;

	for (at = 1; !done && at < 500; at++)
	{
		omb_pack_table *table = omb_pack_table_new();
		omb_blob_ref ref[BLOBS];
		omb_error err = OMB_ERROR_INIT;
		int entries;

		omb_store_fault_set(repo->store, at, false);
		(void) put_pack(repo, table, ref, &err);
		if (err.status == OMB_OK)
			(void) put_manifest(repo, table, ref, &err);
		done = omb_store_fault_count(repo->store) < at;
		omb_store_fault_set(repo->store, 0, false);
		/* it may have failed after the commit; never half */
		entries = -1;
		if (err.status != OMB_OK || done)
		{
			omb_error again = OMB_ERROR_INIT;

			entries = read_manifest(repo, ref, &again);
			if (entries >= 0 ? entries != ENTRIES :
							   again.status != OMB_NOT_FOUND)
				wrong++;
		}
		if (entries >= 0)
		{
			omb_error ignored = OMB_ERROR_INIT;

			(void) omb_store_remove(repo->store,
									"backups/20261120T231502Z-7f3a", &ignored);
		}
		count = at;
		omb_pack_table_free(table);
	}
	ok(done && count > 50, "%" PRIu64 " operations were made to fail", count);
	is_u64((uint64_t) wrong, 0, "a backup is there whole or not at all");
	omb_repository_free(repo);
}

static void
test_wal_names(void)
{
	omb_wal_object object;
	char *text;

	memset(&object, 0, sizeof(object));
	memcpy(object.file, "0000000100000002000000AB", 25);
	memcpy(object.id, "0123456789abcdef0123456789abcdef", 33);
	text = omb_wal_object_name(&object);
	is_text(text,
			"wal/00000001/0000000100000002/"
			"0000000100000002000000AB-0123456789abcdef0123456789abcdef",
			"the name of a segment");
	ok(omb_wal_object_parse(text, &object), "reads back");
	free(text);
	ok(!omb_wal_object_parse("wal/00000001/0000000100000001/"
							 "0000000100000002000000AB-"
							 "0123456789abcdef0123456789abcdef",
							 &object),
	   "in another folder it does not");
	ok(!omb_wal_object_parse("wal/x", &object) &&
		   !omb_wal_object_parse("x", &object),
	   "nonsense does not");
	text = omb_wal_folder("00000002.history");
	is_text(text, "wal/00000002", "the folder of a history");
	free(text);
	ok(omb_wal_folder("nonsense") == NULL, "nonsense has none");
}

static void
test_facts_refuse_nonsense(void)
{
	omb_backup_info info;
	omb_error err = OMB_ERROR_INIT;
	omb_buf text = OMB_BUF_INIT;

	ok(omb_backup_info_read((const uint8_t *) "id=x\n", 5, &info, &err) ==
		   OMB_DAMAGED,
	   "facts without an id are damage");
	omb_backup_info_clear(&info);
	omb_error_clear(&err);
	set_strange_info(&info);
	omb_backup_info_write(&info, &text);
	omb_backup_info_clear(&info);
	omb_text_put(&text, "a_later_fact", "value");
	ok(omb_backup_info_read(text.data, text.len, &info, &err) == OMB_OK,
	   "facts of a later version are left out");
	omb_backup_info_clear(&info);
	ok(omb_backup_id_valid("20261120T231502Z-7f3a") &&
		   !omb_backup_id_valid("20261120T231502Z-7F3A") &&
		   !omb_backup_id_valid("20261120T231502Z-7f3") &&
		   !omb_backup_id_valid(""),
	   "ids have one form");
	omb_buf_free(&text);
}

int
main(void)
{
	test_streams();
	test_packs();
	test_a_pack_opened_again_needs_no_header();
	test_manifest();
	test_order();
	test_failure_at_each_operation();
	test_wal_names();
	test_facts_refuse_nonsense();
	return tap_done();
}
