#!/bin/sh
# Install the Debian packages that building and testing need and that are
# missing. Asks nobody, and does nothing when all is there.
set -eu

packages='gcc libc6-dev postgresql-15 postgresql-server-dev-15 libssl-dev
zlib1g-dev libzstd-dev libxxhash-dev libisal-dev libcurl4-openssl-dev libexpat1-dev libjansson-dev libssh2-1-dev libsqlite3-dev sqlite3 openssl
libipc-run-perl tinyproxy-bin libdigest-crc-perl python3-croniter libwrap0 procps openssh-client apache2-bin pgbouncer clang clang-format libclang-rt-14-dev'
# for Azurite; some have Node from elsewhere
command -v npm >/dev/null || packages="$packages nodejs npm"

missing=
for p in $packages; do
	status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null || true)
	case $status in ii*) ;; *) missing="$missing $p" ;; esac
done
[ -n "$missing" ] || exit 0

echo "Installing:$missing"
if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null; then
	sudo=sudo
else
	echo "These packages are missing and only root can install them:$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { $sudo apt-get update -q && $sudo apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
	cat "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
