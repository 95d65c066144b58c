package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm/change"
)

// What must be free on the disks that nodeadm writes to, in bytes: binaries of one
// version with their copies, and configuration.
const (
	binariesNeed = 400 << 20
	stateNeed    = 16 << 20
)

// sayWhy tells why nothing has to be done.
func (p *job) sayWhy(_ context.Context, run engine.Run) error {
	text := "nothing to do: " + strings.Join(p.decided.Reasons, "; ")
	run.Say(text)
	p.tell(run, "%s", text)
	return nil
}

// preflightNode refuses before anything is changed what cannot end well: on the
// host, then in the cluster.
func (p *job) preflightNode(ctx context.Context, run engine.Run) error {
	p.tell(run, "path %s: %s", p.decided.Path, strings.Join(p.decided.Reasons, "; "))
	if p.decided.NoAPI && p.op.GetForce() {
		p.tell(run, "forced without the Kubernetes API: no pod is moved away and nodeadm's own checks are left out; the API must answer by the end for the node to be seen Ready, or what was in force is brought back")
	}
	checks := []func() error{p.checkNodeadm, p.checkSpec, p.checkRemoteNodeCIDRs, p.checkActivation, p.checkCredentials, p.checkAddress, p.checkDisk}
	if err := p.lookFor(ctx, run, checks); err != nil {
		return err
	}
	return p.awaitDrain(ctx, run)
}

// checkActivation refuses to register a second time with a code that is not there:
// it is used once and not kept.
func (p *job) checkActivation() error {
	ssm := p.spec.GetAccess().GetSsm()
	registers := p.decided.Path == change.Reinstall || p.decided.Path == change.Install && p.former.Provider != "ssm"
	if ssm == nil || !registers || ssm.GetActivationCode() != "" {
		return nil
	}
	return fmt.Errorf("cannot %s by path %s: it registers the host with Systems Manager anew, and the activation code was not kept; create a new SSM hybrid activation, set it in the HybridCluster and repave from the plane", p.verb(), p.decided.Path)
}

// checkDisk refuses to begin what a full disk would end half-way.
func (p *job) checkDisk() error {
	needs := []struct {
		path  string
		bytes uint64
	}{{p.Dir, stateNeed}, {filepath.Join(p.Root, "etc"), stateNeed}}
	if p.fetches() {
		needs = append(needs, struct {
			path  string
			bytes uint64
		}{filepath.Join(p.Root, "usr"), binariesNeed})
	}
	for _, need := range needs {
		free, err := p.FreeBytes(need.path)
		if err != nil {
			return err
		}
		if free < need.bytes {
			return fmt.Errorf("cannot %s: %d bytes must be free on the disk of %s, and %d are; free %d bytes",
				p.verb(), need.bytes, need.path, free, need.bytes-free)
		}
	}
	return nil
}

// FreeBytes tells how much of the disk below a path root may still use. Of a path
// that does not exist, the nearest directory above it counts.
func FreeBytes(path string) (uint64, error) {
	var stat unix.Statfs_t
	for dir := path; ; dir = filepath.Dir(dir) {
		err := unix.Statfs(dir, &stat)
		if errors.Is(err, unix.ENOENT) && dir != "/" && dir != "." {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("cannot tell how much of the disk of %s is free: %w", path, err)
		}
		return stat.Bavail * uint64(stat.Bsize), nil
	}
}

// awaitNetwork waits until the host has the node IP and reaches the VPC from it:
// after a boot this may be faster than the daemon.
func (p *job) awaitNetwork(ctx context.Context, run engine.Run) error {
	if p.recorded() {
		return nil
	}
	if err := p.lookFor(ctx, run, []func() error{p.checkAddress}); err != nil {
		return err
	}
	return p.route(ctx, run)
}
