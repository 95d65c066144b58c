package change

import (
	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Path is what is done to a host, from the mildest on.
type Path string

// The paths.
const (
	// None: nothing is run; the record of what is applied is brought up to date.
	None Path = "none"
	// Init: nodeadm init once more. It writes the configuration of kubelet,
	// containerd and credentials anew and restarts both; pods stay.
	Init Path = "init"
	// Upgrade: nodeadm upgrade, to a newer or an older version.
	Upgrade Path = "upgrade"
	// Install: nodeadm install and init, on a host that is no node, or over one whose
	// parts are damaged.
	Install Path = "install"
	// Reinstall: nodeadm uninstall, install and init.
	Reinstall Path = "reinstall"
	// OSImage: another operating system image is staged and booted, then nodeadm init.
	OSImage Path = "os-image"
	// Uninstall: nodeadm uninstall; the host is no node afterwards.
	Uninstall Path = "uninstall"
)

// TrackerAction is what happens to nodeadm's tracker before its first run.
type TrackerAction string

// What may happen to the tracker.
const (
	// TrackerKeep: it stays.
	TrackerKeep TrackerAction = ""
	// TrackerRemove: it is deleted; every command would panic on it, and install
	// writes a new one.
	TrackerRemove TrackerAction = "remove"
	// TrackerRestore: it is written as nodeadm.RestoredTracker makes it, since
	// without one uninstall does nothing.
	TrackerRestore TrackerAction = "restore"
)

// Choice is the path and why.
type Choice struct {
	// Path to go.
	Path Path
	// Reasons are sentences for operators: what differs, what is broken. Never
	// empty.
	Reasons []string
	// Drain says that pods must be moved away first: the path ends them, or
	// nodeadm refuses to go it with them.
	Drain bool
	// Tracker is what happens to nodeadm's tracker first.
	Tracker TrackerAction
	// StopKubelet says that kubelet must be stopped after the drain and before
	// nodeadm uninstall, which panics on kubelet's empty configuration while
	// kubelet runs (uninstall.go:99).
	StopKubelet bool
	// RemoveContainerdConfig says that nodeadm.ContainerdConfigPath must be removed
	// before nodeadm runs: the wanted node part has no containerd configuration,
	// and nodeadm leaves the former one's file, which containerd goes on reading.
	RemoveContainerdConfig bool
}

// Applied is what root's record says is in force.
type Applied struct {
	// Recorded: this host was brought to a node part, and the record says so.
	Recorded bool
	// Unfinished: a provision failed here and could not be taken back. The host looks
	// like a node and was never handed over as one.
	Unfinished bool
	// Node is that node part without secrets; nil where the record was made by a
	// version that did not keep it.
	Node *agentv1.NodeSpec
	// NodeDigest is the plane's digest of it.
	NodeDigest string
	// KubernetesVersion of it, for example 1.31.5.
	KubernetesVersion string
	// NodeIP given to kubelet.
	NodeIP string
}

// Wanted is what an operation asks for.
type Wanted struct {
	// Kind of the operation: provision, repave, reconfigure or leave.
	Kind agentv1.OperationKind
	// Node part to bring about; unset for leave.
	Node *agentv1.NodeSpec
	// NodeDigest is the plane's digest of it.
	NodeDigest string
	// NodeIP for kubelet.
	NodeIP string
	// NoCordon: the profile's drain options say cordon: false.
	NoCordon bool
	// Force: begin although the Kubernetes API does not answer, and repeat what is in
	// force already.
	Force bool
	// Repeat what is in force already, and no more than that: a repair.
	Repeat bool
}

// Existence says whether the API has a Node of this host.
type Existence int

// What is known of the Node.
const (
	// Unknown: the API did not say.
	Unknown Existence = iota
	// Exists: it has one.
	Exists
	// Missing: it has none.
	Missing
)

// Facts are what was found on the host and asked of the API.
type Facts struct {
	// Host is what nodeadm's files tell.
	Host nodeadm.Host
	// KubeletVersion is what the kubelet binary says of itself, for example
	// "Kubernetes v1.31.5-eks-1234567"; empty: not known.
	KubeletVersion string
	// KubeletUnit is ActiveState of kubelet.service: active, activating, failed,
	// inactive; empty: not known (no systemd).
	KubeletUnit string
	// Pods says that pods of kubelet's lie on the host (/var/lib/kubelet/pods).
	Pods bool
	// APIVersion is the API server's version, for example v1.31.5-eks-1234567;
	// empty: it did not answer, or could not be asked.
	APIVersion string
	// Node says whether the API has this host's Node.
	Node Existence
	// BootedOSImage is the operating system image that is booted; empty: not an
	// appliance, or not known.
	BootedOSImage string
}

// Reason says why no path was chosen, for programs.
type Reason string

// Why no path is chosen.
const (
	// Skew: the version is outside what the API server takes.
	Skew Reason = "skew"
	// APIUnknown: the API server did not answer, so nothing that needs it may begin.
	APIUnknown Reason = "api"
	// NotCordoned: nodeadm insists on a cordoned node, and the profile forbids it.
	NotCordoned Reason = "cordon"
	// NeedsMore: a reconfigure is not enough.
	NeedsMore Reason = "needs-more"
	// NotNode: the operation is for nodes, and this host is none.
	NotNode Reason = "not-node"
	// AlreadyNode: the operation is for hosts that are no nodes.
	AlreadyNode Reason = "already-node"
	// NeedsImage: an appliance changes this with its image only.
	NeedsImage Reason = "image"
	// NotKnown: what was applied is not known well enough.
	NotKnown Reason = "unknown"
	// Invalid: the request itself is of no use.
	Invalid Reason = "invalid"
)

// Refusal says why no path was chosen, and what to do.
type Refusal struct {
	// Reason is for programs.
	Reason Reason
	// Message names the field and the operator's next action.
	Message string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }
