package artifact

import (
	"context"
	"errors"
	"path/filepath"

	"hybridagent/nodeadm"
)

// Estimate tells how many bytes Stage and Nodeadm would fetch, and writes nothing.
// unknown is set where something comes whose size nobody tells: a server that
// gives none, packages of the operating system, the SSM agent.
func Estimate(ctx context.Context, opt Options) (bytes uint64, unknown bool, err error) {
	opt, err = opt.withDefaults()
	if err != nil {
		return 0, false, err
	}
	unknown = elsewhere(opt)
	client := opt.client()
	defer client.CloseIdleConnections()
	if source := opt.Spec.GetNodeadm(); source.GetUrl() != "" && !held(opt.Dir, source) {
		n := headSize(ctx, client, source.GetUrl(), opt.Stall)
		bytes, unknown = n, unknown || n == 0
	}
	if _, err := Open(opt); err == nil || !errors.Is(err, ErrNotStaged) {
		return bytes, unknown, err
	}
	_, picked, err := opt.read(ctx, client)
	if err != nil {
		return 0, false, err
	}
	dir := opt.versionDir(opt.Spec.GetKubernetesVersion())
	for _, one := range picked.entries() {
		path := filepath.Join(dir, one.file())
		here, err := sizeOf(path)
		if err != nil {
			return 0, false, err
		}
		part, err := sizeOf(path + ".part")
		if err != nil {
			return 0, false, err
		}
		n := headSize(ctx, client, one.URI, opt.Stall)
		// A file of that size is taken for the right one; Stage verifies it.
		if n == 0 || here != n {
			bytes, unknown = bytes+n-min(part, n), unknown || n == 0
		}
	}
	return bytes, unknown, nil
}

// elsewhere reports whether nodeadm itself fetches what is in no manifest.
func elsewhere(opt Options) bool {
	packages := nodeadm.ContainerdSource(opt.Spec) != "none" || !opt.Spec.GetPrivateMode()
	return packages || nodeadm.Provider(opt.Spec) == nodeadm.ProviderSSM
}
