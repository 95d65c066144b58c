package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Machine is a node with a real kubelet and a real containerd.
type Machine struct {
	// Node is its name, Kubeconfig names a program for the node's credentials.
	Node, Kubeconfig string
	// StaticPods is the folder of the manifests of static pods.
	StaticPods string

	cluster             *Cluster
	packages, dir       string
	containerd, kubelet *process
	ports               int
	// nodeadm says that the stand-in for nodeadm starts kubelet, aws that it asks.
	nodeadm bool
	aws     *process
}

// MachineOptions say what a machine is made of.
type MachineOptions struct {
	// Node is its name.
	Node string
	// Packages is the folder that Packages returned.
	Packages string
	// Dir is the machine's own, on a file system that overlays may be stacked on.
	Dir string
	// Cgroup is an existing control group, below which the pods' are made.
	Cgroup string
	// Ports is the first of two that kubelet listens at.
	Ports int
	// Nodeadm has the stand-in for nodeadm install and start kubelet; for one machine
	// at most, whose files are the host's own.
	Nodeadm bool
}

// StartMachine starts containerd and kubelet, imports Image, and returns without
// waiting for the Node. The caller is in namespaces of its own (network, mounts,
// processes): kubelet and containerd change what they find.
func (c *Cluster) StartMachine(ctx context.Context, options MachineOptions) (*Machine, error) {
	m := &Machine{Node: options.Node, StaticPods: filepath.Join(options.Dir, "static"), cluster: c, packages: options.Packages, dir: options.Dir, ports: options.Ports, nodeadm: options.Nodeadm}
	var err error
	if m.Kubeconfig, err = c.NodeKubeconfig(options.Node); err != nil {
		return nil, err
	}
	for _, folder := range []string{"static", "cni", "volumes", "logs"} {
		if err := os.MkdirAll(filepath.Join(options.Dir, folder), 0o755); err != nil {
			return nil, err
		}
	}
	if err := m.configure(options.Cgroup); err != nil {
		return nil, err
	}
	steps := []func(context.Context) error{m.startContainerd, m.importImage, m.startKubelet}
	if m.nodeadm {
		m.Kubeconfig = nodeKubeconfig
		steps = []func(context.Context) error{m.startContainerd, m.importImage, m.useNodeadm, m.join}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			m.Stop()
			return nil, fmt.Errorf("cannot start node %s: %w", m.Node, err)
		}
	}
	return m, nil
}

// socket of containerd; nodeadm gives kubelet only the usual one.
func (m *Machine) socket() string {
	if m.nodeadm {
		return "/run/containerd/containerd.sock"
	}
	return filepath.Join(m.dir, "containerd.sock")
}

// configure writes what containerd and kubelet read.
func (m *Machine) configure(cgroup string) error {
	containerd := fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = %q
`, m.dir+"/containerd", m.dir+"/containerd-state", m.socket(), Image, m.dir+"/cni", m.dir+"/cni", m.packages+"/usr/sbin/runc")
	// The pods use the node's own network; kubelet only wants one to be there.
	cni := `{"cniVersion":"0.4.0","name":"none","plugins":[{"type":"none"}]}`
	kubelet, err := json.Marshal(map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": false}, "x509": map[string]any{"clientCAFile": m.cluster.pki.file("ca", "crt")}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},
		"cgroupDriver":   "cgroupfs", "cgroupRoot": cgroup, "failSwapOn": false, "makeIPTablesUtilChains": false,
		"containerRuntimeEndpoint": "unix://" + m.socket(), "podLogsDir": m.dir + "/logs", "volumePluginDir": m.dir + "/volumes", "staticPodPath": m.StaticPods,
		"port": m.ports, "healthzPort": m.ports + 1, "serverTLSBootstrap": true, "resolvConf": "", "localStorageCapacityIsolation": false,
		"evictionHard":              map[string]any{"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
		"nodeStatusUpdateFrequency": "2s",
		"fileCheckFrequency":        "1s",
		"syncFrequency":             "5s",
	})
	if err != nil {
		return err
	}
	for name, content := range map[string]string{"containerd.toml": containerd, "cni/10-none.conflist": cni, "kubelet.json": string(kubelet)} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) startContainerd(ctx context.Context) (err error) {
	path := filepath.Join(m.packages, "usr", "bin")
	// containerd finds its shim beside itself, by PATH.
	m.containerd, err = start(m.dir, "containerd", "/usr/bin/env", "PATH="+path+":"+os.Getenv("PATH"), filepath.Join(path, "containerd"), "--config", filepath.Join(m.dir, "containerd.toml"))
	if err != nil {
		return err
	}
	return m.containerd.await(ctx, "listening", readyWithin, func(ctx context.Context) error { return m.ctr(ctx, "version") })
}

func (m *Machine) importImage(ctx context.Context) error {
	path := filepath.Join(m.dir, "image.tar")
	if err := writeImage(ctx, path); err != nil {
		return err
	}
	return m.ctr(ctx, "images", "import", path)
}

func (m *Machine) ctr(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(m.packages, "usr/bin/ctr"), append([]string{"--address", m.socket(), "--namespace", "k8s.io"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (m *Machine) startKubelet(context.Context) (err error) {
	m.kubelet, err = start(m.dir, "kubelet", m.cluster.components.Path(Kubelet), "--config="+filepath.Join(m.dir, "kubelet.json"),
		"--kubeconfig="+m.Kubeconfig, "--hostname-override="+m.Node, "--node-ip="+m.cluster.options.Address.String(),
		"--root-dir="+filepath.Join(m.dir, "kubelet"), "--cert-dir="+filepath.Join(m.dir, "pki"))
	return err
}

// Log is the end of what kubelet and containerd wrote.
func (m *Machine) Log() string {
	var text strings.Builder
	for _, p := range []*process{m.containerd, m.kubelet, m.aws} {
		if p != nil {
			fmt.Fprintf(&text, "--- %s of %s\n%s\n", p.name, m.Node, p.tail())
		}
	}
	if m.nodeadm {
		fmt.Fprintf(&text, "--- kubelet of %s\n%s\n", m.Node, (&process{log: directLog}).tail())
	}
	return text.String()
}

// Stop ends kubelet and containerd. What they started ends with the namespace of
// processes.
func (m *Machine) Stop() {
	for _, p := range []*process{m.kubelet, m.aws, m.containerd} {
		if p != nil {
			p.stop()
		}
	}
}
