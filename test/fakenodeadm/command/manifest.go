package command

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// manifest is the part of the real manifest's format that install and init read.
type manifest struct {
	EKS []struct {
		Minor   string `yaml:"major_minor_version"`
		Latest  string `yaml:"latest_patch_version"`
		Patches []struct {
			Version   string     `yaml:"version"`
			Artifacts []artifact `yaml:"artifacts"`
		} `yaml:"patch_releases"`
	} `yaml:"supported_eks_releases"`
	RolesAnywhere []struct {
		Version   string     `yaml:"version"`
		Artifacts []artifact `yaml:"artifacts"`
	} `yaml:"iam_roles_anywhere_releases"`
	Regions map[string]struct {
		ECRAccount string `yaml:"ecr_account_id"`
	} `yaml:"region_config"`
}

type artifact struct {
	Name     string `yaml:"name"`
	Arch     string `yaml:"arch"`
	OS       string `yaml:"os"`
	URI      string `yaml:"uri"`
	Checksum string `yaml:"checksum_uri"`
}

// readManifest takes file:// only: the lab serves no https manifest.
func (r *run) readManifest(uri string) (*manifest, error) {
	if uri == "" {
		return nil, fmt.Errorf("this stand-in has no manifest of its own: give --manifest-override file://…")
	}
	path, ok := strings.CutPrefix(uri, "file://")
	if !ok {
		return nil, fmt.Errorf("this stand-in reads file:// manifests only, not %s", uri)
	}
	raw, err := os.ReadFile(r.path(path))
	if err != nil {
		return nil, stackf("reading manifest file: %w", err)
	}
	m := &manifest{}
	if err := yaml.Unmarshal(raw, m); err != nil {
		return nil, stackf("unmarshalling manifest: %w", err)
	}
	return m, nil
}

// release resolves major[.minor[.patch]] to the newest matching patch release.
func (m *manifest) release(wanted string) (version string, artifacts []artifact, err error) {
	parts := strings.Split(wanted, ".")
	for _, p := range parts {
		if _, err := strconv.Atoi(p); err != nil || len(parts) > 3 {
			return "", nil, stackf("getting latest eks release: invalid semantic version: %s", wanted)
		}
	}
	for _, rel := range m.EKS {
		for _, patch := range rel.Patches {
			if patch.Version == wanted || strings.HasPrefix(patch.Version, wanted+".") {
				if version == "" || newer(patch.Version, version) {
					version, artifacts = patch.Version, patch.Artifacts
				}
			}
		}
	}
	if version == "" {
		return "", nil, stackf("getting latest eks release: input semver did not match with any available releases")
	}
	return version, artifacts, nil
}

// signingHelper is the newest one in the manifest.
func (m *manifest) signingHelper() (artifact, error) {
	if len(m.RolesAnywhere) == 0 {
		return artifact{}, stackf("installing aws_signing_helper: no iam_roles_anywhere_releases in the manifest")
	}
	return find(m.RolesAnywhere[len(m.RolesAnywhere)-1].Artifacts, "aws_signing_helper")
}

func newer(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, _ := strconv.Atoi(as[i])
		y, _ := strconv.Atoi(bs[i])
		if x != y {
			return x > y
		}
	}
	return len(as) > len(bs)
}

func find(artifacts []artifact, name string) (artifact, error) {
	for _, a := range artifacts {
		if a.Name == name && a.OS == "linux" && a.Arch == runtime.GOARCH {
			return a, nil
		}
	}
	return artifact{}, stackf("could not find artifact %s for linux/%s in the manifest", name, runtime.GOARCH)
}
