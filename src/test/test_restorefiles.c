/*
 * test_restorefiles.c: putting back the application's files from manifests
 * made by hand: which of several counts, what is in the way, and manifests
 * that were made to do harm.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/buffer.h"
#include "codec/crc32c.h"
#include "task/restore/restorefiles.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/omb-restore.XXXXXX";

static void __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	(void) vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command) != 0)
	{
		printf("Bail out! %s\n", command);
		exit(1);
	}
}

/*
 * Entries as lines: "D path", "F path size" (of zeros), "G path size" (twice that,
 * in two extents), "B" and "C" likewise with a wrong checksum, "L path target";
 * the files were copied at that time.
 */
static void
add_manifest(omb_repository *repo, int number, const char *lines)
{
	omb_manifest_writer *writer = NULL;
	omb_pack_table *packs = omb_pack_table_new();
	omb_error err = OMB_ERROR_INIT;
	omb_backup_info info;

	memset(&info, 0, sizeof(info));
	(void) snprintf(info.id, sizeof(info.id), "20261120T0000%02dZ-0000",
					number);
	(void) snprintf(info.kind, sizeof(info.kind), OMB_BACKUP_FILES);
	info.file_sets = 1;
	info.files_start_time = number * 10;
	info.files_stop_time = number * 10 + 5;
	(void) omb_manifest_create(repo, &writer, &err);
	check(&err);
	while (*lines != '\0')
	{
		char type, path[256], rest[256] = "";
		omb_entry entry;
		omb_extent zeros;

		(void) sscanf(lines, "%c %255s %255[^\n]", &type, path, rest);
		memset(&entry, 0, sizeof(entry));
		memset(&zeros, 0, sizeof(zeros));
		entry.type = (omb_entry_type) type;
		entry.root = OMB_ROOT_FILES;
		entry.path = omb_strdup(path);
		entry.mode = type == 'D' ? 0750 : 0640;
		entry.mtime = UINT64_C(1000000000) * 1000000000;
		entry.uid = (uint32_t) geteuid();
		entry.gid = (uint32_t) getegid();
		if (type == 'L')
			entry.target = omb_strdup(rest);
		if (strchr("FGBC", type) != NULL)
		{
			bool is_large = type == 'G' || type == 'C';

			entry.type = OMB_ENTRY_FILE;
			zeros.is_zero = true;
			zeros.length = entry.size = (uint64_t) atoi(rest);
			entry.size *= is_large ? 2 : 1;
			entry.crc32c = omb_crc32c_zeros(entry.size) +
						   (type == 'B' || type == 'C' ? 1 : 0);
			omb_entry_add_extent(&entry, &zeros);
			if (is_large)
				omb_entry_add_extent(&entry, &zeros);
		}
		(void) omb_manifest_add(writer, &entry, &err);
		check(&err);
		omb_entry_clear(&entry);
		lines += strcspn(lines, "\n");
		lines += *lines == '\n' ? 1 : 0;
	}
	(void) omb_manifest_commit(writer, &info, packs, &err);
	check(&err);
	omb_pack_table_free(packs);
}

static void
ignore_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
}

/* Restore into <folder>/<to>; what is there then, or the message. */
static char *
restore(omb_repository *repo, const char *to, int64_t instant, bool delta,
		const char *only)
{
	char *directory = omb_format("%s/%s", folder, to);
	omb_restore_files_config config;
	omb_restore_files_result result;
	omb_error err = OMB_ERROR_INIT;
	omb_buf out = OMB_BUF_INIT;
	char *text;

	memset(&config, 0, sizeof(config));
	config.repo = repo;
	config.jobs = 3;
	config.directory = directory;
	config.from = config.until = instant;
	config.delta = delta;
	config.only = only;
	config.progress = ignore_progress;
	if (omb_restore_files_check(&config, &result, &err) == OMB_OK)
		(void) omb_restore_files(&config, &result, &err);
	if (err.status == OMB_OK)
	{
		char line[512];
		char *command =
			omb_format("cd '%s' && find . -mindepth 1 "
					   "-printf '%%P %%m %%Y%%l %%T@ %%s\\n' | "
					   "sed 's/ 1000000000[.0]*//' | LC_ALL=C sort",
					   directory);
		FILE *pipe = popen(command, "r");

		while (pipe != NULL && fgets(line, sizeof(line), pipe) != NULL)
		{
			/* sizes of directories and links are none of ours */
			char *end = strrchr(line, ' ');

			if (strstr(line, " f ") != NULL)
				omb_buf_printf(&out, "%s", line);
			else
				omb_buf_printf(&out, "%.*s\n", (int) (end - line), line);
		}
		if (pipe != NULL)
			(void) pclose(pipe);
		free(command);
		omb_buf_printf(&out, "%" PRIu64 " files, %" PRIu64 " added\n",
					   result.files, result.files_added);
	}
	else
		omb_buf_printf(&out, "%s", err.message);
	text = omb_strdup(omb_buf_text(&out));
	omb_buf_free(&out);
	free(directory);
	return text;
}

static void
gives(omb_repository *repo, const char *to, int64_t instant, bool delta,
	  const char *only, const char *wanted, const char *what)
{
	char *got = restore(repo, to, instant, delta, only);

	is_text(got, wanted, what);
	free(got);
}

static void
fails(omb_repository *repo, const char *to, int64_t instant, bool delta,
	  const char *only, const char *wanted, const char *what)
{
	char *got = restore(repo, to, instant, delta, only);

	if (!ok(strstr(got, wanted) != NULL, "%s", what))
		printf("# got: %s\n", got);
	free(got);
}

static void
test_union(void)
{
	omb_repository *repo = new_repository(omb_store_memory_new());

	fails(repo, "none", 5, false, NULL, "has no files of the application",
		  "a repository without files");
	add_manifest(repo, 1,
				 "D set\nF set/changed 3\nD set/d\nF set/d/gone 1\n"
				 "F set/d/same 2\nD set/old\nF set/old/f 4\n");
	add_manifest(repo, 2,
				 "D set\nF set/changed 6\nD set/d\nF set/d/new 5\n"
				 "F set/d/same 2\nF set/old 7\n");
	gives(repo, "a", 18, false, NULL,
		  "set 750 d\nset/changed 640 f 6\nset/d 750 d\nset/d/gone 640 f 1\n"
		  "set/d/new 640 f 5\nset/d/same 640 f 2\nset/old 640 f 7\n"
		  "5 files, 2 added\n",
		  "between two copies both count, the later one first");
	gives(repo, "b", 3, false, NULL,
		  "set 750 d\nset/changed 640 f 3\nset/d 750 d\nset/d/gone 640 f 1\n"
		  "set/d/same 640 f 2\nset/old 750 d\nset/old/f 640 f 4\n"
		  "4 files, 0 added\n",
		  "before both it is the first");
	gives(repo, "c", INT64_MAX, false, NULL,
		  "set 750 d\nset/changed 640 f 6\nset/d 750 d\nset/d/new 640 f 5\n"
		  "set/d/same 640 f 2\nset/old 640 f 7\n4 files, 0 added\n",
		  "behind both the last");
	gives(repo, "d", INT64_MAX, false, "set/d/new",
		  "set 750 d\nset/d 750 d\nset/d/new 640 f 5\n1 files, 0 added\n",
		  "one file, with the directories on the way");
	gives(repo, "e", 18, false, "set/d/gone",
		  "set 750 d\nset/d 750 d\nset/d/gone 640 f 1\n1 files, 1 added\n",
		  "one that was deleted");
	fails(repo, "f", 18, false, "set/d/go", "has no files \"set/d/go\"",
		  "half a name is none");
	fails(repo, "a", 18, false, NULL, "is there already",
		  "nothing is overwritten");
	run("cd %s/a/set && echo x >changed && rm d/new && rm old && "
		"ln -s /etc/hostname old && echo y >stranger && chmod 600 stranger && touch -d @1000000000 stranger",
		folder);
	gives(repo, "a", 18, true, NULL,
		  "set 750 d\nset/changed 640 f 6\nset/d 750 d\nset/d/gone 640 f 1\n"
		  "set/d/new 640 f 5\nset/d/same 640 f 2\nset/old 640 f 7\n"
		  "set/stranger 600 f 2\n5 files, 2 added\n",
		  "with delta what differs is replaced, what is not known stays");
	omb_repository_free(repo);
}

static void
test_harm(void)
{
	omb_repository *repo = new_repository(omb_store_memory_new());
	char *lines;

	run("mkdir %s/evil", folder);
	lines = omb_format("D set\nL set/l %s/evil\nF set/l/f 1\n", folder);
	add_manifest(repo, 1, lines);
	free(lines);
	fails(repo, "h1", 5, false, NULL, "could not open directory",
		  "a file below a link");
	add_manifest(repo, 2, "D set\nF set/f 1\nF set/f/g 1\n");
	fails(repo, "h2", 15, false, NULL, "could not open directory",
		  "a file below a file");
	add_manifest(repo, 3, "F set 1\n");
	fails(repo, "h3", 25, false, NULL, "is no directory",
		  "a set that is a file");
	add_manifest(repo, 4, "D set\nF set/missing/f 1\n");
	fails(repo, "h4", 35, false, NULL, "could not open directory",
		  "a file without its directory");
	add_manifest(repo, 5, "D set\nD set/d\nF set/d/f 1\n");
	run("mkdir -p %s/h5/set && ln -s %s/evil %s/h5/set/d", folder, folder,
		folder);
	fails(repo, "h5", 45, true, NULL, "could not open directory",
		  "a link that is in the way");
	run("test -z \"$(ls %s/evil)\"", folder);
	ok(true, "nothing was written elsewhere");
	omb_repository_free(repo);
}

/* Threads: large files go in pieces; after a failure nothing is half done. */
static void
test_threads(void)
{
	omb_repository *repo = new_repository(omb_store_memory_new());

	add_manifest(repo, 1,
				 "D set\nG set/a 5000000\nD set/d\nG set/d/b 9000000\n"
				 "F set/d/c 3\nF set/e 0\n");
	gives(repo, "t1", 5, false, NULL,
		  "set 750 d\nset/a 640 f 10000000\nset/d 750 d\n"
		  "set/d/b 640 f 18000000\nset/d/c 640 f 3\nset/e 640 f 0\n"
		  "4 files, 0 added\n",
		  "large files and small ones");
	add_manifest(repo, 2,
				 "D set\nF set/a 1\nD set/d\nC set/d/b 9000000\n"
				 "F set/d/c 3\n");
	fails(repo, "t2", 15, false, NULL,
		  "file \"set/d/b\" does not have the checksum",
		  "a large file that is damaged");
	add_manifest(repo, 3,
				 "D set\nF set/a 1\nD set/d\nB set/d/b 9\nF set/d/c 3\n");
	fails(repo, "t3", 25, false, NULL,
		  "file \"set/d/b\" does not have the checksum", "a small one");
	run("test ! -e %s/t2/set/d/b && test ! -e %s/t3/set/d/b", folder, folder);
	ok(true, "is not left");
	run("test \"$(stat -c %%a %s/t2/set %s/t2/set/d %s/t3/set/d | tr '\\n' "
		"' ')\" = '750 750 750 '",
		folder, folder, folder);
	ok(true, "directories have their modes all the same");
	omb_repository_free(repo);
}

int
main(void)
{
	if (mkdtemp(folder) == NULL)
		return 1;
	test_union();
	test_harm();
	test_threads();
	run("rm -rf %s", folder);
	return tap_done();
}
