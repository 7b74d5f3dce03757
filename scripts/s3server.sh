#!/bin/bash
# s3server.sh: a real S3 server for tests, Ceph's gateway on one machine, which
# keeps its objects in memory.
#
#   s3server.sh install        unpack it into $OMB_S3_ROOT (build/s3root)
#   s3server.sh start DIR      start it on free ports of 127.0.0.1; DIR/env says
#                              where it is and how to sign (shell variables)
#   s3server.sh stop DIR       end it
#   s3server.sh admin DIR ARG  radosgw-admin
#
# Debian 12 has a gateway that knows no condition for what is sent in parts, so
# the packages come from a later suite, and from Debian 12 only when that is not
# to be had ($OMB_S3_SUITES chooses). They are unpacked beside the system and run
# with their own loader and libraries: nothing is installed, no script of theirs
# is run.
set -Eeuo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${OMB_S3_ROOT:-$here/build/s3root}
lib=$root/usr/lib/x86_64-linux-gnu

# Run a program of the unpacked tree.
x() {
	local file=$root/usr/bin/$1
	shift
	exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib:$lib/ceph" "$file" "$@"
}

unpack() {
	local suite=$1 apt uri deb
	apt=$(mktemp -d)
	uri=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
	[ -n "$uri" ] || uri=$(sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list | head -n 1)
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${DEBIAN_MIRROR:-$uri} $suite main" >"$apt/sources.list"
	: >"$apt/status"
	cat >"$apt/apt.conf" <<-END
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State "$apt";
		Dir::State::status "$apt/status";
		Dir::State::Lists "$apt/lists";
		Dir::Cache "$apt/cache";
		APT::Sandbox::User "$(id -un)";
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
	END
	if ! { APT_CONFIG=$apt/apt.conf apt-get -qq update &&
		APT_CONFIG=$apt/apt.conf apt-get -qq -y -o Debug::NoLocking=1 --download-only install \
			ceph-mon ceph-osd radosgw ceph-common; } >"$apt/log" 2>&1; then
		tail -n 5 "$apt/log" >&2
		rm -rf "$apt"
		return 1
	fi
	# one /usr from the start, so that nothing comes to lie beside it
	rm -rf "$root.new"
	mkdir -p "$root.new"/usr/{bin,sbin,lib,lib64}
	for deb in bin sbin lib lib64; do ln -s "usr/$deb" "$root.new/$deb"; done
	for deb in "$apt"/cache/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner \
			--exclude='./usr/share/doc*' --exclude='./usr/share/man*' -C "$root.new"
		rm "$deb"
	done
	echo "$suite" >"$root.new/suite"
	rm -rf "$apt" "$root"
	mv "$root.new" "$root"
}

install_server() {
	local suite
	[ ! -f "$root/suite" ] || return 0
	mkdir -p "$(dirname "$root")"
	for suite in ${OMB_S3_SUITES:-forky sid bookworm}; do
		if unpack "$suite"; then return 0; fi
		echo "s3server.sh: no gateway from $suite" >&2
	done
	return 1
}

alive() { [ -s "$dir/$1.pid" ] && kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null; }

stop() {
	local p i
	for p in rgw osd mon; do if alive $p; then kill "$(cat "$dir/$p.pid")" || true; fi; done
	for i in $(seq 50); do
		alive rgw || alive osd || alive mon || break
		sleep 0.1
	done
	for p in rgw osd mon; do
		if alive $p; then kill -9 "$(cat "$dir/$p.pid")" || true; fi
		rm -f "$dir/$p.pid"
	done
}

background() {
	local name=$1
	shift
	(x "$@" -c "$dir/ceph.conf" -f) >"$dir/$name.out" 2>&1 </dev/null &
	echo $! >"$dir/$name.pid"
}

again() {
	local i
	for i in 1 2 3 4 5 6 7 8; do
		if ("$@") >>"$dir/setup.log" 2>&1; then return; fi
		sleep 0.2
	done
	return 1
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

# What the gateway can create under the condition that there is none yet: any
# object, or only those that one PUT makes.
creates() {
	case $(cat "$root/suite") in
	bookworm) echo puts ;;
	*) echo all ;;
	esac
}

# A certificate authority, the server's certificate, and ones that no client
# may accept.
certificates() {
	local name subject days
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca \
		-keyout "$dir/ca.key" -out "$dir/ca.pem"
	for name in server:s3.localhost:2 wronghost:elsewhere.example:2 expired:s3.localhost:-1; do
		IFS=: read -r name subject days <<<"$name"
		openssl req -newkey rsa:2048 -nodes -subj "/CN=$subject" -keyout "$dir/$name.key" -out "$dir/$name.csr"
		printf 'subjectAltName=DNS:%s,DNS:*.%s%s\n' "$subject" "$subject" \
			"$([ "$subject" = s3.localhost ] && echo ,IP:127.0.0.1)" >"$dir/$name.ext"
		openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
			-days "$days" -extfile "$dir/$name.ext" -out "$dir/$name.pem"
	done
	# tests show them from another user's server
	chmod a+r "$dir"/*.key
}

start() {
	local base fsid osd i
	mkdir -p "$dir/mon" "$dir/osd" "$dir/run"
	certificates >"$dir/setup.log" 2>&1
	base=$(ports 44)
	fsid=$(cat /proc/sys/kernel/random/uuid)
	osd=$(cat /proc/sys/kernel/random/uuid)
	access=AKIDTESTTESTTESTTEST
	secret=$(head -c 30 /dev/urandom | base64 | tr -d '/+=')
	cat >"$dir/ceph.conf" <<-END
		[global]
		fsid = $fsid
		monmap = $dir/monmap
		ms bind msgr2 = false
		ms bind port min = $((base + 3))
		ms bind port max = $((base + 43))
		public addr = 127.0.0.1
		cluster addr = 127.0.0.1
		auth cluster required = none
		auth service required = none
		auth client required = none
		plugin dir = $lib/ceph
		erasure code dir = $lib/ceph/erasure-code
		osd class dir = $lib/rados-classes
		run dir = $dir/run
		admin socket = $dir/run/\$name.\$pid.asok
		log file = $dir/\$name.log
		crash dir = $dir
		paxos propose interval = 0.02
		paxos min wait = 0.01
		osd pool default size = 1
		osd pool default min size = 1
		osd pool default pg num = 8
		osd pool default pg autoscale mode = off
		osd crush chooseleaf type = 0
		mon allow pool size one = true
		mon cluster log to file = false
		mon warn on pool no redundancy = false
		mon data avail crit = 1
		mon data avail warn = 2
		mon max pg per osd = 1000
		[mon.a]
		mon host = v1:127.0.0.1:$((base + 2))
		mon data = $dir/mon
		[osd.0]
		osd data = $dir/osd
		osd objectstore = memstore
		memstore device bytes = ${OMB_S3_BYTES:-2147483648}
		osd class update on start = false
		osd crush update on start = false
		osd class load list = *
		osd class default list = *
		[client.rgw]
		rgw data = $dir/run
		rgw frontends = beast endpoint=127.0.0.1:$base ssl_endpoint=127.0.0.1:$((base + 1)) ssl_certificate=$dir/server.pem ssl_private_key=$dir/server.key
		rgw dns name = s3.localhost
		rgw rados pool pg num min = 8
		rgw override bucket index max shards = 1
		rgw s3 auth order = local, external, sts
		rgw enable usage log = false
		rgw enable gc threads = false
		rgw run sync thread = false
		rgw crypt require ssl = false
		rgw crypt s3 kms backend = testing
		rgw crypt s3 kms encryption keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
	END
	again x monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$((base + 2))]" "$dir/monmap"
	again x ceph-mon -c "$dir/ceph.conf" --mkfs -i a --monmap "$dir/monmap"
	background mon ceph-mon -i a
	again python_x ceph -c "$dir/ceph.conf" --connect-timeout 10 osd new "$osd"
	again x ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$osd"
	again python_x ceph -c "$dir/ceph.conf" --connect-timeout 10 osd crush add 0 1.0 root=default host=local
	background osd ceph-osd -i 0
	for i in $(seq 100); do
		if (python_x ceph -c "$dir/ceph.conf" --connect-timeout 5 osd stat) 2>/dev/null | grep -q ' 1 up'; then break; fi
		alive osd || background osd ceph-osd -i 0
		sleep 0.1
	done
	again x radosgw-admin -c "$dir/ceph.conf" -n client.rgw user create --uid=test --display-name=test \
		--access-key="$access" --secret-key="$secret"
	# one who may do nothing but what a policy of a bucket says
	again x radosgw-admin -c "$dir/ceph.conf" -n client.rgw user create --uid=guest --display-name=guest \
		--access-key=GUESTGUESTGUESTGUEST --secret-key="$secret"
	again x radosgw-admin -c "$dir/ceph.conf" -n client.rgw zonegroup placement add \
		--rgw-zonegroup default --placement-id default-placement --storage-class STANDARD_IA
	again x radosgw-admin -c "$dir/ceph.conf" -n client.rgw zone placement add --rgw-zone default \
		--placement-id default-placement --storage-class STANDARD_IA --data-pool default.rgw.ia.data
	background rgw radosgw -n client.rgw
	for i in $(seq 300); do
		if (exec 3<>"/dev/tcp/127.0.0.1/$base" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && grep -q HTTP/1 <&3) 2>/dev/null; then
			printf '%s\n' "OMB_S3_PORT=$base" "OMB_S3_TLS_PORT=$((base + 1))" \
				"OMB_S3_ACCESS_KEY_ID=$access" "OMB_S3_SECRET_ACCESS_KEY=$secret" \
				"OMB_S3_CERTIFICATES=$dir" "OMB_S3_CREATES=$(creates)" >"$dir/env"
			return
		fi
		alive rgw || break
		sleep 0.1
	done
	tail -n 20 "$dir/rgw.out" "$dir/setup.log" >&2
	return 1
}

# ceph is a script of that tree's python
python_x() {
	export PYTHONHOME=$root/usr PYTHONPATH=$root/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1
	python=$(cd "$root/usr/bin" && ls python3.[0-9]* | sort -V | tail -n 1)
	script=$1
	shift
	x "$python" "$root/usr/bin/$script" "$@"
}

command=${1:-}
dir=${2:-}
case $command in
install) install_server ;;
start)
	install_server
	trap 'echo "s3server.sh: failed at line $LINENO" >&2; tail -n 20 "$dir/setup.log" >&2 || true; stop' ERR
	start
	;;
stop) stop ;;
admin)
	shift 2
	x radosgw-admin -c "$dir/ceph.conf" -n client.rgw "$@"
	;;
*)
	echo "usage: s3server.sh install|start DIR|stop DIR|admin DIR ARG..." >&2
	exit 2
	;;
esac
