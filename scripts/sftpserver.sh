#!/bin/bash
# sftpserver.sh: a real SFTP server for tests, OpenSSH's on a free port, run by
# any user, who is also the only one who can log in.
#
#   sftpserver.sh install      have a server: the system's, or one unpacked
#                              into $OMB_SFTP_ROOT (build/sshd)
#   sftpserver.sh init DIR     make keys, known_hosts and a configuration in
#                              DIR for the port $OMB_SFTP_PORT of 127.0.0.1;
#                              DIR/data is a directory for a store
#   sftpserver.sh start DIR    start it, or wait until the old one is gone and
#                              start it again
#   sftpserver.sh stop DIR     end it with all its connections
#
# Installing the package would start a server for everybody, so it is only
# unpacked. The shim OMB_SFTP_SHIM gives the user a password ("secret word"):
# a server that is not root's cannot read those of the system.
set -Eeuo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${OMB_SFTP_ROOT:-$here/build/sshd}

sshd() { if [ -x /usr/sbin/sshd ]; then echo /usr/sbin/sshd; else echo "$root/usr/sbin/sshd"; fi; }

install_server() {
	local dir
	[ ! -x "$(sshd)" ] || return 0
	mkdir -p "$root"
	dir=$(mktemp -d)
	# as whoever asks, and not as a user who may not look into the directory
	if ! (cd "$dir" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download openssh-server) >"$dir/log" 2>&1; then
		cat "$dir/log" >&2
		rm -rf "$dir"
		return 1
	fi
	dpkg-deb -x "$dir"/openssh-server_*.deb "$root"
	rm -rf "$dir"
}

init_server() {
	local kind
	mkdir -p "$dir/data"
	chmod 700 "$dir"
	for kind in ed25519 ecdsa rsa; do ssh-keygen -q -t $kind -N '' -f "$dir/host_$kind"; done
	ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/id"
	ssh-keygen -q -t ed25519 -N 'pass phrase' -C test -f "$dir/id_locked"
	ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/id_stranger"
	cat "$dir/id.pub" "$dir/id_locked.pub" >"$dir/authorized_keys"
	chmod 600 "$dir/authorized_keys"
	printf '[127.0.0.1]:%s %s\n' "$OMB_SFTP_PORT" "$(cut -d' ' -f1,2 "$dir/host_ed25519.pub")" >"$dir/known_hosts"
	cat >"$dir/config" <<-END
		ListenAddress 127.0.0.1
		Port $OMB_SFTP_PORT
		HostKey $dir/host_ed25519
		HostKey $dir/host_ecdsa
		PidFile $dir/pid
		AuthorizedKeysFile $dir/authorized_keys
		StrictModes no
		UsePAM no
		PasswordAuthentication yes
		KbdInteractiveAuthentication no
		PermitTTY no
		AllowTcpForwarding no
		X11Forwarding no
		Subsystem sftp internal-sftp
		ForceCommand internal-sftp
		MaxStartups 100
	END
}

stop_server() {
	local pid
	[ -s "$dir/pid" ] || return 0
	pid=$(cat "$dir/pid")
	# connections are in sessions of their own, but know their parent
	for child in $(ps -o pid= --ppid "$pid"); do
		# shellcheck disable=SC2046
		kill $(ps -o pid= --ppid "$child") "$child" 2>/dev/null || true
	done
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 200); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	rm -f "$dir/pid"
}

start_server() {
	stop_server
	LD_PRELOAD=${OMB_SFTP_SHIM:-} "$(sshd)" -f "$dir/config" -E "$dir/log"
	for _ in $(seq 200); do
		if [ -s "$dir/pid" ] && (exec 3<>"/dev/tcp/127.0.0.1/$(sed -n 's/^Port //p' "$dir/config")") 2>/dev/null; then
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
	install) install_server ;;
	init) init_server ;;
	start) start_server ;;
	stop) stop_server ;;
	*)
		sed -n '2,/^set /p' "$0" | sed '$d' >&2
		exit 2
		;;
esac
