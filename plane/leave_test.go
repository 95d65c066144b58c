package plane_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func (s *shop) operation(host, id string) *planev1.OperationStatus {
	s.t.Helper()
	resp, err := s.Operator().GetOperation(s.t.Context(), &planev1.GetOperationRequest{HostId: host, OperationId: id})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.GetOperation()
}

func (s *shop) delete(of, name string) error {
	_, err := s.Operator().Delete(s.t.Context(), &planev1.DeleteRequest{Kind: of, Name: name})
	return err
}

// ended waits for the end of the host's last operation.
func (s *shop) ended(host string, state agentv1.OperationState) *planev1.OperationStatus {
	s.t.Helper()
	var st *planev1.OperationStatus
	planetest.Eventually(s.t, func() (bool, string) {
		st = s.operation(host, "")
		return st.GetProgress().GetState() == state, fmt.Sprint(st)
	})
	return st
}

// TestHostLeavesWithThePoolItWasIn: its drain options go with it although the pool is
// gone, it carries no node part, and the host can be deleted only then.
func TestHostLeavesWithThePoolItWasIn(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2")
	timeout, cordon := uint32(7), false
	profile := proto.CloneOf(s.site.Profile)
	profile.GetHybridProfile().Version = "1.1.0"
	profile.GetHybridProfile().Os.Drain = &planev1.DrainSpec{Timeout: &timeout, Cordon: &cordon}
	s.site.Pool.GetNodePool().ProfileVersion = "1.1.0"
	s.Apply(profile, s.site.Pool) // no repave: nothing of the node part changes
	for _, n := range s.nodes {
		n.Behave(endings(planetest.EndNever, leave))
	}
	s.nodes["edge-2"].Disconnect()
	s.eventually(func(st *planev1.NodePoolStatus) bool { return st.GetConnected() == 1 })
	if err := s.delete(kind.Pool, "shop-1"); err != nil {
		t.Fatal(err)
	}
	s.want("edge-1", "provision leave")
	op := s.nodes["edge-1"].Operations()[1]
	wantSequence(t, op, 2)
	d := op.GetDrain()
	if d.GetTimeout().GetSeconds() != 7 || d.GetCordon() || !d.GetIgnoreDaemonSets() || op.GetNode() != nil || op.GetNodeDigest() != "" || op.GetNodeIp() != "" || op.GetDeadline().GetSeconds() != 3600 {
		t.Fatalf("operation %v", op)
	}
	wantStatus(t, s.delete(kind.Host, "edge-1"), codes.FailedPrecondition, "EdgeHost edge-1 is a node still; it is leaving its cluster: 'hybridctl operation watch edge-1' shows it")
	// A restart forgets nothing of it, and who was away leaves when it is back.
	s.Restart()
	s.nodes["edge-1"].Connect()
	s.nodes["edge-1"].Finish(planetest.EndWell)
	s.ended("edge-1", succeeded)
	s.nodes["edge-2"].Connect()
	s.want("edge-2", "provision leave")
	if d := s.nodes["edge-2"].Operations()[1].GetDrain(); d.GetTimeout().GetSeconds() != 7 {
		t.Fatalf("drained with %v", d)
	}
	s.want("edge-1", "provision leave")
	if err := s.delete(kind.Host, "edge-1"); err != nil {
		t.Fatal(err)
	}
}

// TestLeaveThatFails waits for an operator, and the host may come back to a pool.
func TestLeaveThatFails(t *testing.T) {
	s := newShop(t, "edge-1")
	s.nodes["edge-1"].Behave(endings(planetest.EndBadly, leave))
	hosts := s.site.Pool.GetNodePool().Hosts
	s.site.Pool.GetNodePool().Hosts = nil
	s.Apply(s.site.Pool)
	s.ended("edge-1", failed)
	s.nodes["edge-1"].Disconnect()
	s.nodes["edge-1"].Connect()
	s.nodes["edge-1"].Behave(endings(planetest.EndWell, leave))
	if _, err := s.Operator().Provision(t.Context(), &planev1.ProvisionRequest{HostId: "edge-1", Force: true}); err != nil {
		t.Fatal(err)
	}
	s.want("edge-1", "provision leave leave")
	if ops := s.nodes["edge-1"].Operations(); ops[1].GetForce() || !ops[2].GetForce() {
		t.Errorf("forced: %v, then %v; want the second", ops[1].GetForce(), ops[2].GetForce())
	}
	s.ended("edge-1", succeeded)
	s.site.Pool.GetNodePool().Hosts = hosts
	s.Apply(s.site.Pool)
	s.want("edge-1", "provision leave leave provision")
	s.eventually(func(st *planev1.NodePoolStatus) bool { return st.GetState() == planev1.PoolState_POOL_STATE_RUNNING })
}

// TestHostMovesToAnotherPool: to one of its own cluster it is repaved by a rollout;
// to one of another cluster it leaves first.
func TestHostMovesToAnotherPool(t *testing.T) {
	s := newShop(t, "edge-1")
	host := s.site.Pool.GetNodePool().Hosts
	other := proto.CloneOf(s.site.Pool)
	other.Metadata.Name = "shop-2"
	other.GetNodePool().Labels = map[string]string{"site": "shop-2"}
	s.site.Pool.GetNodePool().Hosts = nil
	s.Apply(s.site.Pool, other)
	s.Apply(other)
	cluster, far := proto.CloneOf(s.site.Cluster), proto.CloneOf(s.site.Pool)
	cluster.Metadata.Name, far.Metadata.Name = "far", "far-1"
	cluster.GetHybridCluster().ClusterName = "far-away"
	far.GetNodePool().Cluster, far.GetNodePool().Hosts = "far", host
	other.GetNodePool().Hosts = nil
	s.nodes["edge-1"].Behave(endings(planetest.EndNever, leave))
	s.Apply(cluster, other, far)
	s.want("edge-1", "provision leave")
	resp, err := s.Operator().Repave(t.Context(), &planev1.RepaveRequest{Pool: "far-1", DryRun: true})
	if err != nil || resp.GetHosts()[0].GetReason() != "its node leaves cluster lab first" {
		t.Fatalf("%v, %v", resp, err)
	}
	s.nodes["edge-1"].Finish(planetest.EndWell)
	s.want("edge-1", "provision leave provision")
	if node := s.nodes["edge-1"].Operations()[2].GetNode(); node.GetClusterName() != "far-away" {
		t.Fatalf("joins %v", node)
	}
	s.ended("edge-1", succeeded)
	// A pool of nodes stays with its cluster.
	far.GetNodePool().Cluster = "lab"
	_, err = s.Operator().Apply(t.Context(), &planev1.ApplyRequest{Resource: far})
	wantStatus(t, err, codes.InvalidArgument, "spec.cluster: host edge-1 is a node of cluster far; take the pool's hosts out of it first")
}

// TestPlaneMadeAnewHasNoNodeLeave: it does not know why a host that enrols is a node.
func TestPlaneMadeAnewHasNoNodeLeave(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	u := s.Assignment()
	report := func(digest string) {
		s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: &agentv1.AssignmentResult{Generation: u.GetGeneration(), Digest: u.GetDigest(), Accepted: true}}})
		s.Status(&agentv1.HostStatus{Generation: u.GetGeneration(), NodeIp: nodeIP, AppliedNodeDigest: digest, RepaveFields: []string{"node"}})
	}
	report("of another plane")
	// In a pool it is adopted, and leaves when it is taken out: an operation before
	// would have come before the assignment.
	site := planetest.NewSite(t, "edge-1")
	p.Apply(site.All()...)
	u = s.Assignment()
	report("of another plane")
	planetest.Eventually(t, func() (bool, string) {
		_, err := p.Operator().Repave(t.Context(), &planev1.RepaveRequest{Pool: "shop-1"})
		return err == nil, fmt.Sprint(err)
	})
	first := open(t, p, s.Operation())
	if first.GetKind() != repave {
		t.Fatalf("got %v", first)
	}
	end(s, first, failed)
	site.Pool.GetNodePool().Hosts = nil
	p.Apply(site.Pool)
	u = s.Assignment()
	report("of another plane")
	op := open(t, p, s.Operation())
	if op.GetKind() != leave {
		t.Fatalf("got %v", op)
	}
	wantSequence(t, op, 2)
}

func (s *shop) abort(host, id string) (*planev1.AbortOperationResponse, error) {
	s.t.Helper()
	return s.Operator().AbortOperation(s.t.Context(), &planev1.AbortOperationRequest{HostId: host, OperationId: id})
}

// TestAbortStopsTheRollout, with an operation of its own that is higher in sequence.
func TestAbortStopsTheRollout(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2")
	_, err := s.abort("edge-1", "")
	wantStatus(t, err, codes.NotFound, `host "edge-1" has no operation under way`)
	s.nodes["edge-1"].Behave(endings(planetest.EndNever, repave))
	s.choose("1.1.0", "1.32.1")
	s.rollout(rolloutRuns, "is at drain, 40 %")
	resp, err := s.abort("edge-1", "")
	op := s.nodes["edge-1"].Operations()[1]
	if err != nil || resp.GetOperationId() != op.GetId() || resp.GetWithdrawn() {
		t.Fatalf("%v, %v", resp, err)
	}
	ro := s.rollout(rolloutStopped, "host edge-1: repave "+op.GetId()+" was aborted at drain: aborted; what was changed is taken back")
	if ro.GetDone() != 0 {
		t.Fatalf("the rollout is %v", ro)
	}
	abort := s.nodes["edge-1"].Operations()[2]
	wantSequence(t, abort, 3)
	if abort.GetKind() != agentv1.OperationKind_OPERATION_KIND_ABORT || abort.GetAbort().GetOperationId() != op.GetId() || abort.GetNode() != nil || abort.GetDrain() != nil {
		t.Fatalf("the abort is %v", abort)
	}
	if st := s.operation("edge-1", op.GetId()); st.GetProgress().GetState() != agentv1.OperationState_OPERATION_STATE_ABORTED {
		t.Fatalf("the operation is %v", st)
	}
	_, err = s.abort("edge-1", op.GetId())
	wantStatus(t, err, codes.FailedPrecondition, "host edge-1: repave "+op.GetId()+" has ended")
	_, err = s.abort("edge-1", strings.Repeat("a", 26))
	wantStatus(t, err, codes.NotFound, "has no operation \"aaaaaaaaaaaaaaaaaaaaaaaaaa\" under way")
	s.want("edge-2", "provision")
}

// TestAbortOfWhatTheHostNeverBegan: it is not sent any more, since the abort is
// higher in sequence.
func TestAbortOfWhatTheHostNeverBegan(t *testing.T) {
	s := newShop(t, "edge-1")
	s.nodes["edge-1"].Behave(endings(planetest.EndSilent, repave))
	s.choose("1.1.0", "1.32.1")
	s.want("edge-1", "provision repave")
	s.nodes["edge-1"].Disconnect()
	s.rollout(rolloutRuns, "the host is not connected")
	if resp, err := s.abort("edge-1", ""); err != nil || resp.GetWithdrawn() {
		t.Fatalf("%v, %v", resp, err)
	}
	s.Restart() // an abort outlives it
	s.nodes["edge-1"].Connect()
	s.rollout(rolloutStopped, "was aborted: aborted before the host had begun it")
	s.want("edge-1", "provision repave abort")
}

// TestAbortPastThePointOfReturn is refused, by the plane or by the host; the operation
// goes on to its end.
func TestAbortPastThePointOfReturn(t *testing.T) {
	p, _, _, s, op, _ := provisioning(t)
	at := func(abortable bool) {
		s.Progress(&agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: running, Step: "uncordon", Percent: 95, Abortable: abortable})
		planetest.Eventually(t, func() (bool, string) {
			st := hostStatus(t, p, "edge-1").GetOperation()
			return st.GetPercent() == 95 && st.GetAbortable() == abortable, fmt.Sprint(st)
		})
	}
	ask := func() error {
		_, err := p.Operator().AbortOperation(t.Context(), &planev1.AbortOperationRequest{HostId: "edge-1"})
		return err
	}
	at(false)
	wantStatus(t, ask(), codes.FailedPrecondition, "host edge-1: provision "+op.GetId()+" is past the point of return, at uncordon; wait for its end")
	at(true)
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	abort := open(t, p, s.Operation())
	wantSequence(t, abort, 2)
	s.Progress(&agentv1.OperationProgress{OperationId: abort.GetId(), Kind: abort.GetKind(), State: refused, Message: "it is past the point of return"})
	planetest.Eventually(t, func() (bool, string) {
		resp, err := p.Operator().GetOperation(t.Context(), &planev1.GetOperationRequest{HostId: "edge-1"})
		return err == nil && resp.GetOperation().GetRemark() == "the host refused to abort it: it is past the point of return", fmt.Sprint(resp, err)
	})
	end(s, op, succeeded)
	planetest.Eventually(t, func() (bool, string) {
		resp, err := p.Operator().GetOperation(t.Context(), &planev1.GetOperationRequest{HostId: "edge-1"})
		return err == nil && resp.GetOperation().GetProgress().GetState() == succeeded, fmt.Sprint(resp, err)
	})
}

// TestRetryNetwork: the assignment that the host has rolled back is sent once more.
func TestRetryNetwork(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	retry := func(id string) error {
		_, err := p.Operator().RetryNetwork(t.Context(), &planev1.RetryNetworkRequest{HostId: id})
		return err
	}
	wantStatus(t, retry("edge-9"), codes.NotFound, "does not exist")
	wantStatus(t, retry("edge-1"), codes.FailedPrecondition, "it is not connected since")
	s := h.Connect(0, "")
	u := s.Assignment()
	wantStatus(t, retry("edge-1"), codes.FailedPrecondition, "it has not answered generation 1 of its assignment yet")
	answer := func(accepted bool) {
		s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: &agentv1.AssignmentResult{Generation: u.GetGeneration(), Digest: u.GetDigest(), Accepted: accepted}}})
		planetest.Eventually(t, func() (bool, string) {
			r := hostStatus(t, p, "edge-1").GetAssignment()
			return r.GetGeneration() == u.GetGeneration() && r.GetAccepted() == accepted, fmt.Sprint(r)
		})
	}
	answer(false)
	if err := retry("edge-1"); err != nil {
		t.Fatal(err)
	}
	again := s.Assignment()
	if !again.GetRetry() || u.GetRetry() || again.GetGeneration() != u.GetGeneration() || again.GetDigest() != u.GetDigest() {
		t.Fatalf("got %v after %v", again, u)
	}
	answer(true)
	wantStatus(t, retry("edge-1"), codes.FailedPrecondition, "it has taken generation 1 of its assignment; there is nothing to try again")
}
