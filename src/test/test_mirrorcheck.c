/*
 * test_mirrorcheck.c: what a target can do, and comparing a copy with the
 * original and healing it.
 */
#include "test/tap.h"
#include "test/copies.h"

#include "task/mirror/mirrorcheck.h"
#include "task/mirror/probe.h"

/* ---- what a store can do ---- */

typedef struct probe_rows
{
	unsigned count[4]; /* by result */
	omb_buf text;
} probe_rows;

static void
note_row(const omb_probe_row *row, void *arg)
{
	probe_rows *rows = arg;

	rows->count[row->result]++;
	omb_buf_printf(&rows->text, "%s %s: %s\n", row->operation,
				   omb_probe_word(row->result), row->found);
}

static int
probe_store(omb_store *store, probe_rows *rows)
{
	omb_probe_config config;

	memset(&config, 0, sizeof(config));
	omb_buf_free(&rows->text);
	memset(rows, 0, sizeof(*rows));
	config.row = note_row;
	config.arg = rows;
	return omb_probe_store(&config, store);
}

static void
test_probe(void)
{
	omb_store *store = omb_store_fault_new(omb_store_memory_new());
	omb_error err = OMB_ERROR_INIT;
	omb_buf left = OMB_BUF_INIT;
	probe_rows rows;
	bool seen_all = true, done = false;
	uint64_t at;

	memset(&rows, 0, sizeof(rows));
	omb_store_fault_set(store, 0, false);
	ok(probe_store(store, &rows) == 0 && rows.count[OMB_PROBE_OK] == 8,
	   "a good store passes");
	(void) omb_store_list(store, "", true, append_object, &left, &err);
	ok(left.len == 0, "and is as it was");
	for (at = 1; !done && seen_all; at++)
	{
		int errors;

		omb_store_fault_set(store, at, true);
		errors = probe_store(store, &rows);
		done = omb_store_fault_count(store) < at;
		seen_all = done || errors > 0;
	}
	ok(seen_all && at > 10, "every failure is told (%" PRIu64 ")", at);
	omb_store_fault_set(store, 0, false);
	omb_store_fault_keep(store, "probe/");
	ok(probe_store(store, &rows) == 0 &&
		   strstr(omb_buf_text(&rows.text), "remove warning") != NULL,
	   "objects that are locked are a warning");
	omb_buf_free(&rows.text);
	omb_buf_free(&left);
	omb_store_free(store);
}

static void
test_policy(void)
{
	char *policy = omb_probe_policy("s3://my-bucket/a/b?region=x");

	ok(policy != NULL &&
		   strstr(policy, "\"arn:aws:s3:::my-bucket\"") != NULL &&
		   strstr(policy, "\"arn:aws:s3:::my-bucket/a/b/*\"") != NULL,
	   "a policy names bucket and prefix");
	free(policy);
	policy = omb_probe_policy("s3://my-bucket");
	ok(policy != NULL &&
		   strstr(policy, "\"arn:aws:s3:::my-bucket/*\"") != NULL,
	   "or the bucket alone");
	free(policy);
	ok(omb_probe_policy("file:///x") == NULL, "a directory has none");
}

/* ---- checking and healing ---- */

static void
test_check(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *to = omb_store_memory_new();
	omb_mirror_check_result found;
	omb_mirror_config config;
	omb_mirror_result result;
	size_t backups;
	char *pack;
	world w;

	world_begin(&w, 3);
	(void) omb_stream_put(w.repo, OMB_KIND_MARK, "marks/one", "x", 1, &err);
	(void) mirror(w.repo, to, true, &result, &err);
	check(&err);
	set_config(&config, w.repo, to, true);
	config.problem = note_problem;
	config.progress = ignore_progress;
	(void) omb_mirror_check(&config, 100, false, &found, &err);
	ok(err.status == OMB_OK && found.changed == 0 && found.strange == 0 &&
		   found.read == found.compared && found.read > 5,
	   "a good copy is found good");

	pack = pack_of_newest(&w);
	omb_store_memory_bytes(to, pack)->data[70] ^= 4;
	omb_store_memory_bytes(to, "marks/one")->len--;
	(void) omb_mirror_check(&config, 0, false, &found, &err);
	ok(err.status == OMB_DAMAGED && found.changed == 1,
	   "another size is found without reading");
	omb_error_clear(&err);
	(void) omb_mirror_check(&config, 100, false, &found, &err);
	ok(err.status == OMB_DAMAGED && found.changed == 2 && found.healed == 0,
	   "other bytes are found by reading");
	omb_error_clear(&err);

	omb_store_memory_bytes(memory_of(w.repo), pack)->data[80] ^= 4;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.changed == 2 && found.healed == 1 &&
		   has_object(to, pack),
	   "nothing is healed from what is damaged itself");
	omb_error_clear(&err);
	omb_store_memory_bytes(memory_of(w.repo), pack)->data[80] ^= 4;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_OK && found.changed == 1 && found.healed == 1,
	   "a damaged pack is healed");
	ok(same_objects(w.repo->store, to) && is_valid_copy(&w, to, &backups) &&
		   backups == 3,
	   "the copy is as the original again");

	omb_store_memory_bytes(memory_of(w.repo), "marks/one")->data[70] ^= 4;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.healed == 0,
	   "a good object is not replaced by a damaged one");
	omb_error_clear(&err);
	omb_store_memory_bytes(memory_of(w.repo), "marks/one")->data[70] ^= 4;
	omb_store_memory_bytes(to, "marks/one")->data[70] ^= 4;
	config.repo = NULL;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.healed == 0,
	   "which one is good is not guessed without the key");
	omb_error_clear(&err);
	config.repo = w.repo;
	(void) omb_mirror_check(&config, 100, true, &found, &err);
	ok(err.status == OMB_OK && found.healed == 1, "with the key it is known");
	(void) omb_store_put(to, "packs/zz", "x", 1, &err);
	(void) omb_mirror_check(&config, 0, true, &found, &err);
	ok(err.status == OMB_DAMAGED && found.strange == 1 &&
		   has_object(to, "packs/zz"),
	   "what is no object is told and left");
	free(pack);
	omb_store_free(to);
	world_free(&w);
}

int
main(void)
{
	test_probe();
	test_policy();
	test_check();
	omb_buf_free(&told.problems);
	return tap_done();
}
