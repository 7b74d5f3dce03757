#!/bin/sh
# check-fuzz.sh TARGET...: replay each target's corpus and mutations of it.
# FUZZ_SECONDS=n explores for n seconds each, with clang's libFuzzer.
set -eu
cd "$(dirname "$0")/.."
for target in "$@"; do
	name=$(basename "$target")
	corpus=src/test/corpus/${name#fuzz_}
	if [ -n "${FUZZ_SECONDS:-}" ]; then
		mkdir -p "build/corpus/$name"
		clang -std=c99 -D_GNU_SOURCE -g -O1 -Isrc -pthread \
			-fsanitize=fuzzer,address,undefined -o "build/$name.explore" \
			"src/test/$name.c" src/base/*.c src/codec/*.c src/pgfmt/*.c \
			src/store/*.c src/store/*/*.c src/repo/*.c src/task/*.c src/task/*/*.c -ldl -lssh2 -lexpat -ljansson \
			-lcrypto -lsqlite3 -lz -lzstd -lisal
		"build/$name.explore" -max_total_time="$FUZZ_SECONDS" "build/corpus/$name" "$corpus"
	else
		echo "$target $corpus"
	fi
done | { [ -n "${FUZZ_SECONDS:-}" ] && cat || while read -r target corpus; do
	"$target" "$corpus"/* >build/fuzz.log || { cat build/fuzz.log; exit 1; }
done; }
