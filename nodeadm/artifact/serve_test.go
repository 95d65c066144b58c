package artifact_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	goccy "github.com/goccy/go-yaml"
	"sigs.k8s.io/yaml"

	"hybridagent/nodeadm/artifact"
)

// served is what nodeadm reads of the manifest that Serve wrote.
type served struct {
	EKS []struct {
		Minor   string `json:"major_minor_version"`
		Latest  string `json:"latest_patch_version"`
		Patches []struct {
			Version   string           `json:"version"`
			Patch     string           `json:"patch_version"`
			Artifacts []servedArtifact `json:"artifacts"`
		} `json:"patch_releases"`
	} `json:"supported_eks_releases"`
	RolesAnywhere []struct {
		Version   string           `json:"version"`
		Artifacts []servedArtifact `json:"artifacts"`
	} `json:"iam_roles_anywhere_releases"`
	Regions map[string]struct {
		Account string `json:"ecr_account_id"`
	} `json:"region_config"`
	New []any `json:"something_new"`
}

type servedArtifact struct {
	Name     string `json:"name"`
	Arch     string `json:"arch"`
	OS       string `json:"os"`
	URI      string `json:"uri"`
	Checksum string `json:"checksum_uri"`
}

func readServed(t *testing.T, uri string) served {
	t.Helper()
	path, ok := strings.CutPrefix(uri, "file://")
	if !ok {
		t.Fatalf("manifest URI %q", uri)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m served
	if err := yaml.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	// Another decoder reads the same.
	var other map[string]any
	if err := goccy.Unmarshal(raw, &other); err != nil || len(other) != 6 {
		t.Errorf("goccy reads %d fields, %v", len(other), err)
	}
	return m
}

func fetch(t *testing.T, uri string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

// TestServe: nodeadm finds the version, its files and their checksums on the
// loopback, and nothing else; afterwards nobody listens.
func TestServe(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	mustStage(t, opt)
	s.Close()
	staged, err := artifact.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	uri, stop, err := artifact.Serve(staged)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	m := readServed(t, uri)
	if len(m.EKS) != 1 || m.EKS[0].Minor != "1.31" || m.EKS[0].Latest != "5" || len(m.EKS[0].Patches) != 1 || m.EKS[0].Patches[0].Version != "1.31.5" || m.EKS[0].Patches[0].Patch != "5" {
		t.Fatalf("releases %+v", m.EKS)
	}
	if m.Regions["us-west-2"].Account != "013241004608" || len(m.New) != 2 || len(m.RolesAnywhere) != 1 || m.RolesAnywhere[0].Version != "1.10.0" {
		t.Errorf("manifest %+v", m)
	}
	artifacts := slices.Concat(m.EKS[0].Patches[0].Artifacts, m.RolesAnywhere[0].Artifacts)
	if len(artifacts) != 6 {
		t.Errorf("%d artifacts", len(artifacts))
	}
	var base string
	for _, one := range artifacts {
		u, err := url.Parse(one.URI)
		if err != nil || u.Hostname() != "127.0.0.1" || one.Arch != "amd64" || one.OS != "linux" {
			t.Fatalf("artifact %+v: %v", one, err)
		}
		base = "http://" + u.Host
		name := filepath.Base(u.Path)
		want := s.content("/1.31.5/" + name)
		sum := s.content("/1.31.5/" + name + ".sha256")
		if name == "aws_signing_helper" {
			want, sum = s.content("/helper/"+name), s.content("/helper/"+name+".sha256")
		}
		if code, got := fetch(t, one.URI); code != http.StatusOK || got != string(want) {
			t.Errorf("%s: %d, %d bytes", one.URI, code, len(got))
		}
		if code, got := fetch(t, one.Checksum); code != http.StatusOK || got != string(sum) {
			t.Errorf("%s: %d, %q", one.Checksum, code, got)
		}
	}
	for _, path := range []string{"/", "/1.31.5/", "/1.31.5/staged.json", "/1.31.5/manifest.yaml", "/1.31.5/%2e%2e/1.30.4/kubelet", "/../../etc/passwd"} {
		if code, got := fetch(t, base+path); code != http.StatusNotFound {
			t.Errorf("%s: %d, %q", path, code, got)
		}
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	checkRootPort(t, u.Port())
	stop()
	if _, err := net.DialTimeout("tcp4", u.Host, time.Second); err == nil {
		t.Error("somebody still listens after stop")
	}
}

// checkRootPort: only root may listen there, so nobody can take the place of a
// server that was killed.
func checkRootPort(t *testing.T, port string) {
	t.Helper()
	if os.Geteuid() == 0 && (len(port) != 3 || port < "914" || port > "952") {
		t.Errorf("port %s is open to any user", port)
	}
}

// TestServeAgain: after a restart a nodeadm that still runs finds its files where
// it looks for them.
func TestServeAgain(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	staged := mustStage(t, opt)
	uri, stop, err := artifact.Serve(staged)
	if err != nil {
		t.Fatal(err)
	}
	first := readServed(t, uri)
	stop()
	if staged, err = artifact.Open(opt); err != nil {
		t.Fatal(err)
	}
	uri, stop, err = artifact.Serve(staged)
	if err != nil {
		t.Fatal(err)
	}
	// Two at once: the second takes another port.
	other, stopOther, err := artifact.Serve(staged)
	if err != nil {
		t.Fatal(err)
	}
	defer stopOther()
	second := readServed(t, other)
	defer stop()
	if code, _ := fetch(t, first.EKS[0].Patches[0].Artifacts[0].URI); code != http.StatusOK {
		t.Errorf("the port of the last time is not taken again: %s, %d", uri, code)
	}
	if a, b := first.EKS[0].Patches[0].Artifacts[0].URI, second.EKS[0].Patches[0].Artifacts[0].URI; a == b {
		t.Errorf("two servers at %s", a)
	}
}

// TestEstimate: what a forecast says is what Stage then fetches.
func TestEstimate(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	opt := options(t, s)
	var all uint64
	for _, path := range []string{"/1.31.5/kubelet", "/1.31.5/kubectl", "/1.31.5/cni-plugins.tgz", "/1.31.5/ecr-credential-provider", "/1.31.5/aws-iam-authenticator", "/helper/aws_signing_helper"} {
		all += uint64(len(s.content(path)))
	}
	want := func(name string, bytes uint64, unknown bool) {
		t.Helper()
		got, gotUnknown, err := artifact.Estimate(t.Context(), opt)
		if err != nil || got != bytes || gotUnknown != unknown {
			t.Errorf("%s: Estimate = %d, %v, %v, want %d, %v", name, got, gotUnknown, err, bytes, unknown)
		}
	}
	want("nothing there", all, false)
	if _, err := os.Stat(opt.Dir); err == nil {
		t.Error("Estimate wrote something")
	}
	dir := filepath.Join(opt.Dir, "1.31.5_us-west-2_iam-ra")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kubelet.part"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	want("a part there", all-1000, false)
	pin(t, s, &opt)
	want("with nodeadm", all-1000+uint64(len(s.content("/nodeadm"))), false)
	opt.Spec.PrivateMode = false
	want("with packages of the operating system", all-1000+uint64(len(s.content("/nodeadm"))), true)
	opt.Spec.PrivateMode, opt.Spec.Nodeadm = true, nil
	s.fault("/1.31.5/kubectl", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) })
	want("a server that does not tell", all-1000-uint64(len(s.content("/1.31.5/kubectl"))), true)
	s.fault("/1.31.5/kubectl", nil)
	mustStage(t, opt)
	s.Close()
	want("all there", 0, false)
	opt.Spec = ssm("1.30.4")
	if _, _, err := artifact.Estimate(t.Context(), opt); err != nil {
		// The manifest is a file; sizes are not known without the server.
		t.Errorf("Estimate without the server: %v", err)
	}
}

// TestRecordIsReadable: what lies on disk is plain JSON of a known schema.
func TestRecordIsReadable(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	staged := mustStage(t, options(t, s))
	raw, err := os.ReadFile(filepath.Join(staged.Dir, "staged.json"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Schema int `json:"schema"`
		Files  []struct {
			File   string `json:"file"`
			SHA256 string `json:"sha256"`
		} `json:"files"`
	}
	if err := json.Unmarshal(raw, &record); err != nil || record.Schema != 1 || len(record.Files) != 6 || len(record.Files[0].SHA256) != 64 {
		t.Errorf("record %+v, %v", record, err)
	}
}
