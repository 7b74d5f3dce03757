#!/bin/bash
# run.sh: measure omsupply_backup against pgBackRest and pg_basebackup on the
# same bytes in the same run, and print medians and ratios. Called by "make
# bench"; see bench/README.md.
#
#   SIZE_MB=4096   size of the database     RUNS=3   runs of each
#   SEGMENTS=64    WAL segments             WORK=DIR where (kept when given)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/asuser.sh

SIZE_MB=${SIZE_MB:-4096}
RUNS=${RUNS:-3}
SEGMENTS=${SEGMENTS:-64}
JOBS=2
results=$SCRATCH/results

say() { printf '%s\n' "$*"; }
finish() {
	status=$?
	trap - EXIT
	as_user "$INSTBIN/pg_ctl" -D "$SCRATCH/data" -m immediate stop >/dev/null 2>&1 || true
	[ $status -eq 0 ] || { say "FAILED; logs:"; tail -n 20 "$SCRATCH"/run.log "$SCRATCH"/server.log; }
	touch "$SCRATCH/stop"
	rm -rf "$SCRATCH"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

if ! command -v pgbackrest >/dev/null; then
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends pgbackrest >/dev/null
fi

private_tree
backup=$INSTBIN/omsupply_backup
export PGHOST=$SCRATCH/socket PGPORT=54321 PGDATABASE=postgres PGUSER=$OSUSER
data=$SCRATCH/data
ours=$SCRATCH/ours.repo
key=$SCRATCH/ours.key
sql() { as_user "$INSTBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

# CPU seconds that the whole machine was busy: tool, server and kernel alike
busy() { awk '/^cpu /{print ($2+$3+$4+$7+$8)/100}' /proc/stat; }
now() { date +%s.%N; }

# measure WHAT TOOL COMMAND...: appends "WHAT TOOL wall cpu"
measure() {
	local what=$1 tool=$2 t0 b0 t1 b1
	shift 2
	# a virtual machine's memory is slow when touched for the first time:
	# nobody shall pay for that alone
	dd if=/dev/zero of="$SCRATCH/warm" bs=1M count="$SIZE_MB" 2>/dev/null
	rm -f "$SCRATCH/warm"
	sync
	sleep 1
	b0=$(busy)
	t0=$(now)
	"$@" >>"$SCRATCH/run.log" 2>&1 || { say "failed: $*"; return 1; }
	t1=$(now)
	b1=$(busy)
	awk -v w="$what" -v t="$tool" -v a="$t0" -v b="$t1" -v c="$b0" -v d="$b1" \
		'BEGIN{printf "%s %s %.3f %.2f\n", w, t, b-a, d-c}' | tee -a "$results"
}
# median WHAT TOOL COLUMN
median() { awk -v w="$1" -v t="$2" -v c="$3" '$1==w && $2==t{print $c}' "$results" |
	sort -n | awk '{v[NR]=$1} END{print NR ? v[int((NR+1)/2)] : "nan"}'; }

pgbr() { as_user pgbackrest --config="$SCRATCH/pgbackrest.conf" --log-level-console=warn "$@"; }

# ---- data ----

say "Making a database of $SIZE_MB MB ..."
as_user mkdir -m 700 "$SCRATCH/socket"
as_user "$INSTBIN/initdb" -k -A trust -U "$OSUSER" -E UTF8 --locale=C -D "$data" >"$SCRATCH/initdb.log"
as_user "$backup" init --repository "$ours" --key-file "$key" >/dev/null
as_user tee -a "$data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$PGHOST'
port = $PGPORT
shared_buffers = 512MB
max_wal_size = 3GB
checkpoint_timeout = 30min
autovacuum = off
shared_preload_libraries = 'omsupply_backup'
archive_mode = on
archive_library = 'omsupply_backup'
omsupply_backup.jobs = $JOBS
CONF
as_user "$INSTBIN/pg_ctl" -D "$data" -l "$SCRATCH/server.log" -w start >/dev/null
sql -c 'CREATE EXTENSION omsupply_backup'
as_user "$INSTBIN/pgbench" -q -i -I dtgp -s $((SIZE_MB * 3 / 4 / 15)) >"$SCRATCH/load.log" 2>&1
sql -c 'CREATE TABLE doc (id bigint, body jsonb, note text)'
perl bench/rows.pl $((SIZE_MB / 4)) | sql -c 'COPY doc FROM STDIN'
sql -c 'ALTER TABLE doc ADD PRIMARY KEY (id)' -c 'VACUUM (FREEZE)' -c CHECKPOINT

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
sql -c 'DROP TABLE bulk' -c "ALTER SYSTEM SET omsupply_backup.repository = '$ours'" \
	-c "ALTER SYSTEM SET omsupply_backup.key_file = '$key'" -c 'SELECT pg_reload_conf()' >/dev/null
sql -c 'VACUUM (FREEZE)' -c CHECKPOINT -c 'SELECT pg_switch_wal()' >/dev/null
until [ -z "$(ls "$data/pg_wal/archive_status" | grep ready)" ]; do sleep 1; done
system=$(sql -c 'SELECT system_identifier FROM pg_control_system()')
chmod 644 "$SCRATCH/list"

cat >"$SCRATCH/pgbackrest.conf" <<CONF
[global]
repo1-path=$SCRATCH/pgbr.repo
repo1-bundle=y
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=a-pass-phrase-for-the-bench
log-path=$SCRATCH/pgbr
lock-path=$SCRATCH/pgbr
spool-path=$SCRATCH/pgbr
compress-type=zst
compress-level=3
process-max=$JOBS
start-fast=y
archive-check=n
[main]
pg1-path=$data
pg1-port=$PGPORT
pg1-socket-path=$PGHOST
[wal]
pg1-path=$wal
CONF
chmod 644 "$SCRATCH/pgbackrest.conf"
as_user mkdir -m 700 "$SCRATCH/pgbr"

# ---- full backup and restore ----

fresh_pgbr() {
	rm -rf "$SCRATCH/pgbr.repo" "$SCRATCH/pgbr"/*
	pgbr --stanza=main stanza-create
	pgbr --stanza=wal stanza-create --no-online
}
fresh_ours() {
	sql -c "ALTER SYSTEM RESET omsupply_backup.repository" -c 'SELECT pg_reload_conf()' >/dev/null
	rm -rf "$ours" "$key"
	as_user "$backup" init --repository "$ours" --key-file "$key" >/dev/null
	rm -f "$data/omsupply_backup.instance"
	sql -c "ALTER SYSTEM SET omsupply_backup.repository = '$ours'" -c 'SELECT pg_reload_conf()' >/dev/null
	# until archiving into the new repository works
	until [ -n "$(ls "$ours/wal" 2>/dev/null)" ]; do
		sql -c "SELECT pg_create_restore_point('bench')" -c 'SELECT pg_switch_wal()' >/dev/null
		sleep 1
	done
}
ours_full() { sql -c "SELECT backup_now('bench', 'full')"; }
pgbr_full() { pgbr --stanza=main backup --type=full; }
basebackup_full() {
	as_user "$INSTBIN/pg_basebackup" -c fast -D "$SCRATCH/bb" -Ft -X fetch \
		--compress=server-zstd:level=3,workers=2
}
peak=0
watch_agent() { # peak memory of the agent while a backup runs
	local p m
	while [ ! -e "$SCRATCH/stop" ]; do
		for p in $(pgrep -f "^omsupply_backup agent" || true); do
			m=$(awk '/^VmHWM/{print $2}' "/proc/$p/status" 2>/dev/null || true)
			[ -z "$m" ] || echo "$m"
		done
		sleep 0.2
	done | sort -n | tail -n 1 >"$SCRATCH/peak"
}

for run in $(seq "$RUNS"); do
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
		--pgdata "$SCRATCH/restored" --target-immediate --jobs $JOBS
	rm -rf "$SCRATCH/restored"
	as_user mkdir -m 700 "$SCRATCH/restored"
	measure restore pgbackrest pgbr --stanza=main restore --pg1-path="$SCRATCH/restored"
	rm -rf "$SCRATCH/restored"
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
for run in $(seq "$RUNS"); do
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

row() { # TEXT WHAT PEER COLUMN TARGET
	awk -v text="$1" -v a="$(median "$2" ours "$4")" -v b="$(median "$2" "$3" "$4")" -v peer="$3" -v target="$5" \
		'BEGIN{printf "| %-28s | %8.2f | %-13s | %8.2f | %5.2f | %5s | %s |\n", text, a, peer, b, a/b, target,
			target == "-" ? "" : (a/b <= target ? "yes" : "NO")}'
}
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
say "Peak memory of the agent: $((peak / 1024)) MB (backup), $(awk '{if ($2>m) m=$2} END{printf "%d", m/1024}' "$SCRATCH/wait.backlog") MB (archiving)."
