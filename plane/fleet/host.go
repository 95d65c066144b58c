package fleet

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/compile"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// maxGeneration keeps a host that claims a huge generation from making the
// counter run over.
const maxGeneration = 1 << 62

// host is one enrolled host. Messages in it are replaced, never changed, so
// that readers may keep them after the lock.
type host struct {
	id string

	mu         sync.Mutex
	wanted     compile.Output
	generation uint64
	removed    bool // from the fleet, for good
	session    *session
	streams    uint64 // sessions so far, to tell one from the next
	enrolment  int64  // identity.EnrolledAt as of the last connect
	connected  bool
	since      time.Time
	agent      string
	inventory  *agentv1.Inventory
	status     *agentv1.HostStatus
	result     *agentv1.AssignmentResult
	operation  *agentv1.OperationProgress // of those on the node
	netSwitch  *agentv1.OperationProgress // a live network switch
	abort      *agentv1.OperationProgress // of another operation; not stored
	reported   bool                       // status came on this session
	print      *agentv1.HardwareFingerprint
}

func newHost(id string, r record, now time.Time) *host {
	h := &host{id: id, since: now, generation: r.wanted.Generation}
	h.wanted.Digest = r.wanted.Digest
	if s := r.status; s != nil {
		h.agent, h.inventory, h.status = s.GetAgentVersion(), s.GetInventory(), s.GetHost()
		h.result, h.operation, h.print = s.GetAssignment(), s.GetOperation(), s.GetFingerprint()
		h.netSwitch = s.GetNetworkSwitch().GetProgress()
	}
	return h
}

// want takes a compiled assignment; it answers whether it is another one than
// before, and then has raised the generation and pushed it.
func (h *host) want(out compile.Output) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := out.Digest != h.wanted.Digest
	h.wanted = out
	if !changed {
		return false
	}
	h.generation++
	if h.session != nil {
		h.session.assign(h.updateLocked())
	}
	return true
}

func (h *host) updateLocked() *agentv1.AssignmentUpdate {
	return &agentv1.AssignmentUpdate{Generation: h.generation, Digest: h.wanted.Digest, Assignment: h.wanted.Bytes, Drain: h.wanted.Drain}
}

// reconcileLocked brings the generation above what the host holds, which may be
// more than the plane remembers: generations are written behind, and a plane may
// be restored from a backup. It answers whether the host needs the assignment,
// and whether the generation was raised.
func (h *host) reconcileLocked(held uint64, digest string) (send, raised bool) {
	same := digest == h.wanted.Digest
	switch {
	case held > maxGeneration:
		return true, false
	case held > h.generation && same:
		h.generation = held
		return false, true
	case held >= h.generation && !same:
		h.generation = held + 1
		return true, true
	default:
		return held != h.generation, false
	}
}

// snapshot is the host as operators see it; pool is not filled in.
func (h *host) snapshot() *planev1.EdgeHostStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.snapshotLocked()
}

func (h *host) snapshotLocked() *planev1.EdgeHostStatus {
	out := &planev1.EdgeHostStatus{
		Connected:        h.connected,
		Since:            timestamppb.New(h.since),
		Inventory:        h.inventory,
		Host:             h.status,
		Assignment:       h.result,
		WantedGeneration: h.generation,
		Operation:        h.operation,
		AgentVersion:     h.agent,
		Fingerprint:      h.print,
		Conditions:       h.status.GetConditions(),
	}
	if h.netSwitch != nil {
		out.NetworkSwitch = &planev1.OperationStatus{Progress: h.netSwitch}
	}
	return out
}

// replace sets *to and answers whether that changed anything.
func replace[M proto.Message](to *M, m M) bool {
	if proto.Equal(*to, m) {
		return false
	}
	*to = m
	return true
}
