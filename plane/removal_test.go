package plane_test

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const wayBack = "was removed from the plane; to bring it back make a token with 'hybridctl token create' and enrol it again"

// removed is a host that had an operation and was then taken out of its pool and
// deleted.
func removed(t *testing.T) (*planetest.Plane, *planetest.Site, *planetest.Host) {
	t.Helper()
	p, site, h, s, op, _ := provisioning(t)
	wantSequence(t, op, 1)
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Inventory{Inventory: &agentv1.Inventory{Hostname: "former"}}})
	planetest.Eventually(t, func() (bool, string) {
		st := hostStatus(t, p, "edge-1")
		return st.GetInventory().GetHostname() == "former", fmt.Sprint(st)
	})
	site.Pool.GetNodePool().Hosts = nil
	p.Apply(site.Pool)
	s.Assignment()
	if _, err := p.Operator().Delete(t.Context(), &planev1.DeleteRequest{Kind: kind.Host, Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Next()
	if err != nil || m.GetGoodbye().GetReason() != "the host "+wayBack {
		t.Fatalf("got %v, %v, want a goodbye that names the way back", m, err)
	}
	return p, site, h
}

// back checks that the host is one again, as new, under its former ID.
func back(t *testing.T, p *planetest.Plane, site *planetest.Site, h *planetest.Host) {
	t.Helper()
	s := h.Connect(0, "")
	if a := decode(t, s.Assignment()); a.GetHostId() != "edge-1" || a.GetPool() != "" {
		t.Fatalf("got %v, want an assignment of no pool", a)
	}
	resp, err := p.Operator().List(t.Context(), &planev1.ListRequest{Kind: kind.Host})
	if err != nil || len(resp.GetResources()) != 1 || resp.GetResources()[0].GetMetadata().GetName() != "edge-1" {
		t.Fatalf("got %v, %v, want the one host", resp.GetResources(), err)
	}
	if name := hostStatus(t, p, "edge-1").GetInventory().GetHostname(); name != "" {
		t.Errorf("the inventory of %q, from before the removal, is there again", name)
	}
	// Root on the host has seen sequence 1, whatever the plane has forgotten.
	site.Pool = planetest.NewSite(t, "edge-1").Pool
	p.Apply(site.Pool)
	s.Accept(s.Assignment(), nodeIP)
	wantSequence(t, open(t, p, s.Operation()), 2)
}

func TestRemovedHostIsToldTheWayBack(t *testing.T) {
	p, _, h := removed(t)
	_, err := h.TryConnect(&agentv1.Hello{HostId: "edge-1", Fingerprint: h.Fingerprint})
	wantStatus(t, err, codes.PermissionDenied, wayBack)
	_, err = h.Agent().RenewCertificate(t.Context(), &agentv1.RenewCertificateRequest{Csr: h.CSR("edge-1")})
	wantStatus(t, err, codes.PermissionDenied, wayBack)
	p.Restart()
	_, err = h.TryConnect(&agentv1.Hello{HostId: "edge-1", Fingerprint: h.Fingerprint})
	wantStatus(t, err, codes.PermissionDenied, wayBack)
	resp, err := p.Operator().List(t.Context(), &planev1.ListRequest{Kind: kind.Host})
	if err != nil || len(resp.GetResources()) != 0 {
		t.Fatalf("got %v, %v: the refused host is there again", resp.GetResources(), err)
	}
}

func TestRemovedHostEnrolsAgainWithItsKey(t *testing.T) {
	p, site, h := removed(t)
	if err := h.Enroll(p.Token(1)); err != nil {
		t.Fatal(err)
	}
	back(t, p, site, h)
}

func TestRemovedHostEnrolsAgainWithAnotherKey(t *testing.T) {
	p, site, h := removed(t)
	again := p.NewHost("edge-1")
	if err := again.Enroll(p.Token(1)); err != nil {
		t.Fatal(err)
	}
	back(t, p, site, again)
	_, err := h.TryConnect(&agentv1.Hello{HostId: "edge-1", Fingerprint: h.Fingerprint})
	wantStatus(t, err, codes.PermissionDenied, "was replaced by a newer enrolment; make a token with 'hybridctl token create'")
}

// TestRemovedHostGivesItsIDFree: another machine may have it then.
func TestRemovedHostGivesItsIDFree(t *testing.T) {
	p, site, _ := removed(t)
	other := p.NewHost("edge-1")
	other.Fingerprint = &agentv1.HardwareFingerprint{ProductUuid: "of another machine"}
	if err := other.Enroll(p.Token(1)); err != nil {
		t.Fatal(err)
	}
	back(t, p, site, other)
}

// TestUsedTokenBringsNoRemovedHostBack: the exception for an answer that got lost
// ends with the host.
func TestUsedTokenBringsNoRemovedHostBack(t *testing.T) {
	p := planetest.Start(t)
	token := p.Token(1)
	h := p.NewHost("edge-1")
	if err := h.Enroll(token); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Operator().Delete(t.Context(), &planev1.DeleteRequest{Kind: kind.Host, Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, h.Enroll(token), codes.PermissionDenied, "is used up (1 of 1 uses); make a new one with: hybridctl token create")
}
