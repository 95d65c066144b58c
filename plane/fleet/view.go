package fleet

import (
	"errors"
	"fmt"
	"time"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// View is one host at one moment, as rollout needs it. The messages in it are
// not to be changed.
type View struct {
	// HostID of the host.
	HostID string
	// Stream numbers the open stream; 0: none is open.
	Stream uint64
	// EnrolledAt tells one enrolment of the host from the next; known once the
	// host has connected.
	EnrolledAt int64
	// Generation and Assignment that the plane wants in force.
	Generation uint64
	Assignment *agentv1.Assignment
	// Drain options of the pool's profile; nil: the host is in no pool.
	Drain *agentv1.DrainOptions
	// ActivationCode of the cluster's Systems Manager; secret, for signed operations.
	ActivationCode string
	// Since when a stream is open, or none is.
	Since time.Time
	// Reported says that Status came on the open stream: it is no memory of what was
	// before.
	Reported bool
	// Status, Result and Operation as the host reported them; nil: never.
	Status    *agentv1.HostStatus
	Result    *agentv1.AssignmentResult
	Operation *agentv1.OperationProgress
	// NetworkSwitch is the host's last word on a live network switch; nil: never.
	NetworkSwitch *agentv1.OperationProgress
	// Abort is the host's last word on an abort since the plane started; nil: none.
	Abort *agentv1.OperationProgress
}

// PoolView is a pool at one moment, as rollout needs it.
type PoolView struct {
	// Name of the pool, and when it was made, which tells it from another of the same
	// name.
	Name   string
	MadeAt time.Time
	// Profile is NAME@VERSION of the profile version chosen.
	Profile string
	// Hosts in the pool's order.
	Hosts []string
}

// RefusedOne says whether the host's last word of operations is that it refused
// one; which one it may be unable to tell.
func (v View) RefusedOne() bool {
	c := condition(v.Status, conditionOperationRunning)
	return c.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_FALSE && c.GetReason() == reasonRefused
}

// Refusal is what the host says of the operation that RefusedOne speaks of.
func (v View) Refusal() string {
	if !v.RefusedOne() {
		return ""
	}
	return condition(v.Status, conditionOperationRunning).GetMessage()
}

// View answers a host as it is now; false: it is not enrolled.
func (f *Fleet) View(hostID string) (View, bool) {
	h := f.host(hostID)
	if h == nil {
		return View{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	v := View{
		HostID: h.id, EnrolledAt: h.enrolment, Generation: h.generation, Assignment: h.wanted.Assignment,
		Drain: h.wanted.Drain, ActivationCode: h.wanted.ActivationCode, Status: h.status, Result: h.result, Operation: h.operation, NetworkSwitch: h.netSwitch,
		Abort: h.abort, Since: h.since, Reported: h.reported,
	}
	if h.session != nil {
		v.Stream = h.session.number
	}
	return v, true
}

// Pool answers a pool as it is now; false: there is none.
func (f *Fleet) Pool(name string) (PoolView, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	r := f.catalog.resources[store.ResourceKey(kind.Pool, name)]
	if r == nil {
		return PoolView{}, false
	}
	p := r.GetNodePool()
	v := PoolView{Name: name, MadeAt: r.GetMetadata().GetCreatedAt().AsTime(), Profile: store.ProfileName(p.GetProfile(), p.GetProfileVersion())}
	for _, h := range p.GetHosts() {
		v.Hosts = append(v.Hosts, h.GetHostId())
	}
	return v, true
}

// SendOperation hands an operation to a host on the stream of that number; it
// answers false when that stream is gone.
func (f *Fleet) SendOperation(hostID string, stream uint64, op *agentv1.SignedOperation) bool {
	h := f.host(hostID)
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == nil || h.session.number != stream {
		return false
	}
	h.session.operate(op)
	return true
}

// ErrNotEnrolled says that the plane has no such host.
var ErrNotEnrolled = errors.New("the host is not enrolled")

// RetryNetwork sends a host the assignment once more that it has refused, to be tried
// although it was rolled back before. The error is ErrNotEnrolled, or says why there
// is nothing to be tried.
func (f *Fleet) RetryNetwork(hostID string) error {
	h := f.host(hostID)
	if h == nil {
		return ErrNotEnrolled
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.session == nil:
		return fmt.Errorf("it is not connected since %s; on the host, 'hybrid-agent network retry' does the same", h.since.UTC().Format(time.RFC3339))
	case h.result.GetGeneration() != h.generation:
		return fmt.Errorf("it has not answered generation %d of its assignment yet; wait for that", h.generation)
	case h.result.GetAccepted():
		return fmt.Errorf("it has taken generation %d of its assignment; there is nothing to try again", h.generation)
	}
	u := h.updateLocked()
	u.Retry = true
	h.session.assign(u)
	return nil
}

// Changed has rollout look at a host again.
func (f *Fleet) Changed(hostID string) { f.changed.add(hostID) }

// HostStatus answers a host as operators see it; nil: it is not enrolled.
func (f *Fleet) HostStatus(hostID string) *planev1.EdgeHostStatus {
	f.mu.RLock()
	h, pool := f.hosts[hostID], f.catalog.poolOf[hostID]
	f.mu.RUnlock()
	if h == nil {
		return nil
	}
	s := h.snapshot()
	s.Pool = pool
	return s
}
