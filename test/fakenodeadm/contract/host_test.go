//go:build systemd

package contract

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hybridagent/test/fakeaws/artifacts"
	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/facts"
)

// safeBuffer may be read while a program still writes to it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (m *machine) run(name string, args ...string) string {
	m.t.Helper()
	out, err := exec.CommandContext(m.t.Context(), name, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (m *machine) write(path, text string, mode os.FileMode) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(path), 0o755))
	m.must(os.WriteFile(path, []byte(text), mode))
	m.must(os.Chmod(path, mode))
}

// registry is where nodeadm finds the pause image; fakeaws serves it.
const registry = "602401143452.dkr.ecr.us-west-2.amazonaws.com"

// image makes what an OS image brings: nodeadm, containerd, iptables, artifacts, and a sysctl that always succeeds, as the recorded
// runs had.
func (m *machine) image() {
	m.must(artifacts.HostRoot("/", insideStandIn))
	m.must(artifacts.Prepare(artifacts.Plan{Out: "/lab", BaseURL: "http://" + awsAddr + "/artifacts", Versions: []string{"1.30.4", "1.31.5"}, Region: "us-west-2"}))
	raw, err := os.ReadFile("/lab/manifest.yaml")
	m.must(err)
	m.write("/lab/manifest-down.yaml", strings.ReplaceAll(string(raw), awsAddr, closed), 0o644)
	for path, text := range m.table.Configs {
		m.write(path, text, 0o644)
	}
	m.write("/usr/local/sbin/sysctl", "#!/bin/sh\nexit 0\n", 0o755)
	if m.real {
		m.must(os.Remove("/usr/local/bin/nodeadm"))
		m.must(os.Symlink(insideReal, "/usr/local/bin/nodeadm"))
		m.realContainerd()
	}
	m.run("cp", "/usr/bin/containerd", "/lab/containerd")
	m.run("systemctl", "daemon-reload")
}

// realContainerd takes containerd, its shim and runc from the folder NODEADM_CONTAINERD.
func (m *machine) realContainerd() {
	m.must(os.Remove("/usr/bin/containerd"))
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		m.run("cp", filepath.Join(insideTools, name), filepath.Join("/usr/bin", name))
	}
}

// gone is what runs leave that the next case must not find.
func gone() []string {
	return []string{
		"/opt/nodeadm", "/opt/cni", "/opt/containerd", "/usr/bin/kubelet", "/usr/local/bin/kubectl", "/usr/local/bin/aws-iam-authenticator",
		"/usr/local/bin/aws_signing_helper", "/etc/eks", "/etc/kubernetes", "/etc/aws", "/etc/iam", "/etc/containerd", "/eks-hybrid", "/var/lib/kubelet",
		"/var/lib/cni", "/etc/cni", "/etc/sysctl.d/99-nodeadm.conf", "/etc/modules-load.d/containerd.conf",
		"/etc/systemd/system/kubelet.service", "/etc/systemd/system/aws_signing_helper_update.service",
		"/etc/systemd/system/multi-user.target.wants/kubelet.service", "/etc/systemd/system/multi-user.target.wants/aws_signing_helper_update.service",
	}
}

// clean makes the clean host of the table, with a new AWS and a new cluster around it.
func (m *machine) clean() {
	m.t.Helper()
	m.aws, m.scale = "http://"+awsAddr, "0.02"
	for _, unit := range []string{"kubelet", "aws_signing_helper_update"} {
		_ = exec.CommandContext(m.t.Context(), "systemctl", "stop", unit).Run() // it may not exist
	}
	for _, path := range gone() {
		m.must(os.RemoveAll(path))
	}
	for _, dir := range []string{"/etc/containerd", "/etc/sysctl.d", "/etc/modules-load.d", "/opt"} {
		m.must(os.MkdirAll(dir, 0o755))
	}
	m.write("/etc/containerd/config.toml", "version = 2\n", 0o644)
	if m.real {
		m.write("/etc/containerd/certs.d/"+registry+"/hosts.toml", "server = \"http://"+awsAddr+"\"\n", 0o644)
	}
	m.write("/etc/fstab", "# no swap\n", 0o644)
	m.certificate(time.Hour)
	if _, err := os.Stat("/usr/bin/containerd"); err != nil {
		m.run("cp", "/lab/containerd", "/usr/bin/containerd")
	}
	if _, err := os.Stat("/etc/systemd/system/containerd.service"); err != nil {
		m.must(artifacts.HostRoot("/", insideStandIn))
	}
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "reset-failed")
	m.run("systemctl", "restart", "containerd")
	m.until("containerd runs", func() bool {
		_, err := os.Stat("/opt/containerd/lib")
		return err == nil && m.state("containerd") == "loaded/active/running/enabled"
	})
	m.must(os.RemoveAll("/opt/containerd"))
	s, err := server.New(server.Options{
		KubeListen: kubeAddr, AWSListen: awsAddr, RemoteNodeCIDRs: []string{"10.80.0.0/16"}, ArtifactDir: "/lab/artifacts",
	})
	m.must(err)
	m.t.Cleanup(func() { m.must(s.Close()) })
	m.server = s
}

func (m *machine) certificate(valid time.Duration) {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	m.must(err)
	end := time.Now().Add(valid)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "store-17-a"}, NotBefore: end.Add(-48 * time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	m.must(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	m.must(err)
	m.write("/etc/iam/pki/server.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
	m.write("/etc/iam/pki/server.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})), 0o600)
}

// state is the unit's in the table's words, but for the fresh start.
func (m *machine) state(unit string) string {
	m.t.Helper()
	return facts.Unit(m.show(unit), false)
}

func (m *machine) show(unit string) map[string]string {
	m.t.Helper()
	props := map[string]string{}
	out := m.run("systemctl", "show", "-p", "LoadState,ActiveState,SubState,UnitFileState,InvocationID", unit+".service")
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		props[key] = value
	}
	return props
}

func (m *machine) invocations(c *facts.Case) map[string]string {
	m.t.Helper()
	ids := map[string]string{}
	for unit := range c.Units {
		ids[unit] = m.show(unit)["InvocationID"]
	}
	return ids
}

// wantUnits waits for the recorded states: they were noted half a second after the end, and some units still move then.
func (m *machine) wantUnits(c *facts.Case, before map[string]string) {
	m.t.Helper()
	for unit, want := range c.Units {
		now := func() string {
			props := m.show(unit)
			return facts.Unit(props, props["ActiveState"] == "active" && props["InvocationID"] != before[unit])
		}
		if !m.soon(func() bool { return now() == want }) {
			m.t.Errorf("unit %s is %q, want %q", unit, now(), want)
		}
	}
}

// soon waits a few seconds for what the recorded runs show half a second after the end.
func (m *machine) soon(is func() bool) bool {
	for deadline := time.Now().Add(4 * time.Second); !is(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func (m *machine) until(what string, is func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// settle waits for containerd's folders, which it makes a moment after its start.
func (m *machine) settle() {
	if m.state("kubelet") == "loaded/active/running/enabled" {
		m.until("containerd's folders", func() bool {
			_, err := os.Stat("/opt/containerd/lib")
			return err == nil
		})
	}
}
