package artifact

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"hybridagent/nodeadm"
)

// eksArtifacts are what install and upgrade download for every node, seen in the
// recorded runs; Roles Anywhere adds its helper. What SSM needs comes from SSM's
// own servers, verified by a key inside nodeadm, and cannot be staged.
func eksArtifacts() []string {
	return []string{"kubelet", "kubectl", "cni-plugins", "ecr-credential-provider", "aws-iam-authenticator"}
}

// signingHelper is the program that Roles Anywhere adds.
const signingHelper = "aws_signing_helper"

// fileForm is a file name that is taken from a URL.
var fileForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// manifest mirrors what nodeadm reads (internal/aws/manifest.go); unknown fields
// are allowed there too.
type manifest struct {
	EKS []struct {
		Minor   string `json:"major_minor_version"`
		Patches []struct {
			Version   string  `json:"version"`
			Patch     string  `json:"patch_version"`
			Date      string  `json:"release_date"`
			Artifacts []entry `json:"artifacts"`
		} `json:"patch_releases"`
	} `json:"supported_eks_releases"`
	RolesAnywhere []struct {
		Version   string  `json:"version"`
		Artifacts []entry `json:"artifacts"`
	} `json:"iam_roles_anywhere_releases"`
	Regions map[string]json.RawMessage `json:"region_config"`
}

// entry is one artifact of a manifest.
type entry struct {
	Name     string `json:"name"`
	Arch     string `json:"arch"`
	OS       string `json:"os"`
	URI      string `json:"uri"`
	Checksum string `json:"checksum_uri,omitempty"`
}

// file is the name that the artifact has on its server, which its checksum file
// may name.
func (e entry) file() string {
	if u, err := url.Parse(e.URI); err == nil && fileForm.MatchString(path.Base(u.Path)) {
		return path.Base(u.Path)
	}
	return e.Name
}

// decode reads a manifest as nodeadm does, with the same YAML decoder.
func decode(raw []byte) (*manifest, error) {
	m := &manifest{}
	if err := yaml.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("cannot read nodeadm's manifest: %w", err)
	}
	if len(m.EKS) == 0 {
		return nil, refuse("cannot use nodeadm's manifest: it lists no Kubernetes release; correct nodeadm.manifest in config.yaml")
	}
	return m, nil
}

// choice is what of a manifest one command uses.
type choice struct {
	minor, patch, date string
	eks                []entry
	helperVersion      string
	helper             []entry
}

// entries are all artifacts.
func (c choice) entries() []entry { return append(append([]entry(nil), c.eks...), c.helper...) }

// choose picks the artifacts for a full version as getLatestEksSource and
// getSource do: patch by its number, the latest date where a patch was released
// more than once, the newest signing helper.
func (m *manifest) choose(version, region, provider, arch string) (choice, error) {
	if _, ok := m.Regions[region]; !ok {
		return choice{}, refuse("cannot install Kubernetes %s: nodeadm's manifest does not list Region %s; correct the Region in the HybridCluster, or use a manifest that lists it", version, region)
	}
	picked, all, ok := m.release(version)
	if !ok {
		return choice{}, refuse("cannot install Kubernetes %s: nodeadm's manifest does not list it; choose one of its versions in the HybridProfile: %s", version, strings.Join(m.versions(), ", "))
	}
	for _, name := range eksArtifacts() {
		one, err := find(all, name, arch)
		if err != nil {
			return choice{}, err
		}
		picked.eks = append(picked.eks, one)
	}
	if provider != nodeadm.ProviderRolesAnywhere {
		return picked, nil
	}
	newest, artifacts := m.newestHelper()
	one, err := find(artifacts, signingHelper, arch)
	if err != nil {
		return choice{}, err
	}
	picked.helperVersion, picked.helper = newest, []entry{one}
	return picked, nil
}

// release finds a patch release; the last one by date counts.
func (m *manifest) release(version string) (picked choice, artifacts []entry, ok bool) {
	for _, minor := range m.EKS {
		number, found := strings.CutPrefix(version, minor.Minor+".")
		if !found {
			continue
		}
		for _, patch := range minor.Patches {
			// Dates are 2006-01-02, so their order is that of the texts.
			if patch.Version == version && (patch.Patch == "" || patch.Patch == number) && (!ok || patch.Date > picked.date) {
				picked, artifacts, ok = choice{minor: minor.Minor, patch: number, date: patch.Date}, patch.Artifacts, true
			}
		}
	}
	return picked, artifacts, ok
}

func (m *manifest) newestHelper() (version string, artifacts []entry) {
	for _, release := range m.RolesAnywhere {
		if artifacts == nil || slices.Compare(numbers(release.Version), numbers(version)) > 0 {
			version, artifacts = release.Version, release.Artifacts
		}
	}
	return version, artifacts
}

// numbers are the parts of a version such as 1.4.0 or v1.4.0.
func numbers(version string) []int {
	var parts []int
	for part := range strings.SplitSeq(strings.TrimPrefix(version, "v"), ".") {
		n, _ := strconv.Atoi(part)
		parts = append(parts, n)
	}
	return parts
}

// versions lists at most 20 versions, for a message.
func (m *manifest) versions() []string {
	var list []string
	for _, minor := range m.EKS {
		for _, patch := range minor.Patches {
			if len(list) < 20 {
				list = append(list, patch.Version)
			}
		}
	}
	return list
}

func find(artifacts []entry, name, arch string) (entry, error) {
	for _, one := range artifacts {
		if one.Name != name || one.Arch != arch || one.OS != "linux" {
			continue
		}
		for _, uri := range []string{one.URI, one.Checksum} {
			if u, err := url.Parse(uri); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
				return entry{}, refuse("cannot fetch %s: nodeadm's manifest names it %q, which is no http:// or https:// URI; correct the manifest", name, uri)
			}
		}
		return one, nil
	}
	return entry{}, refuse("cannot install: nodeadm's manifest has no %s for linux/%s; use a manifest that lists it", name, arch)
}

// rewrite returns the manifest with the chosen release only, whose files lie below
// base. All the rest stays as it was, fields that this package does not know too.
// It is written as JSON, which is YAML, and whose strings stay strings: an ECR
// account may begin with 0.
func rewrite(raw []byte, picked choice, arch, base string) ([]byte, error) {
	var all map[string]any
	if err := yaml.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("cannot read nodeadm's manifest: %w", err)
	}
	local := func(entries []entry) []entry {
		moved := []entry{}
		for _, one := range entries {
			uri := base + "/" + one.file()
			moved = append(moved, entry{Name: one.Name, Arch: arch, OS: "linux", URI: uri, Checksum: uri + ".sha256"})
		}
		return moved
	}
	all["supported_eks_releases"] = []any{map[string]any{
		"major_minor_version": picked.minor, "latest_patch_version": picked.patch,
		"patch_releases": []any{map[string]any{
			"version": picked.minor + "." + picked.patch, "patch_version": picked.patch, "release_date": picked.date, "artifacts": local(picked.eks),
		}},
	}}
	if len(picked.helper) > 0 {
		all["iam_roles_anywhere_releases"] = []any{map[string]any{"version": picked.helperVersion, "artifacts": local(picked.helper)}}
	}
	content, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return nil, fmt.Errorf("cannot write nodeadm's manifest anew: %w", err)
	}
	return append(content, '\n'), nil
}

// checksumOf reads a checksum file: <sha256>  <name>, one line, or the line of the
// name where there are several.
func checksumOf(content []byte, file string) (string, bool) {
	var only string
	lines := 0
	for line := range strings.SplitSeq(string(content), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || !sumForm.MatchString(fields[0]) {
			continue
		}
		lines++
		only = strings.ToLower(fields[0])
		if len(fields) > 1 && path.Base(strings.TrimPrefix(fields[1], "*")) == file {
			return only, true
		}
	}
	return only, lines == 1
}

// sumForm is a SHA-256 in hexadecimal.
var sumForm = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
