package artifact_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/nodeadm/artifact"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestShelf: there, back, and gone, as an operation goes.
func TestShelf(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	former, wanted := anywhere("1.30.4"), anywhere("1.31.5")
	opt.Spec = wanted
	pin(t, s, &opt)
	opt.Spec = nil
	shelf := artifact.Shelf{Options: opt, Own: "/usr/local/bin/nodeadm"}

	if _, _, _, err := shelf.Open(t.Context(), former); !errors.Is(err, artifact.ErrNotStaged) {
		t.Fatalf("nothing staged: %v", err)
	}
	if program, err := shelf.Program(t.Context(), former); err != nil || program != shelf.Own {
		t.Fatalf("nothing staged: %q, %v", program, err)
	}
	var said []string
	for _, spec := range []*agentv1.NodeSpec{former, wanted} {
		if err := shelf.Stage(t.Context(), spec, []*agentv1.NodeSpec{former, wanted}, func(text string) { said = append(said, text) }); err != nil {
			t.Fatal(err)
		}
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "fetching kubelet: ") || !strings.Contains(text, "fetching nodeadm: ") || len(said) > 60 {
		t.Errorf("said %d times:\n%s", len(said), text)
	}
	if bytes, _, err := shelf.Estimate(t.Context(), wanted); err != nil || bytes != 0 {
		t.Errorf("Estimate = %d, %v", bytes, err)
	}
	s.Close()
	for _, spec := range []*agentv1.NodeSpec{former, wanted} {
		manifest, program, stop, err := shelf.Open(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if m := readServed(t, manifest); m.EKS[0].Patches[0].Version != spec.GetKubernetesVersion() {
			t.Errorf("%s serves %+v", spec.GetKubernetesVersion(), m.EKS)
		}
		if pinned := strings.HasPrefix(program, opt.Dir); pinned != (spec == wanted) {
			t.Errorf("%s is run with %s", spec.GetKubernetesVersion(), program)
		}
		stop()
	}
	// Staged again with nobody to keep: the former version and its way are gone.
	if err := shelf.Stage(t.Context(), wanted, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(opt.Dir, "1.30.4_us-west-2_iam-ra")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the former version: %v", err)
	}
	if err := shelf.Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(opt.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
}

// TestShelfHoldsBothProviders: a change of the credential provider keeps the
// version, and both ways stay open whatever is staged last; the files that both
// take are fetched once.
func TestShelfHoldsBothProviders(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	wanted, former := anywhere("1.31.5"), ssm("1.31.5")
	opt.Spec = nil
	shelf := artifact.Shelf{Options: opt, Own: "/usr/local/bin/nodeadm"}
	both := []*agentv1.NodeSpec{wanted, former}
	for _, spec := range []*agentv1.NodeSpec{wanted, former, wanted} {
		if err := shelf.Stage(t.Context(), spec, both, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	for _, spec := range both {
		_, _, stop, err := shelf.Open(t.Context(), spec)
		if err != nil {
			t.Fatalf("Open(%s) = %v", spec.GetKubernetesVersion(), err)
		}
		stop()
	}
}
