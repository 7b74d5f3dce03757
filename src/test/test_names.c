/*
 * test_names.c: LSNs, names of WAL and relation files, what a base backup
 * leaves out, and tablespace_map.
 */
#include "test/tap.h"

#include "pgfmt/basebackup.h"
#include "pgfmt/lsn.h"
#include "pgfmt/relfile.h"
#include "pgfmt/tablespacemap.h"
#include "pgfmt/walname.h"

#define MB UINT64_C(1048576)

static void
lsns_are_two_hex_numbers(void)
{
	static const char *const wrong[] = {
		"",		 "/",	 "0",	 "0/",	  "/0",	 "0/0/0",		"0/0 ",
		" 0/0",	 "-1/0", "+1/0", "0x1/0", "g/0", "123456789/0", "0/123456789",
		"0/1\n", "0 /0", "1/ 0"
	};
	uint64_t lsn = 1;
	char text[OMB_LSN_TEXT];
	size_t i;
	int bad = 0;

	ok(omb_lsn_parse("0/0", &lsn) && lsn == 0, "zero");
	ok(omb_lsn_parse("1A/2B3C4D5E", &lsn) && lsn == UINT64_C(0x1A2B3C4D5E),
	   "upper case");
	is_text(omb_lsn_format(lsn, text), "1A/2B3C4D5E", "and back");
	ok(omb_lsn_parse("00000001/0000000f", &lsn) &&
		   lsn == UINT64_C(0x10000000f),
	   "lower case, leading zeros");
	is_text(omb_lsn_format(lsn, text), "1/F", "and back without");
	ok(omb_lsn_parse("FFFFFFFF/FFFFFFFF", &lsn) && lsn == UINT64_MAX,
	   "the last");
	is_text(omb_lsn_format(lsn, text), "FFFFFFFF/FFFFFFFF", "and back");
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		if (omb_lsn_parse(wrong[i], &lsn))
			printf("# accepted: \"%s\"\n", wrong[i]), bad++;
	}
	is_u64((uint64_t) bad, 0, "what is not an LSN");
}

static void
wal_files_by_name(void)
{
	static const struct
	{
		const char *name;
		omb_wal_kind kind;
	} cases[] = {
		{ "000000010000000A000000FE", OMB_WAL_SEGMENT },
		{ "FFFFFFFFFFFFFFFFFFFFFFFF", OMB_WAL_SEGMENT },
		{ "000000010000000A000000FE.partial", OMB_WAL_PARTIAL },
		{ "000000010000000A000000FE.00000028.backup", OMB_WAL_BACKUP_HISTORY },
		{ "0000000A.history", OMB_WAL_HISTORY },
		{ "", OMB_WAL_OTHER },
		{ "0000000a.history", OMB_WAL_OTHER },
		{ "000000010000000a000000FE", OMB_WAL_OTHER },
		{ "000000010000000A000000F", OMB_WAL_OTHER },
		{ "000000010000000A000000FE0", OMB_WAL_OTHER },
		{ "000000010000000A000000FE.", OMB_WAL_OTHER },
		{ "000000010000000A000000FE.partial ", OMB_WAL_OTHER },
		{ "000000010000000A000000FE.PARTIAL", OMB_WAL_OTHER },
		{ "000000010000000A000000FE.0000028.backup", OMB_WAL_OTHER },
		{ "000000010000000A000000FE.0000002g.backup", OMB_WAL_OTHER },
		{ "000000010000000A000000FE.00000028.backup.x", OMB_WAL_OTHER },
		{ "000000010000000A000000FE.backup", OMB_WAL_OTHER },
		{ "0000000A.history.x", OMB_WAL_OTHER },
		{ "0000000A0.history", OMB_WAL_OTHER },
		{ "0000000A", OMB_WAL_OTHER },
		{ "archive_status", OMB_WAL_OTHER },
		{ "../00000001.history", OMB_WAL_OTHER },
		{ "00000001/0000000A000000FE", OMB_WAL_OTHER },
		{ "xlogtemp.123", OMB_WAL_OTHER },
		{ "RECOVERYHISTORY", OMB_WAL_OTHER },
	};
	omb_wal_name name;
	size_t i;
	int bad = 0;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		if (omb_wal_name_parse(cases[i].name, &name) != cases[i].kind ||
			name.kind != cases[i].kind)
			printf("# wrong: %s\n", cases[i].name), bad++;
	}
	is_u64((uint64_t) bad, 0, "kinds");
	(void) omb_wal_name_parse("000000010000000A000000FE.00000028.backup",
							  &name);
	ok(name.timeline == 1 && name.log == 10 && name.seg == 254, "numbers");
	(void) omb_wal_name_parse("0000000A.history", &name);
	ok(name.timeline == 10, "a timeline");
}

static void
segment_numbers_fit_names(void)
{
	static const uint64_t sizes[] = { MB, 16 * MB, 64 * MB, 1024 * MB };
	char text[OMB_WAL_NAME_TEXT];
	omb_wal_name name;
	size_t i;
	int bad = 0;
	uint64_t segno;

	for (i = 0; i < 4; i++)
	{
		uint64_t in_log = UINT64_C(0x100000000) / sizes[i];

		for (segno = 0; segno < 5 * in_log; segno += 1 + in_log / 7)
		{
			omb_wal_name_format(9, segno, sizes[i], text);
			bad += omb_wal_name_parse(text, &name) != OMB_WAL_SEGMENT ||
				   name.timeline != 9 ||
				   omb_wal_segno(&name, sizes[i]) != segno;
		}
	}
	is_u64((uint64_t) bad, 0, "there and back");
	omb_wal_name_format(1, 0x3ff, 16 * MB, text);
	is_text(text, "0000000100000003000000FF", "the last of a log");
	omb_wal_name_format(1, 0x400, 16 * MB, text);
	is_text(text, "000000010000000400000000", "the first of the next");
	is_u64(omb_wal_segno_at(0x3000000, 16 * MB), 3, "the byte at an LSN");
	is_u64(omb_wal_segno_before(0x3000000, 16 * MB), 2,
		   "the byte before, at the begin of a segment");
	is_u64(omb_wal_segno_before(0x3000001, 16 * MB), 3,
		   "the byte before, behind it");
	is_u64(omb_wal_segno_before(0, 16 * MB), 0, "nothing is before 0");
	ok(omb_wal_segment_size_valid(MB) && omb_wal_segment_size_valid(16 * MB) &&
		   omb_wal_segment_size_valid(1024 * MB),
	   "sizes that initdb takes");
	ok(!omb_wal_segment_size_valid(0) && !omb_wal_segment_size_valid(1) &&
		   !omb_wal_segment_size_valid(MB / 2) &&
		   !omb_wal_segment_size_valid(3 * MB) &&
		   !omb_wal_segment_size_valid(2048 * MB) &&
		   !omb_wal_segment_size_valid(UINT64_C(1) << 63),
	   "sizes that it refuses");
}

static void
relation_files_by_name(void)
{
	static const struct
	{
		const char *name;
		omb_relfile file;
	} good[] = {
		{ "1259", { 1259, OMB_FORK_MAIN, 0, false } },
		{ "1259_fsm", { 1259, OMB_FORK_FSM, 0, false } },
		{ "1259_vm", { 1259, OMB_FORK_VM, 0, false } },
		{ "16384_init", { 16384, OMB_FORK_INIT, 0, false } },
		{ "16384.1", { 16384, OMB_FORK_MAIN, 1, false } },
		{ "16384_fsm.12", { 16384, OMB_FORK_FSM, 12, false } },
		{ "4294967295", { 4294967295, OMB_FORK_MAIN, 0, false } },
		{ "t3_16390", { 16390, OMB_FORK_MAIN, 0, true } },
		{ "t0_16390", { 16390, OMB_FORK_MAIN, 0, true } },
		{ "t12_16390_fsm", { 16390, OMB_FORK_FSM, 0, true } },
		{ "t12_16390_vm.2", { 16390, OMB_FORK_VM, 2, true } },
	};
	static const char *const wrong[] = { "",
										 "0",
										 "01259",
										 "1259.",
										 "1259.0",
										 "1259.01",
										 "1259.x",
										 "1259_",
										 "1259_x",
										 "1259_main",
										 "1259_fsm1",
										 "1259_fsm_vm",
										 "1259 ",
										 " 1259",
										 "-1259",
										 "+1259",
										 "1259.1.2",
										 "4294967296",
										 "99999999999999999999",
										 "1259.4294967296",
										 "t_5",
										 "t3_",
										 "t3",
										 "t3_0",
										 "tx_5",
										 "t3_5_x",
										 "t00_5",
										 "t01_5",
										 "pg_filenode.map",
										 "PG_VERSION",
										 "pg_internal.init",
										 "1259.1_fsm",
										 "t-1_5" };
	omb_relfile file;
	size_t i;
	int bad = 0;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		if (!omb_relfile_parse(good[i].name, &file) ||
			file.relnumber != good[i].file.relnumber ||
			file.fork != good[i].file.fork ||
			file.segno != good[i].file.segno ||
			file.is_temporary != good[i].file.is_temporary)
			printf("# wrong: %s\n", good[i].name), bad++;
	}
	is_u64((uint64_t) bad, 0, "names of relation files");
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		if (omb_relfile_parse(wrong[i], &file))
			printf("# accepted: %s\n", wrong[i]), bad++;
	}
	is_u64((uint64_t) bad, 0, "other names");
}

static void
relation_directories_by_path(void)
{
	static const char *const wrong[] = {
		"",
		"base",
		"base/",
		"base/5/",
		"base/5/x",
		"base/05",
		"base/x",
		"base/pgsql_tmp",
		"globals",
		"global/x",
		"pg_tblspc",
		"pg_tblspc/16400",
		"pg_tblspc/16400/5",
		"pg_tblspc/16400/PG_15_202209061",
		"pg_tblspc/16400/PG_15_202209061/",
		"pg_tblspc/16400/PG_15_202209061/x",
		"pg_tblspc/16400/PG_15_202209061/5/6",
		"pg_tblspc/x/PG_15_202209061/5",
		"pg_xact",
		"pg_wal",
	};
	uint32_t tablespace, database;
	size_t i;
	int bad = 0;

	ok(omb_relfile_directory("global", &tablespace, &database) &&
		   tablespace == 0 && database == 0,
	   "shared relations");
	ok(omb_relfile_directory("base/16384", &tablespace, &database) &&
		   tablespace == 0 && database == 16384,
	   "a database");
	ok(omb_relfile_directory("pg_tblspc/16400/PG_15_202209061/5", &tablespace,
							 &database) &&
		   tablespace == 16400 && database == 5,
	   "a database in a tablespace");
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		if (omb_relfile_directory(wrong[i], &tablespace, &database))
			printf("# accepted: %s\n", wrong[i]), bad++;
	}
	is_u64((uint64_t) bad, 0, "other directories");
}

static void
what_a_base_backup_leaves_out(void)
{
	static const char *const out[] = { "postgresql.auto.conf.tmp",
									   "current_logfiles.tmp",
									   "pg_internal.init",
									   "pg_internal.init.4711",
									   "backup_label",
									   "tablespace_map",
									   "backup_manifest",
									   "postmaster.pid",
									   "postmaster.opts",
									   "pgsql_tmp",
									   "pgsql_tmp123.4",
									   ".DS_Store",
									   "omsupply_backup.instance" };
	static const char *const in[] = { "PG_VERSION",
									  "postgresql.auto.conf",
									  "postgresql.conf",
									  "pg_hba.conf",
									  "current_logfiles",
									  "pg_control",
									  "pg_filenode.map",
									  "1259",
									  "backup_labels",
									  "standby.signal",
									  "recovery.signal",
									  "xpgsql_tmp",
									  "",
									  "pg_internal",
									  "ds_store" };
	static const char *const emptied[] = { "pg_stat_tmp", "pg_replslot",
										   "pg_dynshmem", "pg_notify",
										   "pg_serial",	  "pg_snapshots",
										   "pg_subtrans", "pg_wal" };
	static const char *const kept[] = {
		"base",		 "global",		 "pg_xact",	   "pg_multixact",
		"pg_stat",	 "pg_commit_ts", "pg_logical", "pg_twophase",
		"pg_tblspc", "base/5",		 "",		   "pg_wal2"
	};
	size_t i;
	int bad = 0;

	for (i = 0; i < sizeof(out) / sizeof(out[0]); i++)
		bad += !omb_exclude_file(out[i]);
	for (i = 0; i < sizeof(in) / sizeof(in[0]); i++)
		bad += omb_exclude_file(in[i]);
	is_u64((uint64_t) bad, 0, "files");
	for (i = 0; i < sizeof(emptied) / sizeof(emptied[0]); i++)
		bad += !omb_exclude_contents(emptied[i]);
	for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		bad += omb_exclude_contents(kept[i]);
	is_u64((uint64_t) bad, 0, "contents of directories");
}

static void
tablespace_map_escapes_ends_of_lines(void)
{
	omb_buf map = OMB_BUF_INIT;

	omb_tablespace_map_add(&map, "16400", "/srv/one two");
	omb_tablespace_map_add(&map, "16401", "/a\nb\rc\\d");
	is_text(omb_buf_text(&map),
			"16400 /srv/one two\n16401 /a\\\nb\\\rc\\\\d\n", "two lines");
	omb_buf_free(&map);
}

int
main(void)
{
	lsns_are_two_hex_numbers();
	wal_files_by_name();
	segment_numbers_fit_names();
	relation_files_by_name();
	relation_directories_by_path();
	what_a_base_backup_leaves_out();
	tablespace_map_escapes_ends_of_lines();
	return tap_done();
}
