package agent

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/session"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/systemd"
)

// How often the node is looked at. Root answers read-node-state from memory in
// between, so asking more often would only start a process for nothing.
const (
	nodeReadNotReady = time.Minute
	nodeReadReady    = 10 * time.Minute
	kubeletInterval  = 20 * time.Second
	// kubeletRecheck is the wait after a first failure, which is no verdict yet.
	kubeletRecheck = 3 * time.Second
	// certificateRetry is the wait after the plane did not sign the node's key.
	certificateRetry = time.Minute
)

// nodeInput is what the node stage needs of the assignment and of the stages before
// it.
type nodeInput struct {
	inPool        bool
	rolesAnywhere bool
	generation    uint64
	labels        map[string]string
	pathDown      bool
	// forecast is asked for while a repave is required; nil: none is.
	forecast *agentv1.ForecastRequest
}

func (n nodeInput) same(other nodeInput) bool {
	return n.inPool == other.inPool && n.rolesAnywhere == other.rolesAnywhere && n.generation == other.generation &&
		n.pathDown == other.pathDown && maps.Equal(n.labels, other.labels) && proto.Equal(n.forecast, other.forecast)
}

// nodeFacts is what the node stage found.
type nodeFacts struct {
	state          *agentv1.NodeState // nil: never read
	doorErr        error
	kubeletErr     error // seen twice in a row
	certificateErr error // why there is no node certificate, or no newer one
	forecast       *agentv1.Forecast
	labelsErr      error    // why the Node does not have the pool's labels
	restricted     []string // labels that a node may not give itself, and lacks
	// units are those that the node needs, as systemd has them; none where it cannot be
	// asked.
	units    []systemd.UnitState
	unitsErr error
}

// nodeMonitor watches the node through root's eyes and kubelet's health endpoint,
// and fetches the node's certificate for IAM Roles Anywhere.
type nodeMonitor struct {
	log     *zap.Logger
	door    Door
	outbox  *session.Outbox
	healthz func(ctx context.Context) error
	units   func() ([]systemd.UnitState, error)
	changed func()
	now     func() time.Time
	ready   chan struct{}
	wake    chan struct{}
	answers chan *agentv1.NodeCertificateResponse

	mu      sync.Mutex
	input   nodeInput
	result  nodeFacts
	readNow bool

	// Of the goroutine that runs.
	readAt, kubeletAt, requestAt time.Time
	backoff                      session.Backoff
	kubeletFailures              int
	requested                    bool
	generation                   uint64
	care                         care
}

func newNodeMonitor(log *zap.Logger, door Door, outbox *session.Outbox) *nodeMonitor {
	return &nodeMonitor{
		log: log, door: door, outbox: outbox, healthz: kubeletHealthz(), now: time.Now,
		units: func() ([]systemd.UnitState, error) { return nil, nil },
		ready: make(chan struct{}), wake: make(chan struct{}, 1),
		answers: make(chan *agentv1.NodeCertificateResponse, 1),
		backoff: session.Backoff{First: time.Second, Cap: nodeReadNotReady}, readNow: true,
	}
}

// String names the task.
func (n *nodeMonitor) String() string { return "node" }

// Ready is closed as soon as the task runs.
func (n *nodeMonitor) Ready() <-chan struct{} { return n.ready }

func (n *nodeMonitor) facts() nodeFacts {
	n.mu.Lock()
	defer n.mu.Unlock()
	facts := n.result
	facts.units, facts.unitsErr = n.units()
	return facts
}

func (n *nodeMonitor) set(input nodeInput) {
	n.mu.Lock()
	changed := !input.same(n.input)
	n.input = input
	n.mu.Unlock()
	if changed {
		n.poke()
	}
}

// read has the node's state read at once.
func (n *nodeMonitor) read() {
	n.mu.Lock()
	n.readNow = true
	n.mu.Unlock()
	n.poke()
}

func (n *nodeMonitor) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// answer takes the plane's answer to a certificate request.
func (n *nodeMonitor) answer(response *agentv1.NodeCertificateResponse) {
	select {
	case n.answers <- response:
	default: // one is being installed; the request stands and is answered again
	}
}

func (n *nodeMonitor) change(change func(*nodeFacts)) {
	n.mu.Lock()
	change(&n.result)
	n.mu.Unlock()
	n.changed()
}

// Run watches until ctx ends; then it returns nil.
func (n *nodeMonitor) Run(ctx context.Context) error {
	close(n.ready)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-n.wake:
		case response := <-n.answers:
			n.install(ctx, response)
		}
		n.step(ctx)
		timer.Reset(n.next())
	}
}

// step does what is due.
func (n *nodeMonitor) step(ctx context.Context) {
	n.mu.Lock()
	input, forced := n.input, n.readNow
	n.readNow = false
	n.mu.Unlock()
	now := n.now()
	if forced || !now.Before(n.readAt) {
		n.readState(ctx)
	}
	if n.provisioned() && !now.Before(n.kubeletAt) {
		n.checkKubelet(ctx)
	}
	if input.generation != n.generation {
		n.generation, n.requestAt = input.generation, time.Time{}
	}
	n.requestCertificate(ctx, input)
	n.takeCare(ctx, input, now)
}

// next returns the time until something is due.
func (n *nodeMonitor) next() time.Duration {
	due := n.readAt
	if n.provisioned() && n.kubeletAt.Before(due) {
		due = n.kubeletAt
	}
	for _, at := range []time.Time{n.requestAt, n.care.labelsAt, n.care.forecastAt} {
		if !at.IsZero() && at.Before(due) {
			due = at
		}
	}
	return max(due.Sub(n.now()), 10*time.Millisecond)
}

func (n *nodeMonitor) provisioned() bool { return n.facts().state.GetAppliedNodeDigest() != "" }

func (n *nodeMonitor) readState(ctx context.Context) {
	state, err := n.door.ReadNodeState(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		n.readAt = n.now().Add(200*time.Millisecond + n.backoff.Next())
		if before := n.facts().doorErr; before != nil && before.Error() == err.Error() {
			return // it was told, and nothing has changed
		}
		n.log.Warn("cannot read the node's state; trying on", zap.Error(err))
		n.change(func(f *nodeFacts) { f.doorErr = err })
		return
	}
	n.backoff.Reset()
	wait := nodeReadReady
	if state.GetAppliedNodeDigest() != "" && (!state.GetNodeReady() || state.GetServingCertificate() == servingPending) {
		wait = nodeReadNotReady
	}
	n.readAt = n.now().Add(wait)
	n.change(func(f *nodeFacts) { f.state, f.doorErr = state, nil })
}

func (n *nodeMonitor) checkKubelet(ctx context.Context) {
	err := n.healthz(ctx)
	if ctx.Err() != nil {
		return
	}
	n.kubeletAt = n.now().Add(kubeletInterval)
	before := n.facts().kubeletErr
	switch {
	case err != nil:
		n.kubeletFailures++
		n.kubeletAt = n.now().Add(kubeletRecheck)
		if n.kubeletFailures >= 2 {
			n.kubeletAt = n.now().Add(kubeletInterval / 2)
		}
		if n.kubeletFailures >= 2 && (before == nil || before.Error() != err.Error()) {
			n.change(func(f *nodeFacts) { f.kubeletErr = err })
		}
	case before != nil:
		n.kubeletFailures = 0
		n.change(func(f *nodeFacts) { f.kubeletErr = nil })
		n.readState(ctx) // the Node may be Ready again
	default:
		n.kubeletFailures = 0
	}
}
