package osimage

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPinned(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"registry.example/ubuntu:nodeadm-1.31.5":       "registry.example/ubuntu@sha256:0a",
		"registry.example:5000/a/b:v1":                 "registry.example:5000/a/b@sha256:0a",
		"registry.example:5000/a/b":                    "registry.example:5000/a/b@sha256:0a",
		"registry.example/ubuntu:v1@sha256:other":      "registry.example/ubuntu@sha256:0a",
		"registry.example:5000/a/b@sha256:" + "other0": "registry.example:5000/a/b@sha256:0a",
	} {
		if got := (Ref{URI: uri, Digest: "sha256:0a"}).Pinned(); got != want {
			t.Errorf("Pinned(%s) = %s, want %s", uri, got, want)
		}
	}
}

func TestPersistent(t *testing.T) {
	t.Parallel()
	var mounts []mount
	for _, line := range strings.Split(strings.TrimSpace(`
20 1 7:0 / / ro,relatime shared:1 - ext2 /dev/loop0 ro
21 20 0:20 / /run rw - tmpfs tmpfs rw
22 20 0:22 / /etc rw - overlay overlay rw,lowerdir=/etc,upperdir=/run/overlay/etc.upper,workdir=/run/overlay/etc.work
23 20 8:5 / /usr/local rw - ext4 /dev/vda5 rw
24 22 8:5 /.state/etc-aws.bind /etc/aws rw - ext4 /dev/vda5 rw
25 20 0:25 / /srv rw - overlay overlay rw,lowerdir=/srv,upperdir=/usr/local/srv.upper,workdir=/usr/local/srv.work
26 20 8:5 /x /with\040blank rw - xfs /dev/vda5 rw
27 20 8:6 / /frozen ro - ext4 /dev/vda6 rw
28 20 8:6 / /shadow rw - ext4 /dev/vda6 rw
29 20 0:29 / /shadow rw - tmpfs tmpfs rw
30 20 0:30 / /loop rw - overlay overlay rw,lowerdir=/,upperdir=/loop/upper
no mount at all
`), "\n") {
		if m, ok := parseMount(line); ok {
			mounts = append(mounts, m)
		} else if line != "no mount at all" {
			t.Errorf("cannot read %q", line)
		}
	}
	for path, want := range map[string]bool{
		"/etc/aws": true, "/etc/aws/hybrid": true, "/etc/awsome": false, "/etc": false, "/eks-hybrid": false, "/run/x": false, "/usr/local/x": true,
		"/srv/x": true, "/with blank": true, "/frozen": false, "/shadow": false, "/loop": false,
	} {
		if got := persistent(mounts, path); got != want {
			t.Errorf("persistent(%s) = %v, want %v", path, got, want)
		}
	}
}

func TestExtUUID(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "image")
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"ext":       {func(b []byte) []byte { return b }, strings.Repeat("ab", 16)},
		"other":     {func(b []byte) []byte { b[1024+0x38] = 0; return b }, ""},
		"truncated": {func(b []byte) []byte { return b[:1100] }, ""},
		"empty":     {func([]byte) []byte { return nil }, ""},
	} {
		content := make([]byte, 4096)
		binary.LittleEndian.PutUint16(content[1024+0x38:], 0xEF53)
		copy(content[1024+0x68:], strings.Repeat("\xab", 16))
		if err := os.WriteFile(path, c.change(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := extUUID(path); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if extUUID(path+"-missing") != "" || extUUID("") != "" {
		t.Error("a missing image has a UUID")
	}
}

// booted is bootc's status of a host, as one line.
const booted = `{"apiVersion":"org.containers.bootc/v1","kind":"BootcHost","status":{"staged":null,"booted":{"image":{"image":{"image":"r.example/u:v1","transport":"registry"},"imageDigest":"sha256:aa","architecture":"amd64"},"incompatible":false,"pinned":false},"rollback":null,"rollbackQueued":false,"type":"bootcHost"}}`

func TestParseStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"plain", []string{booted}, ""},
		{"warnings", []string{"WARN something", "{not json", booted, "and more"}, ""},
		{"alpha", []string{strings.Replace(booted, "bootc/v1", "bootc/v1alpha1", 1)}, ""},
		{"not booted", []string{`{"apiVersion":"org.containers.bootc/v1","status":{"booted":null}}`}, "was not booted from an image"},
		{"layered", []string{`{"apiVersion":"org.containers.bootc/v1","status":{"booted":{"image":null,"incompatible":true}}}`}, "bootc switch first"},
		{"another tool", []string{`{"apiVersion":"v1","status":{}}`}, "cannot read what bootc status says"},
		{"nothing", nil, "cannot read what bootc status says"},
	} {
		h, err := parseStatus(c.lines)
		if c.want == "" && (err != nil || h.Status.Booted.toImage() != Image{Name: "r.example/u:v1", Digest: "sha256:aa", ID: "sha256:aa"}) {
			t.Errorf("%s: %+v, %v", c.name, h, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(booted)
	f.Add("20 1 7:0 / / ro - ext2 /dev/loop0 ro,upperdir=/x")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		if h, err := parseStatus(lines); err == nil && h.Status.Booted == nil {
			t.Error("a status without a booted image was taken")
		}
		var mounts []mount
		for _, line := range lines {
			if m, ok := parseMount(line); ok {
				mounts = append(mounts, m)
			}
		}
		if persistent(mounts, "/etc/aws") && len(mounts) == 0 {
			t.Error("no mount is persistent")
		}
	})
}
