package artifact

import (
	"errors"
	"strings"
	"testing"

	"hybridagent/nodeadm"
)

// sample is a manifest in small.
const sample = `
region_config: {us-west-2: {ecr_account_id: "013241004608"}}
iam_roles_anywhere_releases:
- {version: v1.9.0, artifacts: [{name: aws_signing_helper, arch: amd64, os: linux, uri: "https://x/old", checksum_uri: "https://x/old.sha256"}]}
- {version: v1.10.0, artifacts: [{name: aws_signing_helper, arch: amd64, os: linux, uri: "https://x/new", checksum_uri: "https://x/new.sha256"}]}
supported_eks_releases:
- major_minor_version: "1.31"
  latest_patch_version: "5"
  patch_releases:
  - version: 1.31.5
    patch_version: "5"
    release_date: "2025-02-01"
    artifacts: [ITEMS]
  - {version: 1.31.5, patch_version: "5", release_date: "2025-01-01", artifacts: []}
`

func sampleManifest(change ...string) string {
	var items []string
	for _, name := range eksArtifacts() {
		items = append(items, `{name: `+name+`, arch: amd64, os: linux, uri: "https://x/`+name+`", checksum_uri: "https://x/`+name+`.sha256"}`)
	}
	return strings.NewReplacer(change...).Replace(strings.ReplaceAll(sample, "ITEMS", strings.Join(items, ", ")))
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, version, provider string
		change                  []string
		fragment                string
	}{
		{"latest release of the patch", "1.31.5", nodeadm.ProviderRolesAnywhere, nil, ""},
		{"SSM needs no helper", "1.31.5", nodeadm.ProviderSSM, []string{"aws_signing_helper", "gone"}, ""},
		{"no helper", "1.31.5", nodeadm.ProviderRolesAnywhere, []string{"aws_signing_helper", "gone"}, "no aws_signing_helper for linux/amd64"},
		{"minor of more digits", "1.31.55", nodeadm.ProviderSSM, nil, "does not list it"},
		{"only the older release", "1.31.5", nodeadm.ProviderSSM, []string{"2025-01-01", "2025-03-01"}, "no kubelet"},
		{"file address", "1.31.5", nodeadm.ProviderSSM, []string{`"https://x/kubelet"`, `"file:///etc/shadow"`}, "no http:// or https:// URI"},
		{"no checksum", "1.31.5", nodeadm.ProviderSSM, []string{`, checksum_uri: "https://x/kubelet.sha256"`, ""}, "no http:// or https:// URI"},
		{"other system", "1.31.5", nodeadm.ProviderSSM, []string{"os: linux", "os: windows"}, "no kubelet for linux/amd64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := decode([]byte(sampleManifest(c.change...)))
			if err != nil {
				t.Fatal(err)
			}
			picked, err := m.choose(c.version, "us-west-2", c.provider, "amd64")
			if c.fragment != "" {
				var failure *nodeadm.Failure
				if !errors.As(err, &failure) || !failure.Permanent || !strings.Contains(err.Error(), c.fragment) {
					t.Errorf("choose = %+v, %v, want %q", picked, err, c.fragment)
				}
				return
			}
			if err != nil || picked.date != "2025-02-01" || len(picked.eks) != 5 {
				t.Errorf("choose = %+v, %v", picked, err)
			}
			if c.provider == nodeadm.ProviderRolesAnywhere && (picked.helperVersion != "v1.10.0" || picked.helper[0].URI != "https://x/new") {
				t.Errorf("helper %s %+v", picked.helperVersion, picked.helper)
			}
		})
	}
}

func TestChecksumOf(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	for _, c := range []struct {
		content, want string
		ok            bool
	}{
		{a + "  kubelet\n", a, true},
		{a + " *bin/linux/kubelet\n", a, true},
		{strings.ToUpper(a) + "\n", a, true},
		{b + "  kubectl\n" + a + "  kubelet\n", a, true},
		{b + "  kubectl\n" + a + "  other\n", "", false},
		{a + "  another-name\n", a, true},
		{"", "", false},
		{a[:63] + "  kubelet", "", false},
		{"<html>", "", false},
	} {
		if got, ok := checksumOf([]byte(c.content), "kubelet"); ok != c.ok || c.ok && got != c.want {
			t.Errorf("checksumOf(%q) = %q, %v", c.content, got, ok)
		}
	}
}

func TestDefaultManifest(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{
		"us-west-2": "https://hybrid-assets.eks.amazonaws.com/manifest.yaml", "us-gov-west-1": "https://hybrid-assets.eks.amazonaws.com/manifest.yaml",
		"cn-north-1": "https://eks-hybrid-assets.awsstatic.cn/manifest.yaml",
	} {
		if got := DefaultManifest(region); got != want {
			t.Errorf("DefaultManifest(%s) = %s", region, got)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[uint64]string{0: "0 bytes", 999: "999 bytes", 312e6: "312 MB", 40e6 + 5: "40 MB", 20e9: "20 GB", 5e3: "5 kB"} {
		if got := size(bytes); got != want {
			t.Errorf("size(%d) = %s, want %s", bytes, got, want)
		}
	}
}

// FuzzManifest: any bytes are refused in words or give artifacts whose addresses
// and file names are safe, and what is rewritten gives the same ones from the
// loopback.
func FuzzManifest(f *testing.F) {
	f.Add(sampleManifest())
	f.Add("")
	f.Add("supported_eks_releases: 7")
	f.Add("a: &a [*a]")
	f.Add("supported_eks_releases: [{major_minor_version: \"1.31\", patch_releases: [null]}]\nregion_config: {us-west-2: null}")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := decode([]byte(text))
		if err != nil {
			return
		}
		picked, err := m.choose("1.31.5", "us-west-2", nodeadm.ProviderRolesAnywhere, "amd64")
		if err != nil {
			return
		}
		for _, one := range picked.entries() {
			if !fileForm.MatchString(one.file()) || !strings.HasPrefix(strings.ToLower(one.URI), "http") {
				t.Errorf("artifact %+v as %q", one, one.file())
			}
		}
		moved, err := rewrite([]byte(text), picked, "amd64", "http://127.0.0.1:914/1.31.5")
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(moved)
		if err != nil {
			t.Fatalf("what was rewritten cannot be read: %v\n%s", err, moved)
		}
		local, err := again.choose("1.31.5", "us-west-2", nodeadm.ProviderRolesAnywhere, "amd64")
		if err != nil {
			t.Fatalf("what was rewritten cannot be used: %v\n%s", err, moved)
		}
		for i, one := range local.entries() {
			if one.URI != "http://127.0.0.1:914/1.31.5/"+picked.entries()[i].file() || one.Checksum != one.URI+".sha256" {
				t.Errorf("moved to %+v", one)
			}
		}
	})
}

// FuzzChecksum: whatever the file holds, a checksum has 64 lowercase digits.
func FuzzChecksum(f *testing.F) {
	f.Add([]byte(strings.Repeat("a", 64)+"  kubelet"), "kubelet")
	f.Add([]byte("\xff\n\n"), "")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		if got, ok := checksumOf(content, name); ok && (len(got) != 64 || strings.ToLower(got) != got) {
			t.Errorf("checksum %q", got)
		}
	})
}
