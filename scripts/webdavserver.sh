#!/bin/bash
# webdavserver.sh: a real WebDAV server for tests, Apache's mod_dav on free
# ports of 127.0.0.1, run by any user.
#
#   webdavserver.sh init DIR     configuration for the ports $OMB_DAV_PORT and
#                                $OMB_DAV_TLS_PORT; the folders DIR/data/basic
#                                and DIR/data/digest want a user "dav" with the
#                                password "secret word"; DIR/ca.pem is the
#                                authority of "localhost"
#   webdavserver.sh start DIR    start it, or end the old one and start again
#   webdavserver.sh stop DIR     end it with all its connections
set -Eeuo pipefail
modules=/usr/lib/apache2/modules

init_server() {
	local m
	mkdir -p "$dir"/data/{basic,digest}
	chmod 700 "$dir"
	printf 'dav:%s\n' "$(openssl passwd -apr1 'secret word')" >"$dir/passwords"
	printf 'dav:test:%s\n' "$(printf 'dav:test:secret word' | md5sum | cut -d' ' -f1)" >"$dir/digests"
	openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
		-keyout "$dir/server.key" -out "$dir/ca.pem" 2>/dev/null
	{
		for m in mpm_event authn_core authn_file authz_core authz_user auth_basic auth_digest dav dav_fs mime setenvif ssl unixd; do
			if [ -e $modules/mod_$m.so ]; then echo "LoadModule ${m}_module $modules/mod_$m.so"; fi
		done
		cat <<-END
			ServerRoot "$dir"
			ServerName localhost
			PidFile "$dir/pid"
			Mutex file:$dir
			Listen 127.0.0.1:$OMB_DAV_PORT
			Listen 127.0.0.1:$OMB_DAV_TLS_PORT
			ErrorLog "$dir/log"
			DavLockDB "$dir/davlock"
			DocumentRoot "$dir/data"
			TypesConfig /dev/null
			<Directory "$dir/data">
				Dav On
				Require valid-user
				AuthName test
			</Directory>
			<Directory "$dir/data/basic">
				AuthType Basic
				AuthUserFile "$dir/passwords"
			</Directory>
			<Directory "$dir/data/digest">
				AuthType Digest
				AuthUserFile "$dir/digests"
			</Directory>
			<VirtualHost 127.0.0.1:$OMB_DAV_TLS_PORT>
				SSLEngine on
				SSLCertificateFile "$dir/ca.pem"
				SSLCertificateKeyFile "$dir/server.key"
			</VirtualHost>
		END
	} >"$dir/config"
}

stop_server() {
	local pid
	[ -s "$dir/pid" ] || return 0
	pid=$(cat "$dir/pid")
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 200); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	rm -f "$dir/pid"
}

start_server() {
	local port
	stop_server
	port=$(sed -n 's/^Listen 127.0.0.1://p' "$dir/config" | head -n 1)
	/usr/sbin/apache2 -f "$dir/config" -k start
	for _ in $(seq 200); do
		if [ -s "$dir/pid" ] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			return 0
		fi
		sleep 0.05
	done
	cat "$dir/log" >&2
	return 1
}

action=${1:-}
dir=${2:+$(realpath -m "$2")}
case $action in
	init) init_server ;;
	start) start_server ;;
	stop) stop_server ;;
	*)
		sed -n '2,/^set /p' "$0" | sed '$d' >&2
		exit 2
		;;
esac
