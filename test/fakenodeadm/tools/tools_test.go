package tools_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/tools"
)

// machine writes a certificate and its key and returns their paths.
func machine(t *testing.T, notAfter time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge-1"}, NotBefore: notAfter.Add(-time.Hour), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

const role = "arn:aws:iam::111122223333:role/custom"

func helperArgs(cert, key string) []string {
	return []string{"credential-process", "--certificate", cert, "--private-key", key, "--role-arn", role, "--role-session-name", "edge-1"}
}

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestSessionCarriesTheRole(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cert, key := machine(t, time.Now().Add(time.Hour))
	var out bytes.Buffer
	if err := tools.SigningHelper(helperArgs(cert, key), env(map[string]string{"AWS_ENDPOINT_URL": s.AWSURL()}), &out); err != nil {
		t.Fatal(err)
	}
	var creds struct {
		Version     int
		AccessKeyId string
	}
	if err := json.Unmarshal(out.Bytes(), &creds); err != nil || creds.Version != 1 || creds.AccessKeyId == "" {
		t.Fatalf("credentials %s: %v", out.String(), err)
	}
	req, err := http.NewRequest("POST", s.AWSURL()+"/", strings.NewReader("Action=GetCallerIdentity"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+creds.AccessKeyId+"/20250101/us-west-2/sts/aws4_request")
	if body := answer(t, req); !strings.Contains(body, "assumed-role/custom/edge-1") {
		t.Errorf("GetCallerIdentity answered %s, want the role custom and the session edge-1", body)
	}
	entries, err := http.NewRequest("GET", s.AWSURL()+"/clusters/lab/access-entries", nil)
	if err != nil {
		t.Fatal(err)
	}
	if body := answer(t, entries); !strings.Contains(body, role) {
		t.Errorf("access entries %s, want %s among them", body, role)
	}
}

func answer(t *testing.T, req *http.Request) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestUnusableCertificatesGetNoSession(t *testing.T) {
	t.Parallel()
	cert, key := machine(t, time.Now().Add(time.Hour))
	_, otherKey := machine(t, time.Now().Add(time.Hour))
	oldCert, oldKey := machine(t, time.Now().Add(-time.Minute))
	for _, c := range []struct{ name, cert, key, text string }{
		{"key of another certificate", cert, otherKey, "private key does not match"},
		{"expired", oldCert, oldKey, "expired"},
		{"missing key", cert, key + ".gone", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := tools.SigningHelper(helperArgs(c.cert, c.key), env(nil), io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
}

func TestTokenNamesTheNode(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "config")
	process := filepath.Join(t.TempDir(), "helper")
	if err := os.WriteFile(process, []byte("#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\"ASIALAB1\"}'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[profile default]\ncredential_process = %s credential-process --role-session-name edge-1\n", process)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := tools.Authenticator([]string{"token", "--cluster-id", "lab", "--region", "us-west-2"}, os.Environ(), env(map[string]string{"AWS_CONFIG_FILE": config}), &out)
	if err != nil {
		t.Fatal(err)
	}
	var cred struct{ Status struct{ Token string } }
	if err := json.Unmarshal(out.Bytes(), &cred); err != nil {
		t.Fatal(err)
	}
	url, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(cred.Status.Token, "k8s-aws-v1."))
	if err != nil || !strings.Contains(string(url), "X-Lab-Session=edge-1") {
		t.Errorf("token %q holds %q (%v), want the session edge-1", cred.Status.Token, url, err)
	}
}

func TestAuthenticatorHandsOutTheLabsClientCertificate(t *testing.T) {
	t.Parallel()
	cert, key := machine(t, time.Now().Add(time.Hour))
	var out bytes.Buffer
	if err := tools.ClientCertificate(cert, key, &out); err != nil {
		t.Fatal(err)
	}
	var cred struct {
		Status struct{ ClientCertificateData, ClientKeyData string }
	}
	if err := json.Unmarshal(out.Bytes(), &cred); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair([]byte(cred.Status.ClientCertificateData), []byte(cred.Status.ClientKeyData)); err != nil {
		t.Errorf("the pair in %s: %v", out.String(), err)
	}
	if err := tools.ClientCertificate(cert+".gone", key, io.Discard); err == nil {
		t.Error("a certificate that is not there was accepted")
	}
}
