#!/bin/bash
# cloud.sh: measure a full backup up to the moment when the cloud has it, and a
# restore from there, against pgBackRest with the same S3 server. Called by
# "make bench"; see README.md.
#
#   SIZE_MB=4096   size of the database     RUNS=3   runs of each
#   DELAYS="0 200" milliseconds added to each request
set -euo pipefail
cd "$(dirname "$0")/.."
export OMB_S3_BYTES=$(((${SIZE_MB:-4096} * 2 + 2048) * 1048576))
. bench/lib.sh
DELAYS=${DELAYS:-0 200}

if ! command -v haproxy >/dev/null; then
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends haproxy >/dev/null
fi
server=$PWD/scripts/s3server.sh
end_server() {
	[ ! -s "$SCRATCH/haproxy.pid" ] || kill "$(cat "$SCRATCH/haproxy.pid")" || true
	"$server" stop "$SCRATCH/s3"
}
trap 'set +e; status=$?; end_server; (exit $status); finish' EXIT

say 'Starting the S3 server ...'
"$server" install
"$server" start "$SCRATCH/s3"
set -a
. "$SCRATCH/s3/env"
set +a
chmod 755 "$SCRATCH/s3"
as_user install -m 600 /dev/null "$SCRATCH/keys"
printf 'access_key_id=%s\nsecret_access_key=%s\n' "$OMB_S3_ACCESS_KEY_ID" "$OMB_S3_SECRET_ACCESS_KEY" >"$SCRATCH/keys"

# the same way for both, with and without delay: TLS is ended here
cat "$SCRATCH/s3/server.pem" "$SCRATCH/s3/server.key" >"$SCRATCH/haproxy.pem"
cat >"$SCRATCH/delay.lua" <<'END'
core.register_action('delay', { 'http-req' }, function(txn, ms) core.msleep(tonumber(ms)) end, 1)
END
port=$((OMB_S3_PORT + 2000))
{
	printf '%s\n' global "  lua-load $SCRATCH/delay.lua" "  pidfile $SCRATCH/haproxy.pid" defaults '  mode http' \
		'  timeout client 5m' '  timeout server 5m' '  timeout connect 5s' '  http-reuse always'
	n=0
	for delay in $DELAYS; do
		printf '%s\n' "frontend f$delay" "  bind 127.0.0.1:$((port + n)) ssl crt $SCRATCH/haproxy.pem" '  default_backend s3'
		[ "$delay" = 0 ] || echo "  http-request lua.delay $delay"
		n=$((n + 1))
	done
	printf '%s\n' 'backend s3' "  server s 127.0.0.1:$OMB_S3_PORT"
} >"$SCRATCH/haproxy.cfg"
haproxy -D -f "$SCRATCH/haproxy.cfg"

say "Making a database of $SIZE_MB MB ..."
make_cluster
load_data
begin_archiving

bucket() {
	curl -sSf --aws-sigv4 aws:amz:us-east-1:s3 -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
		-u "$OMB_S3_ACCESS_KEY_ID:$OMB_S3_SECRET_ACCESS_KEY" -X PUT "http://127.0.0.1:$OMB_S3_PORT/$1"
}
# each run has buckets of its own; those of the run before are emptied
empty_buckets() {
	local b
	for b in ours$run pgbr$run; do
		"$server" admin "$SCRATCH/s3" bucket rm --bucket="$b" --purge-objects --bypass-gc >>"$SCRATCH/run.log" 2>&1 || true
	done
}
mirror_once() {
	as_user /usr/bin/time -q -a -f %M -o "$SCRATCH/memory.mirror" "$backup" mirror --from "$ours" --key-file "$key" --to "$url" --credentials "$SCRATCH/keys"
}
# the target is fed while the backup runs, as the server does it
ours_cloud_full() {
	local feeder
	rm -f "$SCRATCH/stop"
	(while [ ! -e "$SCRATCH/stop" ]; do mirror_once || true; sleep 0.2; done) &
	feeder=$!
	ours_full
	touch "$SCRATCH/stop"
	wait $feeder
	mirror_once
}
ours_cloud_restore() {
	as_user /usr/bin/time -f %M -o "$SCRATCH/memory" "$backup" restore --repository "$url" --credentials "$SCRATCH/keys" \
		--key-file "$key" --pgdata "$SCRATCH/restored.ours" --target-immediate --jobs $JOBS
}
pgbackrest_cloud_restore() {
	as_user mkdir -m 700 "$SCRATCH/restored.pgbr"
	pgbr --stanza=main restore --pg1-path="$SCRATCH/restored.pgbr"
}

memory=0
for run in $(seq "$RUNS"); do
	n=0
	for delay in $DELAYS; do
		say "Run $run of $RUNS, $delay ms"
		bucket "ours$run"
		bucket "pgbr$run"
		url="s3://ours$run/repository?endpoint=https%3A%2F%2F127.0.0.1%3A$((port + n))&style=path&ca-file=$SCRATCH/s3/ca.pem"
		fresh_ours
		measure "cloud-full-$delay" ours ours_cloud_full
		configure_pgbr repo1-type=s3 repo1-s3-bucket=pgbr$run repo1-s3-endpoint=s3.localhost repo1-s3-region=us-east-1 \
			repo1-s3-key="$OMB_S3_ACCESS_KEY_ID" repo1-s3-key-secret="$OMB_S3_SECRET_ACCESS_KEY" repo1-s3-uri-style=path \
			repo1-storage-host=127.0.0.1 repo1-storage-port=$((port + n)) repo1-storage-verify-tls=n
		sed -i 's|^repo1-path=.*|repo1-path=/repository|' "$SCRATCH/pgbackrest.conf"
		fresh_pgbr
		measure "cloud-full-$delay" pgbackrest pgbr_full
		# each is first in turn
		tools='ours pgbackrest'
		[ $((run % 2)) = 1 ] || tools='pgbackrest ours'
		for tool in $tools; do
			measure "cloud-restore-$delay" $tool ${tool}_cloud_restore
		done
		m=$(tail -n 1 "$SCRATCH/memory")
		[ "$m" -le "$memory" ] || memory=$m
		remove_restored
		n=$((n + 1))
		empty_buckets
	done
done

say ''
say "$SIZE_MB MB, zstd 3, 2 threads, medians of $RUNS; seconds"
say '| what                         |     ours | peer          |     peer | ratio | at most | reached |'
say '|---|---|---|---|---|---|---|'
for delay in $DELAYS; do
	limit=0.8
	[ "$delay" = 0 ] || limit=0.5
	row "full backup, $delay ms" "cloud-full-$delay" pgbackrest 3 $limit
	row "restore, $delay ms" "cloud-restore-$delay" pgbackrest 3 $limit
done
say ''
say "Peak memory of a restore: $((memory / 1024)) MB, of mirror: $(($(sort -n "$SCRATCH/memory.mirror" | tail -n 1) / 1024)) MB."
