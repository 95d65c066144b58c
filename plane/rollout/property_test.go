package rollout

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"hybridagent/plane/fleet"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// played is a host as the property test plays it.
type played struct {
	view    fleet.View
	applied string
	runs    *agentv1.Operation
	queue   []*agentv1.Operation                  // sent, not looked at yet
	said    map[string]*agentv1.OperationProgress // of each operation, the last word
	last    uint64                                // counter of the last operation that was taken
}

// site is a fleet of played hosts in one pool, and what must always hold of it.
type site struct {
	t       *rapid.T
	st      *store.Store
	c       *Controller
	pool    fleet.PoolView
	digest  string
	hosts   map[string]*played
	ids     []string
	streams uint64
	signed  map[string]uint64 // highest counter by host
}

func (s *site) Changed(string) {}

func (s *site) View(id string) (fleet.View, bool) {
	h, ok := s.hosts[id]
	if !ok {
		return fleet.View{}, false
	}
	return h.view, true
}

func (s *site) Pool(name string) (fleet.PoolView, bool) { return s.pool, name == s.pool.Name }

func (s *site) SendOperation(id string, stream uint64, env *agentv1.SignedOperation) bool {
	h := s.hosts[id]
	if h.view.Stream != stream {
		return false
	}
	op := &agentv1.Operation{}
	if err := proto.Unmarshal(env.GetOperation(), op); err != nil {
		s.t.Fatal(err)
	}
	h.queue = append(h.queue, op)
	return true
}

// SignOperation checks the sequence of everything that is signed.
func (s *site) SignOperation(b []byte) (*agentv1.SignedOperation, error) {
	op := &agentv1.Operation{}
	if err := proto.Unmarshal(b, op); err != nil {
		return nil, err
	}
	if n := op.GetSequence().GetCounter(); n <= s.signed[op.GetHostId()] {
		s.t.Fatalf("host %s: sequence %d after %d", op.GetHostId(), n, s.signed[op.GetHostId()])
	}
	s.signed[op.GetHostId()] = op.GetSequence().GetCounter()
	return &agentv1.SignedOperation{Operation: b}, nil
}

// assign gives a host what the pool wants of it now; it takes it at once.
func (s *site) assign(id string) {
	h := s.hosts[id]
	a := &agentv1.Assignment{HostId: id}
	for _, in := range s.pool.Hosts {
		if in == id {
			a.Pool, a.NodeDigest, a.Node = s.pool.Name, s.digest, &agentv1.NodeSpec{ClusterName: "lab"}
		}
	}
	if proto.Equal(a, h.view.Assignment) {
		return
	}
	h.view.Assignment = a
	h.view.Generation++
	if h.view.Stream != 0 {
		s.report(h)
	}
}

// report is what an agent tells of itself.
func (s *site) report(h *played) {
	h.view.Reported = true
	h.view.Result = &agentv1.AssignmentResult{Generation: h.view.Generation, Accepted: true}
	st := &agentv1.HostStatus{Generation: h.view.Generation, NodeIp: "10.200.0.11", AppliedNodeDigest: h.applied}
	st.ReadyToProvision = h.applied == "" && h.view.Assignment.GetPool() != ""
	if h.applied != "" && h.applied != h.view.Assignment.GetNodeDigest() {
		st.RepaveFields = []string{"node"}
	}
	h.view.Status = st
}

func (s *site) connect(h *played) {
	s.streams++
	h.view.Stream, h.view.EnrolledAt, h.queue = s.streams, 1, nil
	s.report(h)
}

func (s *site) disconnect(h *played) { h.view.Stream, h.view.Reported, h.queue = 0, false, nil }

// take has a host look at the operation that came first, as root does.
func (s *site) take(h *played) {
	if len(h.queue) == 0 {
		return
	}
	op := h.queue[0]
	h.queue = h.queue[1:]
	counter := op.GetSequence().GetCounter()
	switch {
	case h.said[op.GetId()] != nil:
		h.say(h.said[op.GetId()])
	case counter <= h.last:
		s.t.Fatalf("host %s is sent %s with the sequence %d after %d", op.GetHostId(), op.GetKind(), counter, h.last)
	case op.GetKind() == agentv1.OperationKind_OPERATION_KIND_ABORT:
		h.last = counter
		p := &agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_REFUSED}
		if h.runs.GetId() == op.GetAbort().GetOperationId() && h.runs != nil {
			p.State = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
			s.end(h, agentv1.OperationState_OPERATION_STATE_ABORTED)
		}
		h.say(p)
	default:
		h.last = counter
		state := agentv1.OperationState_OPERATION_STATE_RUNNING
		if h.runs != nil && repaves(op.GetKind()) && repaves(h.runs.GetKind()) {
			s.t.Fatalf("host %s is sent %s %s while %s runs", op.GetHostId(), op.GetKind(), op.GetId(), h.runs.GetId())
		}
		if h.runs != nil { // a provisioning of another assignment may cross the first
			h.said[op.GetId()] = &agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_REFUSED}
			h.view.Operation = h.said[op.GetId()]
			return
		}
		h.runs = op
		h.say(&agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: state, Abortable: true})
	}
	s.drainsOne()
}

// say reports an operation; one that is known is told again when it is sent again.
func (h *played) say(p *agentv1.OperationProgress) {
	h.said[p.GetOperationId()] = p
	if p.GetKind() == agentv1.OperationKind_OPERATION_KIND_ABORT {
		h.view.Abort = p
		return
	}
	h.view.Operation = p
}

func (s *site) end(h *played, state agentv1.OperationState) {
	if h.runs == nil {
		return
	}
	if state == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		h.applied = h.runs.GetNodeDigest()
	}
	h.say(&agentv1.OperationProgress{OperationId: h.runs.GetId(), Kind: h.runs.GetKind(), State: state})
	h.runs = nil
	if h.view.Stream != 0 {
		s.report(h)
	}
}

// drainsOne: never are two hosts of the pool repaved at a time, by what they do and
// by what was signed.
func (s *site) drainsOne() {
	var doing, pending []string
	for _, id := range s.pool.Hosts {
		if op := s.hosts[id].runs; op != nil && repaves(op.GetKind()) {
			doing = append(doing, id)
		}
		if p := s.c.record(id).Pending; p != nil && repaves(p.kind()) {
			pending = append(pending, id)
		}
	}
	if len(doing) > 1 || len(pending) > 1 {
		s.t.Fatalf("hosts %s are repaved, repaves of %s are pending", strings.Join(doing, ", "), strings.Join(pending, ", "))
	}
}

func (s *site) look() {
	for range 3 {
		for _, id := range s.ids {
			if err := s.c.look(s.t.Context(), id); err != nil {
				s.t.Fatal(err)
			}
			s.drainsOne()
		}
		s.c.lookRollouts(s.t.Context(), true)
	}
}

// restart is another plane on the same store.
func (s *site) restart() {
	for _, h := range s.hosts {
		s.disconnect(h)
		h.view.Abort = nil
	}
	c, err := New(s.t.Context(), Config{Store: s.st, Signer: s, Hosts: hostsOnly{s}, Now: now, Log: zap.NewNop()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.c = c
}

// hostsOnly adds what Run alone asks for.
type hostsOnly struct{ *site }

func (hostsOnly) NextChanged(context.Context) (string, bool) { return "", false }

// settled: with every host there and each operation ended well, or badly, nothing is
// left open, and every host is what it is to be or its rollout has stopped.
func (s *site) settles(end agentv1.OperationState) {
	rounds := 12 * len(s.ids)
	for round := range rounds {
		for _, id := range s.ids {
			// What crossed on the way is told again on a new stream.
			if h := s.hosts[id]; h.view.Stream == 0 || round == rounds/2 {
				s.connect(h)
			}
		}
		s.look()
		for _, id := range s.ids {
			for len(s.hosts[id].queue) > 0 {
				s.take(s.hosts[id])
			}
			s.end(s.hosts[id], end)
		}
	}
	s.look()
	ro := s.c.rollout(s.pool.Name)
	if ro.running() {
		s.t.Fatalf("the rollout has not ended: %+v", ro)
	}
	for _, id := range s.ids {
		r := s.c.record(id)
		// A provisioning that the host missed before it left the pool stays with it.
		missed := r.Pending != nil && r.Pending.kind() == agentv1.OperationKind_OPERATION_KIND_PROVISION && s.hosts[id].view.Assignment.GetPool() == ""
		if r.Pending != nil && !missed {
			s.t.Fatalf("host %s: %s %s has not ended", id, r.Pending.kind(), r.Pending.ID)
		}
		h := s.hosts[id]
		if _, in := ro.turn(id); in && ro.State == planev1.RolloutState_ROLLOUT_STATE_DONE && h.view.Assignment.GetPool() != "" && h.applied != "" && h.applied != s.digest {
			s.t.Fatalf("host %s has %q after the rollout, the pool wants %q", id, h.applied, s.digest)
		}
	}
}

// TestRolloutKeepsItsPromises over any order of events: one operation pending for a
// host, one host of a pool repaved at a time, sequences that only grow, and an end
// once the hosts answer.
func TestRolloutKeepsItsPromises(t *testing.T) {
	st := newStore(t)
	pools := 0
	rapid.Check(t, func(rt *rapid.T) {
		pools++
		s := &site{t: rt, st: st, hosts: map[string]*played{}, signed: map[string]uint64{}, digest: "d0"}
		s.pool = fleet.PoolView{Name: fmt.Sprintf("pool-%d", pools), MadeAt: now(), Profile: "shop@0"}
		for i := range rapid.IntRange(1, 3).Draw(rt, "hosts") {
			id := fmt.Sprintf("edge-%d-%d", pools, i)
			s.ids, s.pool.Hosts = append(s.ids, id), append(s.pool.Hosts, id)
			s.hosts[id] = &played{view: fleet.View{HostID: id}, said: map[string]*agentv1.OperationProgress{}}
		}
		s.restart()
		nodes := rapid.Bool().Draw(rt, "nodes already")
		for _, id := range s.ids {
			s.assign(id)
			if nodes {
				s.hosts[id].applied = "d0"
				s.connect(s.hosts[id])
			}
		}
		s.look()
		any := func() *played { return s.hosts[rapid.SampledFrom(s.ids).Draw(rt, "host")] }
		version := 0
		rt.Repeat(map[string]func(*rapid.T){
			"connect":    func(*rapid.T) { s.connect(any()) },
			"disconnect": func(*rapid.T) { s.disconnect(any()) },
			"take":       func(*rapid.T) { s.take(any()) },
			"succeed":    func(*rapid.T) { s.end(any(), agentv1.OperationState_OPERATION_STATE_SUCCEEDED) },
			"fail":       func(*rapid.T) { s.end(any(), agentv1.OperationState_OPERATION_STATE_FAILED) },
			"look":       func(*rapid.T) { s.look() },
			"restart":    func(*rapid.T) { s.restart() },
			"choose": func(*rapid.T) {
				version++
				s.pool.Profile, s.digest = fmt.Sprintf("shop@%d", version), fmt.Sprintf("d%d", version%3)
				for _, id := range s.ids {
					s.assign(id)
				}
			},
			"repave": func(rt *rapid.T) {
				_, _ = s.c.Repave(rt.Context(), s.pool.Name, nil, Manner{Force: rapid.Bool().Draw(rt, "force"), ReconfigureOnly: rapid.Bool().Draw(rt, "mild")})
			},
			"abort": func(rt *rapid.T) { _, _, _ = s.c.Abort(rt.Context(), any().view.HostID, "", "operator") },
			"retry": func(rt *rapid.T) { _ = s.c.Retry(rt.Context(), any().view.HostID, false) },
			"take out or in": func(*rapid.T) {
				id := any().view.HostID
				if s.c.record(id).Pending != nil {
					return // who comes back in the middle of a repave may meet another's
				}
				var rest []string
				for _, in := range s.pool.Hosts {
					if in != id {
						rest = append(rest, in)
					}
				}
				if len(rest) == len(s.pool.Hosts) {
					rest = append(rest, id)
				}
				s.pool.Hosts = rest
				s.assign(id)
			},
			"": func(*rapid.T) { s.drainsOne() },
		})
		s.settles(rapid.SampledFrom([]agentv1.OperationState{
			agentv1.OperationState_OPERATION_STATE_SUCCEEDED, agentv1.OperationState_OPERATION_STATE_FAILED, agentv1.OperationState_OPERATION_STATE_REFUSED,
		}).Draw(rt, "end"))
	})
}
