package plane_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func decode(t *testing.T, u *agentv1.AssignmentUpdate) *agentv1.Assignment {
	t.Helper()
	sum := sha256.Sum256(u.GetAssignment())
	if got := hex.EncodeToString(sum[:]); got != u.GetDigest() {
		t.Fatalf("digest %s is not that of the bytes, %s", u.GetDigest(), got)
	}
	a := &agentv1.Assignment{}
	if err := proto.Unmarshal(u.GetAssignment(), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAssignmentIsPushedOnEveryChange(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	first := s.Assignment()
	if a := decode(t, first); a.GetPool() != "" || a.GetHostId() != "edge-1" || first.GetGeneration() != 1 {
		t.Fatalf("got generation %d of %v, want 1 of no pool", first.GetGeneration(), a)
	}
	site := planetest.NewSite(t, "edge-1")
	p.Apply(site.All()...)
	second := s.Assignment()
	a := decode(t, second)
	if second.GetGeneration() != 2 || a.GetPool() != "shop-1" || a.GetNetwork().GetVpcCidrs()[0] != "10.100.0.0/16" {
		t.Fatalf("got generation %d of %v", second.GetGeneration(), a)
	}
	// What changes nothing for the host is not pushed; the next change is.
	site.Pool.GetNodePool().Hosts = append(site.Pool.GetNodePool().Hosts, &planev1.PoolHost{HostId: "edge-2"})
	p.Apply(site.Pool)
	site.Pool.GetNodePool().NtpServers = []string{"203.0.113.21"}
	p.Apply(site.Pool)
	third := s.Assignment()
	if b := decode(t, third); third.GetGeneration() != 3 || b.GetTime().GetNtpServers()[0] != "203.0.113.21" || b.GetNodeDigest() != a.GetNodeDigest() {
		t.Fatalf("got generation %d of %v, want 3 with the node part untouched", third.GetGeneration(), b)
	}
	// Out of the pool: an empty assignment.
	site.Pool.GetNodePool().Hosts = nil
	p.Apply(site.Pool)
	if b := decode(t, s.Assignment()); b.GetPool() != "" {
		t.Fatalf("got %v, want no pool", b)
	}
}

func TestAssignmentIsSentOnlyWhereItDiffers(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	u := s.Assignment()
	s.Close()

	same := h.Connect(u.GetGeneration(), u.GetDigest())
	if got := same.Welcome.GetGeneration(); got != u.GetGeneration() {
		t.Errorf("the welcome confirms generation %d, want %d", got, u.GetGeneration())
	}
	site := planetest.NewSite(t, "edge-1")
	p.Apply(site.All()...)
	if got := same.Assignment().GetGeneration(); got != 2 {
		t.Fatalf("first message has generation %d, want 2: the one that the host held was sent again", got)
	}
	// A host that holds more than the plane remembers is overtaken, not ignored.
	ahead := h.Connect(77, "of another plane")
	if got := ahead.Assignment().GetGeneration(); got != 78 {
		t.Fatalf("got generation %d, want 78", got)
	}
}

func TestGenerationOutlivesTheplane(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	site := planetest.NewSite(t, "edge-1")
	p.Apply(site.All()...)
	s := h.Connect(0, "")
	u := s.Assignment()
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Inventory{Inventory: &agentv1.Inventory{Hostname: "till", Nics: []*agentv1.NIC{{Name: "lan0"}}}}})
	planetest.Eventually(t, func() (bool, string) {
		st := hostStatus(t, p, "edge-1")
		return st.GetInventory().GetHostname() == "till", fmt.Sprint(st)
	})
	pin := p.CAPin
	p.Restart()
	if p.CAPin != pin {
		t.Fatal("the CA is another one after a restart")
	}
	st := hostStatus(t, p, "edge-1")
	if st.GetConnected() || st.GetInventory().GetHostname() != "till" || st.GetWantedGeneration() != u.GetGeneration() {
		t.Fatalf("after a restart: %v", st)
	}
	h.Connect(u.GetGeneration(), u.GetDigest())
	site.Pool.GetNodePool().Labels["x"] = "y"
	p.Apply(site.Pool)
	planetest.Eventually(t, func() (bool, string) {
		st := hostStatus(t, p, "edge-1")
		return st.GetConnected() && st.GetWantedGeneration() == u.GetGeneration()+1, fmt.Sprint(st)
	})
}

func hostStatus(t *testing.T, p *planetest.Plane, id string) *planev1.EdgeHostStatus {
	t.Helper()
	resp, err := p.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Host, Name: id})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetResource().GetEdgeHostStatus()
}

func TestNewestStreamWins(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	old := h.Connect(0, "")
	old.Assignment()
	h.Connect(0, "")
	m, err := old.Next()
	if err != nil || m.GetGoodbye().GetReason() != "replaced by a newer stream of the same host" {
		t.Fatalf("got %v, %v, want a goodbye", m, err)
	}
	if _, err := old.Next(); err == nil {
		t.Fatal("the older stream is still open")
	}
	planetest.Eventually(t, func() (bool, string) {
		st := hostStatus(t, p, "edge-1")
		return st.GetConnected(), "the host counts as disconnected"
	})
}

func TestDeletedHostIsSentAway(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	s.Assignment()
	if _, err := p.Operator().Delete(t.Context(), &planev1.DeleteRequest{Kind: kind.Host, Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Next(); err != nil || m.GetGoodbye() == nil {
		t.Fatalf("got %v, %v, want a goodbye", m, err)
	}
	_, err := h.TryConnect(&agentv1.Hello{HostId: "edge-1", Fingerprint: h.Fingerprint})
	wantStatus(t, err, codes.PermissionDenied, "was removed from the plane")
	if err := h.Enroll(p.Token(1)); err != nil {
		t.Fatal(err)
	}
	h.Connect(0, "")
}

func TestNodeCertificate(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	s.Assignment()
	ask := func(name string) *agentv1.NodeCertificateResponse {
		s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_NodeCertificateRequest{
			NodeCertificateRequest: &agentv1.NodeCertificateRequest{Csr: h.CSR(name)},
		}})
		m, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		return m.GetNodeCertificate()
	}
	if got := ask("edge-1").GetRefusal(); got != "the host is in no NodePool; add it to one" {
		t.Fatalf("refusal %q", got)
	}
	site := planetest.NewSite(t, "edge-1")
	p.Apply(site.All()...)
	s.Assignment()
	if got := ask("edge-2").GetRefusal(); got != `certificate request is for "edge-2", want "edge-1"` {
		t.Fatalf("refusal %q", got)
	}
	resp := ask("edge-1")
	cert, err := x509.ParseCertificate(resp.GetCertificate())
	if err != nil {
		t.Fatalf("%v, refusal %q", err, resp.GetRefusal())
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(site.Cluster.GetHybridCluster().GetAccessManagement().GetIamRolesAnywhere().GetCaCertificate()))
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "edge-1" || !h.Key.PublicKey.Equal(cert.PublicKey) {
		t.Fatalf("certificate of %s", cert.Subject)
	}
}

func TestOversizedReportsEndTheStream(t *testing.T) {
	p := planetest.Start(t)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	s.Assignment()
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Inventory{Inventory: &agentv1.Inventory{Nics: make([]*agentv1.NIC, 65)}}})
	_, err := s.Next()
	wantStatus(t, err, codes.InvalidArgument, "65 NICs were reported, at most 64")
}
