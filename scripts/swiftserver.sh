#!/bin/bash
# swiftserver.sh: a second server that speaks S3, for tests: OpenStack's Swift of
# Debian 12 on one machine. It checks the region, and knows neither conditional
# writes nor batches signed in chunks.
#
#   swiftserver.sh install      install it, where root may; starts no service
#   swiftserver.sh start DIR    start it on free ports of 127.0.0.1; DIR/env says
#                               where it is and how to sign (shell variables)
#   swiftserver.sh stop DIR     end it
set -Eeuo pipefail

install_server() {
	local log
	if command -v swift-proxy-server memcached >/dev/null; then return; fi
	log=$(mktemp)
	# its services would start by themselves
	printf '#!/bin/sh\nexit 101\n' >"$log.policy"
	if [ ! -e /usr/sbin/policy-rc.d ]; then install -m 755 "$log.policy" /usr/sbin/policy-rc.d; fi
	if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
		swift-proxy swift-account swift-container swift-object memcached; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
	fi
	if cmp -s "$log.policy" /usr/sbin/policy-rc.d; then rm -f /usr/sbin/policy-rc.d; fi
	rm -f "$log" "$log.policy"
	command -v swift-proxy-server >/dev/null
}

stop() {
	local f
	for f in "$dir"/*.pid; do
		if [ -s "$f" ]; then kill -- "-$(cat "$f")" 2>/dev/null || kill "$(cat "$f")" 2>/dev/null || true; fi
		rm -f "$f"
	done
}

# $1 free ports in a row, below those that the kernel gives out by itself
ports() {
	local base i free
	while :; do
		base=$((12000 + RANDOM % 18000))
		free=yes
		for ((i = base; i < base + $1; i++)); do
			if (: >"/dev/tcp/127.0.0.1/$i") 2>/dev/null; then free=no; fi
		done
		[ $free = no ] || { echo $base; return; }
	done
}

start() {
	local base kind port i secret user
	mkdir -p "$dir/disk/sda" "$dir/etc"
	base=$(ports 5)
	user=$(id -un)
	secret=$(head -c 24 /dev/urandom | base64 | tr -d '/+=')
	cat >"$dir/etc/swift.conf" <<-END
		[swift-hash]
		swift_hash_path_suffix = a
		swift_hash_path_prefix = b
		[storage-policy:0]
		name = one
		default = yes
	END
	cat >"$dir/etc/proxy.conf" <<-END
		[DEFAULT]
		bind_ip = 127.0.0.1
		bind_port = $base
		user = $user
		swift_dir = $dir/etc
		workers = 1
		log_level = WARNING
		[pipeline:main]
		pipeline = catch_errors gatekeeper cache s3api tempauth bulk copy slo dlo proxy-server
		[app:proxy-server]
		use = egg:swift#proxy
		allow_account_management = true
		account_autocreate = true
		[filter:tempauth]
		use = egg:swift#tempauth
		user_test_tester = $secret .admin
		[filter:s3api]
		use = egg:swift#s3api
		s3_acl = false
		location = test-region-1
		[filter:cache]
		use = egg:swift#memcache
		memcache_servers = 127.0.0.1:$((base + 4))
	END
	for i in catch_errors gatekeeper bulk slo dlo copy; do
		printf '[filter:%s]\nuse = egg:swift#%s\n' $i $i >>"$dir/etc/proxy.conf"
	done
	port=$base
	for kind in account container object; do
		port=$((port + 1))
		cat >"$dir/etc/$kind.conf" <<-END
			[DEFAULT]
			bind_ip = 127.0.0.1
			bind_port = $port
			user = $user
			swift_dir = $dir/etc
			devices = $dir/disk
			mount_check = false
			workers = 1
			log_level = WARNING
			[pipeline:main]
			pipeline = $kind-server
			[app:$kind-server]
			use = egg:swift#$kind
			[$kind-replicator]
			[container-sharder]
			[object-reconstructor]
		END
		(cd "$dir/etc" && swift-ring-builder $kind.builder create 4 1 1 &&
			swift-ring-builder $kind.builder add "r1z1-127.0.0.1:$port/sda" 1 &&
			swift-ring-builder $kind.builder rebalance) >>"$dir/setup.log" 2>&1
	done
	setsid memcached -u "$user" -l 127.0.0.1 -p $((base + 4)) >"$dir/memcached.out" 2>&1 </dev/null &
	echo $! >"$dir/memcached.pid"
	for kind in account container object proxy; do
		setsid swift-$kind-server "$dir/etc/$kind.conf" >"$dir/$kind.out" 2>&1 </dev/null &
		echo $! >"$dir/$kind.pid"
	done
	for i in $(seq 300); do
		if (exec 3<>"/dev/tcp/127.0.0.1/$base" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && grep -q HTTP/1 <&3) 2>/dev/null; then
			printf '%s\n' "OMB_SWIFT_PORT=$base" "OMB_SWIFT_ACCESS_KEY_ID=test:tester" \
				"OMB_SWIFT_SECRET_ACCESS_KEY=$secret" >"$dir/env"
			return
		fi
		sleep 0.1
	done
	tail -n 5 "$dir"/*.out "$dir/setup.log" >&2
	return 1
}

command=${1:-}
dir=${2:-}
case $command in
install) install_server ;;
start)
	install_server
	trap 'echo "swiftserver.sh: failed at line $LINENO" >&2; stop' ERR
	start
	;;
stop) stop ;;
*)
	echo "usage: swiftserver.sh install|start DIR|stop DIR" >&2
	exit 2
	;;
esac
