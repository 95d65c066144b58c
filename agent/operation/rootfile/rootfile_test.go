package rootfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/agent/operation/rootfile"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode, uid int) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte("#!/bin/sh\n"), mode), os.Chmod(path, mode), os.Chown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, fragment string }{
		{file("good", 0o644, 0), ""},
		{file("group", 0o664, 0), "others than root may write"},
		{file("world", 0o646, 0), "others than root may write"},
		{file("foreign", 0o644, 12345), "belongs to user 12345"},
		{"relative/path", "no absolute path"},
	} {
		err := rootfile.Check(c.path)
		if (err == nil) != (c.fragment == "") || err != nil && !strings.Contains(err.Error(), c.fragment) {
			t.Errorf("Check(%s) = %v, want %q", c.path, err, c.fragment)
		}
	}
	if err := rootfile.Check(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	program := file("program", 0o755, 0)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	if err := rootfile.Check(link); err == nil {
		t.Error("a symbolic link is trusted")
	}
	for path, want := range map[string]bool{program: true, link: true, dir + "/good": false, dir: false} {
		if err := rootfile.Program(path); (err == nil) != want {
			t.Errorf("Program(%s) = %v", path, err)
		}
	}
	if err := rootfile.Program(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing program: %v", err)
	}
}
