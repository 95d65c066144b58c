#!/bin/sh
# Unpacks Debian's or Ubuntu's chrony package, and those of its libraries that this machine lacks, into a folder. Nothing is installed.
# Usage: fetch-chrony.sh FOLDER
set -eu

folder=${1:?usage: fetch-chrony.sh FOLDER}
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# fetch PACKAGE...: downloads and unpacks packages below $work/root.
fetch() {
	mkdir -p "$work/deb" "$work/root"
	for package in "$@"; do
		(cd "$work/deb" && apt-get -q -o APT::Sandbox::User=root download "$package") >&2
	done
	for deb in "$work"/deb/*.deb; do
		dpkg -x "$deb" "$work/root"
		rm "$deb"
	done
}

missing() {
	# shellcheck disable=SC2046 # no library path, no argument
	env $(set -- "$work"/root/usr/lib/*-linux-gnu* && [ -d "$1" ] && echo "LD_LIBRARY_PATH=$1") \
		ldd "$work/root/usr/sbin/chronyd" | grep -q 'not found'
}

fetch chrony
if missing; then
	libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances chrony |
		grep -E '^lib(c6|crypt1|gcc-s1)?[a-z0-9.+-]*$' | grep -vxE 'libc6|libgcc-s1|libcrypt1' | sort -u)
	# shellcheck disable=SC2086 # a list of words
	fetch $libraries
	if missing; then
		echo "fetch-chrony.sh: chronyd still lacks a library:" >&2
		ldd "$work/root/usr/sbin/chronyd" >&2
		exit 1
	fi
fi
rm -rf "$folder"
mv "$work/root" "$folder"
chmod 755 "$folder"
