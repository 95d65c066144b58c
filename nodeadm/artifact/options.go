package artifact

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/sys/unix"

	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds, in bytes. The largest artifact of EKS Hybrid Nodes, kubelet, has some
// 80 MB.
const (
	maxManifest = 8 << 20
	maxChecksum = 64 << 10
	maxArtifact = 1 << 30
)

// defaultStall ends a download that brings nothing for so long. There is no limit
// for the whole: a slow line is no fault.
const defaultStall = 45 * time.Second

// The manifests that nodeadm reads without -m (github.com/aws/eks-hybrid,
// internal/aws/manifest_test.go: TestGetManifestURL). China has its own.
const (
	manifestURL      = "https://hybrid-assets.eks.amazonaws.com/manifest.yaml"
	manifestURLChina = "https://eks-hybrid-assets.awsstatic.cn/manifest.yaml"
)

// DefaultManifest is where nodeadm's manifest lies when the host's configuration
// names none.
func DefaultManifest(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return manifestURLChina
	}
	return manifestURL
}

// Options say what is staged and where.
type Options struct {
	// Dir is root's folder for it, usually .../hybrid-agent-op/staged; made with mode
	// 0700 where it is missing.
	Dir string
	// Spec is the node part whose version, Region and credential provider count.
	Spec *agentv1.NodeSpec
	// Manifest is the file:// or https:// URI of nodeadm's manifest; empty:
	// DefaultManifest of the Region.
	Manifest string
	// Keep are further Kubernetes versions whose files stay, for a way back; all
	// others are removed once everything is there.
	Keep []string
	// Arch is the GOARCH of the artifacts; empty: this program's.
	Arch string
	// Environment is nodeadm's; its proxy variables count here too, else this
	// process's.
	Environment map[string]string
	// Stall ends a download that brings nothing for so long; default 45 s.
	Stall time.Duration
	// Progress is called with the bytes that are there of all that are needed; total
	// is 0 where a server did not tell sizes. May be nil.
	Progress func(name string, done, total uint64)
	// Transport replaces HTTP's, for tests.
	Transport http.RoundTripper
	// Free returns the bytes that root may still write below a directory; the file
	// system's own answer but in tests.
	Free func(dir string) (uint64, error)
}

// withDefaults completes the options and checks them.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" || !filepath.IsAbs(o.Dir) {
		return o, fmt.Errorf("cannot stage artifacts in %q: not an absolute path", o.Dir)
	}
	if o.Spec == nil {
		return o, errors.New("cannot stage artifacts: there is no node part")
	}
	// Not nodeadm.Check: of what was applied, secrets are not recorded.
	if !versionForm.MatchString(o.Spec.GetKubernetesVersion()) {
		return o, refuse("cannot stage Kubernetes version %q: not of the form 1.31.5; correct it in the HybridProfile", o.Spec.GetKubernetesVersion())
	}
	if nodeadm.Provider(o.Spec) == "" {
		return o, refuse("cannot stage artifacts: no access management is set; set accessManagement in the HybridCluster")
	}
	if !regionForm.MatchString(o.Spec.GetRegion()) {
		return o, refuse("cannot stage artifacts for Region %q: not of the form us-west-2; correct the Region in the HybridCluster", o.Spec.GetRegion())
	}
	if source := o.Spec.GetNodeadm(); source != nil {
		if err := nodeadm.CheckSource(source); err != nil {
			return o, err
		}
	}
	if o.Manifest == "" {
		o.Manifest = DefaultManifest(o.Spec.GetRegion())
	}
	// nodeadm takes no other: the manifest has no checksum of its own.
	if !strings.HasPrefix(o.Manifest, "file:///") && !strings.HasPrefix(o.Manifest, "https://") {
		return o, refuse("cannot use nodeadm's manifest %q: no file:// or https:// URI; correct nodeadm.manifest in config.yaml", o.Manifest)
	}
	if o.Arch == "" {
		o.Arch = runtime.GOARCH
	}
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	if o.Progress == nil {
		o.Progress = func(string, uint64, uint64) {}
	}
	if o.Free == nil {
		o.Free = freeBytes
	}
	return o, nil
}

// client makes the HTTP client. Its connections end with it.
func (o Options) client() *http.Client {
	if o.Transport != nil {
		return &http.Client{Transport: o.Transport}
	}
	proxy := httpproxy.FromEnvironment()
	for _, variable := range []struct {
		name string
		to   *string
	}{
		{"HTTP_PROXY", &proxy.HTTPProxy}, {"HTTPS_PROXY", &proxy.HTTPSProxy}, {"NO_PROXY", &proxy.NoProxy},
	} {
		for _, name := range []string{strings.ToLower(variable.name), variable.name} {
			if value, ok := o.Environment[name]; ok {
				*variable.to = value
			}
		}
	}
	choose := proxy.ProxyFunc()
	transport := &http.Transport{
		Proxy:               func(r *http.Request) (*url.URL, error) { return choose(r.URL) },
		TLSHandshakeTimeout: 15 * time.Second,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     10 * time.Second,
		ForceAttemptHTTP2:   true,
		// What is stored must be what the checksum is of.
		DisableCompression: true,
	}
	return &http.Client{Transport: transport}
}

// folder is that of the node part's version, Region and credential provider: what
// is staged for a way back must not be touched by what is staged for the way there.
func (o Options) folder() string {
	return filepath.Join(o.Dir, o.Spec.GetKubernetesVersion()+folderMark+o.Spec.GetRegion()+folderMark+nodeadm.Provider(o.Spec))
}

// besides are the folders of the same version that are of another Region or
// provider: most files are the same.
func (o Options) besides() []string {
	all, err := filepath.Glob(filepath.Join(o.Dir, o.Spec.GetKubernetesVersion()+folderMark+"*"))
	if err != nil {
		return nil // never: the pattern is well formed
	}
	return slices.DeleteFunc(all, func(one string) bool { return one == o.folder() })
}

// freeBytes asks the file system.
func freeBytes(dir string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("cannot tell the free space of %s: %w", dir, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}
