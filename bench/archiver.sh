#!/bin/bash
# archiver.sh: measure how long a WAL segment waits to be archived while the server
# also copies its repository to a target: one that is well, one behind a narrow line,
# one that is down. Called by "make bench"; see README.md.
#
#   SEGMENTS=20   of each state in each run     RUNS=3   runs of each state
#   RATE=32000    bytes per second of the narrow line (256 kbit/s)
set -euo pipefail
cd "$(dirname "$0")/.."
SIZE_MB=${SIZE_MB:-256}
. bench/lib.sh
SEGMENTS=${SEGMENTS:-20}
RATE=${RATE:-32000}
server=$PWD/scripts/s3server.sh
proxy=
end_server() {
	[ -z "$proxy" ] || kill "$proxy" || true
	"$server" stop "$SCRATCH/s3"
}
trap 'set +e; status=$?; end_server; (exit $status); finish' EXIT

say 'Starting the S3 server ...'
"$server" install
OMB_S3_BYTES=$((6 * 1073741824)) "$server" start "$SCRATCH/s3"
set -a
. "$SCRATCH/s3/env"
set +a
as_user install -m 600 /dev/null "$SCRATCH/keys"
printf 'access_key_id=%s\nsecret_access_key=%s\n' "$OMB_S3_ACCESS_KEY_ID" "$OMB_S3_SECRET_ACCESS_KEY" >"$SCRATCH/keys"
curl -sSf --aws-sigv4 aws:amz:us-east-1:s3 -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
	-u "$OMB_S3_ACCESS_KEY_ID:$OMB_S3_SECRET_ACCESS_KEY" -X PUT "http://127.0.0.1:$OMB_S3_PORT/archiver"
perl bench/slowproxy.pl "$SCRATCH/slow" "$OMB_S3_PORT" "$RATE" &
proxy=$!
until [ -s "$SCRATCH/slow" ]; do sleep 0.1; done

say "Making a database of $SIZE_MB MB ..."
make_cluster
load_data
begin_archiving
ours_full >"$SCRATCH/run.log" 2>&1

# target STATE RUN: begin to copy there, and wait until it does what its name says
target() {
	local port wanted
	case $1 in
		none) return ;;
		healthy) port=$OMB_S3_PORT wanted="state = 'ok'" ;;
		slow) port=$(cat "$SCRATCH/slow") wanted="state = 'copying'" ;;
		down) port=1 wanted="state = 'failing'" ;;
	esac
	sql -c "INSERT INTO backup_target (name, url, credentials) VALUES ('$1', 's3://archiver/$1$2?style=path&endpoint=http%3A%2F%2F127.0.0.1%3A$port', '$SCRATCH/keys')"
	until [ "$(sql -c "SELECT $wanted FROM backup_target_status")" = t ]; do sleep 0.2; done
}

# One segment after the other, each full of changes of pages; a line "STATE
# seconds" for each, from the switch to the time in pg_stat_archiver.
segments() {
	local i began file
	for i in $(seq "$SEGMENTS"); do
		as_user "$INSTBIN/pgbench" -n -c 2 -t 1000 >>"$SCRATCH/load.log" 2>&1
		IFS='|' read -r began file < <(sql -c 'SELECT clock_timestamp(), pg_walfile_name(pg_current_wal_insert_lsn())')
		sql -c 'SELECT pg_switch_wal()' >/dev/null
		until [ "$(sql -c "SELECT last_archived_wal >= '$file' FROM pg_stat_archiver")" = t ]; do sleep 0.02; done
		echo "$1 $(sql -c "SELECT extract(epoch FROM last_archived_time - '$began') FROM pg_stat_archiver")" >>"$results"
	done
}

states='none healthy slow down'
for run in $(seq "$RUNS"); do
	for state in $states; do
		say "Run $run of $RUNS, target: $state"
		target "$state" "$run"
		segments "$state"
		sql -c 'DELETE FROM backup_target'
		until [ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'")" = 0 ]; do sleep 0.1; done
	done
done

say ''
say "$SEGMENTS segments in each of $RUNS runs; milliseconds from the switch to archived"
say '| target  | median | 90 % below | longest | failures |'
say '|---|---|---|---|---|'
for state in $states; do
	awk -v s="$state" '$1 == s { print 1000 * $2 }' "$results" | sort -n |
		awk -v s="$state" -v failed="$(sql -c 'SELECT failed_count FROM pg_stat_archiver')" \
			'{ v[NR] = $1 } END { printf "| %-7s | %6.0f | %10.0f | %7.0f | %8d |\n", s, v[int((NR + 1) / 2)], v[int(NR * 0.9 + 0.5)], v[NR], failed }'
done
