/*
 * test_files.c: the application's files: patterns, names that are shown, the
 * walk over a set, entries of a manifest, which manifests fit an instant, and
 * which are kept.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/glob.h"
#include "base/text.h"
#include "task/restore/chosenfiles.h"
#include "task/backup/filewalk.h"
#include "task/retain/retain.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- patterns ---- */

static void
test_patterns(void)
{
	static const struct
	{
		const char *pattern;
		const char *path;
		bool fits;
	} cases[] = {
		{ "a", "a", true },
		{ "a", "b", false },
		{ "a", "a/b", false },
		{ "a*", "abc", true },
		{ "a*", "a/c", false },
		{ "*.log", "x.log", true },
		{ "*.log", "d/x.log", false },
		{ "**/*.log", "x.log", true },
		{ "**/*.log", "d/e/x.log", true },
		{ "**/x", "yx", false },
		{ "d/**", "d/e/f", true },
		{ "d/**", "d", false },
		{ "d/**/f", "d/f", true },
		{ "d/**/f", "d/a/b/f", true },
		{ "d/**/f", "dxf", false },
		{ "d**f", "d/a/b/f", true },
		{ "?", "/", false },
		{ "?", "\xff", true },
		{ "[a-c]x", "bx", true },
		{ "[a-c]x", "dx", false },
		{ "[!a-c]x", "dx", true },
		{ "[!a]", "/", false },
		{ "[]]", "]", true },
		{ "[a-]", "-", true },
		{ "[\\]]", "]", true },
		{ "\\*", "*", true },
		{ "\\*", "a", false },
		{ ".tmp*", ".tmpAbc", true },
		{ "***", "a/b", true },
		{ "[", "[", false },
		{ "[a", "a", false },
		{ "\\", "\\", false },
		{ "", "", false },
		{ "*", "", true },
		{ "static_files/tmp", "static_files/tmp", true },
	};
	char pattern[OMB_GLOB_MAX + 1];
	char path[4001];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(omb_glob_match(cases[i].pattern, cases[i].path) == cases[i].fits,
		   "pattern \"%s\" %s \"%s\"", cases[i].pattern,
		   cases[i].fits ? "fits" : "does not fit", cases[i].path);
	/* what takes other matchers years */
	for (i = 0; i + 2 < OMB_GLOB_MAX; i += 2)
		memcpy(pattern + i, "*a", 2);
	memcpy(pattern + i, "b", 2);
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ok(!omb_glob_match(pattern, path), "no pattern takes long");
	memset(pattern, 'a', sizeof(pattern) - 1);
	pattern[OMB_GLOB_MAX] = '\0';
	ok(omb_glob_valid(pattern), "the longest pattern");
	ok(!omb_glob_valid("a[") && !omb_glob_valid(""), "no patterns");
}

static void
test_names(void)
{
	static const char *const cases[][2] = {
		{ "plain", "plain" },
		{ "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
		  "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "a\nb\x7f", "a\\x0ab\\x7f" },
		{ "\xff\xfe", "\\xff\\xfe" },
		{ "\xc3", "\\xc3" },
		{ "\xc0\x80", "\\xc0\\x80" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		{ "\xc2\x85", "\\xc2\\x85" },
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char *shown = omb_name_show(cases[i][0]);

		is_text(shown, cases[i][1], "a name as it is shown");
		free(shown);
	}
}

static void
test_sets(void)
{
	static const char *const bad[] = { "", "a/b", ".", "..", "a\nb" };
	omb_error err = OMB_ERROR_INIT;
	const char *exclude[] = { "ok", "[" };
	omb_file_set set;
	size_t i;

	memset(&set, 0, sizeof(set));
	set.path = "/x";
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		set.name = bad[i];
		omb_error_clear(&err);
		ok(omb_file_set_check(&set, &err) == OMB_USAGE, "a name that is none");
	}
	omb_error_clear(&err);
	set.name = "ok";
	ok(omb_file_set_check(&set, &err) == OMB_OK, "a set");
	set.path = "x";
	ok(omb_file_set_check(&set, &err) == OMB_USAGE, "a path that is relative");
	omb_error_clear(&err);
	set.path = "/x";
	set.exclude = exclude;
	set.exclude_count = 2;
	ok(omb_file_set_check(&set, &err) == OMB_USAGE, "a pattern that is none");
}

/* ---- the walk ---- */

static omb_status
note_item(const omb_walk_item *item, void *arg, omb_error *err)
{
	omb_buf_printf(arg, "%c %s%s%s%s\n", (char) item->type, item->path,
				   item->target ? " -> " : "",
				   item->target ? item->target : "",
				   item->in_use ? " in use" :
				   item->is_log ? " log" :
								  "");
	return OMB_OK;
}

static omb_status
note_unreadable(const char *path, const char *source, int errnum, void *arg,
				omb_error *err)
{
	omb_buf_printf(arg, "unreadable %s\n", path);
	return OMB_OK;
}

static void
note_warning(const char *fmt, const char *path, void *arg)
{
	omb_buf_printf(arg, "warning %s\n", strrchr(path, '/') + 1);
}

static void
run(const char *command)
{
	if (system(command) != 0)
	{
		printf("Bail out! %s\n", command);
		exit(1);
	}
}

static void
test_walk(void)
{
	static const char *const exclude[] = { "no", "**/*.tmp" };
	char folder[] = "/tmp/omb-files.XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	omb_buf seen = OMB_BUF_INIT;
	omb_file_walk_config config;
	omb_file_set set;
	struct stat avoid;
	uint64_t found = 0;
	char *command;
	int fd;

	if (mkdtemp(folder) == NULL)
		return;
	command = omb_format(
		"cd %s && mkdir -p a/deep a.b avoid/x no && echo 1 >a/deep/f && "
		"echo 1 >a.b/g && echo 1 >a/x.tmp && echo 1 >no/h && "
		"ln -s /etc a/link && mkfifo pipe && echo 1 >avoid/x/y && "
		"printf 'SQLite format 3\\000' >data.db && echo 1 >data.db-wal && "
		"echo 1 >data.db-shm && echo 1 >text && echo 1 >text-wal && "
		"echo 1 >only-journal && printf 1 >\"$(printf 'odd\\377\\nname')\"",
		folder);
	run(command);
	free(command);
	command = omb_format("%s/avoid", folder);
	(void) stat(command, &avoid);
	free(command);
	memset(&set, 0, sizeof(set));
	set.name = "set";
	set.path = folder;
	set.exclude = exclude;
	set.exclude_count = 2;
	memset(&config, 0, sizeof(config));
	fd = open(folder, O_RDONLY | O_DIRECTORY);
	config.set = &set;
	config.directory = fd;
	config.avoid = &avoid;
	config.avoid_count = 1;
	config.visit = note_item;
	config.unreadable = note_unreadable;
	config.warn = note_warning;
	config.arg = &seen;
	ok(omb_file_walk(&config, &found, &err) == OMB_OK, "a walk");
	is_text(omb_buf_text(&seen),
			"D set/a\nD set/a/deep\nF set/a/deep/f\nL set/a/link -> /etc\n"
			"D set/a.b\nF set/a.b/g\nwarning avoid\nF set/data.db in use\n"
			"F set/data.db-shm log\nF set/data.db-wal log\n"
			"F set/odd\xff\nname\nF set/only-journal\nwarning pipe\n"
			"F set/text\nF set/text-wal\n",
			"everything is found, in the order of a manifest");
	is_u64(found, 13, "and counted");
	(void) close(fd);
	omb_buf_free(&seen);
	command = omb_format("rm -rf %s", folder);
	run(command);
	free(command);
}

static void
test_open_below(void)
{
	char folder[] = "/tmp/omb-below.XXXXXX";
	char *command;
	int top, fd;

	if (mkdtemp(folder) == NULL)
		return;
	command = omb_format("cd %s && mkdir -p a/b && echo 1 >a/b/c && "
						 "ln -s a link && ln -s c a/b/d",
						 folder);
	run(command);
	free(command);
	top = open(folder, O_RDONLY | O_DIRECTORY);
	fd = omb_open_below(top, "a/b/c", O_RDONLY, 0);
	ok(fd >= 0, "a file below a directory");
	(void) close(fd);
	fd = omb_open_below(top, "", O_RDONLY | O_DIRECTORY, 0);
	ok(fd >= 0, "the directory itself");
	(void) close(fd);
	ok(omb_open_below(top, "link/b/c", O_RDONLY, 0) < 0,
	   "no link on the way is followed");
	ok(omb_open_below(top, "a/b/d", O_RDONLY, 0) < 0, "nor one at the end");
	ok(omb_open_below(top, "a/x/c", O_RDONLY, 0) < 0, "what is missing");
	(void) close(top);
	command = omb_format("rm -rf %s", folder);
	run(command);
	free(command);
}

/* ---- entries ---- */

static bool
round_trip(const char *path, omb_entry *out)
{
	omb_extent_state *state = omb_extent_state_new();
	omb_buf record = OMB_BUF_INIT;
	omb_entry entry;
	bool good;

	memset(&entry, 0, sizeof(entry));
	entry.type = OMB_ENTRY_DIRECTORY;
	entry.root = OMB_ROOT_FILES;
	entry.path = omb_strdup(path);
	entry.mode = 02755;
	entry.uid = 1000;
	entry.gid = UINT32_MAX;
	omb_entry_encode(&entry, state, &record);
	good = omb_entry_decode(record.data, record.len, 0, state, out);
	omb_entry_clear(&entry);
	omb_buf_free(&record);
	omb_extent_state_free(state);
	return good;
}

static void
test_entries(void)
{
	static const char *const hostile[] = { "",	   "/etc",	 "set/../x",
										   "..",   "set//x", "set/./x",
										   "set/", "./set" };
	omb_entry entry;
	size_t i;

	ok(round_trip("set/odd\xff\n", &entry), "an entry comes back");
	is_u64(entry.uid, 1000, "its owner");
	is_u64(entry.gid, UINT32_MAX, "its group");
	is_u64(entry.mode, 02755, "its mode");
	is_text(entry.path, "set/odd\xff\n", "its path");
	omb_entry_clear(&entry);
	for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
		ok(!round_trip(hostile[i], &entry), "a hostile path is refused: %s",
		   hostile[i]);
}

/* ---- which fit an instant ---- */

static void
is_chosen(const omb_files_facts *facts, size_t count, int64_t from,
		  int64_t until, size_t chosen, size_t first, const char *what)
{
	size_t c = 99, f = 99;

	ok(omb_files_choose(facts, count, from, until, &c, &f) && c == chosen &&
		   f == first,
	   "%s: %zu from %zu on", what, c, f);
}

static void
test_choice(void)
{
	static const omb_files_facts facts[] = {
		{ "a", 10, 12 }, { "b", 20, 25 }, { "c", 30, 31 }, { "d", 40, 44 }
	};
	size_t c, f;

	ok(!omb_files_choose(facts, 0, 1, 1, &c, &f), "none");
	is_chosen(facts, 4, 5, 5, 0, 0, "before all");
	is_chosen(facts, 4, 10, 10, 0, 0, "when the first began");
	is_chosen(facts, 4, 15, 15, 1, 0, "between");
	is_chosen(facts, 4, 20, 20, 1, 0, "when one began");
	is_chosen(facts, 4, 22, 22, 2, 0, "while one was copied");
	is_chosen(facts, 4, 27, 27, 2, 1, "after it");
	is_chosen(facts, 4, 15, 35, 3, 0, "an instant that is not known well");
	is_chosen(facts, 4, 50, 50, 3, 3, "after all");
	is_chosen(facts, 4, 42, 42, 3, 2, "while the last was copied");
	is_chosen(facts, 4, INT64_MAX, INT64_MAX, 3, 3, "the end");
	is_chosen(facts, 1, 50, 50, 0, 0, "the only one");
}

/* ---- which are kept ---- */

/* b base backup, B one that is kept, W and from its end on; f files; p pinned */
static void
is_kept(const char *history, bool all, const char *wanted)
{
	omb_retain_plan plan;
	omb_buf got = OMB_BUF_INIT;
	size_t i;
	int turn;

	memset(&plan, 0, sizeof(plan));
	plan.keeps_all = all;
	for (i = 0; history[i] != '\0'; i++)
	{
		char *id = omb_format("20261120T0000%02zuZ-0000", i);

		if (history[i] == 'f' || history[i] == 'p')
		{
			omb_retain_files *files = omb_retain_add_files(&plan);

			memcpy(files->id, id, strlen(id) + 1);
			files->pin = history[i] == 'p' ? omb_strdup("why") : NULL;
		}
		else
		{
			omb_retain_backup *backup = omb_retain_add(&plan);

			memcpy(backup->id, id, strlen(id) + 1);
			backup->keep = history[i] != 'b';
			backup->window = history[i] == 'W';
		}
		free(id);
	}
	/* deciding again over what was kept gives the same */
	for (turn = 0; turn < 2; turn++)
	{
		size_t kept = 0;

		omb_retain_decide_files(&plan);
		omb_buf_clear(&got);
		for (i = 0; i < plan.files_count; i++)
			omb_buf_printf(&got, "%c", plan.files[i].keep ? '+' : '-');
		if (turn == 0)
			is_text(omb_buf_text(&got), wanted, history);
		else
			ok(strchr(omb_buf_text(&got), '-') == NULL, "and again");
		for (i = 0; i < plan.files_count; i++)
		{
			if (plan.files[i].keep)
				plan.files[kept++] = plan.files[i];
			else
			{
				free(plan.files[i].pin);
				free(plan.files[i].reason);
			}
		}
		plan.files_count = kept;
	}
	omb_buf_free(&got);
	omb_retain_clear(&plan);
}

static void
test_retention(void)
{
	is_kept("fff", true, "+++");
	is_kept("f", false, "+");
	is_kept("fff", false, "--+");
	is_kept("ffbffBfff", false, "---++-+");
	is_kept("ffbffWfff", false, "---++++");
	is_kept("fbfffBfffBfff", false, "---++-++-+");
	is_kept("fbfpfWf", false, "--+++");
	is_kept("BWff", false, "++");
	is_kept("ffBbbff", false, "-+++");
	is_kept("WfffBfff", false, "++++++");
}

int
main(void)
{
	test_patterns();
	test_names();
	test_sets();
	test_walk();
	test_open_below();
	test_entries();
	test_choice();
	test_retention();
	return tap_done();
}
