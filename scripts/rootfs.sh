#!/bin/sh
# Prints the folder of a read-only Debian root with systemd for the lab's systemd hosts, and builds it first where it is missing (20 to 60 s).
# It is cached by a hash of what it is made of. Usage: rootfs.sh [SUITE [PACKAGE...]], the packages being what that root has besides.
# MIRROR names another Debian mirror.
set -eu

suite=${1:-trixie}
[ $# -gt 0 ] && shift
mirror=${MIRROR:-}
packages=systemd,systemd-sysv,dbus,iproute2,iputils-ping,nftables,ca-certificates,procps,netbase
for extra in "$@"; do packages=$packages,$extra; done
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hybrid-agent-lab
recipe=1 # raise it when the way the root is built changes
hash=$(printf '%s\n' "$recipe" "$suite" "$packages" "$(dpkg --print-architecture)" | sha256sum | cut -c1-16)
root=$cache/rootfs-$suite-$hash

if [ ! -d "$root" ]; then
	mkdir -p "$cache"
	# Two test runs may find the cache empty at once: the second waits for the first.
	exec 9>"$cache/rootfs.lock"
	flock 9
fi
if [ ! -d "$root" ]; then
	work=$(mktemp -d "$cache/building.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM
	echo "rootfs.sh: building a Debian $suite root in $cache, this takes up to a minute" >&2
	# shellcheck disable=SC2016,SC2086 # the hook's $1 is for mmdebstrap's shell; no mirror, no argument
	mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
		--dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/var/lib/dbus/machine-id"; : > "$1/etc/machine-id"' \
		"$suite" "$work/root" $mirror >&2
	chmod 755 "$work" "$work/root"
	mv "$work/root" "$root"
fi
echo "$root"
