#!/bin/bash
# azurite.sh: a real server of Azure's Blob protocol for tests, Microsoft's
# emulator Azurite, which keeps its objects in memory.
#
#   azurite.sh install      get it into $OMB_AZURITE_ROOT (build/azurite)
#   azurite.sh start DIR    start two on free ports of 127.0.0.1, one with TLS;
#                           DIR/env says where and with which key (shell
#                           variables)
#   azurite.sh stop DIR     end it
set -Eeuo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${OMB_AZURITE_ROOT:-$here/build/azurite}
version=3.37.0

install_server() {
	[ ! -f "$root/version" ] || [ "$(cat "$root/version")" != $version ] || return 0
	rm -rf "$root.new" "$root"
	mkdir -p "$root.new"
	# no script of a package is run
	if ! npm install --prefix "$root.new" --ignore-scripts --no-audit --no-fund --loglevel=error \
		azurite@$version >"$root.log" 2>&1; then
		tail -n 20 "$root.log" >&2
		return 1
	fi
	echo $version >"$root.new/version"
	mv "$root.new" "$root"
}

# Start one on a free port, whose number goes to DIR/NAME.port.
launch() {
	local name=$1 port i
	shift
	for i in 1 2 3 4 5; do
		port=$((20000 + RANDOM % 12000))
		AZURITE_ACCOUNTS="testacct:$key" node "$root/node_modules/azurite/dist/src/blob/main.js" \
			--blobHost 127.0.0.1 --blobPort $port --inMemoryPersistence \
			--silent --disableTelemetry "$@" >"$dir/$name.out" 2>&1 </dev/null &
		echo $! >"$dir/$name.pid"
		for i in $(seq 600); do
			kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null || break
			if grep -q 'successfully listen' "$dir/$name.out"; then
				echo $port >"$dir/$name.port"
				return 0
			fi
			sleep 0.1
		done
		end_one "$name"
	done
	cat "$dir/$name.out" >&2
	return 1
}

start() {
	local other
	mkdir -p "$dir"
	key=$(head -c 32 /dev/urandom | base64 -w 0)
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 \
		-addext subjectAltName=IP:127.0.0.1 -keyout "$dir/tls.key" -out "$dir/tls.pem" 2>"$dir/tls.log"
	launch tls --cert "$dir/tls.pem" --key "$dir/tls.key" &
	other=$!
	launch plain
	wait "$other"
	[ -s "$dir/plain.port" ] && [ -s "$dir/tls.port" ]
	printf '%s\n' "OMB_AZURE_PORT=$(cat "$dir/plain.port")" "OMB_AZURE_TLS_PORT=$(cat "$dir/tls.port")" \
		"OMB_AZURE_CERTIFICATE=$dir/tls.pem" "OMB_AZURE_ACCOUNT=testacct" "OMB_AZURE_KEY=$key" >"$dir/env"
}

end_one() {
	local pid i
	[ -s "$dir/$1.pid" ] || return 0
	pid=$(cat "$dir/$1.pid")
	kill "$pid" 2>/dev/null || true
	for i in $(seq 50); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
	rm -f "$dir/$1.pid"
}

stop() {
	end_one plain
	end_one tls
}

command=${1:-}
dir=${2:-}
case $command in
install) install_server ;;
start) install_server && start ;;
stop) stop ;;
*)
	echo "usage: azurite.sh install|start DIR|stop DIR" >&2
	exit 2
	;;
esac
