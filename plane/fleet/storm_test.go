package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// enrolled makes hosts that the store knows.
func enrolled(t *testing.T, st *store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		write, err := st.EncodeResource(&planev1.Resource{Kind: kind.Host, Metadata: &planev1.Metadata{Name: id}, Spec: &planev1.Resource_EdgeHost{EdgeHost: &planev1.EdgeHostSpec{}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Commit(t.Context(), nil, []store.Write{write}); err != nil {
			t.Fatal(err)
		}
	}
}

// storedStatus is the record of a host on the disk, and when it was written.
func storedStatus(t *testing.T, st *store.Store, id string) (*planev1.EdgeHostStatus, int64) {
	t.Helper()
	e, err := st.Get(t.Context(), statusPrefix+id)
	if err != nil {
		return nil, 0
	}
	s := &planev1.EdgeHostStatus{}
	if err := proto.Unmarshal(e.Value, s); err != nil {
		t.Fatal(err)
	}
	return s, e.Revision
}

func refusal(generation uint64, reason string, fields ...string) *agentv1.AgentMessage {
	r := &agentv1.AssignmentResult{Generation: generation, Digest: "d"}
	for _, f := range fields {
		r.Refusals = append(r.Refusals, &agentv1.FieldRefusal{Field: f, Reason: reason})
	}
	return &agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: r}}
}

// TestRefusalStorm: a host that refuses its assignment again and again, with other
// words each time, is shown with the last ones and written once; and what another
// host says meanwhile is on the disk at once.
func TestRefusalStorm(t *testing.T) {
	st := newStore(t)
	enrolled(t, st, "storm", "calm")
	f, _ := newFleet(t, st)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	storm, calm := f.host("storm"), f.host("calm")
	say := func(h *host, m *agentv1.AgentMessage) {
		if err := f.receive(t.Context(), h, nil, m); err != nil {
			t.Fatal(err)
		}
	}
	say(storm, refusal(7, "first", "network.vpn_servers[0]"))
	wait(t, func() bool {
		s, _ := storedStatus(t, st, "storm")
		return !s.GetAssignment().GetAccepted() && s.GetAssignment().GetGeneration() == 7
	})
	_, written := storedStatus(t, st, "storm")
	f.changed.take(10)
	for i := range 10 {
		for j := range 100 {
			say(storm, refusal(7, fmt.Sprintf("try %d of %d", j, i), "network.vpn_servers[0]"))
		}
		say(calm, &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Status{Status: &agentv1.HostStatus{Nic: fmt.Sprintf("lan%d", i)}}})
		if next := f.changed.take(2); len(next) != 1 || next[0] != "calm" {
			t.Fatalf("operations are looked at for %v, want the other host only", next)
		}
		wait(t, func() bool {
			s, _ := storedStatus(t, st, "calm")
			return s.GetHost().GetNic() == fmt.Sprintf("lan%d", i)
		})
	}
	if _, again := storedStatus(t, st, "storm"); again != written {
		t.Errorf("the refusals were written again, at revision %d after %d", again, written)
	}
	if got := storm.snapshot().GetAssignment().GetRefusals()[0].GetReason(); got != "try 99 of 9" {
		t.Errorf("operators see %q", got)
	}
	// News are written: another field, another generation, and that it is taken.
	for _, m := range []*agentv1.AgentMessage{
		refusal(7, "try", "network.nic"), refusal(8, "try", "network.nic"), refusal(8, "try", "network.nic", "network.vpc_cidrs[0]"),
		{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: &agentv1.AssignmentResult{Generation: 8, Digest: "d", Accepted: true}}},
	} {
		_, written := storedStatus(t, st, "storm")
		say(storm, m)
		wait(t, func() bool {
			s, again := storedStatus(t, st, "storm")
			return again > written && proto.Equal(s.GetAssignment(), m.GetAssignmentResult())
		})
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// wait polls until the condition holds.
func wait(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not within ten seconds")
		}
	}
}

// TestSwitchAndProvisionAreKeptApart, also across a restart.
func TestSwitchAndProvisionAreKeptApart(t *testing.T) {
	f, _ := newFleet(t, newStore(t))
	h := newHost("edge-1", record{}, f.cfg.Now())
	for _, p := range []*agentv1.OperationProgress{
		{OperationId: "a", Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION, State: agentv1.OperationState_OPERATION_STATE_FAILED},
		{OperationId: "b", Kind: agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH, State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED},
	} {
		if err := f.receive(t.Context(), h, nil, &agentv1.AgentMessage{Message: &agentv1.AgentMessage_Operation{Operation: p}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*planev1.EdgeHostStatus{h.snapshot(), newHost("edge-1", record{status: h.snapshot()}, f.cfg.Now()).snapshot()} {
		if s.GetOperation().GetOperationId() != "a" || s.GetNetworkSwitch().GetProgress().GetOperationId() != "b" {
			t.Errorf("got %v", s)
		}
	}
}
