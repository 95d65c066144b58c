#!/bin/sh
# A double of nodeadm for unit tests: what FAKE_MODE says, on one command.
# FAKE_ROOT holds the files it writes, FAKE_ROOT/calls one line per run. What the
# API knows lies in FAKE_ROOT/cluster: unschedulable, pods, down. Behaviour as
# recorded of v1.0.20: no tracker means exit 0 and nothing done, an empty one and an
# empty kubelet configuration a panic; nothing is atomic; no version is refused.
set -eu
echo "$*" >> "$FAKE_ROOT/calls"
say() { printf '{"level":"%s","msg":"%s"%s}\n' "$1" "$2" "${3:-}" >&2; }
fatal() { say fatal "Command failed" ",\"error\":\"$1\""; exit 1; }
panic() { echo "panic: runtime error: invalid memory address or nil pointer dereference" >&2; exit 2; }
once() { if [ -e "$FAKE_ROOT/once" ]; then return 1; fi; : > "$FAKE_ROOT/once"; }
kubelet=$FAKE_ROOT/usr/bin/kubelet
config=$FAKE_ROOT/etc/kubernetes/kubelet/config.json
tracker=$FAKE_ROOT/opt/nodeadm/tracker
cluster=$FAKE_ROOT/cluster
if [ "${FAKE_COMMAND:-}" = "$1" ]; then
	case "$FAKE_MODE" in
	fail) fatal "operation error EKS: DescribeCluster, connection refused" ;;
	permanent) fatal "node IP 192.0.2.9 is not in any of the remote network CIDR blocks: [10.0.0.0/8]" ;;
	failonce) if ! [ -e "$FAKE_ROOT/failed" ]; then : > "$FAKE_ROOT/failed"; say fatal "Command failed" ',"error":"dial tcp: connection refused"'; exit 1; fi ;;
	noop) exit 0 ;;
	usage) echo "unknown flag: --bogus" >&2; exit 2 ;;
	panic) panic ;;
	hang)
		say info "waiting for ever"
		# A grandchild in a session of its own, one without our environment.
		setsid sh -c 'echo $$ > "$FAKE_ROOT/grandchild"; exec sleep 1000' &
		(setsid env -i sh -c "echo \$\$ > $FAKE_ROOT/scrubbed; exec sleep 1000" &) &
		while ! [ -s "$FAKE_ROOT/grandchild" ] || ! [ -s "$FAKE_ROOT/scrubbed" ]; do :; done
		wait ;;
	secret) say info "running ssm-setup-cli -activation-code sekrit-sekrit-sekrit-1" ;;
	# A power cut in the middle of the command, once.
	cut-kubelet) if once; then rm -f "$kubelet"; kill -KILL $$; fi ;;
	cut-truncated) if once; then printf 'kub' > "$kubelet"; kill -KILL $$; fi ;;
	cut-config) if once; then : > "$config"; kill -KILL $$; fi ;;
	cut-tracker) if once; then : > "$tracker"; kill -KILL $$; fi ;;
	# The network goes away in the middle.
	outage) if once; then mkdir -p "$cluster"; : > "$cluster/down"; fi ;;
	# New binaries under the old kubelet.
	describe) echo "kubelet $2" > "$kubelet"; fatal "operation error EKS: DescribeCluster, api error AccessDeniedException: is not authorized to perform: eks:DescribeCluster" ;;
	# New binaries, and from then on a nodeadm that waits without end.
	hangs) if once; then echo "kubelet $2" > "$kubelet"; fatal "operation error EKS: DescribeCluster, connection refused"; fi; exec sleep 1000 ;;
	expired) fatal "SSM activation expired. Please use a valid activation" ;;
	invalid) fatal "invalid SSM activation. Please use a valid activation code, activation id and region" ;;
	used) fatal "operation error SSM: RegisterManagedInstance, api error RegistrationLimitExceeded" ;;
	esac
fi
# The first FAKE_DENIED runs of upgrade and init fail at ECR, with the binaries changed.
case "$1" in upgrade | init)
	denied=$(cat "$FAKE_ROOT/denied" 2>/dev/null || echo 0)
	if [ "$denied" -lt "${FAKE_DENIED:-0}" ]; then
		echo $((denied + 1)) > "$FAKE_ROOT/denied"
		[ "$1" = init ] || echo "kubelet $2" > "$kubelet"
		fatal "operation error ECR: GetAuthorizationToken, api error AccessDeniedException: User is not authorized to perform: ecr:GetAuthorizationToken"
	fi ;;
esac
# Without a network both end at DescribeCluster.
if [ "${FAKE_MODE:-}" = outage ] && [ -e "$cluster/down" ]; then case "$1" in upgrade | init)
	[ "$1" = init ] || echo "kubelet $2" > "$kubelet"
	fatal "operation error EKS: DescribeCluster, connection refused" ;;
esac; fi
value() { # value NAME ARGS...: what follows the flag
	name=$1; shift
	while [ $# -gt 0 ]; do if [ "$1" = "$name" ]; then echo "$2"; return; fi; shift; done
}
provider() {
	case "$(cat "$1")" in *"ssm:"*) echo ssm ;; *) echo iam-ra ;; esac
}
known() { # the tracker: none at all, of no use, or good
	[ -e "$tracker" ] || exit 0
	[ -s "$tracker" ] || panic
}
free() { # drained and cordoned; looked at only while kubelet runs
	[ -e "$FAKE_ROOT/run/kubelet" ] && [ "$(cat "$FAKE_ROOT/run/kubelet")" != dead ] || return 0
	[ -s "$config" ] || panic
	case " $* " in *node-validation*) ;; *)
		[ -e "$cluster/down" ] && fatal "node not initialized. Please use nodeadm init command to bootstrap a node. err: dial tcp: connection refused"
		[ -e "$cluster/unschedulable" ] || fatal "please drain or cordon node to mark it unschedulable or use --skip node-validation: node is schedulable" ;;
	esac
	case " $* " in *pod-validation*) ;; *)
		[ -s "$cluster/pods" ] && fatal "only static pods and pods controlled by daemon-sets can be running on the node. Please move pods to different node or use --skip pod-validation" ;;
	esac
	return 0
}
configure() { # the NodeConfig, as the files of kubelet and containerd
	file=${1#file://}
	mkdir -p "$FAKE_ROOT/etc/kubernetes/kubelet" "$FAKE_ROOT/var/lib/kubelet/pki" "$FAKE_ROOT/etc/eks/kubelet" "$FAKE_ROOT/etc/containerd/config.d" \
		"$FAKE_ROOT/etc/aws/hybrid" "$FAKE_ROOT/etc/sysctl.d" "$FAKE_ROOT/etc/modules-load.d"
	grep -v -i 'activation' "$file" > "$config"
	echo profile > "$FAKE_ROOT/etc/aws/hybrid/config"
	echo vm.overcommit_memory=1 > "$FAKE_ROOT/etc/sysctl.d/99-nodeadm.conf"
	echo overlay > "$FAKE_ROOT/etc/modules-load.d/containerd.conf"
	grep -q '^ *containerd:' "$file" && echo "from the NodeConfig" > "$FAKE_ROOT/etc/containerd/config.d/00-nodeadm.toml"
	echo 'NODEADM_KUBELET_ARGS="--hostname-override=mi-0123456789abcdef0"' > "$FAKE_ROOT/etc/eks/kubelet/environment"
	printf 'apiVersion: v1\nkind: Config\nclusters: [{name: k, cluster: {server: "%s"}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\ncurrent-context: c\n' "${FAKE_API:-http://127.0.0.1:1}" > "$FAKE_ROOT/var/lib/kubelet/kubeconfig"
	return 0
}
start() { # kubelet; a broken version dies at once, and nodeadm waits for it, or a while later
	mkdir -p "$FAKE_ROOT/run" "$cluster"
	have=$(cat "$kubelet")
	if [ "$have" = "kubelet ${FAKE_BROKEN:-none}" ]; then
		echo dead > "$FAKE_ROOT/run/kubelet"
		[ "${FAKE_BREAKS:-later}" = later ] || exec sleep 1000
		return 0
	fi
	[ "$have" != kub ] || fatal "kubelet: exec format error"
	echo "${have#kubelet }" > "$FAKE_ROOT/run/kubelet"
	say info "Finished post-launch tasks" ',"name":"kubelet"'
}
case "$1" in
install)
	if [ -e "$tracker" ] && ! [ -s "$tracker" ]; then panic; fi
	say info "Installing kubelet..."
	mkdir -p "$FAKE_ROOT/opt/nodeadm" "$FAKE_ROOT/usr/bin" "$FAKE_ROOT/etc/systemd/system/multi-user.target.wants"
	echo "kubelet $2" > "$kubelet"
	echo unit > "$FAKE_ROOT/etc/systemd/system/kubelet.service"
	ssm=false; anywhere=true
	if [ "$(value -p "$@")" = ssm ]; then ssm=true; anywhere=false; fi
	rm -f "$tracker.new"
	printf 'Artifacts:\n  Containerd: none\n  Kubelet: true\n  Ssm: %s\n  IamRolesAnywhere: %s\n' $ssm $anywhere > "$tracker.new"
	mv "$tracker.new" "$tracker" ;;
config) say info "Checking configuration" ;;
init)
	known
	[ -e "$FAKE_ROOT/etc/fstab" ] || fatal "opening /etc/fstab: no such file or directory"
	grep -v -w swap "$FAKE_ROOT/etc/fstab" > "$FAKE_ROOT/fstab.new" || true
	cat "$FAKE_ROOT/fstab.new" > "$FAKE_ROOT/etc/fstab"
	configure "$(value -c "$@")"
	ln -sf /etc/systemd/system/kubelet.service "$FAKE_ROOT/etc/systemd/system/multi-user.target.wants/kubelet.service"
	start ;;
upgrade)
	known
	[ -s "$config" ] || panic
	free "$@"
	[ -e "$kubelet" ] || fatal "failed to upgrade kubelet: checking for checksum match: open /usr/bin/kubelet: no such file or directory"
	say info "Upgrading kubelet..."
	printf 'kub' > "$kubelet"
	echo "kubelet $2" > "$kubelet"
	configure "$(value -c "$@")"
	start ;;
uninstall)
	known
	free "$@"
	say info "Uninstalling kubelet..."
	rm -rf "$FAKE_ROOT/run/kubelet" "$kubelet" "$FAKE_ROOT/etc/systemd/system/kubelet.service" "$FAKE_ROOT/etc/eks" \
		"$FAKE_ROOT/var/lib/kubelet/kubeconfig" "$FAKE_ROOT/etc/kubernetes" "$FAKE_ROOT/opt/nodeadm"
	say info "Finished uninstallation tasks..." ;;
esac
