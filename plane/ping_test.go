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

func ping(t *testing.T, h *planetest.Host) error {
	t.Helper()
	_, err := h.Agent().Ping(t.Context(), &agentv1.PingRequest{})
	return err
}

// TestPingLeavesTheStreamAlone: each on a connection of its own, beside a stream
// that goes on.
func TestPingLeavesTheStreamAlone(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	s.Assignment()
	before := hostStatus(t, p, "edge-1")
	for range 20 {
		if err := ping(t, h); err != nil {
			t.Fatal(err)
		}
	}
	if after := hostStatus(t, p, "edge-1"); !after.GetConnected() || !after.GetSince().AsTime().Equal(before.GetSince().AsTime()) {
		t.Errorf("the stream was %v, and is %v", before, after)
	}
	p.Apply(planetest.NewSite(t, "edge-1").All()...)
	if a := decode(t, s.Assignment()); a.GetPool() != "shop-1" {
		t.Errorf("the stream brings %v", a)
	}
}

func TestPingRefusesWhoHoldsNoIdentity(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	again := p.NewHost("edge-1")
	wantStatus(t, ping(t, again), codes.Unauthenticated, "a host's certificate is needed")
	if err := again.Enroll(p.Token(1)); err != nil {
		t.Fatal(err)
	}
	// The newer enrolment makes the older key worthless.
	wantStatus(t, ping(t, h), codes.PermissionDenied, "was replaced by a newer enrolment")
	if err := ping(t, again); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Operator().Delete(t.Context(), &planev1.DeleteRequest{Kind: kind.Host, Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, ping(t, again), codes.PermissionDenied, wayBack)
}

// TestPingSettlesNoRenewal: the key before a renewal stays good until the host
// connects with the new one; a ping with either is no such use.
func TestPingSettlesNoRenewal(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	renewed := p.NewHost("edge-1")
	resp, err := h.Agent().RenewCertificate(t.Context(), &agentv1.RenewCertificateRequest{Csr: renewed.CSR("edge-1")})
	if err != nil {
		t.Fatal(err)
	}
	renewed.Cert = resp.GetCertificate()
	for _, host := range []*planetest.Host{renewed, h, renewed, h} {
		if err := ping(t, host); err != nil {
			t.Fatal(err)
		}
	}
	renewed.Connect(0, "")
	planetest.Eventually(t, func() (bool, string) {
		err := ping(t, h)
		return err != nil, fmt.Sprintf("the former certificate is good yet: %v", err)
	})
}
