package path

import (
	"net/netip"
	"slices"
	"time"

	"hybridagent/netcfg"
)

// Plan says what to probe and how.
type Plan struct {
	// NIC is the link that probes leave by; empty: nothing is probed.
	NIC string
	// Source is the source address of probes.
	Source netip.Addr
	// APIEndpoint is host:port; empty: not probed.
	APIEndpoint string
	// Targets are addresses (ICMP) or host:port (TCP).
	Targets []string
	// Interval is the time between rounds.
	Interval time.Duration
	// Routes is any text that changes with the routes: a change starts a round at
	// once.
	Routes string

	// Link is what the nic stage knows of the NIC.
	Link Link
	// Gateway is the default gateway that the host uses; invalid: none.
	Gateway netip.Addr
	// Servers are the VPN servers that can be used, in order of preference; each is
	// probed by its mark. Active is the one that the routes lead through; invalid
	// where the network's gateway routes the VPC.
	Servers []netcfg.ServerPath
	Active  netip.Addr
	// VPCCIDRs tell an address of the VPC from a public one.
	VPCCIDRs []netip.Prefix
	// Access is which answer the API endpoint's name is to have.
	Access Access
	// Internet are host:port outside the site, reached by whatever way the host
	// has: the plane. Any that answers says that the internet is fine.
	Internet []string
	// Proxy is host:port of the host's proxy; empty: none.
	Proxy string
	// RouteMTU is the MTU that the routes carry, in bytes; 0: the link's. MTUFixed
	// says that no other will be set whatever is found.
	RouteMTU int
	MTUFixed bool
	// Hurry asks for a round each two seconds and holds no verdict back: a trial
	// waits for it.
	Hurry bool
}

// Link is what the nic stage knows of the NIC; where none could be selected, of
// the one that is meant.
type Link struct {
	// Name of the link; empty: no such link.
	Name string
	// Up and Carrier are its states, Addressed whether it has a usable IPv4 address.
	Up, Carrier, Addressed bool
	// MTU in bytes.
	MTU int
	// Why says in words what is wrong with it; empty: nothing.
	Why string
}

// Access is how the cluster's API endpoint is to be reached.
type Access int

// How an API endpoint is reached.
const (
	// AccessAny: any answer of the name is right.
	AccessAny Access = iota
	// AccessPrivate: the name is to resolve to addresses in the VPC.
	AccessPrivate
	// AccessPublic: the name is to resolve to addresses outside the VPC.
	AccessPublic
)

// Segment is the part of the way to the VPC that is broken.
type Segment string

// Segments, from the host outwards.
const (
	SegmentNone     Segment = ""
	SegmentLink     Segment = "link"
	SegmentAddress  Segment = "address"
	SegmentGateway  Segment = "gateway"
	SegmentInternet Segment = "internet"
	SegmentDNS      Segment = "DNS"
	SegmentProxy    Segment = "proxy"
	SegmentServer   Segment = "VPN server"
	SegmentTunnel   Segment = "tunnel"
	SegmentAPI      Segment = "API port"
	SegmentMTU      Segment = "MTU"
	SegmentRPFilter Segment = "reverse-path filter"
	SegmentClock    Segment = "clock"
)

// MTU is what is known of the largest packet that the path to the VPC carries.
type MTU struct {
	// Path is the path MTU in bytes; 0: not known (nothing in the VPC answers ICMP).
	Path int
	// BlackHole says that larger packets vanish without an ICMP error, so that the
	// kernel cannot find out by itself.
	BlackHole bool
	// Target answered; At is when.
	Target netip.Addr
	At     time.Time
}

// ServerReport is how one VPN server did.
type ServerReport struct {
	Server netip.Addr
	// OK says whether something in the VPC answered through it, or where nothing is
	// given to probe whether it answered itself.
	OK bool
	// Error says why not; empty with OK.
	Error string
	// RTT of the answer; Since is when OK last changed; At is the last probe.
	RTT   time.Duration
	Since time.Time
	At    time.Time
}

// Equal says whether two plans ask for the same.
func (p Plan) Equal(o Plan) bool {
	return p.sameWay(o) && p.Interval == o.Interval
}

// sameWay says whether two plans probe the same targets by the same way.
func (p Plan) sameWay(o Plan) bool {
	return p.NIC == o.NIC && p.Source == o.Source && p.APIEndpoint == o.APIEndpoint &&
		p.Routes == o.Routes && slices.Equal(p.Targets, o.Targets)
}

func (p Plan) empty() bool {
	return p.NIC == "" || !p.Source.IsValid() || p.APIEndpoint == "" && len(p.Targets) == 0
}

// Methods of a Result.
const (
	MethodTCP  = "tcp"
	MethodICMP = "icmp"
)

// Result is one probe's outcome.
type Result struct {
	// Target is what was probed: address:port for TCP, an address for ICMP.
	Target string
	// Method is MethodTCP or MethodICMP.
	Method string
	// API marks the addresses of the API endpoint.
	API bool
	// OK says whether the target answered; a refused TCP connection is no answer.
	OK bool
	// Unavailable says that this host cannot probe so, which says nothing about
	// the path.
	Unavailable bool
	// RTT is the time to the answer.
	RTT time.Duration
	// Error says why there was none; empty with OK.
	Error string
	// At is when the probe began.
	At time.Time
}

// Verdict is what the results say together.
type Verdict int

// Verdicts.
const (
	// Unknown: nothing was probed yet, or nothing can be.
	Unknown Verdict = iota
	// Healthy: the API endpoint answers, or where none is given a target.
	Healthy
	// APIUnreachable: an address of the API endpoint does not answer while another
	// address of it or a target does.
	APIUnreachable
	// Unreachable: nothing answers.
	Unreachable
	// NameUnresolved: the API endpoint's name has no address.
	NameUnresolved
)

// Report is the state of the path.
type Report struct {
	// Plan is what was probed.
	Plan Plan
	// Results of the last round, the API endpoint's first.
	Results []Result
	// Verdict holds since Since; a failure counts once it was seen twice.
	Verdict Verdict
	Since   time.Time
	// Segment is what is broken, and Message says so in a sentence that names the
	// next action; both are empty while Healthy or Unknown.
	Segment Segment
	Message string
	// MTU of the path.
	MTU MTU
	// Servers are the plan's, in its order.
	Servers []ServerReport
	// Round counts the rounds of this plan that have ended.
	Round uint64
}

// judge gives the verdict on one round.
func judge(results []Result) Verdict {
	api, apiOK, other, otherOK := 0, 0, 0, 0
	for _, r := range results {
		switch {
		case r.Unavailable:
		case r.API && r.Target == "":
			return NameUnresolved
		case r.API:
			api++
			apiOK += count(r.OK)
		default:
			other++
			otherOK += count(r.OK)
		}
	}
	switch {
	case api == 0 && other == 0:
		return Unknown
	case api > 0 && apiOK == api, api == 0 && otherOK > 0:
		return Healthy
	case apiOK > 0 || otherOK > 0:
		return APIUnreachable
	}
	return Unreachable
}

func count(ok bool) int {
	if ok {
		return 1
	}
	return 0
}
