#!/bin/bash
# full.sh: measure full backups, restores and WAL against pgBackRest and
# pg_basebackup on the same bytes in the same run. Called by "make bench"; see
# README.md.
#
#   SIZE_MB=4096   size of the database     RUNS=3   runs of each
#   SEGMENTS=64    WAL segments             PART="backup wal" what to measure
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
SEGMENTS=${SEGMENTS:-64}
PART=${PART:-backup wal}
backups=0
wals=0
stored_ours=0 stored_pgbr=0 stored_bb=0
case $PART in *backup*) backups=$RUNS ;; esac
case $PART in *wal*) wals=$RUNS ;; esac

say "Making a database of $SIZE_MB MB ..."
make_cluster
load_data

say "Freezing $SEGMENTS WAL segments ..."
wal=$SCRATCH/wal
as_user mkdir -p "$wal/pg_wal/archive_status" "$wal/global"
sql -c 'CREATE TABLE bulk (LIKE doc)' -c 'SELECT pg_switch_wal()' >/dev/null
first=$(sql -c 'SELECT pg_walfile_name(pg_current_wal_lsn() + 1)')
begin=$(sql -c 'SELECT pg_current_wal_lsn()')
written() { sql -c "SELECT ((pg_current_wal_lsn() - '$begin'::pg_lsn) / 16777216)::int"; }
i=0
while [ "$(written)" -lt $((SEGMENTS / 2)) ]; do
	i=$((i + 1))
	as_user "$INSTBIN/pgbench" -n -c 4 -t 2500 --random-seed=$i >/dev/null 2>&1
done
while [ "$(written)" -le "$SEGMENTS" ]; do
	sql -c "INSERT INTO bulk SELECT * FROM doc WHERE id % 40 = $(written) % 40"
done
# archiving has no repository yet, so nothing was recycled
(cd "$data/pg_wal" && ls | grep -E '^[0-9A-F]{24}$' | sort | awk -v f="$first" '$0 >= f' |
	head -n "$SEGMENTS") >"$SCRATCH/list"
while read -r f; do as_user cp "$data/pg_wal/$f" "$wal/pg_wal/"; done <"$SCRATCH/list"
as_user cp "$data/global/pg_control" "$wal/global/"
as_user cp "$data/PG_VERSION" "$wal/"
sql -c 'DROP TABLE bulk'
begin_archiving
system=$(sql -c 'SELECT system_identifier FROM pg_control_system()')
chmod 644 "$SCRATCH/list"

configure_pgbr

# ---- full backup and restore ----

for run in $(seq "$backups"); do
	say "Run $run of $RUNS"
	fresh_ours
	rm -f "$SCRATCH/stop"
	watch_agent &
	watcher=$!
	measure full ours ours_full
	touch "$SCRATCH/stop"
	wait $watcher
	m=$(cat "$SCRATCH/peak")
	[ "${m:-0}" -le "$peak" ] || peak=$m
	stored_ours=$(du -sb "$ours/packs" | cut -f1)
	fresh_pgbr
	measure full pgbackrest pgbr_full
	stored_pgbr=$(du -sb "$SCRATCH/pgbr.repo/backup" | cut -f1)
	rm -rf "$SCRATCH/bb"
	measure full pg_basebackup basebackup_full
	stored_bb=$(du -sb "$SCRATCH/bb" | cut -f1)
	rm -rf "$SCRATCH/bb"

	measure restore ours as_user "$backup" restore --repository "$ours" --key-file "$key" \
		--pgdata "$SCRATCH/restored.ours" --target-immediate --jobs $JOBS
	as_user mkdir -m 700 "$SCRATCH/restored.pgbr"
	measure restore pgbackrest pgbr --stanza=main restore --pg1-path="$SCRATCH/restored.pgbr"
	remove_restored
done

# ---- WAL ----

push_pgbr() { # sync or async, one process for each segment, as the archiver does
	as_user bash -c "cd $wal; while read -r f; do
		pgbackrest --config=$SCRATCH/pgbackrest.conf --stanza=wal --log-level-console=warn $1 \
			archive-push $wal/pg_wal/\$f || exit 1; done <$SCRATCH/list"
}
get_loop() { # COMMAND with FILE as the file's name
	as_user mkdir -p "$SCRATCH/got"
	as_user bash -c "cd $wal; while read -r f; do c='$1'; sh -c \"\${c//FILE/\$f}\" || exit 1; done <$SCRATCH/list"
}
marks_ready() {
	rm -f "$wal/pg_wal/archive_status/"*
	while read -r f; do as_user touch "$wal/pg_wal/archive_status/$f.ready"; done <"$SCRATCH/list"
}
ours_push() { # MODE
	as_user perl "$SCRATCH/archive.pl" "$backup" "$wal" "$SCRATCH/walrepo" "$SCRATCH/walkey" \
		"$system" "$JOBS" "$1" "$SCRATCH/list" | tee -a "$SCRATCH/wait.$1"
}
fresh_walrepo() {
	rm -rf "$SCRATCH/walrepo" "$SCRATCH/walkey" "$wal/omsupply_backup.instance"
	as_user "$backup" init --repository "$SCRATCH/walrepo" --key-file "$SCRATCH/walkey" >/dev/null
}
same_wal() {
	while read -r f; do cmp "$wal/pg_wal/$f" "$SCRATCH/got/$f"; done <"$SCRATCH/list"
	rm -rf "$SCRATCH/got"
}

# the drivers and the list must be readable by the user that runs them
cp bench/archive.pl "$SCRATCH/archive.pl"
chmod 755 "$SCRATCH/archive.pl"
for run in $(seq "$wals"); do
	say "WAL, run $run of $RUNS"
	fresh_walrepo
	measure backlog ours ours_push backlog
	measure get ours get_loop "$backup wal-get --spool $SCRATCH/got --repository $SCRATCH/walrepo --key-file $SCRATCH/walkey FILE $SCRATCH/got/FILE"
	same_wal
	fresh_walrepo
	measure single ours ours_push single
	fresh_pgbr
	marks_ready
	measure backlog pgbackrest push_pgbr --archive-async
	measure get pgbackrest get_loop "pgbackrest --config=$SCRATCH/pgbackrest.conf --stanza=wal --log-level-console=warn --archive-async --archive-get-queue-max=512MiB archive-get FILE $SCRATCH/got/FILE"
	same_wal
	fresh_pgbr
	marks_ready
	measure single pgbackrest push_pgbr ''
done

# ---- report ----

say ''
say "$SIZE_MB MB, $SEGMENTS segments, zstd 3, 2 threads, medians of $RUNS; seconds"
say '| what                         |     ours | peer          |     peer | ratio | at most | reached |'
say '|---|---|---|---|---|---|---|'
row 'full backup, wall' full pgbackrest 3 0.8
row 'full backup, CPU' full pgbackrest 4 0.9
row 'full backup, wall' full pg_basebackup 3 1.2
row 'restore, wall' restore pgbackrest 3 0.7
row 'restore, CPU' restore pgbackrest 4 -
row 'WAL backlog, wall' backlog pgbackrest 3 0.75
row 'WAL one by one, wall' single pgbackrest 3 0.8
row 'WAL fetched in order, wall' get pgbackrest 3 0.7
say ''
say "Stored: ours $((stored_ours / 1048576)) MB, pgBackRest $((stored_pgbr / 1048576)) MB, pg_basebackup $((stored_bb / 1048576)) MB (with its WAL)."
say "Peak memory of the agent: $((peak / 1024)) MB (backup), $(awk '{if ($2>m) m=$2} END{printf "%d", m/1024}' "$SCRATCH/wait.backlog" 2>/dev/null) MB (archiving)."
