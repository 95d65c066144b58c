package artifact_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hybridagent/nodeadm"
	"hybridagent/nodeadm/artifact"
)

func asFailure(err error, failure **nodeadm.Failure) bool { return errors.As(err, failure) }

// TestStage: everything that nodeadm will ask for is there, root's alone, and the
// second time nobody is asked.
func TestStage(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	var last, total uint64
	opt.Progress = func(_ string, done, of uint64) {
		if done < last {
			t.Errorf("progress goes back from %d to %d", last, done)
		}
		last, total = done, of
	}
	staged := mustStage(t, opt)
	var bytes uint64
	for _, path := range []string{"/1.31.5/kubelet", "/1.31.5/kubectl", "/1.31.5/cni-plugins.tgz", "/1.31.5/ecr-credential-provider", "/1.31.5/aws-iam-authenticator", "/helper/aws_signing_helper"} {
		got, err := os.ReadFile(filepath.Join(staged.Dir, filepath.Base(path)))
		if err != nil || string(got) != string(s.content(path)) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
		bytes += uint64(len(got))
	}
	if staged.Fetched != bytes || last != bytes || total != bytes {
		t.Errorf("fetched %d, progress %d of %d, want %d", staged.Fetched, last, total, bytes)
	}
	for path, mode := range map[string]os.FileMode{opt.Dir: 0o700, staged.Dir: 0o700, filepath.Join(staged.Dir, "kubelet"): 0o600, filepath.Join(staged.Dir, "staged.json"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %o (%v)", path, info.Mode(), mode, err)
		}
	}
	s.Close()
	if again := mustStage(t, opt); again.Fetched != 0 || again.Version != "1.31.5" {
		t.Errorf("staged again: %+v", again)
	}
}

// TestStageOfSSM: the signing helper is no part of it.
func TestStageOfSSM(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	opt.Spec = ssm("1.31.5")
	staged := mustStage(t, opt)
	if _, err := os.Stat(filepath.Join(staged.Dir, "aws_signing_helper")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the signing helper: %v", err)
	}
	// The provider changes: only the helper is missing.
	s.asked()
	opt.Spec = anywhere("1.31.5")
	if staged := mustStage(t, opt); staged.Fetched != uint64(len(s.content("/helper/aws_signing_helper"))) {
		t.Errorf("fetched %d bytes", staged.Fetched)
	}
}

// TestStageFailures: each fault says what, where and what to do.
func TestStageFailures(t *testing.T) {
	t.Parallel()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	text := func(content string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(content)) }
	}
	for _, c := range []struct {
		name, path string
		fault      http.HandlerFunc
		change     func(*artifact.Options)
		permanent  bool
		fragments  []string
	}{
		{"not there", "/1.31.5/kubectl", status(404), nil, true, []string{"cannot fetch kubectl", "does not have it (404 Not Found)"}},
		{"forbidden", "/1.31.5/kubelet", status(403), nil, true, []string{"does not give it to this host", "allow it"}},
		{"server broken", "/1.31.5/kubelet", status(503), nil, false, []string{"503 Service Unavailable", "try again later"}},
		{"redirected nowhere", "/1.31.5/kubelet", status(304), nil, true, []string{"answered 304"}},
		{"damaged", "/1.31.5/kubelet", text("another file"), nil, true, []string{"cannot use kubelet", "SHA-256", "damaged or exchanged"}},
		{"checksum is a web page", "/1.31.5/kubelet.sha256", text("<html>login</html>"), nil, true, []string{"checksum of kubelet", `"<SHA-256>  kubelet"`}},
		{"checksum missing", "/1.31.5/kubelet.sha256", status(404), nil, true, []string{"the checksum of kubelet", "404"}},
		{"stalled", "/1.31.5/kubelet", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				return
			}
			_, _ = w.Write([]byte("a few bytes"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, func(o *artifact.Options) { o.Stall = 200 * time.Millisecond }, false, []string{"cannot fetch kubelet", "sent nothing for 200ms", "goes on from there"}},
		{"never answers", "/1.31.5/kubelet.sha256", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(o *artifact.Options) { o.Stall = 200 * time.Millisecond }, false, []string{"sent nothing for 200ms"}},
		{"too large", "/1.31.5/kubelet", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", strconv.Itoa(2<<30)) },
			nil, true, []string{"more than 1073 MB"}},
		{"no disk", "", nil, func(o *artifact.Options) { o.Free = func(string) (uint64, error) { return 40e6, nil } }, true, nil},
		{"manifest not there", "", nil, func(o *artifact.Options) { o.Manifest = "file:///nowhere/manifest.yaml" }, true, []string{"nodeadm.manifest", "no such file"}},
		{"manifest of no form", "", nil, func(o *artifact.Options) { o.Manifest = "http://x/manifest.yaml" }, true, []string{"file:// or https://"}},
		{"version not listed", "", nil, func(o *artifact.Options) { o.Spec = anywhere("1.31.6") }, true, []string{"does not list it", "1.30.4, 1.31.5"}},
		{"version of no form", "", nil, func(o *artifact.Options) { o.Spec = anywhere("../..") }, true, []string{"1.31.5"}},
		{"Region not listed", "", nil, func(o *artifact.Options) { o.Spec.Region = "eu-west-1" }, true, []string{"Region eu-west-1"}},
		{"architecture not listed", "", nil, func(o *artifact.Options) { o.Arch = "arm64" }, true, []string{"no kubelet for linux/arm64"}},
		{"no access", "", nil, func(o *artifact.Options) { o.Spec.Access = nil }, true, []string{"accessManagement"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			opt := options(t, s)
			if c.path != "" {
				s.fault(c.path, c.fault)
			}
			if c.change != nil {
				c.change(&opt)
			}
			if c.name == "no disk" {
				// So large that 40 MB are not enough, by what the server says.
				s.fault("/1.31.5/kubelet", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "296000000") })
				c.fragments = []string{"needs 313 MB on " + filepath.Join(opt.Dir, "1.31.5_us-west-2_iam-ra"), "40 MB are free"}
			}
			_, err := artifact.Stage(t.Context(), opt)
			wantFailure(t, err, c.permanent, c.fragments...)
			if _, err := artifact.Open(opt); c.path != "" && !errors.Is(err, artifact.ErrNotStaged) {
				t.Errorf("after the failure it counts as staged: %v", err)
			}
		})
	}
}

// TestServerUnreachable names the host and nothing of the URL that may be secret.
func TestServerUnreachable(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	s.Close()
	_, err := artifact.Stage(t.Context(), opt)
	wantFailure(t, err, false, strings.TrimPrefix(s.URL, "http://")+" cannot be reached", "connection refused", "route")

	opt.Manifest = "https://manifest.invalid/secret?token=hidden"
	opt.Environment = map[string]string{"HTTPS_PROXY": "", "https_proxy": "", "HTTP_PROXY": "", "http_proxy": ""}
	_, err = artifact.Stage(t.Context(), opt)
	wantFailure(t, err, false, "nodeadm's manifest", "manifest.invalid")
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("%q shows the URL's query", err)
	}
	// The proxy of nodeadm's environment is taken.
	opt.Environment = map[string]string{"HTTPS_PROXY": s.URL}
	_, err = artifact.Stage(t.Context(), opt)
	wantFailure(t, err, false, "proxyconnect")
}

// TestUntrustedCertificate: what a proxy shows that breaks TLS open.
func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(manifestText(s.URL)))
	}))
	t.Cleanup(server.Close)
	opt := options(t, s)
	opt.Manifest = server.URL + "/manifest.yaml"
	opt.Environment = map[string]string{"HTTPS_PROXY": "", "https_proxy": ""}
	_, err := artifact.Stage(t.Context(), opt)
	wantFailure(t, err, true, "does not trust", "trust store")
	opt.Transport = server.Client().Transport
	mustStage(t, opt)
}

// TestResume: a cut line costs what had not come yet.
func TestResume(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	content := s.content("/1.31.5/kubelet")
	half := len(content) / 2
	s.fault("/1.31.5/kubelet", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(content[:half])
		}
	})
	_, err := artifact.Stage(t.Context(), opt)
	wantFailure(t, err, false, "connection ended before the file did", "goes on from there")
	s.fault("/1.31.5/kubelet", nil)
	s.asked()
	mustStage(t, opt)
	if _, ranges := s.asked(); !slices.Equal(ranges, []string{"/1.31.5/kubelet bytes=" + strconv.Itoa(half) + "-"}) {
		t.Errorf("asked for %v", ranges)
	}
}

// TestPartOfNoUse: what a power cut left of a download is thrown away where it is
// damaged, whatever the server makes of the range.
func TestPartOfNoUse(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]func(content []byte) []byte{
		"zeros":    func(content []byte) []byte { return make([]byte, len(content)/2) },
		"complete": slices.Clone[[]byte],
		"too long": func(content []byte) []byte { return append(slices.Clone(content), "more"...) },
	} {
		for _, ranged := range []bool{true, false} {
			t.Run(name+" ranges "+strconv.FormatBool(ranged), func(t *testing.T) {
				t.Parallel()
				s := newSource(t)
				opt := options(t, s)
				content := s.content("/1.31.5/kubelet")
				dir := filepath.Join(opt.Dir, "1.31.5_us-west-2_iam-ra")
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "kubelet.part"), part(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if !ranged {
					s.fault("/1.31.5/kubelet", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
				}
				staged := mustStage(t, opt)
				if got, err := os.ReadFile(filepath.Join(staged.Dir, "kubelet")); err != nil || string(got) != string(content) {
					t.Errorf("kubelet has %d bytes, %v", len(got), err)
				}
			})
		}
	}
}

// TestPowerCut: a file that lost its end counts as not staged, and only that file
// is fetched again.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	staged := mustStage(t, opt)
	if err := os.Truncate(filepath.Join(staged.Dir, "kubectl"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := artifact.Open(opt); !errors.Is(err, artifact.ErrNotStaged) {
		t.Errorf("a truncated file: %v", err)
	}
	s.asked()
	if staged := mustStage(t, opt); staged.Fetched != uint64(len(s.content("/1.31.5/kubectl"))) {
		t.Errorf("fetched %d bytes", staged.Fetched)
	}
	requests, _ := s.asked()
	requests = slices.DeleteFunc(requests, func(path string) bool { return strings.HasSuffix(path, ".sha256") })
	if !slices.Equal(requests, []string{"/1.31.5/kubectl"}) {
		t.Errorf("asked for %v", requests)
	}
	for _, content := range []string{"", "{", `{"schema":99}`} {
		if err := os.WriteFile(filepath.Join(staged.Dir, "staged.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := artifact.Open(opt); !errors.Is(err, artifact.ErrNotStaged) {
			t.Errorf("record %q: %v", content, err)
		}
		if staged := mustStage(t, opt); staged.Fetched != 0 {
			t.Errorf("record %q: fetched %d bytes", content, staged.Fetched)
		}
	}
}

// TestKeep: the way back stays, the rest goes.
func TestKeep(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	opt.Spec = anywhere("1.30.4")
	mustStage(t, opt)
	for _, name := range []string{"1.29.1", "1.29.1_us-west-2_ssm", "nodeadm", "notes"} {
		if err := os.MkdirAll(filepath.Join(opt.Dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	back := opt
	opt.Spec, opt.Keep = anywhere("1.31.5"), []string{"1.30.4"}
	mustStage(t, opt)
	for name, want := range map[string]bool{"1.30.4_us-west-2_iam-ra": true, "1.31.5_us-west-2_iam-ra": true, "1.29.1": false, "1.29.1_us-west-2_ssm": false, "nodeadm": true, "notes": true} {
		if _, err := os.Stat(filepath.Join(opt.Dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Close()
	if staged, err := artifact.Open(back); err != nil || staged.Version != "1.30.4" {
		t.Errorf("the way back: %+v, %v", staged, err)
	}
}

// TestCancelled: the context's end is no failure of a server's.
func TestCancelled(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.fault("/1.31.5/kubelet", func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			cancel()
			<-r.Context().Done()
		}
	})
	if _, err := artifact.Stage(ctx, options(t, s)); !errors.Is(err, context.Canceled) {
		t.Errorf("Stage = %v", err)
	}
}
