package lifecycle

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/runner"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Deadlines of single steps; the operation's own is 15 min for a provision and
// 1 h for a repave by default. The steps that wait for the host's network and
// clock have none but that. All tries of an upgrade or init, the wait for Ready and
// a way back are 10 min together: a nodeadm that waits for a kubelet that cannot
// start waits without end, and one whose API server hangs for 120 s a try.
const (
	installDeadline   = 10 * time.Minute
	checkDeadline     = time.Minute
	initDeadline      = 5 * time.Minute
	readyDeadline     = 5 * time.Minute
	againDeadline     = 4 * time.Minute // Ready again, of a node that was before
	upgradeDeadline   = 4 * time.Minute
	uninstallDeadline = 5 * time.Minute
	rollbackDeadline  = 10 * time.Minute
	outageDeadline    = 4 * time.Hour
	apiDeadline       = time.Minute
	stopPatience      = 20 * time.Second
)

// nodeadmAttempts is how often install and init are tried: the network may be
// down for a moment.
const nodeadmAttempts = 3

// wayBackAttempts is how often the way back is tried: with the engine's pauses of 5,
// 10, 20 and 30 s, AWS or the network may be away for a minute.
const wayBackAttempts = 5

// shortWay is the part of the time of a try of the way back that its short way may
// take: a nodeadm that hangs must leave some for the thorough one.
func (o Options) shortWay() time.Duration { return o.RollbackDeadline * 2 / 5 }

// Options say where things are and how the host is seen.
type Options struct {
	// Dir is root's state directory.
	Dir string
	// Root prefixes nodeadm's files: "/" but in tests.
	Root string
	// HostID is this host's ID.
	HostID string
	// NodeadmPath is the binary.
	NodeadmPath string
	// Manifest is given to nodeadm -m; may be empty.
	Manifest string
	// Environment is added to nodeadm's.
	Environment map[string]string
	// Runner runs nodeadm.
	Runner runner.Runner
	// Keys knows the node certificate.
	Keys *nodekey.Keeper
	// Addresses lists the host's IPv4 addresses.
	Addresses func() ([]netip.Addr, error)
	// SourceToward returns the host's address towards another; the package's
	// function of this name but in tests.
	SourceToward func(netip.Addr) (netip.Addr, error)
	// Node reads the Node from the Kubernetes API.
	Node func(ctx context.Context, kubeconfig, name string) (nodeapi.Node, error)
	// Cluster opens the Kubernetes API as the node itself, with its kubeconfig; nil:
	// this host only provisions.
	Cluster func(kubeconfig string) (Cluster, error)
	// Appliance manages the operating system's image; nil: the host's own OS stays.
	Appliance *Appliance
	// Artifacts holds what nodeadm fetches; nil: nodeadm fetches itself.
	Artifacts Artifacts
	// Units sees and stops systemd's units; nil: there is no systemd.
	Units Units
	// Mounts lists the mount points of the host; MountPoints but in tests.
	Mounts func() ([]string, error)
	// FreeBytes tells how much of the disk below a path is free; the package's
	// function of this name but in tests.
	FreeBytes func(path string) (uint64, error)
	// Now is the clock.
	Now func() time.Time
	// PollInterval is how often the Node is looked at; default 1 s.
	PollInterval time.Duration
	// StableFor is how long the Node must stay Ready; default 3 s.
	StableFor time.Duration
	// SteadyFor is how long kubelet must have run without a new start before the
	// Node counts as Ready: the API calls it Ready for 40 s after kubelet died.
	// Default 10 s; judged only where there are Units.
	SteadyFor time.Duration
	// InstallDeadline, InitDeadline, UpgradeDeadline, ReadyDeadline and
	// RollbackDeadline replace the defaults, for tests.
	InstallDeadline, InitDeadline, UpgradeDeadline, ReadyDeadline, RollbackDeadline time.Duration
	// OutageDeadline is how long one try of the way back waits for the network,
	// beside the time that it works; default 4 h.
	OutageDeadline time.Duration
	// Reach says whether the API server at a URL takes connections; the package's
	// function of this name but in tests.
	Reach func(ctx context.Context, server string) error
	// Expected is how long a step takes on this host, from what it took before; nil:
	// what the step expects itself.
	Expected func(engine.Step) time.Duration
	// Log is the component's logger.
	Log *zap.Logger
	// Line is called with each redacted line of nodeadm's output, for the
	// journal; may be nil.
	Line func(operationID, text string)
}

// Cluster is the Kubernetes API as this node may use it.
type Cluster interface {
	// Node reads a Node; nodeapi.ErrNoNode where there is none.
	Node(ctx context.Context, name string) (nodeapi.Node, error)
	// ServerVersion is the API server's, for example v1.31.5-eks-1234567.
	ServerVersion(ctx context.Context) (string, error)
	// Cordon makes a Node unschedulable and marks it as ours; already is true where
	// somebody else had done it, and then it stays theirs.
	Cordon(ctx context.Context, name, mark string) (already bool, err error)
	// Uncordon takes a Cordon with this mark back, and no other.
	Uncordon(ctx context.Context, name, mark string) (changed bool, err error)
	// CheckDrain says what would keep Drain from its end, without moving a pod.
	CheckDrain(ctx context.Context, name string, options *agentv1.DrainOptions) error
	// Drain moves the pods away; its error names those that stay.
	Drain(ctx context.Context, name string, options *agentv1.DrainOptions, say func(string)) error
	// Close ends connections.
	Close()
}

// Artifacts fetches what nodeadm needs before nodeadm is run.
type Artifacts interface {
	// Estimate says how many bytes Stage would fetch; unknown is set where the
	// size of something is not told.
	Estimate(ctx context.Context, spec *agentv1.NodeSpec) (bytes uint64, unknown bool, err error)
	// Stage fetches and verifies all that nodeadm's install and upgrade to this
	// node part take. What is there already is not fetched again; what was staged for
	// others than keep is removed.
	Stage(ctx context.Context, spec *agentv1.NodeSpec, keep []*agentv1.NodeSpec, say func(string)) error
	// Open serves what was staged until Served.Stop is called; where not all of it is
	// there, it is what nodeadm uses by itself, with Served.Unstaged.
	Open(ctx context.Context, spec *agentv1.NodeSpec) (Served, error)
	// Forget removes all that was staged.
	Forget() error
}

// Served is how nodeadm gets at what was staged.
type Served struct {
	// Manifest is for nodeadm's -m; may be empty.
	Manifest string
	// Nodeadm is the path of the binary.
	Nodeadm string
	// Stop ends the serving; never nil.
	Stop func()
	// Unstaged says why nodeadm must fetch by itself; nil: it is served.
	Unstaged error
}

// Units sees and stops systemd's units.
type Units interface {
	// Running says whether a unit is active, and for how long since its last start.
	Running(ctx context.Context, name string) (active bool, since time.Duration, err error)
	// Stop stops a unit and makes systemd forget that it failed; one that is not
	// there is no error.
	Stop(ctx context.Context, name string) error
	// Reload has systemd read its unit files again.
	Reload(ctx context.Context) error
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.PollInterval, time.Second}, {&o.StableFor, 3 * time.Second}, {&o.SteadyFor, 10 * time.Second},
		{&o.InstallDeadline, installDeadline}, {&o.InitDeadline, initDeadline}, {&o.UpgradeDeadline, upgradeDeadline},
		{&o.ReadyDeadline, readyDeadline}, {&o.RollbackDeadline, rollbackDeadline},
		{&o.OutageDeadline, outageDeadline},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.SourceToward == nil {
		o.SourceToward = SourceToward
	}
	if o.Reach == nil {
		o.Reach = Reach
	}
	if o.Line == nil {
		o.Line = func(string, string) {}
	}
	if o.Mounts == nil {
		o.Mounts = MountPoints
	}
	if o.FreeBytes == nil {
		o.FreeBytes = FreeBytes
	}
	return o
}
