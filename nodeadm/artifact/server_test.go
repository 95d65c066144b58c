package artifact_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hybridagent/nodeadm"
	"hybridagent/nodeadm/artifact"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// source is an artifact server with faults.
type source struct {
	*httptest.Server

	mu       sync.Mutex
	files    map[string][]byte
	faults   map[string]http.HandlerFunc
	requests []string
	ranges   []string
}

// newSource serves two versions for two architectures; the files of each differ.
func newSource(t *testing.T) *source {
	t.Helper()
	s := &source{files: map[string][]byte{}, faults: map[string]http.HandlerFunc{}}
	for _, version := range []string{"1.30.4", "1.31.5"} {
		for _, name := range []string{"kubelet", "kubectl", "cni-plugins.tgz", "ecr-credential-provider", "aws-iam-authenticator"} {
			s.put("/"+version+"/"+name, strings.Repeat(version+" "+name+"\n", 4000))
		}
	}
	s.put("/helper/aws_signing_helper", strings.Repeat("helper\n", 1000))
	s.put("/nodeadm", "#!/bin/sh\necho nodeadm\n")
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *source) put(path, content string) {
	sum := sha256.Sum256([]byte(content))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = []byte(content)
	s.files[path+".sha256"] = []byte(hex.EncodeToString(sum[:]) + "  " + filepath.Base(path) + "\n")
}

// fault answers for a path instead of the server; nil takes it back.
func (s *source) fault(path string, handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if handler == nil {
		delete(s.faults, path)
		return
	}
	s.faults[path] = handler
}

// asked returns and forgets the GET requests since the last call.
func (s *source) asked() (requests, ranges []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests, ranges = s.requests, s.ranges
	s.requests, s.ranges = nil, nil
	return requests, ranges
}

func (s *source) content(path string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[path]
}

// ServeHTTP serves files with ranges, or the path's fault.
func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if r.Method == http.MethodGet {
		s.requests = append(s.requests, r.URL.Path)
		if header := r.Header.Get("Range"); header != "" {
			s.ranges = append(s.ranges, r.URL.Path+" "+header)
		}
	}
	fault, content := s.faults[r.URL.Path], s.files[r.URL.Path]
	s.mu.Unlock()
	switch {
	case fault != nil:
		fault(w, r)
	case content == nil:
		http.NotFound(w, r)
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
	}
}

// manifest writes the server's manifest into a file and returns its URI.
func (s *source) manifest(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(manifestText(s.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// manifestText has the form of the real manifest.
func manifestText(base string) string {
	var text strings.Builder
	entry := func(indent, name, arch, path string) {
		fmt.Fprintf(&text, "%s- arch: %s\n%s  checksum_uri: %s%s.sha256\n%s  name: %s\n%s  os: linux\n%s  uri: %s%s\n",
			indent, arch, indent, base, path, indent, name, indent, indent, base, path)
	}
	text.WriteString("iam_roles_anywhere_releases:\n- version: 1.4.0\n  artifacts:\n")
	entry("  ", "aws_signing_helper", "amd64", "/helper/old")
	text.WriteString("- version: 1.10.0\n  artifacts:\n")
	entry("  ", "aws_signing_helper", "amd64", "/helper/aws_signing_helper")
	text.WriteString("partition_config: {aws: amazonaws.com}\nregion_config:\n" +
		"  us-west-2: {ecr_account_id: \"013241004608\", partition: aws, cred_providers: {iam-ra: true, ssm: true}}\n" +
		"ssm_releases: null\nsomething_new: [1, two]\nsupported_eks_releases:\n")
	for _, release := range []struct{ minor, patch string }{{"1.30", "4"}, {"1.31", "5"}} {
		version := release.minor + "." + release.patch
		fmt.Fprintf(&text, "- latest_patch_version: %q\n  major_minor_version: %q\n  patch_releases:\n  - patch_version: %q\n    release_date: \"2025-01-02\"\n    version: %s\n    artifacts:\n",
			release.patch, release.minor, release.patch, version)
		for _, file := range []string{"kubelet", "kubectl", "cni-plugins.tgz", "ecr-credential-provider", "aws-iam-authenticator"} {
			entry("    ", strings.TrimSuffix(file, ".tgz"), "amd64", "/"+version+"/"+file)
		}
	}
	return text.String()
}

func anywhere(version string) *agentv1.NodeSpec {
	return &agentv1.NodeSpec{
		KubernetesVersion: version, Region: "us-west-2", PrivateMode: true,
		Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_IamRolesAnywhere{IamRolesAnywhere: &agentv1.RolesAnywhereAccess{}}},
	}
}

func ssm(version string) *agentv1.NodeSpec {
	spec := anywhere(version)
	spec.Access = &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{}}}
	return spec
}

func options(t *testing.T, s *source) artifact.Options {
	t.Helper()
	return artifact.Options{
		Dir: filepath.Join(t.TempDir(), "staged"), Spec: anywhere("1.31.5"), Manifest: s.manifest(t), Arch: "amd64", Stall: 10 * time.Second,
	}
}

func mustStage(t *testing.T, opt artifact.Options) artifact.Staged {
	t.Helper()
	staged, err := artifact.Stage(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return staged
}

// wantFailure checks the words, the next action and whether another try may help.
func wantFailure(t *testing.T, err error, permanent bool, fragments ...string) {
	t.Helper()
	var failure *nodeadm.Failure
	if !asFailure(err, &failure) {
		t.Fatalf("error %v is no failure", err)
	}
	if failure.Permanent != permanent {
		t.Errorf("%v: permanent %v, want %v", err, failure.Permanent, permanent)
	}
	for _, fragment := range append(fragments, "; ") {
		if !strings.Contains(err.Error(), fragment) && (fragment != "; " || !strings.Contains(err.Error(), ", ")) {
			t.Errorf("%q does not say %q", err, fragment)
		}
	}
}
