#!/bin/bash
# prove.sh TEST...: run TAP tests as an unprivileged user with the private
# installation. PROVE_FLAGS is passed on.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/asuser.sh
cleanup() {
	if [ -d "$SCRATCH/swift" ]; then "$scripts/swiftserver.sh" stop "$SCRATCH/swift"; fi
	if [ -d "$SCRATCH/s3" ]; then "$scripts/s3server.sh" stop "$SCRATCH/s3"; fi
	if [ -d "$SCRATCH/azure" ]; then "$scripts/azurite.sh" stop "$SCRATCH/azure"; fi
	for f in "$SCRATCH"/small/*; do umount "$f" 2>/dev/null || true; done
	rm -rf "$SCRATCH"
}
trap cleanup EXIT
private_tree

# file systems that are easily filled, one for each test that asks; only root
# can mount them
if [ "$(id -u)" = 0 ]; then
	for f in $(grep -l OMB_SMALL_FS "$@" || true); do
		small=$SCRATCH/small/$(basename "$f" .pl)
		mkdir -p "$small"
		if mount -t tmpfs -o "size=24m,mode=700,uid=$(id -u "$OSUSER")" tmpfs "$small"; then
			export OMB_SMALL_FS=$SCRATCH/small
		fi
	done
fi

scripts=$PWD/scripts
# a second one, of another make
if grep -q OMB_SWIFT_PORT "$@"; then
	scripts/swiftserver.sh install
	scripts/swiftserver.sh start "$SCRATCH/swift"
	set -a
	. "$SCRATCH/swift/env"
	set +a
fi

# a real S3 server for the tests that ask where it is
if grep -q OMB_S3_PORT "$@"; then
	scripts/s3server.sh install
	scripts/s3server.sh start "$SCRATCH/s3"
	set -a
	. "$SCRATCH/s3/env"
	set +a
fi

# and one of Azure's protocol
if grep -q OMB_AZURE_PORT "$@"; then
	scripts/azurite.sh install
	scripts/azurite.sh start "$SCRATCH/azure"
	set -a
	. "$SCRATCH/azure/env"
	set +a
fi

# what an SFTP server is made of, for the tests that start one
mkdir -p "$SCRATCH/bin"
if grep -q sftpserver.sh "$@"; then
	scripts/sftpserver.sh install
	cp scripts/sftpserver.sh "$SCRATCH/bin/"
	if [ -d build/sshd ]; then cp -a build/sshd "$SCRATCH/sshd"; fi
	export OMB_SFTP_ROOT=$SCRATCH/sshd OMB_SFTP_SHIM=$SCRATCH/bin/shadowshim.so
fi

if grep -q webdavserver.sh "$@"; then cp scripts/webdavserver.sh "$SCRATCH/bin/"; fi

# the user may not be able to read the checkout
cp -a t "$SCRATCH/t"
cp -a src/test/data/golden "$SCRATCH/golden"
export OMB_GOLDEN=$SCRATCH/golden
mkdir -p "$SCRATCH/bin"
if [ -d build/tests ]; then cp -a build/tests/. "$SCRATCH/bin/"; fi
mkdir -p "$SCRATCH/work"
[ "$(id -u)" != 0 ] || chown -R "$OSUSER" "$SCRATCH/t" "$SCRATCH/work" "$SCRATCH/bin"
tests=()
for f in "$@"; do tests+=("$SCRATCH/t/$(basename "$f")"); done

# one more than processors: tests wait for servers and disks half of their time
jobs=$(($(nproc) + 1))
[ "$jobs" -le 4 ] || jobs=4
cd "$SCRATCH/work"
pgxs=$("$INSTBIN/pg_config" --pgxs)
export PATH=$INSTBIN:$PATH TESTDIR=$SCRATCH/work TESTDATADIR=$SCRATCH/work/tmp_check
export TESTLOGDIR=$SCRATCH/work/tmp_check/log PG_REGRESS=/bin/true PGPORT=65432
export OMB_BIN=$SCRATCH/bin
# where the package keeps it; the copy of the tree has it in the same place
perl_lib=$(dirname "$(dirname "$pgxs")")/test/perl
[ -d "$perl_lib" ] || perl_lib=$("${PG_CONFIG:-pg_config}" --pkglibdir)/pgxs/src/test/perl
if ! as_user env PERL5LIB="$perl_lib:$SCRATCH/t" prove -j "$jobs" ${PROVE_FLAGS:-} "${tests[@]}"; then
	mkdir -p /tmp/omb-failed-tests
	cp -a "$SCRATCH/work/tmp_check/log" /tmp/omb-failed-tests/ 2>/dev/null || true
	# how each of them ended, for who sees only what is printed
	for log in "$SCRATCH"/work/tmp_check/log/regress_log_*; do
		if grep -qE ' not ok |Looks like your test' "$log"; then
			echo "--- ${log##*/regress_log_}"
			grep -E -A12 ' not ok ' "$log" | head -n 40
			tail -n 15 "$log"
		fi
	done >&2
	echo "Logs are in /tmp/omb-failed-tests/log." >&2
	exit 1
fi
