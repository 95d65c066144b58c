package plane_test

import (
	"crypto/x509"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// wantStatus checks code and words of what the plane refuses with: an operator
// reads them in the host's status.
func wantStatus(t *testing.T, err error, code codes.Code, words string) {
	t.Helper()
	st, _ := status.FromError(err)
	if st.Code() != code || !strings.Contains(st.Message(), words) {
		t.Fatalf("got %v %q, want %v with %q", st.Code(), st.Message(), code, words)
	}
}

func TestEnrollGivesAnIdentity(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	cert, err := x509.ParseCertificate(h.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != agentv1.HostCertificateURIPrefix+"edge-1" {
		t.Errorf("URI SANs %v, want one with the host ID", cert.URIs)
	}
	if life := time.Until(cert.NotAfter); life < 89*24*time.Hour || life > 91*24*time.Hour {
		t.Errorf("certificate lives for %s, want 90 days", life)
	}
	resp, err := p.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Host, Name: "edge-1"})
	if err != nil || resp.GetResource().GetEdgeHostStatus().GetConnected() {
		t.Fatalf("got %v, %v, want a host that is not connected", resp, err)
	}
}

func TestTokensAreRefusedWithTheirReason(t *testing.T) {
	var later atomic.Int64
	p := planetest.StartAt(t, func() time.Time { return time.Now().Add(time.Duration(later.Load())) })
	op := p.Operator()
	create := func(name string, uses uint32, ttl time.Duration) string {
		resp, err := op.CreateToken(t.Context(), &planev1.CreateTokenRequest{Name: name, Uses: uses, Ttl: durationpb.New(ttl)})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetToken()
	}
	used, revoked, short := create("used", 1, time.Hour), create("revoked", 5, time.Hour), create("short", 5, time.Minute)
	if err := p.NewHost("edge-1").Enroll(used); err != nil {
		t.Fatal(err)
	}
	if _, err := op.RevokeToken(t.Context(), &planev1.RevokeTokenRequest{Name: "revoked"}); err != nil {
		t.Fatal(err)
	}
	later.Store(int64(2 * time.Minute))

	h := p.NewHost("edge-2")
	wantStatus(t, h.Enroll("hyt-nonsense"), codes.Unauthenticated, "unknown")
	wantStatus(t, h.Enroll(used), codes.PermissionDenied, "token used is used up (1 of 1 uses)")
	wantStatus(t, h.Enroll(revoked), codes.PermissionDenied, "token revoked was revoked")
	wantStatus(t, h.Enroll(short), codes.PermissionDenied, "token short expired at")
	resp, err := op.List(t.Context(), &planev1.ListRequest{Kind: kind.Host})
	if err != nil || len(resp.GetResources()) != 1 {
		t.Fatalf("got %d hosts, %v: a refused enrolment must leave none", len(resp.GetResources()), err)
	}
}

func TestEnrollAgain(t *testing.T) {
	p := planetest.Start(t)
	token := p.Token(1)
	h := p.NewHost("edge-1")
	if err := h.Enroll(token); err != nil {
		t.Fatal(err)
	}
	// The answer got lost: same key, same token.
	if err := h.Enroll(token); err != nil {
		t.Fatalf("the same enrolment again: %v", err)
	}
	// Another machine under the same ID; the first is left alone.
	clone := p.NewHost("edge-1")
	clone.Fingerprint = &agentv1.HardwareFingerprint{ProductUuid: "another"}
	wantStatus(t, clone.Enroll(p.Token(1)), codes.AlreadyExists, "belongs to another machine (product UUID uuid-of-edge-1)")
	h.Connect(0, "")
	// The same machine, installed anew: its former certificate is worth nothing.
	again := p.NewHost("edge-1")
	if err := again.Enroll(p.Token(1)); err != nil {
		t.Fatal(err)
	}
	again.Connect(0, "")
	_, err := h.TryConnect(&agentv1.Hello{HostId: "edge-1", Fingerprint: h.Fingerprint})
	wantStatus(t, err, codes.PermissionDenied, "replaced by a newer enrolment")
}

func TestEnrollRefusesBadRequests(t *testing.T) {
	p := planetest.Start(t)
	token := p.Token(10)
	for id, words := range map[string]string{
		"":                       "host ID is empty",
		"edge/1":                 "contains one of",
		"edge 1":                 "a space",
		strings.Repeat("e", 129): "more than 128",
	} {
		wantStatus(t, p.NewHost(id).Enroll(token), codes.InvalidArgument, words)
	}
}

func TestConnectRefusesWhoIsSomebodyElse(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	_, err := h.TryConnect(&agentv1.Hello{HostId: "edge-2", Fingerprint: h.Fingerprint})
	wantStatus(t, err, codes.PermissionDenied, `host ID "edge-2" is not that of the certificate`)
	_, err = h.TryConnect(&agentv1.Hello{HostId: "edge-1", Fingerprint: &agentv1.HardwareFingerprint{ProductUuid: "another"}})
	wantStatus(t, err, codes.PermissionDenied, "is a clone")
	nobody := p.NewHost("edge-3")
	_, err = nobody.TryConnect(&agentv1.Hello{HostId: "edge-3"})
	wantStatus(t, err, codes.Unauthenticated, "enrol first")
	// A host is no operator.
	_, err = planev1.NewPlaneServiceClient(h.Conn()).List(t.Context(), &planev1.ListRequest{Kind: kind.Host})
	wantStatus(t, err, codes.Unauthenticated, "operator's certificate")
}

func TestRenewedCertificateConnects(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	next := p.NewHost("edge-1")
	resp, err := h.Agent().RenewCertificate(t.Context(), &agentv1.RenewCertificateRequest{Csr: next.CSR("edge-1")})
	if err != nil {
		t.Fatal(err)
	}
	h.Connect(0, "").Close() // the former is good until the new one is used
	next.Cert = resp.GetCertificate()
	next.Connect(0, "")
	_, err = h.TryConnect(&agentv1.Hello{HostId: "edge-1", Fingerprint: h.Fingerprint})
	wantStatus(t, err, codes.PermissionDenied, "replaced")
}
