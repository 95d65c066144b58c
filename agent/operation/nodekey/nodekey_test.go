package nodekey_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/optest"
)

func TestKeyAndCertificate(t *testing.T) {
	root, ca := t.TempDir(), optest.NewAuthority(t)
	keys := nodekey.New(root, optest.HostID, time.Now)
	if _, err := keys.Installed(); !errors.Is(err, nodekey.ErrNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
	csr, err := keys.CSR()
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil || request.CheckSignature() != nil || request.Subject.CommonName != optest.HostID {
		t.Errorf("request = %v, %v", request, err)
	}
	again, err := keys.CSR()
	if err != nil {
		t.Fatal(err)
	}
	second, err := x509.ParseCertificateRequest(again)
	if err != nil || string(second.RawSubjectPublicKeyInfo) != string(request.RawSubjectPublicKeyInfo) {
		t.Error("a second request is for another key")
	}
	if err := keys.Install(ca.NodeCertificate(t, csr, optest.HostID)); err != nil {
		t.Fatal(err)
	}
	if validity, err := keys.Installed(); err != nil || time.Until(validity.Until) <= 0 || time.Since(validity.From) < 0 {
		t.Errorf("Installed = %v, %v", validity.Until, err)
	}
	for _, name := range []string{"server.key", "server.pem"} {
		info, err := os.Stat(filepath.Join(root, "etc/iam/pki", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	late := nodekey.New(root, optest.HostID, func() time.Time { return time.Now().Add(48 * time.Hour) })
	if _, err := late.Installed(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired certificate: %v", err)
	}
}

func TestInstallRefuses(t *testing.T) {
	root, ca := t.TempDir(), optest.NewAuthority(t)
	keys := nodekey.New(root, optest.HostID, time.Now)
	csr, err := keys.CSR()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := nodekey.New(t.TempDir(), optest.HostID, time.Now).CSR()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		der      []byte
		fragment string
	}{
		{"garbage", []byte("garbage"), "cannot read"},
		{"oversize", make([]byte, 9<<10), "more than 8192"},
		{"another key", ca.NodeCertificate(t, foreign, optest.HostID), "another key"},
		{"another name", ca.NodeCertificate(t, csr, "edge-9"), `its name is "edge-9"`},
		{"a CA", ca.Chain[1], "CA certificate"},
	} {
		if err := keys.Install(c.der); err == nil || !strings.Contains(err.Error(), c.fragment) {
			t.Errorf("%s: Install = %v, want %q", c.name, err, c.fragment)
		}
	}
	if _, err := keys.Installed(); !errors.Is(err, nodekey.ErrNoCertificate) {
		t.Errorf("something was installed: %v", err)
	}
	if _, err := nodekey.New(root, "Not_A_Label", time.Now).CSR(); err == nil || !strings.Contains(err.Error(), "RFC 1123") {
		t.Errorf("a host ID that is no node name: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/iam/pki/server.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.CSR(); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a damaged key: %v", err)
	}
}
