#!/bin/bash
# lib.sh: what the measurements share: clusters, repositories, measuring,
# medians. Sourced; see README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/asuser.sh

SIZE_MB=${SIZE_MB:-4096}
RUNS=${RUNS:-3}
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
	# free memory of a virtual machine goes back to its host, and is slow when
	# it is touched again: memory is full, of a file without blocks
	truncate -s "$(awk '/^MemTotal/{print $2}' /proc/meminfo)K" "$SCRATCH/hole"
	cat "$SCRATCH/hole" >/dev/null
	# nobody shall read from the disk what the other then finds in memory; a
	# server at work may remove files meanwhile
	find "$SCRATCH" \( -name hole -o -name 'restored.*' \) -prune -o \
		-type f -exec cat {} + >/dev/null 2>&1 || true
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
# Directories that were restored, ours and the other's, go together when both
# were measured, and are forgotten: for a minute ext4 looks in vain among the
# inodes of removed files whenever one is made, which takes the longer the more
# there were.
remove_restored() {
	rm -rf "$SCRATCH"/restored.*
	sync
	sleep 70
}
# median WHAT TOOL COLUMN
median() { awk -v w="$1" -v t="$2" -v c="$3" '$1==w && $2==t{print $c}' "$results" |
	sort -n | awk '{v[NR]=$1} END{print NR ? v[int((NR+1)/2)] : "nan"}'; }

pgbr() { as_user pgbackrest --config="$SCRATCH/pgbackrest.conf" --log-level-console=warn "$@"; }

# ---- clusters and repositories ----

# make_cluster [PGBENCH-OPTION...]: a server with SIZE_MB of data, three
# quarters pgbench and one quarter rows of text, that archives nowhere yet
make_cluster() {
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
	sql -c 'CREATE EXTENSION omsupply_backup; UPDATE backup_schedule SET is_enabled = false'
}

# load_data [PGBENCH-OPTION...]
load_data() {
	as_user "$INSTBIN/pgbench" -q -i -I dtgp -s $((SIZE_MB * 3 / 4 / 15)) "$@" >"$SCRATCH/load.log" 2>&1
	sql -c 'CREATE TABLE doc (id bigint, body jsonb, note text)'
	perl bench/rows.pl $((SIZE_MB / 4)) | sql -c 'COPY doc FROM STDIN'
	sql -c 'ALTER TABLE doc ADD PRIMARY KEY (id)' -c 'VACUUM (FREEZE)' -c CHECKPOINT
}

# begin_archiving: into our repository, until nothing waits
begin_archiving() {
	sql -c "ALTER SYSTEM SET omsupply_backup.repository = '$ours'" \
		-c "ALTER SYSTEM SET omsupply_backup.key_file = '$key'" -c 'SELECT pg_reload_conf()' >/dev/null
	sql -c 'VACUUM (FREEZE)' -c CHECKPOINT -c 'SELECT pg_switch_wal()' >/dev/null
	until [ -z "$(ls "$data/pg_wal/archive_status" | grep ready)" ]; do sleep 1; done
}

# configure_pgbr [LINE...]: with more settings for the repository
configure_pgbr() {
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
$(printf "%s\n" "$@")
[main]
pg1-path=$data
pg1-port=$PGPORT
pg1-socket-path=$PGHOST
[wal]
pg1-path=$SCRATCH/wal
CONF
	chmod 644 "$SCRATCH/pgbackrest.conf"
	as_user mkdir -p -m 700 "$SCRATCH/pgbr"
}

fresh_pgbr() {
	rm -rf "$SCRATCH/pgbr.repo" "$SCRATCH/pgbr"/*
	pgbr --stanza=main stanza-create
	[ ! -d "$SCRATCH/wal" ] || pgbr --stanza=wal stanza-create --no-online
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

row() { # TEXT WHAT PEER COLUMN TARGET
	awk -v text="$1" -v a="$(median "$2" ours "$4")" -v b="$(median "$2" "$3" "$4")" -v peer="$3" -v target="$5" \
		'BEGIN{printf "| %-28s | %8.2f | %-13s | %8.2f | %5.2f | %5s | %s |\n", text, a, peer, b, a/b, target,
			target == "-" ? "" : (a/b <= target ? "yes" : "NO")}'
}
