#!/bin/sh
# check-layers.sh: do includes go one way only, and does each library have one
# place?
set -eu
cd "$(dirname "$0")/.."
status=0
order='base codec pgfmt store repo task program'

rank() {
	n=0
	for l in $order; do
		n=$((n + 1))
		[ "$l" != "$1" ] || { echo $n; return; }
	done
	echo 0
}

for f in src/*/*.[ch] src/*/*/*.[ch]; do
	layer=${f#src/}
	layer=${layer%%/*}
	case $layer in test) continue ;; esac
	for included in $(sed -n 's/^#include "\([a-z]*\)\/.*/\1/p' "$f" | sort -u); do
		if [ "$layer" = backend ]; then
			# its own headers, the server's, and those that need nothing else
			if [ "$(rank "$included")" != 0 ] && grep -q "^#include \"$included/" "$f" &&
				grep "^#include \"$included/" "$f" | grep -qvE 'base/(fields|cron|window|location)\.h'; then
				echo "$f: backend may include base/{fields,cron,window,location}.h only, not $included/"
				status=1
			fi
		elif [ "$(rank "$included")" = 0 ] || [ "$(rank "$included")" -gt "$(rank "$layer")" ]; then
			echo "$f: $layer may not include $included/"
			status=1
		fi
	done
	if [ "$layer" != backend ] && grep -qE '#include [<"](postgres|libpq)' "$f"; then
		echo "$f: only src/backend may know PostgreSQL's headers"
		status=1
	fi
done

for library in openssl zlib zstd xxhash isa-l curl expat jansson libssh2 sqlite3; do
	files=$(grep -lE "#include <$library[./]" src/*/*.[ch] src/*/*/*.[ch] || true)
	if [ "$(echo "$files" | wc -l)" != 1 ]; then
		echo "$library must be included in exactly one file:" $files
		status=1
	fi
done

for h in $(for l in $order; do ls src/$l/*.h src/$l/*/*.h 2>/dev/null; done); do
	echo "#include \"${h#src/}\"" |
		cc -std=c99 -D_GNU_SOURCE -Isrc -fsyntax-only -x c - || { echo "$h does not compile alone"; status=1; }
done

# what the core exports begins with omb_
strangers=$(nm -g --defined-only build/obj/*/*.o build/obj/*/*/*.o 2>/dev/null |
	awk 'NF == 3 && $3 !~ /^omb_/ && $3 != "main" {print $3}' | sort -u)
if [ -n "$strangers" ]; then
	echo "exported without the prefix omb_:" $strangers
	status=1
fi
exit $status
