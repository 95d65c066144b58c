package nodeadm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/nodeadm"
)

// fatal is how nodeadm reports its last error.
func fatal(text string) []nodeadm.Line {
	return []nodeadm.Line{{Level: "info", Message: "Checking user is root..."}, {Level: "fatal", Message: "Command failed", Error: text}}
}

// TestJudge is what an operator is told of each known failure. The texts are
// those of nodeadm v1.0.20.
func TestJudge(t *testing.T) {
	wrote := nodeadm.Evidence{nodeadm.KubeconfigPath: "2", "/etc/kubernetes/kubelet/config.json": "2", nodeadm.TrackerPath: "2"}
	for _, c := range []struct {
		name      string
		command   nodeadm.Command
		exit      nodeadm.Exit
		after     nodeadm.Evidence
		tracker   error
		permanent bool
		fragment  string // empty: success
	}{
		{"done", nodeadm.Init, nodeadm.Exit{}, wrote, nil, false, ""},
		{"checked", nodeadm.ConfigCheck, nodeadm.Exit{}, nil, nodeadm.ErrNoTracker, false, ""},
		{"install without a tracker", nodeadm.Install, nodeadm.Exit{}, nil, nodeadm.ErrNoTracker, false, "exited 0 having done nothing: there is no tracker"},
		{"init without a tracker", nodeadm.Init, nodeadm.Exit{}, wrote, nodeadm.ErrNoTracker, false, "exited 0 having done nothing"},
		{"install left the old tracker", nodeadm.Install, nodeadm.Exit{}, nodeadm.Evidence{nodeadm.TrackerPath: "1"}, nil, false, "did not write /opt/nodeadm/tracker"},
		{"init wrote nothing", nodeadm.Init, nodeadm.Exit{}, nil, nil, false, "did not write /var/lib/kubelet/kubeconfig"},
		{"upgrade wrote nothing", nodeadm.Upgrade, nodeadm.Exit{}, nil, nil, false, "did not write /var/lib/kubelet/kubeconfig"},
		{"upgrade left kubelet's configuration empty", nodeadm.Upgrade, nodeadm.Exit{}, nodeadm.Evidence{nodeadm.KubeconfigPath: "2", "/etc/kubernetes/kubelet/config.json": "empty 2"}, nil, false, "did not write /etc/kubernetes/kubelet/config.json"},
		{"uninstalled", nodeadm.Uninstall, nodeadm.Exit{}, nil, nodeadm.ErrNoTracker, false, ""},
		{"uninstall left kubelet", nodeadm.Uninstall, nodeadm.Exit{}, nodeadm.Evidence{nodeadm.KubeletPath: "1"}, nodeadm.ErrNoTracker, false, "left /usr/bin/kubelet"},
		{"uninstall left the tracker", nodeadm.Uninstall, nodeadm.Exit{}, nodeadm.Evidence{nodeadm.TrackerPath: "1"}, nil, false, "left /opt/nodeadm/tracker"},
		{"hangs on containerd", nodeadm.Init, nodeadm.Exit{Code: -1, Deadline: 5 * time.Minute, Lines: []nodeadm.Line{{Message: "Waiting for containerd to be running..."}}}, nil, nil, false, "systemctl status containerd"},
		{"broken tracker", nodeadm.Install, nodeadm.Exit{}, wrote, &nodeadm.BrokenTrackerError{Path: "/t", Reason: "empty"}, false, "tracker of no use"},
		{"deadline", nodeadm.Init, nodeadm.Exit{Code: -1, Deadline: 5 * time.Minute}, nil, nil, false, "did not end within 5m0s and was killed"},
		{"signal", nodeadm.Init, nodeadm.Exit{Code: -1, Signal: "SIGSEGV"}, nil, nil, false, "SIGSEGV"},
		{"usage", nodeadm.Init, nodeadm.Exit{Code: 2, Lines: []nodeadm.Line{{Message: "unknown flag: --x"}}}, nil, nil, true, "v1.0.20"},
		{"panic", nodeadm.Init, nodeadm.Exit{Code: 2, Lines: []nodeadm.Line{{Message: "panic: runtime error: invalid memory address"}, {Message: "goroutine 1"}}}, nil, nil, false, "delete the tracker"},
		{"silent failure", nodeadm.Init, nodeadm.Exit{Code: 1}, nil, nil, false, "exit code 1: it said nothing"},
		{"unknown failure with advice", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: []nodeadm.Line{{Level: "error", Message: "Validation failed", Error: "odd", Remediation: "turn it off and on"}}}, nil, nil, false, "nodeadm advises: turn it off and on"},
		{"node IP", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal("node IP 192.168.9.9 is not in any of the remote network CIDR blocks: [10.80.0.0/16].")}, nil, nil, true, "choose a NIC"},
		{"hostname-override", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal("hostname-override kubelet flag is not supported for hybrid nodes but found override: foo")}, nil, nil, true, "remove --hostname-override"},
		{"unknown field", nodeadm.ConfigCheck, nodeadm.Exit{Code: 1, Lines: fatal(`error unmarshaling JSON: while decoding JSON: json: unknown field "bogus"`)}, nil, nil, true, "correct that field"},
		{"version", nodeadm.Install, nodeadm.Exit{Code: 1, Lines: fatal("getting latest eks release: input semver did not match with any available releases")}, nil, nil, true, "manifest lists"},
		{"expired certificate", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal("validating iam-roles-anywhere certificate: server certificate has expired")}, nil, nil, true, "check the host's clock"},
		{"certificate missing", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal("IAM Roles Anywhere certificate /etc/iam/pki/server.pem not found")}, nil, nil, true, "asks the plane for a new certificate"},
		{"no containerd", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal("Unit file containerd.service does not exist.")}, nil, nil, true, "install containerd"},
		{"ECR denied", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal("operation error ECR: GetAuthorizationToken, api error AccessDeniedException: User is not authorized to perform: ecr:GetAuthorizationToken")}, nil, nil, true, "IAM role"},
		{"EKS unreachable", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal(`operation error EKS: DescribeCluster, exceeded maximum number of attempts, 3, dial tcp 127.0.0.1:9009: connect: connection refused`)}, nil, nil, false, "EKS service endpoint"},
		{"API unreachable", nodeadm.Init, nodeadm.Exit{Code: 1, Lines: fatal("context deadline exceeded while retrying: dialing 127.0.0.1:6443: dial tcp 127.0.0.1:6443: connect: connection refused")}, nil, nil, false, "through the VPN"},
		{"artifacts unreachable", nodeadm.Install, nodeadm.Exit{Code: 1, Lines: fatal("installing aws_signing_helper: downloading aws_signing_helper: getting artifact file reader: connection refused")}, nil, nil, false, "artifact server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := nodeadm.Evidence{nodeadm.TrackerPath: "1"}
			err := nodeadm.Judge(c.command, c.exit, before, c.after, c.tracker)
			if c.fragment == "" {
				if err != nil {
					t.Errorf("Judge = %v", err)
				}
				return
			}
			var failure *nodeadm.Failure
			if !errors.As(err, &failure) || !strings.Contains(failure.Message, c.fragment) || failure.Permanent != c.permanent {
				t.Errorf("Judge = %+v, want %q, permanent %v", err, c.fragment, c.permanent)
			}
		})
	}
}

// TestJudgeUninstallWithoutTracker: uninstall exits 0 having removed nothing.
func TestJudgeUninstallWithoutTracker(t *testing.T) {
	t.Parallel()
	there := nodeadm.Evidence{nodeadm.KubeletPath: "1"}
	var failure *nodeadm.Failure
	err := nodeadm.Judge(nodeadm.Uninstall, nodeadm.Exit{}, there, there, nodeadm.ErrNoTracker)
	if !errors.As(err, &failure) || !failure.Permanent || !strings.Contains(failure.Message, "restores the tracker") {
		t.Errorf("Judge = %v", err)
	}
}

func TestTracker(t *testing.T) {
	root := t.TempDir()
	if _, err := nodeadm.ReadTracker(root); !errors.Is(err, nodeadm.ErrNoTracker) {
		t.Errorf("no tracker: %v", err)
	}
	path := filepath.Join(root, nodeadm.TrackerPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "Artifacts:\n", "\x00\x01", "Artifacts: [1]"} {
		put(bad)
		_, err := nodeadm.ReadTracker(root)
		var broken *nodeadm.BrokenTrackerError
		if !errors.As(err, &broken) {
			t.Errorf("tracker %q: %v", bad, err)
		}
	}
	// Written by nodeadm v1.0.20.
	put("Artifacts:\n  CniPlugins: true\n  Containerd: none\n  IamAuthenticator: true\n  IamRolesAnywhere: true\n  ImageCredentialProvider: true\n  Iptables: false\n  Kubectl: true\n  Kubelet: true\n  Ssm: false\n")
	tracker, err := nodeadm.ReadTracker(root)
	if err != nil || !tracker.Artifacts.Kubelet || !tracker.Artifacts.IAMRolesAnywhere || tracker.Artifacts.Containerd != "none" {
		t.Errorf("tracker = %+v, %v", tracker, err)
	}
}
