#!/bin/sh
# instroot.sh ROOT BINDIR PKGLIBDIR SHAREDIR: copy a PostgreSQL installation
# to ROOT, unless it is there and of the same age.
set -eu
root=$1
shift
stamp="$root/.copied"
if [ -f "$stamp" ] && [ "$stamp" -nt "$1/postgres" ]; then
	exit 0
fi
rm -rf "$root"
bindir=$1
pkglibdir=$2
sharedir=$("$bindir/pg_config" --sharedir)
for d in "$bindir" "$pkglibdir" "$sharedir"; do
	mkdir -p "$root$d"
	cp -a "$d/." "$root$d/"
done
touch "$stamp"
