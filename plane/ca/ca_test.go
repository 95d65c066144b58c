package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"hybridagent/plane/ca"
	"hybridagent/plane/planetest"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func authority(t *testing.T, now func() time.Time) *ca.Authority {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), UnsafeNoFsync: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	a, err := ca.Load(t.Context(), st, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ca.Load(t.Context(), st, now)
	if err != nil || again.Pin() != a.Pin() {
		t.Fatalf("loaded again it is another CA: %v", err)
	}
	return a
}

func csr(t *testing.T, key any, name string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestKindsOfCertificatesAreApart: none can be used for another's purpose.
func TestKindsOfCertificatesAreApart(t *testing.T) {
	a := authority(t, time.Now)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.IssueHost(key.Public(), "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	host, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := a.SignOperation([]byte("operation"))
	if err != nil {
		t.Fatal(err)
	}
	signing, err := x509.ParseCertificate(signed.GetChain()[0])
	if err != nil {
		t.Fatal(err)
	}
	verify := func(c *x509.Certificate, usage x509.ExtKeyUsage) error {
		_, err := c.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	if verify(host, x509.ExtKeyUsageClientAuth) != nil || verify(host, x509.ExtKeyUsageServerAuth) == nil {
		t.Error("a host's certificate is for clients only")
	}
	if host.IsCA || signing.IsCA || host.URIs[0].String() == agentv1.SigningCertificateURI {
		t.Error("a leaf can do more than it should")
	}
	server, err := a.IssueServer([]string{"plane.example", "10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if verify(server.Leaf, x509.ExtKeyUsageServerAuth) != nil || verify(server.Leaf, x509.ExtKeyUsageClientAuth) == nil {
		t.Error("the server's certificate is for servers only")
	}
	if server.Leaf.VerifyHostname("plane.example") != nil || server.Leaf.VerifyHostname("10.0.0.1") != nil || len(server.Certificate) != 2 {
		t.Error("the server's certificate lacks a name or its CA")
	}
}

func TestSigningCertificateRenewsItself(t *testing.T) {
	now := time.Now()
	a := authority(t, func() time.Time { return now })
	first, err := a.SignOperation(nil)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(100 * 24 * time.Hour)
	same, err := a.SignOperation(nil)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(200 * 24 * time.Hour)
	next, err := a.SignOperation(nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(first.GetChain()[0]) != string(same.GetChain()[0]) || string(first.GetChain()[0]) == string(next.GetChain()[0]) {
		t.Error("the signing certificate is to be renewed at two thirds of its life")
	}
	if _, err := a.SignOperation(make([]byte, agentv1.MaxOperationBytes+1)); err == nil {
		t.Error("an operation that no host would take was signed")
	}
}

func TestParseCSR(t *testing.T) {
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := csr(t, good, "edge-1")
	forged[len(forged)-1] ^= 1
	for name, c := range map[string]struct {
		der  []byte
		want string
	}{
		"P-256":     {csr(t, good, "edge-1"), ""},
		"RSA":       {csr(t, strong, "edge-1"), ""},
		"P-224":     {csr(t, weak, "edge-1"), "ECDSA key of 224 bits"},
		"name":      {csr(t, good, "edge-2"), `is for "edge-2", want "edge-1"`},
		"signature": {forged, "is not signed by its own key"},
		"garbage":   {[]byte("x"), "cannot parse"},
		"size":      {make([]byte, ca.MaxCSRBytes+1), "at most 8192 are allowed"},
	} {
		_, err := ca.ParseCSR(c.der, "edge-1")
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNodeCA(t *testing.T) {
	cert, key := planetest.NodeCA(t)
	_, otherKey := planetest.NodeCA(t)
	for want, pair := range map[string][2]string{
		"no PEM block CERTIFICATE":     {"x", key},
		"no PEM block with a private":  {cert, "x"},
		"does not belong":              {cert, otherKey},
		"is no private key of a known": {cert, cert},
	} {
		if _, err := ca.ParseNodeCA(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	n, err := ca.ParseNodeCA(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := n.IssueNode(k.Public(), "edge-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil || leaf.Subject.CommonName != "edge-1" || leaf.IsCA || time.Until(leaf.NotAfter) > 25*time.Hour {
		t.Fatalf("%v, %v: the node's certificate must end with its CA", leaf.NotAfter, err)
	}
	if _, err := n.IssueNode(k.Public(), "edge-1", time.Now().AddDate(1, 0, 0)); err == nil || !strings.Contains(err.Error(), "expired on") {
		t.Errorf("an expired CA signed: %v", err)
	}
}
