# asuser.sh: sourced by scripts that start servers, which refuse to run as
# root. Defines OSUSER, as_user, and makes SCRATCH, a private directory of
# that user.
if [ "$(id -u)" = 0 ]; then
	OSUSER=postgres
else
	OSUSER=$(id -un)
fi
as_user() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid="$OSUSER" --regid="$OSUSER" --init-groups \
			env HOME="$SCRATCH" "$@"
	else
		"$@"
	fi
}
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/omb.XXXXXX")
chmod 755 "$SCRATCH"
if [ "$(id -u)" = 0 ]; then
	chown "$OSUSER" "$SCRATCH"
fi
export SCRATCH
# A checkout may be where that user cannot look, /root for example: what is
# run is copied.
private_tree() {
	if as_user test -x "$INSTBIN/postgres" 2>/dev/null; then
		return
	fi
	cp -a "${INSTBIN%%/build/inst/*}/build/inst" "$SCRATCH/inst"
	INSTBIN=$SCRATCH/inst/${INSTBIN#*/build/inst/}
	export INSTBIN
}
