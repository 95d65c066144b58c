package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/rootfile"
	"hybridagent/nodeadm"
)

// preflight refuses before anything is changed what cannot end well, and waits
// for what comes by itself.
func (p *job) preflight(ctx context.Context, run engine.Run) error {
	if p.recorded() {
		return nil
	}
	checks := []func() error{p.checkLeftovers, p.checkNodeadm, p.checkSpec, p.checkRemoteNodeCIDRs, p.checkCredentials, p.checkAddress, p.checkDisk}
	return p.lookFor(ctx, run, checks)
}

// lookFor does the checks again and again while what fails may pass by itself.
func (p *job) lookFor(ctx context.Context, run engine.Run, checks []func() error) error {
	return wait(ctx, run, func() error {
		// What another look would find again comes before what may pass.
		var passing *awaited
		for _, check := range checks {
			err := check()
			if err != nil && !errors.As(err, &passing) {
				return &engine.Permanent{Err: err}
			}
		}
		if passing != nil {
			return passing
		}
		return nil
	})
}

func (p *job) checkNodeadm() error {
	if p.Artifacts != nil && p.spec.GetNodeadm() != nil {
		return nil // the profile's own is fetched and verified
	}
	err := rootfile.Program(p.NodeadmPath)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot %s: nodeadm is not installed at %s; install it in the host's image, or set nodeadm.path in config.yaml", p.verb(), p.NodeadmPath)
	}
	if err != nil {
		return fmt.Errorf("cannot %s: %w", p.verb(), err)
	}
	return nil
}

func (p *job) checkSpec() error {
	if _, err := nodeadm.Render(usable(p.spec), netip.MustParseAddr("192.0.2.1")); err != nil {
		return err
	}
	config := p.spec.GetKubeletConfigJson()
	if !bytes.Equal(config, p.former.Node.GetKubeletConfigJson()) {
		// What is in force kubelet was started with.
		if err := nodeadm.CheckKubeletConfig(config); err != nil {
			return err
		}
	}
	if anywhere := p.spec.GetAccess().GetIamRolesAnywhere(); anywhere != nil && anywhere.GetNodeName() != p.HostID {
		return fmt.Errorf("cannot %s: the node's name %q is not this host's ID %q", p.verb(), anywhere.GetNodeName(), p.HostID)
	}
	return nil
}

// checkRemoteNodeCIDRs makes a check that nodeadm leaves out where it is given
// the cluster's endpoint.
func (p *job) checkRemoteNodeCIDRs() error {
	ip, err := netip.ParseAddr(p.nodeIP)
	if err != nil {
		return fmt.Errorf("cannot use node IP %q: %w", p.nodeIP, err)
	}
	for _, text := range p.spec.GetRemoteNodeCidrs() {
		cidr, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("cannot read remote node CIDR %q: %w", text, err)
		}
		if cidr.Contains(ip) {
			return nil
		}
	}
	return fmt.Errorf("cannot use node IP %s: it is in none of the remote node CIDRs %v; choose another NIC in the NodePool, or add the CIDR to the cluster",
		ip, p.spec.GetRemoteNodeCidrs())
}

// checkAddress waits for the node IP: nodeadm would take one that the host does
// not have. At boot this runs before a DHCP server has answered.
func (p *job) checkAddress() error {
	owned, err := p.Addresses()
	if err != nil {
		return &awaited{fmt.Errorf("cannot list this host's addresses: %w", err)}
	}
	if !slices.ContainsFunc(owned, func(one netip.Addr) bool { return one.String() == p.nodeIP }) {
		return &awaited{fmt.Errorf("cannot use node IP %s: this host does not have it (it has %v); bring its NIC up, or choose another NIC in the NodePool", p.nodeIP, owned)}
	}
	return nil
}

func (p *job) checkCredentials() error {
	if p.spec.GetAccess().GetIamRolesAnywhere() == nil {
		return nil
	}
	_, err := p.Keys.Installed()
	switch {
	case errors.Is(err, nodekey.ErrNoCertificate):
		return fmt.Errorf("cannot %s with IAM Roles Anywhere: no node certificate is installed yet; the agent asks the plane for one, so check that it is connected", p.verb())
	case errors.Is(err, nodekey.ErrNotYetValid):
		// A host without a battery for its clock starts in the past.
		return &awaited{err}
	}
	return err
}
