package fleet

import (
	"time"

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
	// Since when a stream is open, or none is.
	Since time.Time
	// Status, Result and Operation as the host reported them; nil: never.
	Status    *agentv1.HostStatus
	Result    *agentv1.AssignmentResult
	Operation *agentv1.OperationProgress
	// NetworkSwitch is the host's last word on a live network switch; nil: never.
	NetworkSwitch *agentv1.OperationProgress
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
		Status: h.status, Result: h.result, Operation: h.operation, NetworkSwitch: h.netSwitch, Since: h.since,
	}
	if h.session != nil {
		v.Stream = h.session.number
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
