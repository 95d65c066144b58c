package lifecycle

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"hybridagent/agent/operation/engine"
)

// route waits until packets to the VPC leave from the node IP. The daemon
// installs the route; after a boot this operation may be faster than it, and
// then nodeadm's connections would hang on the way they first took. Without a
// VPN server the network routes the VPC, and there is nothing to wait for.
func (p *job) route(ctx context.Context, run engine.Run) error {
	if len(p.spec.GetVpnServers()) == 0 || p.recorded() {
		return nil
	}
	return wait(ctx, run, func() error {
		if reason := p.astray(); reason != "" {
			return &awaited{fmt.Errorf("cannot %s without the route to the VPC: %s; the daemon installs it, so look at 'hybrid-agent status'", p.verb(), reason)}
		}
		return nil
	})
}

// astray says which VPC CIDR is reached from another address than the node IP;
// empty when none is.
func (p *job) astray() string {
	for _, text := range p.spec.GetVpcCidrs() {
		cidr, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Sprintf("VPC CIDR %q cannot be read: %v", text, err)
		}
		source, err := p.SourceToward(cidr.Masked().Addr().Next())
		if err != nil {
			return err.Error()
		}
		if source.String() != p.nodeIP {
			return fmt.Sprintf("packets to %s leave from %s, not from the node IP %s", cidr, source, p.nodeIP)
		}
	}
	return ""
}

// SourceToward asks the kernel which address of this host it would use towards
// another; nothing is sent.
func SourceToward(target netip.Addr) (netip.Addr, error) {
	const discard = 9
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(target, discard)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("there is no route to %s: %w", target, err)
	}
	defer func() { _ = conn.Close() }()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("cannot tell the source address towards %s", target)
	}
	return local.AddrPort().Addr().Unmap(), nil
}
