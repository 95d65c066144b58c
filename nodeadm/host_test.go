package nodeadm_test

import (
	"os"
	"path/filepath"
	"testing"

	"hybridagent/nodeadm"
)

// kubeconfig is what nodeadm v1.0.20 writes with IAM Roles Anywhere.
const kubeconfig = `---
apiVersion: v1
kind: Config
clusters:
  - name: kubernetes
    cluster:
      certificate-authority: /etc/kubernetes/pki/ca.crt
      server: https://127.0.0.1:6443
users:
  - name: kubelet
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1beta1
        command: "/usr/local/bin/aws-iam-authenticator"
        args:
          - "token"
          - "--cluster-id"
          - "lab"
          - "--region"
          - "us-west-2"
`

func putFile(t *testing.T, root, path, content string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestReadHost: damage is part of the answer, and no damage is an error.
func TestReadHost(t *testing.T) {
	t.Parallel()
	tracker, err := nodeadm.RestoredTracker(rolesAnywhere())
	if err != nil {
		t.Fatal(err)
	}
	node := map[string]string{
		nodeadm.TrackerPath: string(tracker), nodeadm.KubeletPath: "ELF", nodeadm.KubeconfigPath: kubeconfig,
		"/etc/kubernetes/kubelet/config.json": "{}",
	}
	whole := nodeadm.Host{
		Tracker: nodeadm.TrackerOK, Provider: nodeadm.ProviderRolesAnywhere, ContainerdSource: "none",
		Kubelet: true, Kubeconfig: true, Cluster: "lab", Region: "us-west-2",
	}
	for _, c := range []struct {
		name, path, content string
		want                func(*nodeadm.Host)
	}{
		{"whole", "/x", "", func(*nodeadm.Host) {}},
		{"empty tracker", nodeadm.TrackerPath, "", func(h *nodeadm.Host) {
			h.Tracker, h.Provider, h.ContainerdSource = nodeadm.TrackerBroken, "", ""
		}},
		{"truncated kubelet", nodeadm.KubeletPath, "", func(h *nodeadm.Host) { h.Kubelet = false }},
		{"empty kubelet configuration", "/etc/kubernetes/kubelet/config.json", "", func(h *nodeadm.Host) { h.KubeletConfigEmpty = true }},
		{"empty kubeconfig", nodeadm.KubeconfigPath, "", func(h *nodeadm.Host) { h.Kubeconfig, h.Cluster, h.Region = false, "", "" }},
		{"other kubeconfig", nodeadm.KubeconfigPath, "users: 7\n", func(h *nodeadm.Host) { h.Cluster, h.Region = "", "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for path, content := range node {
				putFile(t, root, path, content)
			}
			putFile(t, root, c.path, c.content)
			want := whole
			c.want(&want)
			if got, err := nodeadm.ReadHost(root); err != nil || got != want {
				t.Errorf("ReadHost = %+v, %v, want %+v", got, err, want)
			}
		})
	}
	if got, err := nodeadm.ReadHost(t.TempDir()); err != nil || got != (nodeadm.Host{Tracker: nodeadm.TrackerNone}) {
		t.Errorf("ReadHost of a bare host = %+v, %v", got, err)
	}
}

// TestRestoredTracker compares with the file that nodeadm v1.0.20 wrote, and
// reads back what it makes.
func TestRestoredTracker(t *testing.T) {
	t.Parallel()
	got, err := nodeadm.RestoredTracker(rolesAnywhere())
	want := "Artifacts:\n  CniPlugins: true\n  Containerd: none\n  IamAuthenticator: true\n  IamRolesAnywhere: true\n" +
		"  ImageCredentialProvider: true\n  Iptables: false\n  Kubectl: true\n  Kubelet: true\n  Ssm: false\n"
	if err != nil || string(got) != want {
		t.Errorf("RestoredTracker = %q, %v, want %q", got, err, want)
	}
	root := t.TempDir()
	if got, err = nodeadm.RestoredTracker(ssm()); err != nil {
		t.Fatal(err)
	}
	putFile(t, root, nodeadm.TrackerPath, string(got))
	if tracker, err := nodeadm.ReadTracker(root); err != nil || tracker.Provider() != nodeadm.ProviderSSM || tracker.Artifacts.Containerd != "distro" {
		t.Errorf("tracker = %+v, %v", tracker, err)
	}
	if _, err := nodeadm.RestoredTracker(nil); err == nil {
		t.Error("a tracker is made up for no provider")
	}
}
