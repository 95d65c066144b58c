package osimage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/osimage"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	bootc "hybridagent/test/fakebootc/command"
	kairos "hybridagent/test/fakekairos/command"
)

func TestAnotherImage(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		before := h.look().Booted
		a := h.attempt(1)
		wantEnd(t, a.perform(), succeeded)
		status := h.look()
		if a.boots != 1 || !status.Booted.Is(wanted()) || !status.Next.Same(status.Booted) || !status.Others[0].Same(before) {
			t.Errorf("after %d reboots: %+v", a.boots, status)
		}
		if got, err := osimage.Running(t.Context(), h.driver(), osimage.Tools{Runner: h, ID: "look"}, h.dir); err != nil || got.Name != wanted().URI || got.Digest != wanted().Digest {
			t.Errorf("Running = %+v, %v", got, err)
		}
		if got := osimage.Known(t.Context(), h.driver(), h.root, h.dir); got != wanted().URI {
			t.Errorf("Known = %q", got)
		}
		// What was signed is what was asked for, and not the tag.
		asked := map[string]string{"kairos": "kairos-agent upgrade --source oci:", "bootc": "bootc switch --quiet "}[h.name]
		if n := h.count(asked + "registry.example/ubuntu@" + wanted().Digest); n != 1 {
			t.Errorf("%d runs of %s; run were %q", n, asked, h.ran)
		}
		// Again: there is nothing to do.
		before2 := len(h.ran)
		wantEnd(t, h.attempt(2).perform(), succeeded)
		if n := h.count(asked); n != 1 {
			t.Errorf("it was staged %d times; run were %q", n, h.ran[before2:])
		}
	})
}

// TestIndex: bootc reports the manifest's digest where the signed one is that of an index of several architectures.
func TestIndex(t *testing.T) {
	t.Parallel()
	h := newHost(t, "bootc")
	h.bootc.Index = true
	wantEnd(t, h.attempt(1).perform(), succeeded)
	if booted := h.look().Booted; booted.Digest == wanted().Digest || !booted.Is(wanted()) {
		t.Errorf("booted = %+v", booted)
	}
}

// TestFallback: the image does not come up. The operation says what runs, and what runs is what boots from now on.
func TestFallback(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		h.breakImages(wanted().Pinned())
		before := h.look().Booted
		a := h.attempt(1)
		wantEnd(t, a.perform(), failed, "booted fallback image", "instead of "+wanted().String(), "repair the image and repave again")
		if status := h.look(); a.boots != 1 || !status.Booted.Same(before) || !status.Next.Same(before) {
			t.Errorf("after %d reboots: %+v; run were %q", a.boots, status, h.ran)
		}
		h.boot()
		if status := h.look(); !status.Booted.Same(before) {
			t.Errorf("after another boot: %+v", status)
		}
		// The image is repaired: the next repave is not held up by what failed.
		h.breakImages()
		wantEnd(t, h.attempt(2).perform(), succeeded)
	})
}

// TestFormerFailureIsForgotten: kairos-agent before 4.2 leaves GRUB's sentinel of a failed boot, and the next image would not
// even be tried (kairos-io/kairos issue 4303).
func TestFormerFailureIsForgotten(t *testing.T) {
	t.Parallel()
	h := newHost(t, "kairos")
	h.kairos.KeepsTentative = true
	h.breakImages(wanted().Pinned())
	wantEnd(t, h.attempt(1).perform(), failed, "booted fallback image")
	h.breakImages()
	wantEnd(t, h.attempt(2).perform(), succeeded)
	if h.count("grub2-editenv") == 0 {
		t.Errorf("the sentinel was never cleared; run were %q", h.ran)
	}
}

// TestPowerCutAtEveryJournalWrite cuts the power before and after each record that goes to disk: the host ends on the wanted
// image, and what it ran before is still there to fall back on.
func TestPowerCutAtEveryJournalWrite(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		counting := newHost(t, h.name).attempt(1)
		wantEnd(t, counting.perform(), succeeded)
		points, recovered := int(counting.writes.Load()), 0
		for point := range points {
			h := newHost(t, h.name)
			before := h.look().Booted
			a := h.attempt(1)
			a.crash = point
			end := a.perform()
			wantEnd(t, end, succeeded)
			status := h.look()
			if end.GetState() == succeeded && status.Booted.Is(wanted()) && status.Others[0].Same(before) {
				recovered++
			} else {
				t.Errorf("point %d: %+v; run were %q", point, status, h.ran)
			}
		}
		t.Logf("%d crash points, %d recovered", points, recovered)
		if recovered != points || points < 16 {
			t.Errorf("%d of %d crash points recovered", recovered, points)
		}
	})
}

// TestPowerCutInTheTool cuts the power in the middle of what the tool does, once; the host then starts anew.
func TestPowerCutInTheTool(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"resolve", "deploy", "rename", "hook"} {
		t.Run("kairos "+phase, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "kairos")
			before := h.look().Booted
			h.kairos.Faults = []kairos.Fault{{Phase: phase, Action: "kill"}}
			h.cutDuringStage()
			h.kairos.Faults = nil
			h.boot()
			a := h.attempt(1)
			wantEnd(t, a.perform(), succeeded)
			if status := h.look(); !status.Booted.Is(wanted()) || !status.Others[0].Same(before) {
				t.Errorf("after a cut at %s: %+v; run were %q", phase, status, h.ran)
			}
		})
		t.Run("kairos killed at "+phase, func(t *testing.T) {
			t.Parallel()
			// As before, but hybrid-agent-op alone dies: the host goes on with what it has booted, which must not be lost.
			h := newHost(t, "kairos")
			before := h.look().Booted
			h.kairos.Faults = []kairos.Fault{{Phase: phase, Action: "kill"}}
			h.cutDuringStage()
			h.kairos.Faults = nil
			h.breakImages(wanted().Pinned())
			wantEnd(t, h.attempt(1).perform(), failed, "booted fallback image")
			if status := h.look(); !status.Booted.Same(before) || !status.Next.Same(before) {
				t.Errorf("after a kill at %s: %+v; run were %q", phase, status, h.ran)
			}
		})
	}
	t.Run("bootc", func(t *testing.T) {
		t.Parallel()
		h := newHost(t, "bootc")
		h.bootc.Faults = []bootc.Fault{{Command: "switch", Action: "kill"}}
		h.cutDuringStage()
		h.bootc.Faults = nil
		h.boot()
		wantEnd(t, h.attempt(1).perform(), succeeded)
	})
}

// cutDuringStage runs stage-image alone until the tool is gone.
func (h *host) cutDuringStage() {
	h.t.Helper()
	steps := osimage.Steps(h.options(h.attempt(1).op.GetId()))
	err := steps[1].Do(h.t.Context(), run("cut"))
	var tool *osimage.ToolError
	if !errors.As(err, &tool) || tool.Result.Signal != "SIGKILL" {
		h.t.Fatalf("stage-image = %v", err)
	}
}

func run(id string) engine.Run {
	return engine.Run{ID: id, Attempt: 1, Say: func(string) {}, Line: func(string) {}}
}

// TestStagedIsLost: a power cut instead of the reboot loses what bootc has staged. It is staged once more; a host that loses it
// again does not go round for ever.
func TestStagedIsLost(t *testing.T) {
	t.Parallel()
	for cuts, want := range map[int]agentv1.OperationState{1: succeeded, 9: failed} {
		h := newHost(t, "bootc")
		a := h.attempt(1)
		a.cutReboot = cuts
		end := a.perform()
		wantEnd(t, end, want)
		if n := h.count("bootc switch"); n != 2 || a.boots != 2 {
			t.Errorf("%d cuts: staged %d times in %d boots", cuts, n, a.boots)
		}
		if want == failed {
			wantEnd(t, end, failed, "booted fallback image", "it came up 2 times in a row, and nothing tells why")
		}
	}
}

// TestReturn: the image comes up but the node does not. The host goes back to what it ran.
func TestReturn(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		before := h.look().Booted
		a := h.attempt(1)
		a.more = []engine.Step{{Name: "node-ready", Do: func(context.Context, engine.Run) error {
			return &engine.Permanent{Err: errors.New("kubelet does not start")}
		}}}
		wantEnd(t, a.perform(), failed, "kubelet does not start")
		if status := h.look(); a.boots != 2 || !status.Booted.Same(before) || !status.Next.Same(before) {
			t.Errorf("after %d reboots: %+v; run were %q", a.boots, status, h.ran)
		}
	})
}

// TestTakenBackBeforeTheReboot: what was staged does not come up with a reboot that somebody makes later.
func TestTakenBackBeforeTheReboot(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		before := h.look().Booted
		a := h.attempt(1)
		a.edit = func(opt *osimage.Options) {
			opt.Reboot = func(context.Context) error { return &engine.Permanent{Err: errors.New("drain failed")} }
		}
		wantEnd(t, a.perform(), failed, "drain failed")
		if status := h.look(); a.boots != 0 || !status.Next.Same(before) {
			t.Errorf("next is %+v; run were %q", status.Next, h.ran)
		}
		h.shutdown()
		h.boot()
		if status := h.look(); !status.Booted.Same(before) {
			t.Errorf("booted is %+v", status.Booted)
		}
	})
}

// TestAbortedWhileARebootIsPending: the host goes down all the same, as soon as the
// reboot counts as taken back or in the middle of that. What comes up is what ran
// before, or the operation has not ended.
func TestAbortedWhileARebootIsPending(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		before := h.look().Booted
		a := h.attempt(1)
		a.abort = true
		a.down = func(record journal.Record) bool {
			return record.Kind == journal.Undone && record.Step == "reboot" && a.boots == 0
		}
		wantEnd(t, a.perform(), agentv1.OperationState_OPERATION_STATE_ABORTED)
		if status := h.look(); a.boots != 1 || !status.Booted.Same(before) || !status.Next.Same(before) {
			t.Errorf("after %d reboots: %+v; run were %q", a.boots, status, h.ran)
		}
	})
}

// TestAbortedTooLateToUnstage: the image comes up although the operation was aborted
// before. The host returns.
func TestAbortedTooLateToUnstage(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		before := h.look().Booted
		a := h.attempt(1)
		a.abort = true
		a.down = func(record journal.Record) bool {
			return record.Kind == journal.Undo && record.Step == "reboot" && a.boots == 0
		}
		wantEnd(t, a.perform(), agentv1.OperationState_OPERATION_STATE_ABORTED)
		if status := h.look(); a.boots != 2 || !status.Booted.Same(before) || !status.Next.Same(before) {
			t.Errorf("after %d reboots: %+v; run were %q", a.boots, status, h.ran)
		}
	})
}

func TestToolFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, driver string
		change       func(*host)
		runs         int
		fragments    []string
	}{
		{"kairos full", "kairos", func(h *host) { h.kairos.Faults = []kairos.Fault{{Phase: "deploy", Action: "full"}} }, 1, []string{"no space left on device", "free space where images lie"}},
		{"bootc full", "bootc", func(h *host) { h.bootc.Faults = []bootc.Fault{{Command: "switch", Action: "full"}} }, 1, []string{"Insufficient free space", "free space where images lie"}},
		{"kairos gone", "kairos", func(h *host) { h.kairos.Images = []string{"other"} }, 3, []string{"MANIFEST_UNKNOWN", "push it again"}},
		{"bootc gone", "bootc", func(h *host) { h.bootc.Images = []string{"other"} }, 3, []string{"manifest unknown", "push it again"}},
		{"kairos fails", "kairos", func(h *host) { h.kairos.Faults = []kairos.Fault{{Phase: "hook", Action: "fail"}} }, 2, []string{"fault at hook", "exit code 1"}},
		{"bootc status", "bootc", func(h *host) { h.bootc.Faults = []bootc.Fault{{Command: "status", Action: "fail"}} }, 0, []string{"cannot change the image", "fault at status"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, c.driver)
			before := h.look()
			c.change(h)
			wantEnd(t, h.attempt(1).perform(), failed, c.fragments...)
			if n := h.count("kairos-agent upgrade --source oci:") + h.count("bootc switch"); n != c.runs {
				t.Errorf("it was tried %d times, want %d; run were %q", n, c.runs, h.ran)
			}
			if h.kairos != nil {
				h.kairos.Settings = kairos.Settings{BindMounts: h.kairos.BindMounts}
			} else {
				h.bootc.Faults, h.bootc.Images = nil, nil
			}
			if after := h.look(); !after.Booted.Same(before.Booted) {
				t.Errorf("before %+v, after %+v", before, after)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, driver string
		change       func(*host, *osimage.Options)
		fragments    []string
	}{
		{"no digest", "kairos", func(_ *host, o *osimage.Options) { o.Image.Digest = "" }, []string{"names no digest", "sign it again"}},
		{"no room", "kairos", func(_ *host, o *osimage.Options) {
			o.Need = 3 << 30
			o.FreeBytes = func(string) (uint64, error) { return 12, nil }
		}, []string{"needs about 3221225472 bytes", "where 12 are free"}},
		{"no room guessed", "bootc", func(_ *host, o *osimage.Options) { o.FreeBytes = func(string) (uint64, error) { return 12, nil } }, []string{"needs about 1073741824 bytes", "/sysroot, where 12 are free"}},
		{"no bind mounts", "kairos", func(h *host, _ *osimage.Options) { h.kairos.BindMounts = []string{"/etc/aws"}; h.boot() },
			[]string{"/eks-hybrid, /etc/containerd, /etc/eks, /etc/iam, /etc/modules-load.d, /var/lib/amazon, /var/lib/hybrid-agent, /var/lib/hybrid-agent-op would be lost", "install: {bind_mounts: [/eks-hybrid, /etc/containerd"}},
		{"no bind mount", "bootc", func(h *host, _ *osimage.Options) { h.bootc.BindMounts = nil; h.boot() }, []string{"/eks-hybrid would be lost", "What=/var/eks-hybrid, Where=/eks-hybrid"}},
		{"own state", "bootc", func(h *host, o *osimage.Options) { o.Paths = []string{"/srv/state"} }, []string{"/srv/state would be lost"}},
		{"recovery", "kairos", func(h *host, _ *osimage.Options) { h.file("proc/cmdline", "root=LABEL=COS_SYSTEM", 0o644) }, []string{"runs its recovery system"}},
		{"live", "kairos", func(h *host, _ *osimage.Options) { h.file("proc/cmdline", "root=live:CDLABEL=COS_LIVE", 0o644) }, []string{"names no slot of Kairos"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, c.driver)
			a := h.attempt(1)
			a.edit = func(o *osimage.Options) { c.change(h, o) }
			wantEnd(t, a.perform(), failed, append(c.fragments, "cannot change the image")...)
			if n := h.count("kairos-agent") + h.count("bootc switch"); n != 0 {
				t.Errorf("something was staged all the same: %q", h.ran)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	h := newHost(t, "kairos")
	if d := h.driver(); d.Name() != "kairos" {
		t.Errorf("Detect = %s", d.Name())
	}
	h.file("proc/cmdline", "rd.immucore.uki root=LABEL=COS_ACTIVE", 0o644)
	if _, err := osimage.Detect(h.root, h.dir); err == nil || !strings.Contains(err.Error(), "unified kernel image") {
		t.Errorf("Detect with Trusted Boot = %v", err)
	}
	if d := newHost(t, "bootc").driver(); d.Name() != "bootc" {
		t.Errorf("Detect = %s", d.Name())
	}
	if err := os.Remove(filepath.Join(h.root, "usr/bin/kairos-agent")); err != nil {
		t.Fatal(err)
	}
	if _, err := osimage.Detect(h.root, h.dir); !errors.Is(err, osimage.ErrNoDriver) {
		t.Errorf("Detect of another host = %v", err)
	}
}

// TestDamagedRecord: what is known of images is lost; the next repave works all the same.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	drivers(t, func(t *testing.T, h *host) {
		wantEnd(t, h.attempt(1).perform(), succeeded)
		if err := os.WriteFile(filepath.Join(h.dir, "os-image"), []byte("\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, h.attempt(2).perform(), succeeded)
	})
}
