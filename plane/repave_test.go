package plane_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	rolloutRuns    = planev1.RolloutState_ROLLOUT_STATE_RUNNING
	rolloutDone    = planev1.RolloutState_ROLLOUT_STATE_DONE
	rolloutStopped = planev1.RolloutState_ROLLOUT_STATE_STOPPED
)

// shop is a plane with a pool whose hosts play nodes.
type shop struct {
	*planetest.Plane
	t     *testing.T
	site  *planetest.Site
	nodes map[string]*planetest.Node
}

func newShop(t *testing.T, hosts ...string) *shop {
	t.Helper()
	s := &shop{Plane: planetest.Start(t), t: t, site: planetest.NewSite(t, hosts...), nodes: map[string]*planetest.Node{}}
	s.Apply(s.site.All()...)
	for _, id := range hosts {
		s.nodes[id] = s.Enrolled(id).Play(nil)
	}
	s.eventually(func(st *planev1.NodePoolStatus) bool { return st.GetState() == planev1.PoolState_POOL_STATE_RUNNING })
	return s
}

func (s *shop) status() *planev1.NodePoolStatus {
	s.t.Helper()
	resp, err := s.Operator().Get(s.t.Context(), &planev1.GetRequest{Kind: kind.Pool, Name: "shop-1"})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.GetResource().GetNodePoolStatus()
}

func (s *shop) eventually(holds func(*planev1.NodePoolStatus) bool) *planev1.NodePoolStatus {
	s.t.Helper()
	var st *planev1.NodePoolStatus
	planetest.Eventually(s.t, func() (bool, string) {
		st = s.status()
		return holds(st), fmt.Sprint(st)
	})
	return st
}

func (s *shop) rollout(state planev1.RolloutState, words string) *planev1.RolloutStatus {
	s.t.Helper()
	return s.eventually(func(st *planev1.NodePoolStatus) bool {
		return st.GetRollout().GetState() == state && strings.Contains(st.GetRollout().GetMessage(), words)
	}).GetRollout()
}

// choose gives the pool another profile version, with another Kubernetes version.
func (s *shop) choose(version, kubernetes string) {
	s.t.Helper()
	profile := proto.CloneOf(s.site.Profile)
	profile.GetHybridProfile().Version, profile.GetHybridProfile().GetKubernetes().Version = version, kubernetes
	s.site.Pool.GetNodePool().ProfileVersion = version
	s.Apply(profile, s.site.Pool)
}

func (s *shop) repave(req *planev1.RepaveRequest) (*planev1.RepaveResponse, error) {
	s.t.Helper()
	req.Pool = "shop-1"
	return s.Operator().Repave(s.t.Context(), req)
}

// kinds are those of the operations that a host got.
func kinds(n *planetest.Node) string {
	var out []string
	for _, op := range n.Operations() {
		out = append(out, strings.ToLower(strings.TrimPrefix(op.GetKind().String(), "OPERATION_KIND_")))
	}
	return strings.Join(out, " ")
}

func (s *shop) want(host, operations string) {
	s.t.Helper()
	planetest.Eventually(s.t, func() (bool, string) {
		got := kinds(s.nodes[host])
		return got == operations, fmt.Sprintf("%s got %q, want %q", host, got, operations)
	})
}

func endings(end planetest.End, of agentv1.OperationKind) func(*agentv1.Operation) planetest.End {
	return func(op *agentv1.Operation) planetest.End {
		if op.GetKind() == of {
			return end
		}
		return planetest.EndWell
	}
}

const (
	repave = agentv1.OperationKind_OPERATION_KIND_REPAVE
	leave  = agentv1.OperationKind_OPERATION_KIND_LEAVE
)

// TestChoosingAProfileVersionRepavesOneHostAfterTheOther, in the pool's order, and
// with what is to be signed.
func TestChoosingAProfileVersionRepavesOneHostAfterTheOther(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2", "edge-3")
	for _, n := range s.nodes {
		n.Behave(endings(planetest.EndNever, repave))
	}
	s.choose("1.1.0", "1.32.1")
	for i, id := range []string{"edge-1", "edge-2", "edge-3"} {
		s.want(id, "provision repave")
		ro := s.rollout(rolloutRuns, "host "+id+": repave ")
		if ro.GetCurrent() != id || int(ro.GetDone()) != i || ro.GetHosts() != 3 || ro.GetStartedAt() == nil {
			t.Fatalf("at %s the rollout is %v", id, ro)
		}
		if st := s.status(); st.GetState() != planev1.PoolState_POOL_STATE_REPAVING {
			t.Fatalf("the pool is %v", st)
		}
		running := 0
		for _, n := range s.nodes {
			if n.Running() != "" {
				running++
			}
		}
		if running != 1 {
			t.Fatalf("%d hosts are being repaved", running)
		}
		op := s.nodes[id].Operations()[1]
		wantSequence(t, op, 2)
		if op.GetNode().GetKubernetesVersion() != "1.32.1" || op.GetDeadline().GetSeconds() != 3600 || op.GetNodeIp() != nodeIP || op.GetForce() ||
			op.GetDrain().GetTimeout().GetSeconds() != 60 || !op.GetDrain().GetCordon() || op.GetOsImageDigest() != "" {
			t.Fatalf("operation %v", op)
		}
		s.nodes[id].Finish(planetest.EndWell)
	}
	s.rollout(rolloutDone, "")
	s.eventually(func(st *planev1.NodePoolStatus) bool {
		return st.GetState() == planev1.PoolState_POOL_STATE_RUNNING && len(st.GetProblems()) == 0
	})
	// Every other change waits for somebody.
	s.site.Pool.GetNodePool().Hosts[0].VpnServers = []string{"10.200.0.3"}
	s.Apply(s.site.Pool)
	s.eventually(func(st *planev1.NodePoolStatus) bool {
		return len(st.GetProblems()) == 1 && strings.Contains(st.GetProblems()[0], "edge-1 needs a repave to take over the pool's settings")
	})
	s.want("edge-1", "provision repave")
	resp, err := s.repave(&planev1.RepaveRequest{})
	if err != nil || !resp.GetHosts()[0].GetRepave() || resp.GetHosts()[1].GetRepave() || resp.GetHosts()[1].GetReason() != "it is what the pool wants" {
		t.Fatalf("%v, %v", resp, err)
	}
	s.want("edge-1", "provision repave repave")
	s.nodes["edge-1"].Finish(planetest.EndWell)
	if ro := s.rollout(rolloutDone, ""); ro.GetHosts() != 1 {
		t.Fatalf("the rollout is %v", ro)
	}
}

// TestFailureStopsTheRollout until somebody repaves the pool again.
func TestFailureStopsTheRollout(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2")
	s.nodes["edge-1"].Behave(endings(planetest.EndBadly, repave))
	s.choose("1.1.0", "1.32.1")
	ro := s.rollout(rolloutStopped, "failed at drain: 10 pods could not be evicted; the node is as it was")
	if ro.GetDone() != 0 || ro.GetCurrent() != "" || !strings.HasPrefix(ro.GetMessage(), "host edge-1: repave ") {
		t.Fatalf("the rollout is %v", ro)
	}
	if st := s.status(); st.GetState() != planev1.PoolState_POOL_STATE_UNHEALTHY || !strings.HasPrefix(st.GetProblems()[0], "the repave has stopped: host edge-1: repave ") {
		t.Fatalf("the pool is %v", st)
	}
	// Neither a new stream nor a restart of the plane begins it again.
	s.nodes["edge-1"].Disconnect()
	s.nodes["edge-1"].Connect()
	s.Restart()
	for _, n := range s.nodes {
		n.Connect()
	}
	s.rollout(rolloutStopped, "failed at drain")
	s.want("edge-1", "provision repave")
	s.want("edge-2", "provision")
	s.nodes["edge-1"].Behave(endings(planetest.EndWell, repave))
	if _, err := s.repave(&planev1.RepaveRequest{}); err != nil {
		t.Fatal(err)
	}
	s.rollout(rolloutDone, "")
	s.want("edge-1", "provision repave repave")
	s.want("edge-2", "provision repave")
	_, err := s.repave(&planev1.RepaveRequest{})
	wantStatus(t, err, codes.FailedPrecondition, "nothing is to be done: every node is what the pool wants; --dry-run tells host by host why, --force repaves all the same")
}

// TestOfflineHostDoesNotHoldUpTheOthers and is caught up when it is back.
func TestOfflineHostDoesNotHoldUpTheOthers(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2")
	s.nodes["edge-1"].Disconnect()
	s.eventually(func(st *planev1.NodePoolStatus) bool { return st.GetConnected() == 1 })
	s.choose("1.1.0", "1.32.1")
	s.want("edge-2", "provision repave")
	ro := s.rollout(rolloutRuns, "host edge-1 waits: it is not connected since ")
	if ro.GetDone() != 1 || ro.GetCurrent() != "" {
		t.Fatalf("the rollout is %v", ro)
	}
	s.nodes["edge-1"].Connect()
	s.rollout(rolloutDone, "")
	s.want("edge-1", "provision repave")
}

// TestRolloutOutlivesARestartOfThePlane: the host's turn goes on, and is told once.
func TestRolloutOutlivesARestartOfThePlane(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2")
	s.nodes["edge-1"].Behave(endings(planetest.EndNever, repave))
	s.choose("1.1.0", "1.32.1")
	s.want("edge-1", "provision repave")
	s.Restart()
	s.rollout(rolloutRuns, "host edge-1: repave ")
	s.nodes["edge-2"].Connect()
	s.nodes["edge-1"].Finish(planetest.EndWell) // while the plane cannot hear it
	s.want("edge-2", "provision")
	s.nodes["edge-1"].Connect()
	s.rollout(rolloutDone, "")
	s.want("edge-1", "provision repave")
	s.want("edge-2", "provision repave")
}

// TestOneMinorLowerThenBack is how a repave is forced today; it has to work.
func TestOneMinorLowerThenBack(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2")
	s.choose("1.1.0", "1.30.4")
	s.rollout(rolloutDone, "")
	s.site.Pool.GetNodePool().ProfileVersion = "1.0.0"
	s.Apply(s.site.Pool)
	s.want("edge-1", "provision repave repave")
	s.want("edge-2", "provision repave repave")
	s.rollout(rolloutDone, "")
	if v := s.nodes["edge-2"].Operations()[2].GetNode().GetKubernetesVersion(); v != "1.31.5" {
		t.Fatalf("back is %s", v)
	}
	profile := proto.CloneOf(s.site.Profile)
	profile.GetHybridProfile().Version, profile.GetHybridProfile().GetKubernetes().Version = "0.1.0", "1.27.9"
	s.site.Pool.GetNodePool().ProfileVersion = "0.1.0"
	_, err := s.Operator().ApplyBatch(t.Context(), &planev1.ApplyBatchRequest{Resources: []*planev1.Resource{profile, s.site.Pool}})
	wantStatus(t, err, codes.InvalidArgument, "Kubernetes 1.27.9 is outside the skew: host edge-1 of the cluster runs 1.31.5")
}

// TestReconfigureOnly signs the operation that neither cordons nor drains.
func TestReconfigureOnly(t *testing.T) {
	s := newShop(t, "edge-1")
	if _, err := s.repave(&planev1.RepaveRequest{Force: true, ReconfigureOnly: true}); err != nil {
		t.Fatal(err)
	}
	s.want("edge-1", "provision reconfigure")
	s.rollout(rolloutDone, "")
	if op := s.nodes["edge-1"].Operations()[1]; op.GetDrain() != nil || op.GetNode() == nil || op.GetNodeDigest() == "" || !op.GetForce() {
		t.Errorf("signed %v", op)
	}
}

// TestRepaveOfNamedHosts, by force and as a dry run.
func TestRepaveOfNamedHosts(t *testing.T) {
	s := newShop(t, "edge-1", "edge-2")
	plan, err := s.repave(&planev1.RepaveRequest{DryRun: true})
	if err != nil || len(plan.GetHosts()) != 2 || slices.ContainsFunc(plan.GetHosts(), (*planev1.RepaveHost).GetRepave) {
		t.Fatalf("%v, %v", plan, err)
	}
	if _, err := s.repave(&planev1.RepaveRequest{HostIds: []string{"edge-2"}, Force: true}); err != nil {
		t.Fatal(err)
	}
	s.want("edge-2", "provision repave")
	if ro := s.rollout(rolloutDone, ""); ro.GetHosts() != 1 || !s.nodes["edge-2"].Operations()[1].GetForce() {
		t.Fatalf("the rollout is %v", ro)
	}
	s.want("edge-1", "provision")
	s.nodes["edge-1"].Disconnect()
	s.eventually(func(st *planev1.NodePoolStatus) bool { return st.GetConnected() == 1 })
	s.choose("1.1.0", "1.32.1")
	s.want("edge-2", "provision repave repave")
	plan, err = s.repave(&planev1.RepaveRequest{DryRun: true})
	if err != nil || !plan.GetHosts()[0].GetRepave() || !strings.Contains(plan.GetHosts()[0].GetReason(), "it is repaved when it is back") {
		t.Fatalf("%v, %v", plan, err)
	}
	for req, words := range map[*planev1.RepaveRequest]string{
		{HostIds: []string{"edge-9"}}:           "host edge-9 is not in NodePool shop-1",
		{HostIds: []string{"edge-1", "edge-1"}}: "edge-1 is named twice",
	} {
		if _, err := s.repave(req); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	_, err = s.Operator().Repave(t.Context(), &planev1.RepaveRequest{Pool: "nosuch"})
	wantStatus(t, err, codes.NotFound, `NodePool "nosuch" does not exist`)
}
