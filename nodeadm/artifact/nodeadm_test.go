package artifact_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/nodeadm/artifact"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// pin makes the node part name the server's nodeadm.
func pin(t *testing.T, s *source, opt *artifact.Options) {
	t.Helper()
	sum, _, _ := strings.Cut(string(s.content("/nodeadm.sha256")), " ")
	opt.Spec.Nodeadm = &agentv1.NodeadmSource{Url: s.URL + "/nodeadm?token=hidden", Sha256: sum}
}

// TestPinnedNodeadm: fetched once, verified every time, executable for root.
func TestPinnedNodeadm(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	if path, err := artifact.Nodeadm(t.Context(), opt, "/usr/local/bin/nodeadm"); err != nil || path != "/usr/local/bin/nodeadm" {
		t.Errorf("without a pin: %q, %v", path, err)
	}
	pin(t, s, &opt)
	get := func() string {
		t.Helper()
		path, err := artifact.Nodeadm(t.Context(), opt, "/own")
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil || string(content) != string(s.content("/nodeadm")) {
			t.Fatalf("nodeadm is %q, %v", content, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("nodeadm has mode %v, %v", info.Mode(), err)
		}
		requests, _ := s.asked()
		if len(requests) > 1 {
			t.Errorf("asked for %v", requests)
		}
		return path
	}
	path := get()
	s.fault("/nodeadm", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	if get() != path {
		t.Error("another path the second time")
	}
	s.fault("/nodeadm", nil)
	for name, damage := range map[string]func() error{
		"exchanged": func() error { return os.WriteFile(path, []byte("#!/bin/sh\nevil\n"), 0o755) },
		"truncated": func() error { return os.Truncate(path, 3) },
		"writable":  func() error { return os.Chmod(path, 0o777) },
		"a link":    func() error { return errors.Join(os.Remove(path), os.Symlink("/bin/true", path)) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if get() != path {
			t.Errorf("%s: another path", name)
		}
	}
	if err := artifact.PruneNodeadm(opt.Dir, opt.Spec.GetNodeadm().GetSha256()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the kept nodeadm: %v", err)
	}
	if err := errors.Join(artifact.PruneNodeadm(opt.Dir), artifact.PruneNodeadm(filepath.Join(opt.Dir, "nowhere"))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the nodeadm that nobody keeps: %v", err)
	}
}

// TestPinnedNodeadmRefused: what the server delivers is believed for its hash only.
func TestPinnedNodeadmRefused(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	pin(t, s, &opt)
	s.put("/nodeadm", "another nodeadm")
	_, err := artifact.Nodeadm(t.Context(), opt, "/own")
	wantFailure(t, err, true, "cannot use nodeadm", "SHA-256")
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("%q shows the URL's query", err)
	}
	opt.Free = func(string) (uint64, error) { return 1, nil }
	_, err = artifact.Nodeadm(t.Context(), opt, "/own")
	wantFailure(t, err, true, "1 bytes are free")
	for name, change := range map[string]func(*agentv1.NodeadmSource){
		"hash": func(n *agentv1.NodeadmSource) { n.Sha256 = "../../etc" },
		"URL":  func(n *agentv1.NodeadmSource) { n.Url = "file:///etc/passwd" },
	} {
		pin(t, s, &opt)
		change(opt.Spec.GetNodeadm())
		if path, err := artifact.Nodeadm(t.Context(), opt, "/own"); err == nil || !strings.Contains(err.Error(), "HybridProfile") {
			t.Errorf("%s: %q, %v", name, path, err)
		}
	}
}
