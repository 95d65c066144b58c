// Package lifecycle holds the operations on a node: provision, which turns a host
// into one (checks, nodeadm install, config check, init, and the proof that the
// Node is Ready), repave, reconfigure and leave. It says what the steps are;
// package engine runs them.
package lifecycle

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/runner"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Deadlines of single steps; the operation's own is 15 min by default. The
// steps that wait for the host's network and clock have none but that.
const (
	installDeadline = 10 * time.Minute
	checkDeadline   = time.Minute
	initDeadline    = 5 * time.Minute
	readyDeadline   = 5 * time.Minute
)

// nodeadmAttempts is how often install and init are tried: the network may be
// down for a moment.
const nodeadmAttempts = 3

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
	// Now is the clock.
	Now func() time.Time
	// PollInterval is how often the Node is looked at; default 1 s.
	PollInterval time.Duration
	// StableFor is how long the Node must stay Ready; default 3 s.
	StableFor time.Duration
	// InitDeadline and InstallDeadline replace the defaults, for tests.
	InstallDeadline, InitDeadline time.Duration
	// Log is the component's logger.
	Log *zap.Logger
	// Line is called with each redacted line of nodeadm's output, for the
	// journal; may be nil.
	Line func(operationID, text string)
}

// job is one provision operation being planned or done.
type job struct {
	Options
	op       *agentv1.Operation
	spec     *agentv1.NodeSpec
	redactor *nodeadm.Redactor
}

// Plan returns the plan of a provision operation. It has one path, so that nothing
// is kept.
func Plan(_ context.Context, opt Options, op *agentv1.Operation, _ []byte) (engine.Plan, error) {
	opt = opt.withDefaults()
	p := &job{Options: opt, op: op, spec: op.GetNode(), redactor: nodeadm.NewRedactor(nodeadm.Secrets(op.GetNode())...)}
	return engine.Plan{Steps: []engine.Step{
		{Name: "preflight", Percent: 2, Always: true, Do: p.preflight},
		{Name: "vpc-route", Percent: 3, Always: true, Do: p.route},
		{Name: "nodeadm-install", Percent: 40, Deadline: opt.InstallDeadline, Attempts: nodeadmAttempts, Check: p.installed, Do: p.install},
		{Name: "render-config", Percent: 42, Always: true, Do: p.render, Undo: p.removeConfig},
		{Name: "nodeadm-config-check", Percent: 45, Deadline: checkDeadline, Do: p.configCheck},
		{Name: "nodeadm-init", Percent: 80, Deadline: opt.InitDeadline, Attempts: nodeadmAttempts, Do: p.init},
		{Name: "node-ready", Percent: 97, Deadline: readyDeadline, Do: p.ready},
		{Name: "record", Percent: 100, Do: p.record},
	}}, nil
}

func (o Options) withDefaults() Options {
	if o.PollInterval == 0 {
		o.PollInterval = time.Second
	}
	if o.StableFor == 0 {
		o.StableFor = 3 * time.Second
	}
	if o.InstallDeadline == 0 {
		o.InstallDeadline = installDeadline
	}
	if o.InitDeadline == 0 {
		o.InitDeadline = initDeadline
	}
	if o.SourceToward == nil {
		o.SourceToward = SourceToward
	}
	if o.Line == nil {
		o.Line = func(string, string) {}
	}
	return o
}

// configPath is where the NodeConfig lies while the operation runs; it may hold
// the SSM activation code.
func (p *job) configPath() string { return filepath.Join(p.Dir, "nodeconfig.yaml") }

// nodeName is the Node's name: the host ID with IAM Roles Anywhere, else what
// nodeadm init made of the registration.
func (p *job) nodeName() (string, error) {
	if anywhere := p.spec.GetAccess().GetIamRolesAnywhere(); anywhere != nil {
		return anywhere.GetNodeName(), nil
	}
	return nodeadm.ReadNodeName(p.Root)
}
