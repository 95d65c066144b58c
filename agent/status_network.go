package agent

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	localv1 "hybridagent/proto/hybrid/local/v1"
)

// settled is the assignment that the plane may count on: one whose network is on
// trial is not answered for yet.
func (f *facts) settled() *assignment {
	if t := f.trial; t != nil && t.rule.First && t.next != nil {
		return t.former
	}
	return f.assignment
}

func (a *assignment) generation() uint64 {
	if a == nil {
		return 0
	}
	return a.update.GetGeneration()
}

func texts[T fmt.Stringer](values []T) []string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}

// trialStatus shows the trial under way, and the last one that was rolled back.
func (f *facts) trialStatus(n *localv1.NetworkState) {
	if t := f.trial; t != nil {
		n.Trial = &localv1.NetworkTrial{
			Origin: t.origin(), Change: f.record.Confirmed.change(t.network.config()), Reason: t.waits,
			BeganAt: timestamppb.New(t.rule.Began), Deadline: timestamppb.New(t.rule.Deadline),
		}
	}
	if back := f.record.RolledBack; back != nil {
		n.RolledBack = &localv1.NetworkTrial{
			Origin: "a live switch", Change: f.record.Confirmed.change(back.Network), Reason: back.Reason, BeganAt: timestamppb.New(back.At),
		}
		if back.Generation > 0 {
			n.RolledBack.Origin = fmt.Sprintf("assignment %d", back.Generation)
		}
	}
}

// change says in words what another network changes.
func (c *networkConfig) change(to *networkConfig) string {
	if c == nil {
		return "the first network"
	}
	var parts []string
	add := func(what, from, to string) {
		if from != to {
			parts = append(parts, fmt.Sprintf("%s %s instead of %s", what, orText(to, "none"), orText(from, "none")))
		}
	}
	add("VPN servers", join(texts(c.VPNServers)), join(texts(to.VPNServers)))
	add("VPC CIDRs", join(texts(c.VPCCIDRs)), join(texts(to.VPCCIDRs)))
	add("remote node CIDRs", join(texts(c.NodeCIDRs)), join(texts(to.NodeCIDRs)))
	add("NIC", c.NICName+c.NICMAC, to.NICName+to.NICMAC)
	if len(parts) == 0 {
		return "nothing"
	}
	return brief(strings.Join(parts, ", "), maxMessage)
}

// serverStatus shows each VPN server of the network in force.
func (f *facts) serverStatus(n *localv1.NetworkState) {
	ours, _ := f.inForce()
	for _, server := range ours.vpnServers {
		s := &localv1.VPNServer{Address: server.String(), Active: server == f.net.vpnServer, Error: f.unusableBecause(server)}
		for _, r := range f.path.Servers {
			if r.Server != server || r.At.IsZero() {
				continue
			}
			s.Ok, s.Since = r.OK, timestamppb.New(r.Since)
			if r.OK {
				s.Rtt = durationpb.New(r.RTT)
			} else {
				s.Error = r.Error
			}
		}
		n.VpnServers = append(n.VpnServers, s)
	}
}

func (f *facts) unusableBecause(server netip.Addr) string {
	for _, u := range f.net.unusable {
		if u.Value == server.String() {
			return u.Error()
		}
	}
	return ""
}

// pathSummary is the verdict on the way to the VPC.
func (f *facts) pathSummary() *localv1.PathSummary {
	r := f.path
	v := pathHealthy(f)
	s := &localv1.PathSummary{
		Verdict: v.reason, Segment: string(r.Segment), Message: v.message,
		PathMtu: uint32(max(r.MTU.Path, 0)), MtuBlackHole: r.MTU.BlackHole, RouteMtu: uint32(max(r.Plan.RouteMTU, 0)),
	}
	if !r.Since.IsZero() {
		s.Since = timestamppb.New(r.Since)
	}
	return s
}
