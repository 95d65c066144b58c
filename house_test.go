package hybridagent

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is the import path of the repository's root.
const module = "hybridagent"

// goPackage is what the rules need of `go list -json`.
type goPackage struct {
	Dir        string
	ImportPath string
	GoFiles    []string
	Imports    []string
}

// list asks the go command for packages.
func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=Dir,ImportPath,GoFiles,Imports"}, args...)...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list %v: %v\n%s", args, err, failed.Stderr)
		}
		t.Fatalf("go list %v: %v", args, err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// below tells whether a package is the folder's or lies below it.
func below(importPath, folder string) bool {
	folder = module + "/" + folder
	return importPath == folder || strings.HasPrefix(importPath, folder+"/")
}

// TestFoldersImportOnlyWhatTheyMay keeps the layers apart: data flows one way,
// so imports do too.
func TestFoldersImportOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	forbidden := map[string][]string{
		"agent":               {"plane", "cmd", "test"},
		"netcfg":              {"agent", "plane", "nodeadm", "systemd", "cmd", "test"},
		"nodeadm":             {"agent", "plane", "netcfg", "cmd", "test"},
		"proto":               {"agent", "plane", "netcfg", "nodeadm", "systemd", "cmd", "test"},
		"systemd":             {"agent", "plane", "cmd", "test"},
		"plane":               {"agent", "netcfg", "systemd", "cmd", "test"},
		"cmd/hybrid-agent":    {"plane", "test", "cmd/hybrid-agent-op", "cmd/hybrid-plane", "cmd/hybridctl"},
		"cmd/hybrid-agent-op": {"plane", "test", "cmd/hybrid-agent", "cmd/hybrid-plane", "cmd/hybridctl"},
		"cmd/hybrid-plane":    {"agent", "netcfg", "systemd", "test", "cmd/hybrid-agent", "cmd/hybrid-agent-op", "cmd/hybridctl"},
		"cmd/hybridctl":       {"agent", "netcfg", "systemd", "test", "cmd/hybrid-agent", "cmd/hybrid-agent-op", "cmd/hybrid-plane"},
	}
	for _, p := range list(t, "./...") {
		for folder, refused := range forbidden {
			if !below(p.ImportPath, folder) {
				continue
			}
			for _, imported := range p.Imports {
				for _, other := range refused {
					if below(imported, other) && !below(imported, folder) {
						t.Errorf("%s imports %s: %s must not import %s", p.ImportPath, imported, folder, other)
					}
				}
			}
		}
	}
}

// TestGoSystemdHasOneUser keeps D-Bus and sd_notify behind one package.
func TestGoSystemdHasOneUser(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "github.com/coreos/go-systemd/") && !below(p.ImportPath, "systemd") {
				t.Errorf("%s imports %s: systemd/ is its only user", p.ImportPath, imported)
			}
		}
	}
}

// TestDaemonStaysLean fails when the daemon links what belongs elsewhere:
// Kubernetes, AWS and etcd code, or the means to start a program of ours.
func TestDaemonStaysLean(t *testing.T) {
	t.Parallel()
	banned := []string{"k8s.io/", "sigs.k8s.io/", "github.com/aws/", "go.etcd.io/"}
	for _, p := range list(t, "-deps", "./cmd/hybrid-agent") {
		for _, prefix := range banned {
			if strings.HasPrefix(p.ImportPath, prefix) {
				t.Errorf("hybrid-agent links %s", p.ImportPath)
			}
		}
		if p.ImportPath != module && !strings.HasPrefix(p.ImportPath, module+"/") {
			continue
		}
		for _, imported := range p.Imports {
			if imported == "os/exec" {
				t.Errorf("%s, which hybrid-agent links, imports os/exec", p.ImportPath)
			}
		}
	}
}

// TestEveryPackageSaysWhatItOwns wants exactly one package comment a package.
func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if below(p.ImportPath, "proto") {
			continue // generated; the .proto files carry the comments
		}
		var commented []string
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if hasText(file.Doc) {
				commented = append(commented, name)
			}
		}
		if len(p.GoFiles) > 0 && len(commented) != 1 {
			t.Errorf("%s has %d package comments, want 1: %v", p.ImportPath, len(commented), commented)
		}
	}
}

// hasText tells a comment from mere directives such as //go:build.
func hasText(comment *ast.CommentGroup) bool {
	return comment != nil && strings.TrimSpace(comment.Text()) != ""
}
