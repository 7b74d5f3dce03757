#!/bin/bash
# incremental.sh: measure incremental backups, restores from them, many small
# tables, memory by size, and what a backup costs a busy server, against
# pgBackRest with block incremental backups. Called by "make bench"; see
# README.md.
#
#   SIZE_MB=4096  size of the database      RUNS=3  runs of each
#   TABLES=20000  number of small tables    SIZES="1024 2048 4096"
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
TABLES=${TABLES:-20000}
SIZES=${SIZES:-1024 2048 4096 8192}
PART=${PART:-changes tables load sizes}

stored() { du -sb "$1" | cut -f1; }
pages() { sql -c "SELECT relpages FROM pg_class WHERE relname = 'pgbench_accounts'"; }

# touch one row on one page of a hundred, at random; rows stay on their pages
change_pages() {
	sql -c "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN
		(SELECT (random() * (SELECT max(aid) FROM pgbench_accounts))::int FROM generate_series(1, $(pages) / 100))" \
		-c CHECKPOINT
	# file times older than the next backup, as they are in life
	sleep 3
}
ours_incr() { sql -c "SELECT backup_now('bench', 'incremental')"; }
pgbr_incr() { pgbr --stanza=main backup --type=incr; }
note() { # WHAT TOOL NUMBER
	echo "$1 $2 $3 0" | tee -a "$results"
}
restore_ours() {
	as_user "$backup" restore --repository "$ours" --key-file "$key" \
		--pgdata "$SCRATCH/restored.ours" --target-immediate --jobs $JOBS
}
restore_pgbr() { pgbr --stanza=main restore --pg1-path="$SCRATCH/restored.pgbr"; }
stop_cluster() {
	as_user "$INSTBIN/pg_ctl" -D "$data" -m immediate stop >/dev/null
	rm -rf "$data" "$ours" "$key" "$SCRATCH/pgbr.repo" "$SCRATCH/pgbr" "$SCRATCH/socket"
}
watch_agent() { # peak memory of the agent, in kB, to $SCRATCH/peak
	local p
	rm -f "$SCRATCH/stop"
	while [ ! -e "$SCRATCH/stop" ]; do
		for p in $(pgrep -f '^omsupply_backup agent' || true); do
			awk '/^VmHWM/{print $2}' "/proc/$p/status" 2>/dev/null || true
		done
		sleep 0.1
	done | sort -n | tail -n 1 >"$SCRATCH/peak"
}
with_memory() { # COMMAND...: prints the peak
	local watcher
	watch_agent &
	watcher=$!
	"$@" >>"$SCRATCH/run.log" 2>&1
	touch "$SCRATCH/stop"
	wait $watcher
	cat "$SCRATCH/peak"
}

part_changes() {
	local run i before
	say "Changes: making a database of $SIZE_MB MB ..."
	make_cluster
	load_data -F 90
	begin_archiving
	configure_pgbr beta=y repo1-block=y
	for run in $(seq "$RUNS"); do
		say "Changes, run $run of $RUNS"
		fresh_ours
		fresh_pgbr
		sleep 3
		ours_full >/dev/null
		pgbr_full >/dev/null
		if [ "$run" = 1 ]; then
			sleep 3
			ours_incr >/dev/null
		fi
		measure unchanged ours ours_incr
		measure unchanged pgbackrest pgbr_incr
		change_pages
		before=$(stored "$ours/packs")
		measure changed ours ours_incr
		note changed-bytes ours $(($(stored "$ours/packs") - before))
		before=$(stored "$SCRATCH/pgbr.repo/backup")
		measure changed pgbackrest pgbr_incr
		note changed-bytes pgbackrest $(($(stored "$SCRATCH/pgbr.repo/backup") - before))
		if [ "$run" = 1 ]; then
			for i in $(seq 9); do
				change_pages
				ours_incr >/dev/null
			done
		fi
		if [ "$run" = 1 ]; then
			for i in $(seq "$RUNS"); do
				measure restore-tenth ours restore_ours
				remove_restored
			done
			ours_full >/dev/null
			for i in $(seq "$RUNS"); do
				measure restore-fresh ours restore_ours
				remove_restored
			done
		fi
	done
	stop_cluster
}

part_tables() {
	local run i
	say "Tables: making $TABLES small tables ..."
	make_cluster
	# in steps, because of the locks
	for i in $(seq 0 500 $((TABLES - 1))); do
		sql -c "DO \$\$ BEGIN FOR i IN $i..$((i + 499)) LOOP
			EXECUTE format('CREATE TABLE t%s AS SELECT %s AS n, md5(%L) AS v', i, i, i); END LOOP; END \$\$"
	done
	begin_archiving
	configure_pgbr beta=y repo1-block=y
	for run in $(seq "$RUNS"); do
		say "Tables, run $run of $RUNS"
		fresh_ours
		fresh_pgbr
		measure tables-full ours ours_full
		measure tables-full pgbackrest pgbr_full
		measure tables-restore ours restore_ours
		as_user mkdir -m 700 "$SCRATCH/restored.pgbr"
		measure tables-restore pgbackrest restore_pgbr
		remove_restored
	done
	stop_cluster
}

# pgbench_beside COMMAND: prints its rate while COMMAND runs, as part of the rate
# in the ten seconds before, and the transactions that were lost by it
pgbench_beside() {
	local pid t0 t1
	# both begin with nothing to write and nothing to archive
	sql -c CHECKPOINT -c 'SELECT pg_switch_wal()' >/dev/null
	until [ -z "$(ls "$data/pg_wal/archive_status" | grep ready)" ]; do sleep 1; done
	as_user "$INSTBIN/pgbench" -n -c 4 -j 2 -T 600 -P 1 --progress-timestamp >"$SCRATCH/pgbench.log" 2>&1 &
	pid=$!
	sleep 16
	t0=$(now)
	"$@" >>"$SCRATCH/run.log" 2>&1
	t1=$(now)
	sleep 1
	pkill -TERM -P $pid || kill -TERM $pid
	wait $pid || true
	awk -v t0="$t0" -v t1="$t1" '/^progress:/{
			if ($2 <= t0 && $2 > t0 - 10) { base += $4; bases++ }
			if ($2 > t0 && $2 - 1 <= t1) { during += $4; durings++ }
		} END { base /= bases; during /= durings; printf "%.3f %.0f (%.0f of %.0f transactions/s, %.1f s)\n", during / base, (base - during) * (t1 - t0), during, base, t1 - t0 }' "$SCRATCH/pgbench.log"
}

part_load() {
	local run tool tools
	say "Load: making a database of $SIZE_MB MB ..."
	make_cluster
	load_data
	begin_archiving
	configure_pgbr beta=y repo1-block=y
	for run in $(seq "$RUNS"); do
		say "Load, run $run of $RUNS"
		fresh_ours
		fresh_pgbr
		# each is first in turn
		tools='ours pgbr'
		[ $((run % 2)) = 1 ] || tools='pgbr ours'
		for tool in $tools; do
			echo "load $tool $(pgbench_beside ${tool}_full)" | tee -a "$results"
		done
	done
	stop_cluster
}

part_sizes() {
	local size run tool tools
	for size in $SIZES; do
		say "Sizes: $size MB ..."
		SIZE_MB=$size
		make_cluster
		load_data -F 90
		begin_archiving
		configure_pgbr beta=y repo1-block=y
		for run in $(seq "$RUNS"); do
			fresh_ours
			fresh_pgbr
			sleep 3
			# each is first in turn
			tools='ours pgbr'
			[ $((run % 2)) = 1 ] || tools='pgbr ours'
			for tool in $tools; do measure "full-$size" $tool ${tool}_full; done
			note "stored-$size" ours "$(stored "$ours/packs")"
			note "stored-$size" pgbr "$(stored "$SCRATCH/pgbr.repo/backup")"
			change_pages
			for tool in $tools; do measure "incr-$size" $tool ${tool}_incr; done
		done
		change_pages
		note "memory-$size" ours "$(with_memory ours_incr)"
		note "memory-full-$size" ours "$(with_memory ours_full)"
		stop_cluster
	done
}

for part in $PART; do "part_$part"; done

bytes_row() { # TEXT WHAT PEER TARGET, in MB
	awk -v text="$1" -v a="$(median "$2" ours 3)" -v b="$(median "$2" "$3" 3)" -v peer="$3" -v target="$4" \
		'BEGIN{printf "| %-28s | %8.2f | %-13s | %8.2f | %5.2f | %5s | %s |\n", text, a/1048576, peer, b/1048576, a/b, target, (a/b <= target ? "yes" : "NO")}'
}
say ''
say "$SIZE_MB MB, zstd 3, 2 threads, medians of $RUNS; seconds"
say '| what                         |     ours | peer          |     peer | ratio | at most | reached |'
say '|---|---|---|---|---|---|---|'
case $PART in *changes*)
	row 'nothing changed, wall' unchanged pgbackrest 3 0.5
	row '1 % of pages changed, wall' changed pgbackrest 3 0.6
	bytes_row '1 % of pages changed, MB' changed-bytes pgbackrest 0.5
	awk -v a="$(median restore-tenth ours 3)" -v b="$(median restore-fresh ours 3)" \
		'BEGIN{printf "| %-28s | %8.2f | %-13s | %8.2f | %5.2f | %5s | %s |\n", "restore of the tenth", a, "ours, full", b, a/b, 1.2, (a/b <= 1.2 ? "yes" : "NO")}'
	;;
esac
case $PART in *tables*)
	row "$TABLES tables, full" tables-full pgbackrest 3 0.6
	row "$TABLES tables, restore" tables-restore pgbackrest 3 0.6
	;;
esac
case $PART in *load*)
	awk -v a="$(median load ours 3)" -v b="$(median load pgbr 3)" \
		'BEGIN{printf "| %-28s | %8.2f | %-13s | %8.2f | %5.2f | %5s | %s |\n", "pgbench during a backup", a, "pgbackrest", b, a/b, ">= 1", (a >= b ? "yes" : "NO")}'
	awk -v a="$(median load ours 4)" -v b="$(median load pgbr 4)" \
		'BEGIN{printf "| %-28s | %8d | %-13s | %8d | %5.2f | %5s | %s |\n", "transactions lost by it", a, "pgbackrest", b, a/b, "-", ""}'
	;;
esac
case $PART in *sizes*)
	say ''
	say '| MB | full, ours | CPU | pgBackRest | CPU | stored MB, ours | pgBackRest | 1 % changed, ours | pgBackRest | peak memory MB, full | 1 % |'
	say '|---|---|---|---|---|---|---|---|---|---|---|'
	for size in $SIZES; do
		echo "$size $(median "full-$size" ours 3) $(median "full-$size" ours 4) $(median "full-$size" pgbr 3) $(median "full-$size" pgbr 4)" \
			"$(median "stored-$size" ours 3) $(median "stored-$size" pgbr 3) $(median "incr-$size" ours 3) $(median "incr-$size" pgbr 3)" \
			"$(median "memory-full-$size" ours 3) $(median "memory-$size" ours 3)"
	done | tee "$SCRATCH/sizes" |
		awk '{printf "| %d | %.1f | %.1f | %.1f | %.1f | %d | %d | %.1f | %.1f | %d | %d |\n", $1,$2,$3,$4,$5,$6/1048576,$7/1048576,$8,$9,$10/1024,$11/1024}'
	perl bench/plot.pl "$SCRATCH/sizes" >bench/sizes.svg
	;;
esac
