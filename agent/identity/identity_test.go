package identity_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"hybridagent/agent/config"
	"hybridagent/agent/identity"
	"hybridagent/agent/internal/planetest"
	"hybridagent/agent/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func trustOf(t *testing.T, pin string) identity.Trust {
	t.Helper()
	sum, err := config.ParsePin(pin)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Trust{Pin: sum, ServerName: "127.0.0.1"}
}

func enroll(t *testing.T, p *planetest.Plane, trust identity.Trust) (*identity.Identity, error) {
	t.Helper()
	id, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	handshake := &identity.Handshake{}
	var conn *grpc.ClientConn
	if conn, err = session.Dial(p.Address(), trust.TLS(nil, handshake), session.DefaultKeepalive); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return id.Enroll(t.Context(), conn, handshake, trust, identity.EnrollRequest{Address: p.Address(), Token: "good", HostID: "edge-1"})
}

func TestEnrolSaveLoad(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Start()
	id, err := enroll(t, p, trustOf(t, p.Pin()))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if none, err := identity.Load(dir); none != nil || err != nil || none.Enrolled() {
		t.Fatalf("an empty folder holds %v, %v", none, err)
	}
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, identity.FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	again, err := identity.Load(dir)
	if err != nil || !again.Enrolled() || !again.Key.Equal(id.Key) || !again.Certificate.Equal(id.Certificate) || len(again.CAs) != 1 {
		t.Fatalf("loaded %+v, %v", again, err)
	}
	if until := time.Until(again.RenewAt()); until < 30*time.Minute || until > 45*time.Minute {
		t.Errorf("a certificate of an hour is renewed in %s", until)
	}
}

func TestDamagedIdentityIsSetAsideAndTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, identity.FileName), []byte("hybst"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := identity.Load(dir)
	if err == nil || !strings.Contains(err.Error(), "identity.corrupt-1") || !strings.Contains(err.Error(), "fresh enrolment token") {
		t.Fatalf("got %v", err)
	}
	if id, err := identity.Load(dir); id != nil || err != nil {
		t.Fatalf("after that: %v, %v", id, err)
	}
}

func TestWrongPinNamesBoth(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Start()
	other := "sha256:" + strings.Repeat("ab", 32)
	_, err := enroll(t, p, trustOf(t, other))
	var e *identity.Error
	if !errors.As(err, &e) || e.Reason != identity.ReasonWrongCAPin {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"expects " + other, "has the pin " + p.Pin(), "127.0.0.1", "plane.caPin"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not hold %q", err, want)
		}
	}
}

func TestWrongNameInTheCertificate(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Start()
	trust := trustOf(t, p.Pin())
	trust.ServerName = "plane.example"
	_, err := enroll(t, p, trust)
	if identity.ReasonOf(err, "") != identity.ReasonWrongServer || !strings.Contains(err.Error(), "plane.address") {
		t.Fatalf("got %v", err)
	}
}

func TestWrongClockIsNotCalledATLSError(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Start()
	for name, tc := range map[string]struct {
		now  time.Time
		want string
	}{
		"after a power cut": {time.Date(2011, 1, 1, 0, 0, 0, 0, time.UTC), "this host's clock says 2011-01-01T00:00:00Z, at least"},
		"ahead":             {time.Now().AddDate(5, 0, 0), "set the clock if it is ahead"},
	} {
		trust := trustOf(t, p.Pin())
		trust.Now = func() time.Time { return tc.now }
		_, err := enroll(t, p, trust)
		if identity.ReasonOf(err, "") != identity.ReasonClockWrong || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v; want %q", name, err, tc.want)
		}
	}
}

func TestReadToken(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for content, want := range map[string]string{"abc\n": "", "": "is empty", strings.Repeat("x", 300): "more than the 256 bytes"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := identity.ReadToken(file)
		if want == "" && (err != nil || token != "abc") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %q, %v", content, token, err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "enrollment-token"), []byte("from systemd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if token, err := identity.ReadToken(file); err != nil || token != "from systemd" {
		t.Errorf("got %q, %v", token, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "enrollment-token"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(file)
	if _, err := identity.ReadToken(file); err == nil || !strings.Contains(err.Error(), "restart hybrid-agent.service") {
		t.Errorf("got %v", err)
	}
}

func TestRequestNamesTheHost(t *testing.T) {
	t.Parallel()
	id, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	der, err := id.CSR("edge-1")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil || csr.Subject.CommonName != "edge-1" {
		t.Fatalf("request %v, %v", csr, err)
	}
}
