package lifecycle

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/optest"
	"hybridagent/agent/operation/osimage"
	"hybridagent/agent/operation/runner"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	bootc "hybridagent/test/fakebootc/command"
)

// The images of an appliance, by Kubernetes version.
const (
	oldImage = "registry.example/ubuntu:nodeadm-1.31.5-shop"
	newImage = "registry.example/ubuntu:nodeadm-1.32.3-shop"

	newDigest = "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
)

// appliance is a node that was booted from an image of bootc.
type appliance struct {
	*host
	fake  *bootc.Host
	mutex sync.Mutex
}

func newAppliance(t *testing.T, command, mode string) *appliance {
	t.Helper()
	a := &appliance{host: newNode(t, command, mode)}
	a.fake = &bootc.Host{Root: a.root, Settings: bootc.Settings{BindMounts: []string{"/eks-hybrid"}}}
	if err := a.fake.Installed(oldImage); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"usr/bin/bootc", "usr/bin/ostree"} {
		if err := os.WriteFile(filepath.Join(a.root, program), []byte("#!/bin/false\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a.options.Runner = a
	a.boot()
	driver, err := osimage.Detect(a.root, a.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	a.options.Appliance = &Appliance{Driver: driver}
	return a
}

// boot starts the host: kubelet is the image's, and starts by itself.
func (a *appliance) boot() {
	a.t.Helper()
	if err := a.fake.Boot(); err != nil {
		a.t.Fatal(err)
	}
	image, err := osimage.Running(a.t.Context(), mustDetect(a), osimage.Tools{Runner: a, ID: "boot"}, a.options.Dir)
	if err != nil {
		a.t.Fatal(err)
	}
	version := "1.31.5"
	if image.Digest == newDigest {
		version = "1.32.3"
	}
	write(a.t, filepath.Join(a.root, "usr/bin/kubelet"), []byte("kubelet "+version+"\n"))
	write(a.t, filepath.Join(a.root, "run/kubelet"), []byte(version+"\n"))
}

func mustDetect(a *appliance) osimage.Driver {
	a.t.Helper()
	driver, err := osimage.Detect(a.root, a.options.Dir)
	if err != nil {
		a.t.Fatal(err)
	}
	return driver
}

// Run is the runner's: bootc and ostree are played, nodeadm's double is run.
func (a *appliance) Run(ctx context.Context, command runner.Command, onLine func(string)) (runner.Result, error) {
	play := map[string]func([]string) int{"bootc": a.fake.Bootc, "ostree": a.fake.Ostree}[filepath.Base(command.Path)]
	if play == nil {
		return processes{}.Run(ctx, command, onLine)
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	var out bytes.Buffer
	a.fake.Stdout = &out
	code := play(command.Args)
	for _, line := range strings.Split(out.String(), "\n") {
		onLine(line)
	}
	return runner.Result{Code: code}, nil
}

func (a *appliance) Name() string                                 { return "lab" }
func (a *appliance) Stop(context.Context, string) error           { return nil }
func (a *appliance) Active(context.Context, string) (bool, error) { return false, nil }

// repave runs a repave to the other image, over as many boots as it takes.
func (a *appliance) repave() (end *agentv1.OperationProgress, boots int) {
	a.t.Helper()
	return a.boots(repaveKind)
}

// boots runs an operation towards the other image, over as many boots as it takes.
func (a *appliance) boots(kind agentv1.OperationKind) (end *agentv1.OperationProgress, boots int) {
	a.t.Helper()
	op := order(2, kind, func(spec *agentv1.NodeSpec) {
		newer(spec)
		spec.OsImage = &agentv1.OSImage{Uri: newImage}
	})
	op.OsImageDigest = newDigest
	signed := optest.NewAuthority(a.t).Sign(a.t, op).GetOperation()
	for boots = range 6 {
		e := a.engine()
		var closing sync.WaitGroup
		a.options.Appliance.Reboot = func(context.Context) error { closing.Go(e.Close); return nil }
		if err := e.Resume(); err != nil {
			a.t.Fatal(err)
		}
		if err := e.Submit(op, signed); err != nil {
			a.t.Fatal(err)
		}
		_ = e.Follow(a.t.Context(), "", func(p *agentv1.OperationProgress) error { end = p; return nil })
		e.Close()
		closing.Wait()
		if operation.Ended(end.GetState()) {
			return end, boots
		}
		if err := a.fake.Shutdown(); err != nil {
			a.t.Fatal(err)
		}
		a.boot()
	}
	a.t.Fatal("the operation has not ended")
	return nil, 0
}

// TestRepaveOfAnAppliance: drain, another image, init on it, Ready, uncordon.
func TestRepaveOfAnAppliance(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, "", "")
	end, boots := a.repave()
	wantState(t, end, succeeded)
	a.wantNode("1.32.3", "")
	a.wantCalls("config check", "init ")
	if boots != 1 || a.kube.drains != 1 || end.GetForecast().GetPath() != "os-image" {
		t.Errorf("%d reboots, %d drains, path %s", boots, a.kube.drains, end.GetForecast().GetPath())
	}
}

// TestProvisionOfAnAppliance: a host that is no node boots the image that its pool
// wants; nodeadm installs nothing, as the image brings it, and its lost tracker is
// written.
func TestProvisionOfAnAppliance(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, "", "")
	for _, path := range []string{"state/applied", "state/applied.copy", "state/installed", "var/lib/kubelet/kubeconfig", "run/kubelet", "opt/nodeadm/tracker"} {
		remove(t, filepath.Join(a.root, path))
	}
	end, boots := a.boots(provisionKind)
	wantState(t, end, succeeded)
	a.wantNode("1.32.3", "")
	a.wantCalls("config check", "init ")
	if boots != 1 || end.GetForecast().GetPath() != "os-image" {
		t.Errorf("%d reboots, path %s", boots, end.GetForecast().GetPath())
	}
	if status, err := osimage.Running(t.Context(), mustDetect(a), osimage.Tools{Runner: a, ID: "end"}, a.options.Dir); err != nil || status.Name != newImage {
		t.Errorf("booted is %v, %v", status, err)
	}
}

// TestBootedImageGoesBeforeTheRecord: the record says that the wanted image is in
// force, but the host runs another one.
func TestBootedImageGoesBeforeTheRecord(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, "", "")
	state, _, err := applied.ReadState(a.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	op := order(2, repaveKind, func(spec *agentv1.NodeSpec) { newer(spec); spec.OsImage = &agentv1.OSImage{Uri: newImage} })
	state.Node, state.NodeDigest, state.KubernetesVersion = op.GetNode(), op.GetNodeDigest(), "1.32.3"
	if err := applied.WriteState(a.options.Dir, state); err != nil {
		t.Fatal(err)
	}
	end, boots := a.repave()
	wantState(t, end, succeeded)
	if boots != 1 || end.GetForecast().GetPath() != "os-image" {
		t.Errorf("%d reboots, path %s because of %q", boots, end.GetForecast().GetPath(), end.GetForecast().GetReasons())
	}
}

// TestFallbackRejoins: the image does not come up. The node is joined again on the
// former one.
func TestFallbackRejoins(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, "", "")
	a.fake.Broken = []string{"registry.example/ubuntu@" + newDigest}
	end, boots := a.repave()
	wantState(t, end, failed, "booted fallback image "+oldImage, "the node is what it was: Kubernetes 1.31.5")
	a.wantNode("1.31.5", "")
	a.wantCalls("config check", "init ")
	if boots != 1 {
		t.Errorf("%d reboots", boots)
	}
}

// TestApplianceGoesBack: the image comes up, nodeadm init fails on it for good. The
// host boots what it ran before and joins again.
func TestApplianceGoesBack(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, "", "")
	a.options.Environment["FAKE_BROKEN"] = "1.32.3"
	a.options.ReadyDeadline = 300 * time.Millisecond
	end, boots := a.repave()
	wantState(t, end, failed, "did not become Ready", "the node is what it was: Kubernetes 1.31.5")
	a.wantNode("1.31.5", "")
	a.wantCalls("config check", "init ", "init ")
	if boots != 2 {
		t.Errorf("%d reboots", boots)
	}
}

// TestNoAppliance: an image for a host that has none is refused, and nothing is
// touched.
func TestNoAppliance(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, "", "")
	a.options.Appliance = nil
	h := a.host
	op := order(2, repaveKind, func(spec *agentv1.NodeSpec) { newer(spec); spec.OsImage = &agentv1.OSImage{Uri: newImage} })
	op.OsImageDigest = newDigest
	wantState(t, h.provision(op), failed, "neither kairos-agent nor bootc is there")
	h.wantCalls()
}
