package hostid

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodUUID = "4C4C4544-0042-3510-8053-B7C04F564232"

func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDeriveOrder(t *testing.T) {
	t.Parallel()
	const machine = "0123456789abcdef0123456789abcdee\n"
	for name, tc := range map[string]struct {
		opt        Options
		files      map[string]string
		id, source string
	}{
		"name wins": {Options{Name: "shop-17", Prefix: "edge"}, map[string]string{SMBIOSPath: goodUUID}, "shop-17", SourceName},
		"smbios": {Options{Prefix: "edge"}, map[string]string{SMBIOSPath: goodUUID + "\n", "/etc/machine-id": machine},
			"edge-4c4c4544-0042-3510-8053-b7c04f564232", SourceSMBIOS},
		"device file": {Options{DeviceUIDPaths: []DeviceUIDPath{{Name: "/none"}, {Name: "/meta.json", Regex: `"id": *"([^"]+)"`}}},
			map[string]string{"/meta.json": `{"id": "Dev-42"}`}, "dev-42", SourceDeviceUID},
		"whole match": {Options{DeviceUIDPaths: []DeviceUIDPath{{Name: "/serial", Regex: `SN[0-9]+`}}},
			map[string]string{"/serial": "serial: SN0815."}, "sn0815", SourceDeviceUID},
		"machine id": {Options{}, map[string]string{SMBIOSPath: "Not Settable", "/etc/machine-id": machine},
			fromMachineIDText(t, machine), SourceMachineID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.opt.Root = root(t, tc.files)
			got, err := Derive(tc.opt)
			if err != nil || got.ID != tc.id || got.Source != tc.source {
				t.Fatalf("got %q from %s, %v; want %q from %s", got.ID, got.Source, err, tc.id, tc.source)
			}
		})
	}
}

func fromMachineIDText(t *testing.T, text string) string {
	t.Helper()
	id := fromMachineID(root(t, map[string]string{"/etc/machine-id": text}))
	if id == "" || strings.Contains(id, text[:8]) {
		t.Fatalf("derived %q: it must not be or hold the machine ID", id)
	}
	return id
}

func TestKnownBadValuesFallToRandom(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
		"03000200-0400-0500-0006-000700080009", "Not Settable", "To Be Filled By O.E.M.", "xx", "a b c d",
	} {
		first, err := Derive(Options{Prefix: "edge", Root: root(t, map[string]string{SMBIOSPath: bad})})
		if err != nil || first.Source != SourceRandom {
			t.Errorf("%q: got %q from %s, %v; want a random ID", bad, first.ID, first.Source, err)
		}
		second, _ := Derive(Options{Prefix: "edge", Root: t.TempDir()})
		if first.ID == second.ID {
			t.Errorf("two random IDs are alike: %s", first.ID)
		}
	}
}

func TestBadConfigurationIsAnError(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opt  Options
		want string
	}{
		"space":      {Options{Name: "shop 17"}, "' ' is not allowed"},
		"slash":      {Options{Name: "shop/17"}, "'/' is not allowed"},
		"too long":   {Options{Name: strings.Repeat("x", 129)}, "129 bytes, at most 128"},
		"expression": {Options{DeviceUIDPaths: []DeviceUIDPath{{Name: "/x", Regex: "("}}}, "correct host.deviceUIDPaths"},
	} {
		_, err := Derive(tc.opt)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v; want %q", name, err, tc.want)
		}
	}
}

func TestEnsureKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v; want not-exist", err)
	}
	first, err := Ensure(path, Options{Prefix: "edge", Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Ensure(path, Options{Name: "renamed"})
	if err != nil || second.ID != first.ID || second.Source != SourceRandom {
		t.Fatalf("got %+v, %v; want %q kept", second, err, first.ID)
	}
	for _, torn := range []string{"", `{"schema":1,"id":"e`, "garbage", "{}", "[]", "null", `{"schema":1}`, `{"schema":"1"}`, `{"schema":1,"id":"a/b"}`, "\x00\x00"} {
		if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Fatalf("torn file %q: got %v; want an error that names it", torn, err)
		}
		var told error
		healed, err := Ensure(path, Options{Name: "shop-17", Warn: func(err error) { told = err }})
		if err != nil || healed.ID != "shop-17" {
			t.Fatalf("torn file %q: got %+v, %v", torn, healed, err)
		}
		if !errors.Is(told, ErrDamaged) || !strings.Contains(told.Error(), path+".corrupt-") {
			t.Fatalf("torn file %q: told %v", torn, told)
		}
	}
}

// TestDamageKeepsTheID checks that a damaged file costs no host its identity
// where the machine tells it.
func TestDamageKeepsTheID(t *testing.T) {
	t.Parallel()
	for source, files := range map[string]map[string]string{
		SourceSMBIOS:    {SMBIOSPath: "4c4c4544-0042-4b10-8051-c4c04f564433"},
		SourceMachineID: {"/etc/machine-id": "0123456789abcdef0123456789abcdef"},
	} {
		opt := Options{Prefix: "edge", Root: root(t, files)}
		path := filepath.Join(t.TempDir(), FileName)
		first, err := Ensure(path, opt)
		if err != nil || first.Source != source {
			t.Fatalf("%s: got %+v, %v", source, first, err)
		}
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		second, err := Ensure(path, opt)
		if err != nil || second.ID != first.ID {
			t.Errorf("%s: %q became %q, %v", source, first.ID, second.ID, err)
		}
	}
}

func TestNewerFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root(t, map[string]string{FileName: `{"schema":2,"id":"x"}`}), FileName)
	if _, err := Ensure(path, Options{Name: "y"}); err == nil || !strings.Contains(err.Error(), "install the version that wrote it") {
		t.Fatalf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":1,"id":"edge-1","source":"name","fingerprint":{}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if id, err := parse(content); err == nil && Check(id.ID) != nil {
			t.Fatalf("a bad host ID passed: %q", id.ID)
		}
	})
}
