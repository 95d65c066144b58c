package artifact

import (
	"context"
	"fmt"
	"os"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Shelf is one host's staged artifacts: the same folder and manifest for whatever
// node part.
type Shelf struct {
	// Options of every call; Spec, Keep and Progress are set for each.
	Options Options
	// Own is the nodeadm of the host, for node parts that pin none.
	Own string
}

// Estimate is the function of that name.
func (s Shelf) Estimate(ctx context.Context, spec *agentv1.NodeSpec) (bytes uint64, unknown bool, err error) {
	return Estimate(ctx, s.of(spec))
}

// Stage brings the artifacts of a node part and the nodeadm that it pins, and
// removes what is of none of keep. say is told now and then how far it is.
func (s Shelf) Stage(ctx context.Context, spec *agentv1.NodeSpec, keep []*agentv1.NodeSpec, say func(string)) error {
	opt := s.of(spec)
	hashes := []string{spec.GetNodeadm().GetSha256()}
	for _, other := range keep {
		opt.Keep = append(opt.Keep, other.GetKubernetesVersion())
		hashes = append(hashes, other.GetNodeadm().GetSha256())
	}
	opt.Progress = spoken(say)
	if _, err := Nodeadm(ctx, opt, s.Own); err != nil {
		return err
	}
	if _, err := Stage(ctx, opt); err != nil {
		return err
	}
	return PruneNodeadm(opt.Dir, hashes...)
}

// Open verifies the node part's nodeadm and serves what is staged for it until
// stop is called. ErrNotStaged where that is not all there; nodeadm could then
// fetch by itself, with the host's own manifest and what Program says.
func (s Shelf) Open(ctx context.Context, spec *agentv1.NodeSpec) (manifest, nodeadm string, stop func(), err error) {
	opt := s.of(spec)
	if nodeadm, err = Nodeadm(ctx, opt, s.Own); err != nil {
		return "", "", nil, err
	}
	staged, err := Open(opt)
	if err != nil {
		return "", "", nil, err
	}
	manifest, stop, err = Serve(staged)
	return manifest, nodeadm, stop, err
}

// Program verifies the node part's nodeadm, which it fetches where it is missing,
// and returns its path.
func (s Shelf) Program(ctx context.Context, spec *agentv1.NodeSpec) (string, error) {
	return Nodeadm(ctx, s.of(spec), s.Own)
}

// Forget removes all that is staged.
func (s Shelf) Forget() error {
	if err := os.RemoveAll(s.Options.Dir); err != nil {
		return fmt.Errorf("cannot remove the staged artifacts: %w", err)
	}
	return nil
}

func (s Shelf) of(spec *agentv1.NodeSpec) Options {
	opt := s.Options
	opt.Spec = spec
	return opt
}

// spoken tells the progress at every tenth of the whole and at every new file.
func spoken(say func(string)) func(name string, done, total uint64) {
	last, tenth := "", uint64(0)
	return func(name string, done, total uint64) {
		now := uint64(0)
		if total > 0 {
			now = done * 10 / total
		}
		if say == nil || name == last && now == tenth {
			return
		}
		last, tenth = name, now
		if total == 0 {
			say(fmt.Sprintf("fetching %s: %s so far", name, size(done)))
			return
		}
		say(fmt.Sprintf("fetching %s: %s of %s", name, size(done), size(total)))
	}
}
