package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestWriteThenRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	for _, payload := range []string{"first", "", strings.Repeat("x", 100_000)} {
		if err := Write(path, 3, []byte(payload)); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path, 3)
		if err != nil || string(got) != payload {
			t.Fatalf("read %d bytes, %v; wrote %d", len(got), err, len(payload))
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	if len(entries) != 1 {
		t.Fatalf("temporary files are left: %v", entries)
	}
}

func TestReadTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	good, err := Encode(1, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	newer, _ := Encode(2, []byte("payload"))
	for name, tc := range map[string]struct {
		content []byte
		want    string
		corrupt bool
	}{
		"empty":         {nil, "the file is empty", true},
		"header only":   {good[:20], "less than the header", true},
		"truncated":     {good[:len(good)-2], "promises 7 bytes, 5 follow", true},
		"too long":      {append(bytes.Clone(good), 0), "promises 7 bytes, 8 follow", true},
		"flipped bit":   {flipped, "checksum does not match", true},
		"other file":    {bytes.Repeat([]byte("z"), 100), "does not begin like a state file", true},
		"newer version": {newer, "install the version that wrote it", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state")
			if err := os.WriteFile(path, tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path, 1)
			var corrupt *CorruptError
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v; want the path and %q", err, tc.want)
			}
			if errors.As(err, &corrupt) != tc.corrupt {
				t.Fatalf("CorruptError: want %v in %v", tc.corrupt, err)
			}
		})
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for n := 1; n <= maxSetAside+2; n++ {
		if err := os.WriteFile(path, []byte("torn "+strconv.Itoa(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadOrSetAside(path, 1)
		want := path + ".corrupt-" + strconv.Itoa(min(n, maxSetAside))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v; want %s named", err, want)
		}
		kept, _ := os.ReadFile(want)
		if string(kept) != "torn "+strconv.Itoa(n) {
			t.Fatalf("%s holds %q", want, kept)
		}
	}
	if _, err := ReadOrSetAside(path, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v; want not-exist", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(dir)
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())+" uses it") {
		t.Fatalf("got %v; want the holder's process ID", err)
	}
	// The directory may be the daemon's or root's: no setting is named.
	if !strings.Contains(err.Error(), "cannot lock "+dir) || strings.Contains(err.Error(), "paths.") {
		t.Fatalf("got %v; want the directory and no setting", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire(dir)
	if err != nil {
		t.Fatalf("cannot lock after release: %v", err)
	}
	_ = again.Release()
}

func FuzzDecode(f *testing.F) {
	seed, _ := Encode(1, []byte("seed"))
	f.Add(seed)
	f.Add([]byte{})
	f.Add(seed[:10])
	f.Fuzz(func(t *testing.T, file []byte) {
		payload, schema, err := Decode(file)
		if err != nil {
			return
		}
		again, err := Encode(schema, payload)
		if err != nil || !bytes.Equal(again, file) {
			t.Fatalf("a file that decodes is not what its payload encodes to: %v", err)
		}
	})
}
