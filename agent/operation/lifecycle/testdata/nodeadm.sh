#!/bin/sh
# A double of nodeadm for unit tests: what FAKE_MODE says, on one command.
# FAKE_ROOT holds the files it writes, FAKE_ROOT/calls one line per run.
set -eu
echo "$*" >> "$FAKE_ROOT/calls"
say() { printf '{"level":"%s","msg":"%s"%s}\n' "$1" "$2" "${3:-}" >&2; }
if [ "${FAKE_COMMAND:-}" = "$1" ]; then
	case "$FAKE_MODE" in
	fail) say fatal "Command failed" ',"error":"operation error EKS: DescribeCluster, connection refused"'; exit 1 ;;
	permanent) say fatal "Command failed" ',"error":"node IP 192.0.2.9 is not in any of the remote network CIDR blocks: [10.0.0.0/8]"'; exit 1 ;;
	failonce) if ! [ -e "$FAKE_ROOT/failed" ]; then : > "$FAKE_ROOT/failed"; say fatal "Command failed" ',"error":"dial tcp: connection refused"'; exit 1; fi ;;
	noop) exit 0 ;;
	usage) echo "unknown flag: --bogus" >&2; exit 2 ;;
	panic) echo "panic: runtime error: invalid memory address or nil pointer dereference" >&2; exit 2 ;;
	hang)
		say info "waiting for ever"
		# A grandchild in a session of its own, one without our environment.
		setsid sh -c 'echo $$ > "$FAKE_ROOT/grandchild"; exec sleep 1000' &
		(setsid env -i sh -c "echo \$\$ > $FAKE_ROOT/scrubbed; exec sleep 1000" &) &
		while ! [ -s "$FAKE_ROOT/grandchild" ] || ! [ -s "$FAKE_ROOT/scrubbed" ]; do :; done
		wait ;;
	secret) say info "running ssm-setup-cli -activation-code sekrit-sekrit-sekrit-1" ;;
	esac
fi
case "$1" in
install)
	say info "Installing kubelet..."
	mkdir -p "$FAKE_ROOT/opt/nodeadm" "$FAKE_ROOT/usr/bin"
	echo "kubelet $2" > "$FAKE_ROOT/usr/bin/kubelet"
	printf 'Artifacts:\n  Containerd: none\n  Kubelet: true\n' > "$FAKE_ROOT/opt/nodeadm/tracker" ;;
config) say info "Checking configuration" ;;
init)
	[ -e "$FAKE_ROOT/opt/nodeadm/tracker" ] || exit 0
	mkdir -p "$FAKE_ROOT/etc/kubernetes/kubelet" "$FAKE_ROOT/var/lib/kubelet" "$FAKE_ROOT/etc/eks/kubelet"
	echo '{}' > "$FAKE_ROOT/etc/kubernetes/kubelet/config.json"
	echo 'NODEADM_KUBELET_ARGS="--hostname-override=mi-0123456789abcdef0"' > "$FAKE_ROOT/etc/eks/kubelet/environment"
	printf 'apiVersion: v1\nkind: Config\nclusters: [{name: k, cluster: {server: "%s"}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\ncurrent-context: c\n' "${FAKE_API:-http://127.0.0.1:1}" > "$FAKE_ROOT/var/lib/kubelet/kubeconfig"
	say info "Finished post-launch tasks" ',"name":"kubelet"' ;;
esac
