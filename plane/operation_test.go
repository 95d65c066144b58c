package plane_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"hybridagent/plane/ca"
	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const nodeIP = "10.200.0.11"

// open verifies an envelope as a host's root does, and decodes it.
func open(t *testing.T, p *planetest.Plane, env *agentv1.SignedOperation) *agentv1.Operation {
	t.Helper()
	if len(env.GetChain()) != 2 || env.GetContext() != agentv1.OperationContext {
		t.Fatalf("chain of %d, context %q", len(env.GetChain()), env.GetContext())
	}
	leaf, err := x509.ParseCertificate(env.GetChain()[0])
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(env.GetChain()[1])
	if err != nil {
		t.Fatal(err)
	}
	if ca.PinOf(root) != p.CAPin || leaf.CheckSignatureFrom(root) != nil {
		t.Fatal("the signing certificate is not the pinned CA's")
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != agentv1.SigningCertificateURI {
		t.Fatalf("signing certificate for %v", leaf.URIs)
	}
	if !ed25519.Verify(leaf.PublicKey.(ed25519.PublicKey), agentv1.SigningInput(env.GetContext(), env.GetOperation()), env.GetSignature()) {
		t.Fatal("the signature is wrong")
	}
	op := &agentv1.Operation{}
	if err := proto.Unmarshal(env.GetOperation(), op); err != nil {
		t.Fatal(err)
	}
	return op
}

// provisioning brings a host so far that its operation has come.
func provisioning(t *testing.T) (*planetest.Plane, *planetest.Site, *planetest.Host, *planetest.Stream, *agentv1.Operation, *agentv1.AssignmentUpdate) {
	t.Helper()
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	site := planetest.NewSite(t, "edge-1")
	p.Apply(site.All()...)
	s := h.Connect(0, "")
	u := s.Assignment()
	s.Accept(u, nodeIP)
	return p, site, h, s, open(t, p, s.Operation()), u
}

func end(s *planetest.Stream, op *agentv1.Operation, state agentv1.OperationState) {
	s.Progress(&agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: state, Step: "nodeadm-init", Message: "it broke", NodeDigest: op.GetNodeDigest()})
}

func wantSequence(t *testing.T, op *agentv1.Operation, counter uint64) {
	t.Helper()
	if s := op.GetSequence(); s.GetEpoch() != 1 || s.GetCounter() != counter {
		t.Fatalf("sequence %v, want 1/%d", s, counter)
	}
}

func TestProvisionIsSignedOnceTheHostIsReady(t *testing.T) {
	p, _, _, s, op, u := provisioning(t)
	a := decode(t, u)
	if op.GetHostId() != "edge-1" || op.GetKind() != agentv1.OperationKind_OPERATION_KIND_PROVISION || op.GetNodeIp() != nodeIP ||
		op.GetNodeDigest() != a.GetNodeDigest() || !proto.Equal(op.GetNode(), a.GetNode()) || len(op.GetId()) != 26 {
		t.Fatalf("operation %v does not fit assignment %v", op, a)
	}
	wantSequence(t, op, 1)
	s.Status(&agentv1.HostStatus{Generation: u.GetGeneration(), NodeIp: nodeIP, AppliedNodeDigest: op.GetNodeDigest(), Conditions: []*agentv1.Condition{
		{Type: "NodeReady", Status: agentv1.ConditionStatus_CONDITION_STATUS_TRUE},
	}})
	end(s, op, agentv1.OperationState_OPERATION_STATE_SUCCEEDED)
	planetest.Eventually(t, func() (bool, string) {
		resp, err := p.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Pool, Name: "shop-1"})
		if err != nil {
			return false, err.Error()
		}
		st := resp.GetResource().GetNodePoolStatus()
		return st.GetState() == planev1.PoolState_POOL_STATE_RUNNING && st.GetReady() == 1 && st.GetConnected() == 1, fmt.Sprint(st)
	})
}

func TestPendingOperationIsSentAgain(t *testing.T) {
	p, _, h, s, op, u := provisioning(t)
	s.Close()
	second := h.Connect(u.GetGeneration(), u.GetDigest())
	if again := open(t, p, second.Operation()); again.GetId() != op.GetId() {
		t.Fatalf("operation %s after a reconnect, want %s again", again.GetId(), op.GetId())
	}
	p.Restart()
	third := h.Connect(u.GetGeneration(), u.GetDigest())
	again := open(t, p, third.Operation())
	if again.GetId() != op.GetId() {
		t.Fatalf("operation %s after a restart of the plane, want %s again", again.GetId(), op.GetId())
	}
	wantSequence(t, again, 1)
}

func TestFailedOperationWaitsForAChange(t *testing.T) {
	p, site, h, s, op, u := provisioning(t)
	end(s, op, agentv1.OperationState_OPERATION_STATE_FAILED)
	planetest.Eventually(t, func() (bool, string) {
		resp, err := p.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Pool, Name: "shop-1"})
		if err != nil {
			return false, err.Error()
		}
		st := resp.GetResource().GetNodePoolStatus()
		return st.GetState() == planev1.PoolState_POOL_STATE_UNHEALTHY && len(st.GetProblems()) == 1 &&
			st.GetProblems()[0] == "host edge-1 failed at nodeadm-init: it broke", fmt.Sprint(st)
	})
	// Neither another report nor another stream makes the plane try again.
	s.Accept(u, nodeIP)
	s.Close()
	s = h.Connect(u.GetGeneration(), u.GetDigest())
	s.Accept(u, nodeIP)
	// A new generation does, and is the next in sequence: nothing was signed meanwhile.
	site.Pool.GetNodePool().NtpServers = nil
	p.Apply(site.Pool)
	next := s.Assignment()
	s.Accept(next, nodeIP)
	second := open(t, p, s.Operation())
	wantSequence(t, second, 2)
	// So does an operator.
	end(s, second, agentv1.OperationState_OPERATION_STATE_REFUSED)
	planetest.Eventually(t, func() (bool, string) {
		_, err := p.Operator().Provision(t.Context(), &planev1.ProvisionRequest{HostId: "edge-1"})
		return err == nil, fmt.Sprint(err)
	})
	third := open(t, p, s.Operation())
	wantSequence(t, third, 3)
	_, err := p.Operator().Provision(t.Context(), &planev1.ProvisionRequest{HostId: "edge-1"})
	wantStatus(t, err, codes.FailedPrecondition, "no operation of this host has failed")
}

// TestOperationThatTheHostCannotName: the operator sees why the host refuses it, and
// has it sent again once the host is mended; the plane does not by itself.
func TestOperationThatTheHostCannotName(t *testing.T) {
	p, site, h, s, op, u := provisioning(t)
	refuse := func(s *planetest.Stream, generation uint64) {
		s.Status(&agentv1.HostStatus{Generation: generation, NodeIp: nodeIP, ReadyToProvision: true, Conditions: []*agentv1.Condition{
			{Type: "OperationRunning", Status: agentv1.ConditionStatus_CONDITION_STATUS_FALSE, Reason: "Refused", Message: "operation refused: no pinned key"},
		}})
	}
	provision := func() error {
		_, err := p.Operator().Provision(t.Context(), &planev1.ProvisionRequest{HostId: "edge-1"})
		return err
	}
	wantStatus(t, provision(), codes.FailedPrecondition, "no operation of this host has failed")
	refuse(s, u.GetGeneration())
	planetest.Eventually(t, func() (bool, string) {
		resp, err := p.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Pool, Name: "shop-1"})
		if err != nil {
			return false, err.Error()
		}
		st := resp.GetResource().GetNodePoolStatus()
		return st.GetState() == planev1.PoolState_POOL_STATE_UNHEALTHY && len(st.GetProblems()) == 1 &&
			st.GetProblems()[0] == "host edge-1 reports: operation refused: no pinned key", fmt.Sprint(st)
	})
	if err := provision(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, p, s.Operation()); again.GetId() != op.GetId() {
		t.Fatalf("operation %s, want %s again", again.GetId(), op.GetId())
	}
	// A new stream gets it once; a report of the refusal on it brings no other.
	s.Close()
	s = h.Connect(u.GetGeneration(), u.GetDigest())
	if again := open(t, p, s.Operation()); again.GetId() != op.GetId() {
		t.Fatalf("operation %s, want %s again", again.GetId(), op.GetId())
	}
	refuse(s, u.GetGeneration())
	s.Accept(u, nodeIP)
	site.Pool.GetNodePool().NtpServers = nil
	p.Apply(site.Pool)
	s.Accept(s.Assignment(), nodeIP) // an operation would come before it
}

func TestPendingOperationIsReplacedWhenTheHostWantsAnother(t *testing.T) {
	p, site, _, s, op, _ := provisioning(t)
	site.Pool.GetNodePool().Hosts[0].VpnServers = []string{"10.200.0.3"}
	p.Apply(site.Pool)
	s.Accept(s.Assignment(), nodeIP)
	next := open(t, p, s.Operation())
	if next.GetId() == op.GetId() || next.GetNode().GetVpnServers()[0] != "10.200.0.3" {
		t.Fatalf("got %v after the node part changed", next)
	}
	wantSequence(t, next, 2)
}

func TestSuccessIsNotRepeatedButForAReinstalledHost(t *testing.T) {
	p, _, h, s, op, u := provisioning(t)
	end(s, op, agentv1.OperationState_OPERATION_STATE_SUCCEEDED)
	// A status from before the success arrives after it.
	s.Accept(u, nodeIP)
	s.Close()
	s = h.Connect(u.GetGeneration(), u.GetDigest())
	s.Accept(u, nodeIP)
	again := p.NewHost("edge-1")
	if err := again.Enroll(p.Token(1)); err != nil {
		t.Fatal(err)
	}
	s2 := again.Connect(0, "")
	s2.Accept(s2.Assignment(), nodeIP)
	second := open(t, p, s2.Operation())
	wantSequence(t, second, 2)
}
