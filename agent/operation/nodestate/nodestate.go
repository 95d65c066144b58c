// Package nodestate answers what root can see of this node: what was applied, the
// node's certificate, and the Node with the certificate request of its kubelet in
// the Kubernetes API, which it asks seldom. It changes nothing.
package nodestate

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// How long a reading of the API holds: seldom while all is well, so that a
// fleet does not poll the API server; in between the daemon watches kubelet's
// own health endpoint.
const (
	readyFor    = 10 * time.Minute
	notReadyFor = time.Minute
)

// The reading is kept on disk: hybrid-agent-op exits when idle, and asking again
// after each start would make the bounds above worthless.
const (
	file   = "node-state"
	schema = 1
)

// Options are the reader's settings.
type Options struct {
	// Dir is root's state directory.
	Dir string
	// Root prefixes nodeadm's files.
	Root string
	// Runner is the runner's name, for status.
	Runner string
	// Keys knows the node certificate.
	Keys *nodekey.Keeper
	// Log is the component's logger.
	Log *zap.Logger
	// Now is the clock.
	Now func() time.Time
	// Open opens the Kubernetes API with a kubeconfig; OpenAPI but in tests.
	Open func(kubeconfig string) (API, error)
	// BootedImage names the operating system's image that is booted, without running
	// a program; nil: this is no appliance.
	BootedImage func(ctx context.Context) string
}

// API is what a reading asks the Kubernetes API for: nodeapi.Client.
type API interface {
	Node(ctx context.Context, name string) (nodeapi.Node, error)
	ServingCSR(ctx context.Context, node string) (nodeapi.CSR, error)
	Close()
}

// OpenAPI is nodeapi.Open as Options want it.
func OpenAPI(kubeconfig string) (API, error) { return nodeapi.Open(kubeconfig) }

// Reader reads the node's state.
type Reader struct {
	opt Options

	mutex sync.Mutex
	last  *agentv1.NodeState
	// unkept is set while readings cannot be put on disk.
	unkept bool
}

// New returns a reader that starts from the last reading on disk.
func New(opt Options) *Reader {
	r := &Reader{opt: opt}
	// A missing or damaged file only means to ask the API once more.
	if payload, err := store.Read(filepath.Join(opt.Dir, file), schema); err == nil {
		last := &agentv1.NodeState{}
		if proto.Unmarshal(payload, last) == nil {
			r.last = last
		}
	}
	return r
}

// Forget makes the next Read ask the API: after an operation.
func (r *Reader) Forget() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.last = nil
}

// Read returns the node's state; the part from the API may be as old as the
// bounds say, everything else is fresh.
func (r *Reader) Read(ctx context.Context) (*agentv1.NodeState, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	state, found, err := applied.ReadState(r.opt.Dir)
	var damaged *applied.DamagedError
	if errors.As(err, &damaged) {
		r.opt.Log.Error("the record of what was applied was damaged", zap.Error(err))
	} else if err != nil {
		return nil, err
	}
	now := r.opt.Now()
	if !r.holds(state, now) {
		r.last = r.ask(ctx, state, found, now)
		r.keep()
	}
	answer := proto.CloneOf(r.last)
	r.local(answer, state)
	if r.opt.BootedImage != nil {
		answer.BootedOsImage = r.opt.BootedImage(ctx)
	}
	return answer, nil
}

// holds reports whether the last reading is fresh enough and of this node.
func (r *Reader) holds(state applied.State, now time.Time) bool {
	if r.last == nil || r.last.GetAppliedNodeDigest() != state.NodeDigest {
		return false
	}
	age := now.Sub(r.last.GetReadAt().AsTime())
	bound := notReadyFor
	if r.last.GetNodeReady() && settled(r.last) {
		bound = readyFor
	}
	// A negative age: the clock was set back.
	return age >= 0 && age < bound
}

// settled says that nothing is awaited which an operator is to hear of within
// minutes: a Node may be Ready while nobody has approved its kubelet's certificate.
func settled(state *agentv1.NodeState) bool {
	return state.GetServingCertificate() != string(nodeapi.CSRPending)
}

// ask reads the Node from the API.
func (r *Reader) ask(ctx context.Context, state applied.State, provisioned bool, now time.Time) *agentv1.NodeState {
	answer := &agentv1.NodeState{ReadAt: timestamppb.New(now), AppliedNodeDigest: state.NodeDigest, NodeName: state.NodeName}
	if !provisioned {
		answer.Reason, answer.Message = "NotProvisioned", "this host was not provisioned yet"
		if lost := applied.Lost(r.opt.Dir); lost != "" {
			answer.Message = lost
		}
		return answer
	}
	err := r.askAPI(ctx, state.NodeName, answer)
	switch {
	case errors.Is(err, nodeapi.ErrNoKubeconfig):
		answer.Reason, answer.Message = "NoKubeconfig", err.Error()
	case errors.Is(err, nodeapi.ErrNoNode):
		answer.Reason, answer.Message = "NodeNotFound", err.Error()+"; look at kubelet's log on the host"
	case err != nil:
		answer.Reason, answer.Message = "APIUnreachable", err.Error()
	case answer.GetReason() == "":
		answer.Reason, answer.Message = "NoReadyCondition", "kubelet has not reported whether the node is ready"
	}
	return answer
}

// askAPI fills in what the Kubernetes API says. That the certificate request cannot
// be read is told with it, and hides nothing else.
func (r *Reader) askAPI(ctx context.Context, name string, answer *agentv1.NodeState) error {
	api, err := r.opt.Open(filepath.Join(r.opt.Root, nodeadm.KubeconfigPath))
	if err != nil {
		return err
	}
	defer api.Close()
	node, err := api.Node(ctx, name)
	if err != nil {
		return err
	}
	answer.NodeReady, answer.Reason, answer.Message = node.Ready, node.Reason, node.Message
	answer.KubeletVersion, answer.InternalIp, answer.Unschedulable = node.KubeletVersion, node.InternalIP, node.Unschedulable
	for _, t := range node.Taints[:min(len(node.Taints), maxTaints)] {
		answer.Taints = append(answer.Taints, &agentv1.Taint{Key: t.Key, Value: t.Value, Effect: t.Effect})
	}
	csr, err := api.ServingCSR(ctx, name)
	if err != nil {
		answer.ServingCertificateMessage = clipped(err.Error())
		return nil //nolint:nilerr // told
	}
	answer.ServingCertificate, answer.ServingCertificateMessage = string(csr.State), clipped(csr.Cause)
	if !csr.Since.IsZero() {
		answer.ServingCertificateSince = timestamppb.New(csr.Since)
	}
	return nil
}

// Bounds of NodeState: serving_certificate_message in bytes, taints in number.
const (
	maxCause  = 1024
	maxTaints = 64
)

func clipped(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxCause)], "")
}

// local fills in what is read from this host each time.
func (r *Reader) local(answer *agentv1.NodeState, state applied.State) {
	answer.AppliedNodeDigest = state.NodeDigest
	answer.AppliedKubernetesVersion = state.KubernetesVersion
	answer.AppliedNode = state.Node
	answer.Runner = r.opt.Runner
	validity, err := r.opt.Keys.Installed()
	answer.CertificateInstalled = err == nil
	answer.CertificateExpiresAt, answer.CertificateValidFrom = nil, nil
	if !validity.Until.IsZero() {
		answer.CertificateValidFrom, answer.CertificateExpiresAt = timestamppb.New(validity.From), timestamppb.New(validity.Until)
	}
}

// keep puts the reading on disk; that it cannot be kept is no reason not to
// answer. Only the first failure of a row is logged.
func (r *Reader) keep() {
	payload, err := proto.Marshal(r.last)
	if err == nil {
		err = store.Write(filepath.Join(r.opt.Dir, file), schema, payload)
	}
	if err != nil && !r.unkept {
		r.opt.Log.Warn("cannot keep the node's state; the next process asks the API sooner", zap.Error(err))
	}
	r.unkept = err != nil
}
