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
	dir := opt.folder()
	for _, one := range picked.entries() {
		path := filepath.Join(dir, one.file())
		here, err := opt.sizeHere(one.file())
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

// sizeHere is the size of an artifact that is here already, in the folder of the
// node part or beside it; 0 where there is none.
func (o Options) sizeHere(file string) (uint64, error) {
	for _, dir := range append([]string{o.folder()}, o.besides()...) {
		if n, err := sizeOf(filepath.Join(dir, file)); err != nil || n > 0 {
			return n, err
		}
	}
	return 0, nil
}

// elsewhere reports whether nodeadm itself fetches what is in no manifest.
func elsewhere(opt Options) bool {
	packages := nodeadm.ContainerdSource(opt.Spec) != "none" || !opt.Spec.GetPrivateMode()
	return packages || nodeadm.Provider(opt.Spec) == nodeadm.ProviderSSM
}
