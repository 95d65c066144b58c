#!/bin/sh
# Unpacks Debian's or Ubuntu's bird2 package, and those of its libraries that this machine lacks, into a folder. Nothing is installed.
# Usage: fetch-bird.sh FOLDER
set -eu

folder=${1:?usage: fetch-bird.sh FOLDER}
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

# lacking: what bird links and nobody has.
lacking() {
	# shellcheck disable=SC2046 # no library path, no argument
	env $(set -- "$work"/root/usr/lib/*-linux-gnu* && [ -d "$1" ] && echo "LD_LIBRARY_PATH=$1") \
		ldd "$work/root/usr/sbin/bird" | grep 'not found'
}

fetch bird2
if lacking >/dev/null; then
	libraries=$(apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances bird2 |
		sed -n 's/^ *Depends: \(lib[a-z0-9.+-]*\)$/\1/p' | grep -vx libc6 | sort -u)
	# shellcheck disable=SC2086 # a list of words
	fetch $libraries
	if lacking >&2; then
		echo "fetch-bird.sh: bird still lacks a library, see above" >&2
		exit 1
	fi
fi
rm -rf "$folder"
mv "$work/root" "$folder"
chmod 755 "$folder"
