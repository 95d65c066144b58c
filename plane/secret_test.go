package plane_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"hybridagent/plane/planetest"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// TestNoSecretOnDisk: neither the journal nor the database nor any other file of
// the data directory gives a secret away, but for secret.key, which is the key to
// all of them, and the operator's own context file.
func TestNoSecretOnDisk(t *testing.T) {
	p := planetest.Start(t)
	const code = "activation-code+with/odd<characters>&more"
	site := planetest.NewSite(t, "edge-1")
	anywhere := site.Cluster.GetHybridCluster().GetAccessManagement().GetIamRolesAnywhere()
	p.Apply(site.Cluster)
	ssm := planetest.NewSite(t, "edge-1")
	ssm.Cluster.Metadata.Name, ssm.Pool.GetNodePool().Cluster = "ssm", "ssm"
	ssm.Cluster.GetHybridCluster().AccessManagement = &planev1.AccessManagementSpec{Method: &planev1.AccessManagementSpec_SystemsManager{
		SystemsManager: &planev1.SystemsManagerSpec{ActivationId: "01234567-89ab-cdef-0123-456789abcdef", ActivationCode: code},
	}}
	p.Apply(ssm.All()...)
	h := p.Enrolled("edge-1")
	s := h.Connect(0, "")
	u := s.Assignment()
	if bytes.Contains(u.GetAssignment(), []byte(code)) {
		t.Error("the assignment, which hosts keep, brings the activation code")
	}
	s.Accept(u, nodeIP)
	op := open(t, p, s.Operation())
	if op.GetNode().GetAccess().GetSsm().GetActivationCode() != code {
		t.Fatal("the operation brings another activation code")
	}
	p.Stop()

	secrets := map[string][]byte{"activation code": []byte(code)}
	block, _ := pem.Decode([]byte(anywhere.GetCaPrivateKey()))
	keys := authorityKeys(t, p.Dir)
	keys["Roles Anywhere key"] = block.Bytes
	// A PEM body breaks its lines; one of them is enough to find.
	secrets["Roles Anywhere key, PEM"] = bytes.Split([]byte(anywhere.GetCaPrivateKey()), []byte("\n"))[1]
	for name, der := range keys {
		secrets[name+", PKCS #8"] = der
		secrets[name+", its secret number"] = secretNumber(t, der)
	}
	searched := searchFor(t, p.Dir, secrets)
	if searched < 3 {
		t.Fatalf("%d files were searched; the journal and the database of etcd are not among them", searched)
	}
	// The pending operation is there all the same.
	p.Restart()
	again := h.Connect(u.GetGeneration(), u.GetDigest())
	if got := open(t, p, again.Operation()); got.GetId() != op.GetId() {
		t.Fatalf("operation %s after a restart, want %s", got.GetId(), op.GetId())
	}
}

// authorityKeys reads the CA's own keys, PKCS #8.
func authorityKeys(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	st, err := store.Open(context.Background(), store.Options{Dir: dir, UnsafeNoFsync: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	out := map[string][]byte{}
	for _, key := range []string{"ca/root/key", "ca/signing/key"} {
		e, err := st.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if out[key], err = st.Unseal(key, e.Value); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// secretNumber is what alone makes a key secret, in whatever form it is kept.
func secretNumber(t *testing.T, der []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return k.Seed()
	case *ecdsa.PrivateKey:
		b, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	default:
		t.Fatalf("key of type %T", key)
		return nil
	}
}

// searchFor looks for secrets in every shape they may have been written in, and
// answers how many files it read.
func searchFor(t *testing.T, dir string, secrets map[string][]byte) int {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "secret.key" || d.Name() == "admin-context.yaml" {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for name, secret := range secrets {
			for shape, text := range shapes(t, secret) {
				if bytes.Contains(content, text) {
					t.Errorf("%s holds the %s, %s", path, name, shape)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// shapes are the encodings of a secret: raw, hexadecimal, JSON, and base64 at
// each of the three offsets that it may have inside something longer.
func shapes(t *testing.T, secret []byte) map[string][]byte {
	t.Helper()
	quoted, err := json.Marshal(string(secret))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{"raw": secret, "hexadecimal": []byte(hex.EncodeToString(secret)), "JSON": quoted[1 : len(quoted)-1]}
	for offset, name := range []string{"base64", "base64 at 1", "base64 at 2"} {
		// Whole groups of three bytes look the same wherever the text ends.
		skip := (3 - offset) % 3
		inner := secret[skip:]
		out[name] = []byte(base64.StdEncoding.EncodeToString(inner[:len(inner)/3*3]))
	}
	return out
}

func TestShapesFindWhatIsEmbedded(t *testing.T) {
	const secret = "very-secret-activation-code"
	for _, head := range []string{"", "a", "ab", "abc"} {
		text := []byte(base64.StdEncoding.EncodeToString([]byte(head + secret + "tail")))
		found := false
		for _, shape := range shapes(t, []byte(secret)) {
			found = found || bytes.Contains(text, shape)
		}
		if !found {
			t.Errorf("base64 behind %d bytes is not found", len(head))
		}
	}
}
