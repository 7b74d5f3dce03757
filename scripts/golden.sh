#!/bin/bash
# golden.sh TAR: make a golden repository with the program of today, as
# src/test/data/golden/README describes the newest one. "make golden TAR=..."
# calls it. What is added to it by later versions goes to the end of each part.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 1 ] || { echo "usage: make golden TAR=src/test/data/golden/N.tar" >&2; exit 2; }
tar=$(realpath -m "$1")
[ ! -e "$tar" ] || { echo "golden.sh: \"$tar\" is there: a golden repository is never made again" >&2; exit 1; }
. scripts/asuser.sh
finish() {
	status=$?
	as_user "$INSTBIN/pg_ctl" -D "$SCRATCH/data" -m immediate stop >/dev/null 2>&1 || true
	[ $status -eq 0 ] || tail -n 20 "$SCRATCH/server.log" >&2 || true
	rm -rf "$SCRATCH"
}
trap finish EXIT
private_tree
export PGHOST=$SCRATCH PGPORT=54321 PGUSER=postgres PGDATABASE=gold
sql() { as_user "$INSTBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"; }
run() { as_user "$INSTBIN/omsupply_backup" "$@" --repository "$out/repository" --key-file "$out/key"; }
until_true() {
	for _ in $(seq 600); do
		[ "$(sql "$1")" != t ] || return 0
		sleep 0.1
	done
	echo "golden.sh: never true: $1" >&2
	return 1
}

# ---- a server ----

out=$SCRATCH/golden
files=$SCRATCH/files
as_user mkdir "$out" "$files"
run init | sed -n 's/^Recovery code:  //p' | as_user tee "$out/recovery-code" >/dev/null
as_user "$INSTBIN/initdb" -k -A trust -U postgres -E UTF8 --locale=C -D "$SCRATCH/data" >/dev/null
as_user tee -a "$SCRATCH/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$SCRATCH'
port = $PGPORT
autovacuum = off
shared_preload_libraries = 'omsupply_backup'
archive_mode = on
archive_library = 'omsupply_backup'
omsupply_backup.repository = '$out/repository'
omsupply_backup.key_file = '$out/key'
omsupply_backup.database = 'gold'
omsupply_backup.compression = 'zstd:19'
wal_compression = on
CONF
as_user "$INSTBIN/pg_ctl" -D "$SCRATCH/data" -l "$SCRATCH/server.log" -w -t 300 start >/dev/null
# as little as possible: the tar goes into the sources
PGDATABASE=postgres sql 'CREATE DATABASE gold STRATEGY file_copy'
sql 'DROP DATABASE postgres'
sql 'CREATE EXTENSION omsupply_backup; UPDATE backup_schedule SET is_enabled = false'

# ---- files of all kinds ----

as_user bash -ec "
umask 022
cd '$files'
mkdir -p sub/empty deep/a/b/c
printf 'one' >one
printf 'gone' >gone
: >nothing
seq 100000 >sub/large
printf 'c' >deep/a/b/c/f
printf 'b' >\$'name with\nnewline'
printf 'b' >\$'latin \xe4\xff'
printf 'd' >'percent %3D = 100%'
printf 'e' >\$(printf 'n%.0s' {1..255})
ln -s nowhere dangling
ln -s /etc/passwd out
ln -s ../one sub/link
ln one hard
truncate -s 30M hole
printf x | dd of=hole bs=1 seek=20000000 conv=notrunc status=none
chmod 0400 one
chmod 0750 sub
chmod 0711 deep
chmod 4755 nothing
touch -d '2020-01-02 03:04:05.678901234Z' sub/large sub/empty
touch -h -d '2021-01-02 03:04:05Z' dangling
sqlite3 app.db 'PRAGMA journal_mode=wal; CREATE TABLE t AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 500) SELECT n FROM r' >/dev/null
"
sql "INSERT INTO backup_file_set (name, path, exclude) VALUES ('app', '$files', '{*.tmp}')"

# ---- history ----

sql "CREATE TABLE stock (id int PRIMARY KEY, name text); INSERT INTO stock SELECT n, md5(n::text) FROM generate_series(1, 2000) n"
sql "INSERT INTO backup_watermark (name, query, \"interval\") VALUES ('stock', 'SELECT count(*), max(id) FROM public.stock', '1 hour')"
until_true "SELECT count(*) = 1 FROM backup_watermark_state WHERE name = 'stock' AND measured_at IS NOT NULL"
one=$(sql "SELECT backup_now('golden one', 'full')")
run pin "$one" --reason 'never again' >/dev/null
sql "INSERT INTO stock SELECT n, md5(n::text) FROM generate_series(2001, 2500) n"
sql "SELECT backup_mark('golden mark', '{\"file\": \"golden.zip\"}')"
sql "SELECT pg_create_restore_point('golden')" >/dev/null
as_user rm "$files/gone"
as_user tee "$files/later.tmp" "$files/new" <<<'new' >/dev/null
sql 'SELECT backup_files()' >/dev/null
sql "UPDATE stock SET name = 'later' WHERE id < 100"
sql "SELECT backup_now('golden two')" >/dev/null
sql "INSERT INTO stock VALUES (9999, 'last')"
until_true "SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')"
segment=$(sql 'SELECT pg_walfile_name(pg_current_wal_lsn())')
sql 'SELECT pg_switch_wal()' >/dev/null
until_true "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver"
# WAL from before the first backup
sql 'SELECT backup_expire()' >/dev/null
# what a restore of the newest has to give; a database of SQLite is not kept bit by bit
as_user bash -ec "cd '$files'
find . -mindepth 1 ! -name 'app.db*' ! -name later.tmp -printf '%P|%y|%m|%l|%T@\0' | LC_ALL=C sort -z | tr '\0' '\n'
find . -type f ! -name 'app.db*' ! -name later.tmp -print0 | LC_ALL=C sort -z | xargs -0 sha256sum" >"$SCRATCH/tree"
as_user "$INSTBIN/pg_ctl" -D "$SCRATCH/data" -w stop >/dev/null
cp "$SCRATCH/tree" "$out/tree"
run verify
tar -C "$out" --owner=0 --group=0 -cf "$tar" .
ls -l "$tar"
