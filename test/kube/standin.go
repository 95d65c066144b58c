package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What the stand-in for nodeadm reads and writes; Isolate puts overlays over these
// places.
const (
	labDir         = "/run/hybrid-lab"
	nodeConfig     = "/etc/eks/nodeconfig.yaml"
	nodeKubeconfig = "/var/lib/kubelet/kubeconfig"
	directPID      = "/run/fakenodeadm/kubelet.pid"
	directLog      = "/run/fakenodeadm/kubelet.log"
	awsAddress     = "127.0.0.1:9000"
)

// useNodeadm puts the stand-ins for nodeadm and AWS onto this host, and tells the
// former to start the real kubelet.
func (m *Machine) useNodeadm(ctx context.Context) error {
	for _, program := range []string{"fakenodeadm", "fakeaws"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", m.dir+"/", "hybridagent/test/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build %s: %w\n%s", program, err, out)
		}
	}
	if err := m.labFiles(); err != nil {
		return err
	}
	version := strings.TrimPrefix(m.cluster.components.Version, "v")
	prepare := exec.CommandContext(ctx, filepath.Join(m.dir, "fakeaws"), "prepare", "-binary", filepath.Join(m.dir, "fakenodeadm"), "-out", m.dir,
		"-base-url", "http://"+awsAddress+"/artifacts", "-versions", version, "-host-root", "/")
	if out, err := prepare.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot prepare nodeadm's artifacts: %w: %s", err, out)
	}
	var err error
	m.aws, err = start(m.dir, "fakeaws", filepath.Join(m.dir, "fakeaws"), "serve", "-artifacts", filepath.Join(m.dir, "artifacts"), "-aws-listen", awsAddress,
		"-endpoint", m.cluster.Server, "-endpoint-ca", m.cluster.pki.file("ca", "crt"), "-cluster-version", version[:strings.LastIndex(version, ".")])
	if err != nil {
		return err
	}
	return m.aws.await(ctx, "listening", readyWithin, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", awsAddress)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// labFiles are the lab's settings, the node's certificate and its NodeConfig.
func (m *Machine) labFiles() error {
	raw, err := os.ReadFile(filepath.Join(m.dir, "kubelet.json"))
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		return err
	}
	identity := "node-" + m.Node
	settings, err := json.Marshal(map[string]any{
		"direct": true, "timeScale": 0.05, "kubelet": map[string]any{
			"real": m.cluster.components.Path(Kubelet), "config": config,
			"clientCertificate": m.cluster.pki.file(identity, "crt"), "clientKey": m.cluster.pki.file(identity, "key"),
		},
	})
	if err != nil {
		return err
	}
	read := func(kind string) string {
		content, _ := os.ReadFile(m.cluster.pki.file(identity, kind))
		return string(content)
	}
	const arn = "arn:aws:rolesanywhere:us-west-2:111122223333:"
	for path, content := range map[string]string{
		labDir + "/marker": "", labDir + "/fakenodeadm.json": string(settings),
		"/etc/iam/pki/server.pem": read("crt"), "/etc/iam/pki/server.key": read("key"), "/etc/fstab": "# no swap\n",
		nodeConfig: fmt.Sprintf(`apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster: {name: lab, region: us-west-2}
  kubelet: {flags: ["--node-ip=%s"]}
  hybrid:
    iamRolesAnywhere: {nodeName: %s, trustAnchorArn: "%strust-anchor/t", profileArn: "%sprofile/p", roleArn: "arn:aws:iam::111122223333:role/hybrid", certificatePath: /etc/iam/pki/server.pem, privateKeyPath: /etc/iam/pki/server.key}
`, m.cluster.options.Address, m.Node, arn, arn),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Nodeadm runs the stand-in for nodeadm and returns what it wrote.
func (m *Machine) Nodeadm(ctx context.Context, args ...string) (string, error) {
	nodeadm := filepath.Join(m.dir, "nodeadm")
	if err := os.Symlink("fakenodeadm", nodeadm); err != nil && !os.IsExist(err) {
		return "", err
	}
	cmd := exec.CommandContext(ctx, nodeadm, args...)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL=http://"+awsAddress)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("nodeadm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// join is what an operation does to make the host a node.
func (m *Machine) join(ctx context.Context) error {
	version := strings.TrimPrefix(m.cluster.components.Version, "v")
	for _, args := range [][]string{
		{"install", version, "-p", "iam-ra", "-s", "none", "-r", "us-west-2", "-m", m.manifest(), "--private-mode"},
		{"init", "-c", "file://" + nodeConfig, "-m", m.manifest(), "--skip", "none", "--private-mode"},
	} {
		if _, err := m.Nodeadm(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Upgrade has nodeadm replace the node's programs by those of the same version and
// start kubelet anew.
func (m *Machine) Upgrade(ctx context.Context, skip string) error {
	version := strings.TrimPrefix(m.cluster.components.Version, "v")
	_, err := m.Nodeadm(ctx, "upgrade", version, "-c", "file://"+nodeConfig, "-m", m.manifest(), "--skip", skip, "--private-mode")
	return err
}

// KubeletPID is the process that nodeadm started, which is the real kubelet.
func (m *Machine) KubeletPID() (string, error) {
	noted, err := os.ReadFile(directPID)
	if err != nil {
		return "", err
	}
	pid, _, _ := strings.Cut(string(noted), " ")
	program, err := os.Readlink("/proc/" + pid + "/exe")
	if err == nil && program != m.cluster.components.Path(Kubelet) {
		err = fmt.Errorf("process %s is %s and no real kubelet", pid, program)
	}
	return pid, err
}

func (m *Machine) manifest() string { return "file://" + filepath.Join(m.dir, "manifest.yaml") }
