package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/facts"
	"hybridagent/test/fakenodeadm/lab"
)

// The tests here hold what is known of the real program without a recording in the table.

func freshHost(t *testing.T) *host {
	t.Helper()
	table, err := facts.Load("../testdata/facts.json")
	if err != nil {
		t.Fatal(err)
	}
	return newHost(t, table, false)
}

func (h *host) fails(args []string, code int, text string) string {
	h.t.Helper()
	_, stderr, got := h.exec(args, false)
	if got != code || !strings.Contains(stderr, text) {
		h.t.Errorf("nodeadm %s: exit %d, want %d with %q in\n%s", strings.Join(args, " "), got, code, text, stderr)
	}
	return stderr
}

func TestChecksumMismatchLeavesTheBadKubelet(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs) // the helper's checksum is right this time
	h.must(os.RemoveAll(filepath.Join(h.root, "/opt/nodeadm")))
	h.must(os.Remove(filepath.Join(h.root, "/usr/bin/kubelet")))
	sum := filepath.Join(h.root, "lab/artifacts/1.30.4/kubelet.sha256")
	h.must(os.WriteFile(sum, []byte(strings.Repeat("0", 64)+"  kubelet\n"), 0o644))
	h.fails(installArgs, 1, "kubelet checksum mismatch")
	if _, err := os.Stat(filepath.Join(h.root, "/usr/bin/kubelet")); err != nil {
		t.Errorf("the bad kubelet is gone: %v", err)
	}
	if got := h.tracker(); got != "absent" {
		t.Errorf("tracker is %s after a failed install", got)
	}
}

func TestMissingArtifactIsTriedNineTimes(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.must(h.server.SetFaults(server.Faults{Artifacts: "404"}))
	h.fails(installArgs, 1, "unexpected status code: 404")
	if calls := h.calls(); len(calls) != 9 {
		t.Errorf("%d requests, want 9: %v", len(calls), calls)
	}
}

// withFlags replaces the kubelet flags of the base configuration.
func (h *host) withFlags(flags string) {
	h.t.Helper()
	path := filepath.Join(h.root, "/lab/nodeconfig.yaml")
	raw, err := os.ReadFile(path)
	h.must(err)
	h.write("/lab/nodeconfig.yaml", strings.Replace(string(raw), "      - --node-labels=site=store-17", flags, 1), 0o644)
}

func TestNodeIPInTwoWordsIsIgnored(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs)
	h.withFlags("      - --node-ip\n      - 192.168.9.9")
	h.succeed(initArgs) // the default route's address is inside the remote networks, so the check passes
}

func TestClusterDetailsInNodeConfigSkipChecks(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs)
	h.withFlags("      - --node-ip=192.168.9.9")
	path := filepath.Join(h.root, "/lab/nodeconfig.yaml")
	raw, err := os.ReadFile(path)
	h.must(err)
	details := "    region: us-west-2\n    cidr: 172.20.0.0/16\n    apiServerEndpoint: " + h.server.Endpoint() + "\n    certificateAuthority: " + base64CA(h)
	h.write("/lab/nodeconfig.yaml", strings.Replace(string(raw), "    region: us-west-2", details, 1), 0o644)
	h.server.ResetCalls()
	h.succeed(initArgs)
	for _, call := range h.calls() {
		if strings.Contains(call, "/clusters/") {
			t.Errorf("call %s, want none to EKS", call)
		}
	}
}

func TestKubeletNewerThanTheClusterIsRefused(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs)
	h.write("/usr/bin/kubelet", "#!/bin/sh\necho Kubernetes v1.32.1\n", 0o755)
	h.fails(initArgs, 1, "is not compatible with the cluster's version 1.31")
}

func TestMissingFstabFailsInit(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs)
	h.must(os.Remove(filepath.Join(h.root, "/etc/fstab")))
	h.fails(initArgs, 1, "no such file or directory")
}

func TestSwapIsDroppedFromFstab(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.write("/etc/fstab", "UUID=1 / ext4 defaults 0 1\n/swap none swap sw 0 0\n", 0o644)
	h.succeed(installArgs)
	h.succeed(initArgs)
	raw, err := os.ReadFile(filepath.Join(h.root, "/etc/fstab"))
	h.must(err)
	if string(raw) != "UUID=1 / ext4 defaults 0 1\n" {
		t.Errorf("fstab is %q", raw)
	}
}

func TestNoSystemdFailsConfigCheck(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	var out, errs buffer
	c := h.command(&out, &errs)
	c.HasSystemd = func() bool { return false }
	if code := c.Run(t.Context(), []string{"config", "check", "-c", "file:///lab/nodeconfig.yaml"}); code != 1 {
		t.Errorf("exit %d without systemd, want 1\n%s", code, errs.String())
	}
}

func TestWhatIsNotImitatedIsRefusedByName(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs)
	h.fails([]string{"sync-artifacts"}, 1, "does not do")
	distro := append([]string{}, installArgs...)
	distro[5] = "docker"
	h.fails(distro, 1, "this stand-in installs with")
	if got := h.tracker(); got != "present" {
		t.Errorf("tracker is %s, want it untouched", got)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault lab.Fault
		code  int
		text  string
	}{
		{"fail", lab.Fault{Command: "install", Phase: "kubectl", Action: "fail", Message: "disk full"}, 1, "disk full"},
		{"noop", lab.Fault{Command: "install", Phase: "start", Action: "noop"}, 0, ""},
		{"slow", lab.Fault{Phase: "kubelet", Action: "slow", MS: 200}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := freshHost(t)
			h.faults = []lab.Fault{c.fault, {Command: "init", Phase: "manifest", Action: "fail"}}
			begin := time.Now()
			h.fails(installArgs, c.code, c.text)
			if took := time.Since(begin); took < time.Duration(c.fault.MS)*time.Millisecond {
				t.Errorf("took %s, want at least %d ms", took, c.fault.MS)
			}
			want := map[string]string{"fail": "absent", "noop": "absent", "slow": "present"}[c.name]
			if got := h.tracker(); got != want {
				t.Errorf("tracker is %s, want %s", got, want)
			}
		})
	}
}

func TestFaultHangs(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.faults = []lab.Fault{{Command: "install", Phase: "kubelet", Action: "hang"}}
	var out, errs buffer
	c := h.command(&out, &errs)
	done := make(chan int, 1)
	ctx, cancel := contextFor(t)
	go func() { done <- c.Run(ctx, installArgs) }()
	waitFor(t, func() bool { return strings.Contains(errs.String(), "Installing kubelet") })
	select {
	case code := <-done:
		t.Fatalf("ended with %d, want it to hang", code)
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	if code := <-done; code != 137 {
		t.Errorf("exit %d after the kill, want 137", code)
	}
}

func TestUninstallWithAnEmptyKubeletConfigPanics(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs)
	h.succeed(initArgs)
	h.must(os.Truncate(filepath.Join(h.root, "/etc/kubernetes/kubelet/config.json"), 0))
	h.fails([]string{"uninstall"}, 2, "panic: runtime error")
	if got := h.tracker(); got != "present" {
		t.Errorf("tracker is %s, want present", got)
	}
}

func TestUninstallOfANodeThatNeverRegisteredFails(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	h.succeed(installArgs)
	h.succeed(initArgs)
	h.fails([]string{"uninstall"}, 1, "node not initialized")
}

// initialised is a host after install 1.30 and init, its Node cordoned.
func initialised(t *testing.T) *host {
	t.Helper()
	h := freshHost(t)
	h.succeed(installArgs)
	h.succeed(initArgs)
	h.server.PutNode("store-17-a", true)
	return h
}

func TestUpgradePastTheClusterSucceedsAndInitThenRefusesTheSkew(t *testing.T) {
	t.Parallel()
	h := initialised(t)
	h.must(h.server.SetClusterVersion("1.30"))
	h.succeed(upgradeArgs)
	h.fails(initArgs, 1, "kubelet version v1.31.5 is not compatible with the cluster's version 1.30")
}

func TestUpgradeLeavesKubeletsUnitFileAlone(t *testing.T) {
	t.Parallel()
	h := initialised(t)
	const path, text = "/etc/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet --mine\n"
	h.write(path, text, 0o644)
	h.succeed(upgradeArgs)
	raw, err := os.ReadFile(filepath.Join(h.root, path))
	h.must(err)
	if string(raw) != text {
		t.Errorf("kubelet.service is now %q", raw)
	}
}

func TestUpgradeKeepsTheCredentialProvider(t *testing.T) {
	t.Parallel()
	h := initialised(t)
	h.write("/lab/nodeconfig.yaml", ssmNodeConfig, 0o644)
	h.fails(upgradeArgs, 1, "upgrade does not support changing credential providers")
}

func TestTheWholeSystemIsUpgradedUnlessPrivate(t *testing.T) {
	t.Parallel()
	h := freshHost(t)
	distro := append([]string{}, installArgs[:len(installArgs)-1]...)
	distro[5] = "distro"
	h.succeed(distro)
	h.succeed(initArgs)
	h.server.PutNode("store-17-a", true)
	log := filepath.Join(h.root, lab.Dir, "packages.log")
	h.must(os.Remove(log))
	h.succeed(upgradeArgs)
	if _, err := os.Stat(log); err == nil {
		t.Error("packages were touched in private mode")
	}
	h.succeed(upgradeArgs[:len(upgradeArgs)-1])
	raw, err := os.ReadFile(log)
	h.must(err)
	if !strings.Contains(string(raw), "apt upgrade containerd -y\n") {
		t.Errorf("package commands %q, want the one that upgrades everything", raw)
	}
}

func TestUpgradeEndsAtItsTimeout(t *testing.T) {
	t.Parallel()
	h := initialised(t)
	h.faults = []lab.Fault{{Command: "upgrade", Phase: "kubectl", Action: "hang"}}
	h.fails(append(append([]string{}, upgradeArgs...), "-t", "60s"), 1, "context deadline exceeded")
	if got := h.tracker(); got != "present" {
		t.Errorf("tracker is %s after a timeout, want present", got)
	}
}

func TestDebugNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	h := initialised(t)
	h.must(os.Remove(filepath.Join(h.root, "/usr/bin/kubelet")))
	stdout, stderr, code := h.exec([]string{"debug", "-c", "file:///lab/nodeconfig.yaml", "--no-color"}, false)
	if code != 0 || !strings.Contains(stdout, "/usr/bin/kubelet is missing") || !strings.Contains(stdout, "(stand-in)") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}
