package osimage_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	"hybridagent/agent/operation/osimage"
	"hybridagent/agent/operation/runner"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	bootc "hybridagent/test/fakebootc/command"
	kairos "hybridagent/test/fakekairos/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	succeeded = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	failed    = agentv1.OperationState_OPERATION_STATE_FAILED
)

// The images of the tests.
const former = "registry.example/ubuntu:nodeadm-1.30.9-v1.2.3-shop"

func wanted() osimage.Ref {
	return osimage.Ref{URI: "registry.example/ubuntu:nodeadm-1.31.5-v1.2.3-shop", Digest: "sha256:" + strings.Repeat("0a", 32)}
}

// host is a host of one of the stand-ins, in a folder.
type host struct {
	t         *testing.T
	name      string
	root, dir string
	kairos    *kairos.Host
	bootc     *bootc.Host

	mutex sync.Mutex
	ran   []string // programs that were run, with arguments
}

// drivers runs a test with each of them.
func drivers(t *testing.T, do func(t *testing.T, h *host)) {
	for _, name := range []string{"kairos", "bootc"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(t, newHost(t, name))
		})
	}
}

func newHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{t: t, name: name, root: t.TempDir(), dir: t.TempDir()}
	binds := []string{"/eks-hybrid"}
	programs := []string{"bootc", "ostree"}
	if name == "kairos" {
		binds = []string{"/eks-hybrid", "/etc/aws", "/etc/containerd", "/etc/eks", "/etc/iam", "/etc/modules-load.d", "/var/lib/amazon", "/var/lib/hybrid-agent", "/var/lib/hybrid-agent-op"}
		programs = []string{"kairos-agent", "grub2-editenv", "mount", "cp", "mv", "tune2fs", "sync"}
	}
	for _, program := range programs {
		h.file("usr/bin/"+program, "#!/bin/false\n", 0o755)
	}
	if name == "kairos" {
		h.kairos = &kairos.Host{Root: h.root, Settings: kairos.Settings{BindMounts: binds}}
		h.must(h.kairos.Installed(former))
	} else {
		h.bootc = &bootc.Host{Root: h.root, Settings: bootc.Settings{BindMounts: binds}}
		h.must(h.bootc.Installed(former))
	}
	h.boot()
	return h
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) file(name, content string, mode os.FileMode) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	h.must(errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode)))
}

// breakImages has images never come up.
func (h *host) breakImages(refs ...string) {
	if h.kairos != nil {
		h.kairos.Broken = refs
	} else {
		h.bootc.Broken = refs
	}
}

// shutdown is a proper one, boot a start; a power cut is a boot without a shutdown.
func (h *host) shutdown() {
	h.t.Helper()
	if h.bootc != nil {
		h.must(h.bootc.Shutdown())
	}
}

func (h *host) boot() {
	h.t.Helper()
	if h.bootc != nil {
		h.must(h.bootc.Boot())
		return
	}
	_, err := h.kairos.Boot()
	h.must(err)
}

// Run is a runner.Runner that plays the host's programs.
func (h *host) Run(_ context.Context, command runner.Command, onLine func(string)) (runner.Result, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	role := filepath.Base(command.Path)
	h.ran = append(h.ran, role+" "+strings.Join(command.Args, " "))
	var out bytes.Buffer
	code := 0
	switch role {
	case "kairos-agent":
		h.kairos.Stdout = &out
		code = h.kairos.Agent(command.Args)
	case "grub2-editenv":
		h.kairos.Stdout = &out
		code = h.kairos.Editenv(command.Args)
	case "cp":
		content, err := os.ReadFile(command.Args[1])
		h.must(errors.Join(err, os.WriteFile(command.Args[2], content, 0o644)))
	case "mv":
		h.must(os.Rename(command.Args[0], command.Args[1]))
	case "tune2fs":
		h.kairos.Stdout = &out
		code = h.kairos.Tune2fs(command.Args)
	case "bootc":
		h.bootc.Stdout = &out
		code = h.bootc.Bootc(command.Args)
	case "ostree":
		h.bootc.Stdout = &out
		code = h.bootc.Ostree(command.Args)
	}
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		onLine(line)
	}
	if code == 137 {
		return runner.Result{Code: -1, Signal: "SIGKILL"}, nil
	}
	return runner.Result{Code: code}, nil
}

func (h *host) Name() string                                 { return "lab" }
func (h *host) Stop(context.Context, string) error           { return nil }
func (h *host) Active(context.Context, string) (bool, error) { return false, nil }

// count is how often a program was run with arguments that begin so.
func (h *host) count(prefix string) int {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	n := 0
	for _, one := range h.ran {
		if strings.HasPrefix(one, prefix) {
			n++
		}
	}
	return n
}

func (h *host) driver() osimage.Driver {
	h.t.Helper()
	driver, err := osimage.Detect(h.root, h.dir)
	h.must(err)
	return driver
}

func (h *host) look() osimage.Status {
	h.t.Helper()
	status, err := h.driver().Look(h.t.Context(), osimage.Tools{Runner: h, ID: "look"})
	h.must(err)
	return status
}

// options are those of an operation.
func (h *host) options(id string) osimage.Options {
	return osimage.Options{
		Driver: h.driver(), Dir: h.dir, Root: h.root, OperationID: id, Image: wanted(), Runner: h,
		FreeBytes: func(string) (uint64, error) { return 8 << 30, nil },
	}
}

// attempt is one operation on a host, over as many boots as it takes.
type attempt struct {
	h      *host
	op     *agentv1.Operation
	signed []byte
	// more are steps behind those of the image.
	more []engine.Step
	edit func(*osimage.Options)
	// crash is the journal write at which the power is cut, before the even and after
	// the odd ones; -1: never.
	crash  int
	writes atomic.Int64
	// cutReboot is how many reboots are power cuts instead.
	cutReboot int
	// abort ends the operation once a reboot is pending.
	abort bool
	// down is the journal's record with which the host goes down in due order.
	down func(journal.Record) bool
	// boots counts the starts of the host so far.
	boots int
}

func (h *host) attempt(n uint64) *attempt {
	h.t.Helper()
	op := optest.Operation(n)
	return &attempt{h: h, op: op, signed: optest.NewAuthority(h.t).Sign(h.t, op).GetOperation(), crash: -1}
}

// perform runs the operation to its end.
func (a *attempt) perform() *agentv1.OperationProgress {
	a.h.t.Helper()
	for a.boots = 0; a.boots < 12; a.boots++ {
		last, cut := a.process()
		if operation.Ended(last.GetState()) {
			return last
		}
		if !cut {
			a.h.shutdown()
		}
		a.h.boot()
	}
	a.h.t.Fatalf("the host was started %d times and the operation has not ended; run were %q", a.boots, a.h.ran)
	return nil
}

// process is the life of one hybrid-agent-op: from a start to the end of the operation, a reboot or a power cut.
func (a *attempt) process() (last *agentv1.OperationProgress, cut bool) {
	a.h.t.Helper()
	store, err := journal.Open(filepath.Join(a.h.dir, "operations"))
	a.h.must(err)
	var e *engine.Engine
	var closing sync.WaitGroup
	var gone atomic.Bool
	seam := func(journal.Record) {
		if int(a.writes.Add(1))-1 == a.crash {
			gone.Store(true)
			closing.Go(func() { e.Close() })
			runtime.Goexit()
		}
	}
	store.SetSeam(journal.Seam{Before: seam, After: func(record journal.Record) {
		seam(record)
		if a.down != nil && a.down(record) {
			closing.Go(e.Close)
			runtime.Goexit()
		}
	}})
	e = engine.New(zap.NewNop(), store, engine.Options{RetryPause: time.Millisecond, Plan: func(context.Context, *agentv1.Operation, []byte) (engine.Plan, error) {
		opt := a.h.options(a.op.GetId())
		opt.Reboot = func(context.Context) error {
			if a.abort {
				a.abort = false
				closing.Go(func() {
					_, err := e.Abort(a.op.GetId(), "local root")
					a.h.must(err)
				})
				return nil
			}
			if a.cutReboot > 0 {
				a.cutReboot--
				gone.Store(true)
			}
			closing.Go(e.Close)
			return nil
		}
		if a.edit != nil {
			a.edit(&opt)
		}
		return engine.Plan{Steps: append(osimage.Steps(opt), a.more...)}, nil
	}})
	defer closing.Wait()
	defer e.Close()
	submitted := make(chan struct{})
	go func() {
		defer close(submitted)
		// The plane sends the operation again until it has an answer.
		if err := errors.Join(e.Resume(), e.Submit(a.op, a.signed)); err != nil && !gone.Load() {
			a.h.t.Error(err)
		}
	}()
	<-submitted
	_ = e.Follow(a.h.t.Context(), "", func(p *agentv1.OperationProgress) error { last = p; return nil })
	return last, gone.Load()
}

func wantEnd(t *testing.T, got *agentv1.OperationProgress, want agentv1.OperationState, fragments ...string) {
	t.Helper()
	if got.GetState() != want {
		t.Errorf("state = %v, want %v (step %s: %s)", got.GetState(), want, got.GetStep(), got.GetMessage())
	}
	for _, fragment := range fragments {
		if !strings.Contains(got.GetMessage(), fragment) {
			t.Errorf("message %q lacks %q", got.GetMessage(), fragment)
		}
	}
}
