#!/usr/bin/env bash
# Installs what is missing of the packages that scripts/packages names, and
# says what it could not. It installs nothing that is there already, so that a
# second run takes no time and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
while read -r package command; do
	case "$package" in ''|'#'*) continue ;; esac
	if [ "$command" = - ]; then
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
	else
		PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("$package")
	fi
done < scripts/packages

if ! command -v go >/dev/null; then
	echo "setup: Go is not on PATH; install $(awk '$1=="go"{print "Go " $2}' go.mod) or newer from your distribution or go.dev" >&2
	exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
	echo "setup: cannot install ${missing[*]}: no apt-get here; install them by your system's own means" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "setup: cannot install ${missing[*]}: not root and no sudo; as root: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi

echo "setup: installing ${missing[*]}"
install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
# A package list that is too old names versions that are gone: refresh it once.
install 2>/dev/null && exit 0
"${as_root[@]}" apt-get update -qq || echo "setup: apt-get update failed; trying with the list that is there" >&2
install || { echo "setup: cannot install ${missing[*]}: see apt-get's message above" >&2; exit 1; }
