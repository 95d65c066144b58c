package path

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// most bounds how many probes a message names.
const most = 4

func naming(results []Result) string {
	texts := make([]string, 0, most)
	for _, r := range results[:min(len(results), most)] {
		texts = append(texts, fmt.Sprintf("%s (%s)", r.Target, r.Error))
	}
	text := strings.Join(texts, ", ")
	if more := len(results) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func sayLink(link Link) string {
	switch {
	case link.Name == "":
		return "no NIC can be used" + because(link.Why) + "; check that it is there, or name another one for this host"
	case !link.Up:
		return fmt.Sprintf("the link %s is down%s; set it up, or name another NIC for this host", link.Name, because(link.Why))
	}
	return fmt.Sprintf("the link %s has no carrier%s; check the cable and the switch port", link.Name, because(link.Why))
}

func sayAddress(link Link) string {
	return fmt.Sprintf("%s has no usable IPv4 address%s; check DHCP, or the address that is configured for it", link.Name, because(link.Why))
}

// sayWay says what on the way to the VPC is broken, and what is known to work.
func sayWay(e evidence, segment Segment) string {
	what := "VPC path down"
	if e.name.failed {
		what += " and no DNS server answers"
	}
	if e.internet == Present {
		what += ", internet fine"
	}
	return what + ": " + sayBroken(e, segment)
}

func sayBroken(e evidence, segment Segment) string {
	switch p := e.plan; segment {
	case SegmentGateway:
		if e.server == Absent {
			return fmt.Sprintf("neither the gateway %s nor the VPN server %s answers on %s; check the cable, the switch port and its VLAN", p.Gateway, p.Active, p.NIC)
		}
		return fmt.Sprintf("the gateway %s does not answer; check the site's router", p.Gateway)
	case SegmentServer:
		return fmt.Sprintf("the VPN server %s does not answer on %s; check that it runs and is connected%s", p.Active, p.NIC, sayStandby(e))
	case SegmentInternet:
		return fmt.Sprintf("the internet does not answer (%s)%s; check the site's uplink", strings.Join(p.Internet, ", "), sayBehind(e))
	}
	return sayTunnel(e)
}

// sayBehind names what the site has that still answers.
func sayBehind(e evidence) string {
	if e.gateway == Present {
		return fmt.Sprintf(" behind the gateway %s", e.plan.Gateway)
	}
	return ""
}

func sayStandby(e evidence) string {
	if len(e.plan.Servers) < 2 {
		return ""
	}
	return "; the others are tried by themselves"
}

func sayTunnel(e evidence) string {
	p := e.plan
	if !p.Active.IsValid() {
		who := "the network"
		if p.Gateway.IsValid() {
			who = "the gateway " + p.Gateway.String()
		}
		return fmt.Sprintf("nothing in the VPC answers through %s; check that it routes the VPC, its tunnel, and the VPC's route back to %s", who, p.Source)
	}
	answers := "nothing behind the VPN server " + p.Active.String() + " answers"
	if e.server == Present {
		answers = fmt.Sprintf("the VPN server %s answers, nothing behind it does", p.Active)
	}
	return fmt.Sprintf("%s; check the tunnel on it and the VPC's route back to %s", answers, p.Source)
}

func sayFiltered(e evidence, unanswered []Result) string {
	links := strings.Join(e.strict, ", ")
	return fmt.Sprintf("the kernel's reverse-path filter on %s drops the answers of %s (%d packets in this round); set net.ipv4.conf.%s.rp_filter=2, or route the answers back by %s",
		links, naming(unanswered), e.filtered, e.strict[0], e.plan.NIC)
}

func sayWrongAnswer(e evidence, mixed bool) string {
	wanted, came := "private", "public"
	if e.plan.Access == AccessPublic {
		wanted, came = "public", "private"
	}
	if mixed {
		came = "both public and private"
	}
	advice := "forward the name to the VPC's resolver (Route 53 inbound endpoint), or correct the endpoint access that the cluster is given"
	if e.plan.Access == AccessPublic {
		advice = "ask a public resolver for it, or correct the endpoint access that the cluster is given"
	}
	return fmt.Sprintf("the API endpoint %s resolves to %s addresses (%s), expected are %s ones; %s", e.plan.APIEndpoint, came, joinAddrs(e.name.addrs), wanted, advice)
}

func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, 0, most)
	for _, a := range addrs[:min(len(addrs), most)] {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

func sayNoSuchName(e evidence) string {
	return fmt.Sprintf("the API endpoint %s does not exist by the DNS%s; check the name in the HybridCluster, and that this DNS knows private names of the VPC", e.plan.APIEndpoint, at(e.name.server))
}

func sayNoResolver(e evidence) string {
	return fmt.Sprintf("no DNS server answers for the API endpoint %s%s%s; check the servers in /etc/resolv.conf", e.plan.APIEndpoint, at(e.name.server), because(e.name.why))
}

func at(server string) string {
	if server == "" {
		return ""
	}
	return " server " + server
}

func sayAPI(e evidence, dead []Result) string {
	advice := "check its security group and the addresses that firewalls allow"
	if len(dead) == len(e.api()) {
		advice = "check its security group, its port, and the API server"
	}
	return fmt.Sprintf("the way to the VPC works, but the API endpoint does not answer: %s; %s", naming(dead), advice)
}

func sayTargets(e evidence) string {
	return fmt.Sprintf("the way to the VPC works, but no probe target answers: %s; check the probe targets of the HybridCluster", naming(failing(e.asked())))
}

func sayClock(e evidence) string {
	h := e.handshake
	if e.now.Before(h.NotBefore) {
		return fmt.Sprintf("the clock of this host is at least %s behind: the certificate of %s is valid from %s; check the NTP servers",
			span(h.NotBefore.Sub(e.now)), h.target, h.NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the clock of this host is %s past the end of the certificate of %s (%s); check the NTP servers, or renew the certificate",
		span(e.now.Sub(h.NotAfter)), h.target, h.NotAfter.UTC().Format(time.RFC3339))
}

// span is a duration without the digits that nobody needs.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
	return d.Round(time.Second).String()
}

func sayMTU(e evidence) string {
	return fmt.Sprintf("packets to the VPC of more than %d bytes vanish without an ICMP error, and the routes allow %d; %s",
		e.mtu.Path, allowed(e), sayMTUAdvice(e, fmt.Sprintf("%d", e.mtu.Path)))
}

// allowed is how large packets by the routes may be.
func allowed(e evidence) int {
	if e.plan.RouteMTU > 0 {
		return e.plan.RouteMTU
	}
	return e.plan.Link.MTU
}

func sayMTUAdvice(e evidence, size string) string {
	if e.plan.MTUFixed {
		return "set MTU " + size + " for the routes of this host, or lower the MTU on the VPN server"
	}
	return "the routes get MTU " + size + "; to mend it for others as well, let the VPN server's firewall pass \"fragmentation needed\""
}

func sayHangingMTU(e evidence) string {
	proof := "which is how packets that are too big for the path vanish"
	if e.handshake.small {
		proof = "and does not with small segments: large packets vanish on the way back"
	}
	return fmt.Sprintf("the API endpoint %s connects but TLS hangs, %s; set a smaller MTU (1400) for the routes of this host, or clamp the MSS on the VPN server", e.handshake.target, proof)
}

func sayHanging(e evidence) string {
	return fmt.Sprintf("the API endpoint %s accepts connections but answers no TLS handshake, and packets of %d bytes pass; check the API server and the load balancer before it", e.handshake.target, e.mtu.Path)
}

func sayProxy(e evidence) string {
	return fmt.Sprintf("the VPC answers, but the proxy %s does not; check the proxy, or the proxy setting of this host", e.plan.Proxy)
}
