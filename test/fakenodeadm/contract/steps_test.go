//go:build systemd

package contract

import (
	"os"
	"strings"

	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/facts"
)

func (m *machine) succeed(args ...string) {
	m.t.Helper()
	if _, stderr, code := m.exec(args, false); code != 0 {
		m.t.Fatalf("setup: nodeadm %s: exit %d\n%s", strings.Join(args, " "), code, stderr)
	}
}

const node = "store-17-a"

// step makes one step of a case's setup.
func (m *machine) step(step string) {
	m.t.Helper()
	verb, path, _ := strings.Cut(step, " /")
	switch path = "/" + path; verb + " " {
	case facts.StepRemove:
		m.must(os.Remove(path))
		return
	case facts.StepEmpty:
		m.must(os.Truncate(path, 0))
		return
	case facts.StepTruncate:
		m.truncate(path)
		return
	case facts.StepLeftover:
		m.write(path, "cut off", 0o644)
		return
	}
	if m.fault(step) || m.nodeStep(step) {
		return
	}
	switch step {
	case facts.StepInstall:
		m.succeed("install", "1.30", "-p", "iam-ra", "-s", "none", "-r", "us-west-2", "-m", "file:///lab/manifest.yaml", "--private-mode")
	case facts.StepInit:
		m.succeed("init", "-c", "file:///lab/nodeconfig.yaml", "-m", "file:///lab/manifest.yaml", "--skip", "none")
	case facts.StepUpgrade:
		m.server.PutNode(node, true)
		m.succeed("upgrade", "1.31", "-c", "file:///lab/nodeconfig.yaml", "-m", "file:///lab/manifest.yaml", "--private-mode")
	case facts.StepUninstall:
		m.server.PutNode(node, true)
		m.succeed("uninstall")
	case facts.StepCertificateExpired:
		m.certificate(-1)
	case facts.StepContainerdStopped:
		m.run("systemctl", "stop", "containerd")
	case facts.StepContainerdNoUnit:
		m.run("systemctl", "stop", "containerd")
		for _, path := range []string{"/etc/systemd/system/containerd.service", "/etc/systemd/system/multi-user.target.wants/containerd.service"} {
			m.must(os.Remove(path))
		}
		m.run("systemctl", "daemon-reload")
	case facts.StepKubeDown:
		m.must(m.server.SetFaults(server.Faults{KubeAPI: "down"}))
	default:
		m.t.Fatalf("unknown step %q", step)
	}
}

// truncate leaves 40 bytes in place of a program that may be running: as a new file, as an install would.
func (m *machine) truncate(path string) {
	m.t.Helper()
	raw, err := os.ReadFile(path)
	m.must(err)
	m.must(os.Remove(path))
	m.write(path, string(raw[:40]), 0o755)
}

// fault switches on what is wrong around the host.
func (m *machine) fault(step string) bool {
	m.t.Helper()
	switch step {
	case facts.StepECRDenied:
		m.must(m.server.SetFaults(server.Faults{ECR: "denied"}))
	case facts.StepKubeHangs:
		m.must(m.server.SetFaults(server.Faults{KubeAPI: "hang"}))
	case facts.StepStall:
		m.must(m.server.SetFaults(server.Faults{Artifacts: "stall"}))
		m.scale = "0.1"
	case facts.StepEKSDown:
		m.aws = "http://" + closed
	case facts.StepArtifactsDown: // the command names manifest-down.yaml
	default:
		return false
	}
	return true
}

// nodeStep sets what the API knows of the node, or what its kubelet does.
func (m *machine) nodeStep(step string) bool {
	m.t.Helper()
	switch step {
	case facts.StepNodeCordoned, facts.StepNodeSchedulable:
		m.server.PutNode(node, step == facts.StepNodeCordoned)
	case facts.StepPodLeft:
		m.must(m.server.SetPods([]byte(`[{"metadata":{"namespace":"shop","name":"web-0"},"spec":{"nodeName":"store-17-a"},"status":{"phase":"Running"}}]`)))
	case facts.StepDaemonPod:
		m.must(m.server.SetPods([]byte(`[{"metadata":{"namespace":"kube-system","name":"cilium-x",` +
			`"ownerReferences":[{"kind":"DaemonSet","name":"cilium"}]},"spec":{"nodeName":"store-17-a"}}]`)))
	case facts.StepCrashLoop:
		m.must(os.Remove("/usr/bin/kubelet"))
		m.write("/usr/bin/kubelet", "#!/bin/sh\nexit 1\n", 0o755)
		m.run("systemctl", "restart", "--no-block", "kubelet")
		m.until("kubelet crash-loops", func() bool { return strings.Contains(m.state("kubelet"), "auto-restart") })
	case facts.StepCNIFiles:
		m.write("/etc/cni/net.d/05-cilium.conflist", "{}", 0o644)
		m.write("/var/lib/cni/results", "{}", 0o644)
	default:
		return false
	}
	return true
}
