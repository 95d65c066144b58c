package token_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hybridagent/agent/operation/token"
)

func TestErase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put := func(uid int) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte("secret"), 0o600), os.Chown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	for _, uid := range []int{0, 12345} {
		put(uid)
		// A second name shows what was done to the content.
		other := filepath.Join(dir, "other")
		if err := os.Link(path, other); err != nil {
			t.Fatal(err)
		}
		if err := token.Erase(path); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the token of user %d is still there: %v", uid, err)
		}
		content, err := os.ReadFile(other)
		if err != nil || (uid == 0) != (string(content) == "\x00\x00\x00\x00\x00\x00") {
			t.Errorf("content of user %d's token = %q, %v", uid, content, err)
		}
		if err := os.Remove(other); err != nil {
			t.Fatal(err)
		}
	}
	if err := token.Erase(path); err != nil {
		t.Errorf("no token: %v", err)
	}
}

func TestEraseRefuses(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "token")
	if err := errors.Join(os.WriteFile(victim, []byte("keep"), 0o600), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	if err := token.Erase(path); err == nil {
		t.Error("a symbolic link is erased")
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o755), os.Chmod(open, 0o777), os.WriteFile(filepath.Join(open, "token"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := token.Erase(filepath.Join(open, "token")); err == nil {
		t.Error("a token in a folder that everybody may write is erased")
	}
	if content, err := os.ReadFile(victim); err != nil || string(content) != "keep" {
		t.Errorf("victim = %q, %v", content, err)
	}
}
