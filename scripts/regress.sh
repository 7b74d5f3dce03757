#!/bin/bash
# regress.sh: pg_regress with a server of its own, as an unprivileged user.
# REGRESS_ACCEPT=1 takes the results as expected ones.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/asuser.sh
trap 'rm -rf "$SCRATCH"' EXIT
private_tree
checkout=$PWD

mkdir "$SCRATCH/r"
cp -a sql expected "$SCRATCH/r/"
cat >"$SCRATCH/r/regress.conf" <<CONF
shared_preload_libraries = 'omsupply_backup'
wal_level = replica
archive_mode = on
archive_library = 'omsupply_backup'
CONF
[ "$(id -u)" != 0 ] || chown -R "$OSUSER" "$SCRATCH/r"
tests=$(cd sql && ls *.sql | grep -v '^omsupply_backup--' | sed 's/\.sql$//')
pg_regress=$(dirname "$(dirname "$("$INSTBIN/pg_config" --pgxs)")")/test/regress/pg_regress
cd "$SCRATCH/r"
if as_user env PATH="$INSTBIN:$PATH" "$pg_regress" --bindir="$INSTBIN" --inputdir=. \
	--temp-instance=./instance --temp-config=./regress.conf $tests >"$SCRATCH/regress.log" 2>&1; then
	grep -E '^[ #]*All [0-9]+ tests' "$SCRATCH/regress.log" || tail -n 2 "$SCRATCH/regress.log"
	exit 0
fi
if [ -n "${REGRESS_ACCEPT:-}" ]; then
	cp results/*.out "$checkout/expected/"
	exit 0
fi
cat "$SCRATCH/regress.log" regression.diffs 2>/dev/null
exit 1
