package path

import (
	"net/netip"
	"time"
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

// Segments lists every segment that can be broken.
func Segments() []Segment {
	return []Segment{
		SegmentLink, SegmentAddress, SegmentGateway, SegmentInternet, SegmentDNS, SegmentProxy, SegmentServer, SegmentTunnel,
		SegmentAPI, SegmentMTU, SegmentRPFilter, SegmentClock,
	}
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
	// Unreachable: nothing in the VPC answers.
	Unreachable
	// NameUnresolved: the API endpoint's name has no address.
	NameUnresolved
	// WrongAnswer: the API endpoint's name has public addresses where private ones
	// are expected, or the reverse.
	WrongAnswer
	// MTUBlackHole: the VPC answers, but larger packets vanish and the routes carry
	// no MTU that keeps packets small enough.
	MTUBlackHole
	// ClockWrong: the VPC answers, but this host's clock lies outside the validity
	// of the API endpoint's certificate.
	ClockWrong
	// ProxyUnreachable: the VPC answers, but the host's proxy does not.
	ProxyUnreachable
)

// String is the verdict's name in one word, as conditions and metrics have it.
func (v Verdict) String() string {
	switch v {
	case Healthy:
		return "Healthy"
	case APIUnreachable:
		return "APIUnreachable"
	case Unreachable:
		return "Unreachable"
	case NameUnresolved:
		return "NameUnresolved"
	case WrongAnswer:
		return "WrongAnswer"
	case MTUBlackHole:
		return "MTUBlackHole"
	case ClockWrong:
		return "ClockWrong"
	case ProxyUnreachable:
		return "ProxyUnreachable"
	case Unknown:
	}
	return "Unknown"
}

// bad says that the verdict is a finding against the path.
func (v Verdict) bad() bool { return v != Healthy && v != Unknown }

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
	// RTT of the answer; Since is when OK last changed; At is the last probe. A zero
	// At: not probed yet.
	RTT   time.Duration
	Since time.Time
	At    time.Time
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
	// Refused says that the target refused the connection: the way there works.
	Refused bool
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

// addr is the address that was probed; invalid: the target's name did not resolve.
func (r Result) addr() netip.Addr {
	if target, err := netip.ParseAddrPort(r.Target); err == nil {
		return target.Addr()
	}
	addr, _ := netip.ParseAddr(r.Target)
	return addr
}

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
	// Held says that the path answers now and is shown as bad all the same, because it
	// flaps.
	Held bool
	// Checked says that TLS and the path MTU were tried on this way, and that the
	// verdict knows what came of it. Where nothing answers, they never are.
	Checked bool
	// Servers are the plan's, in its order.
	Servers []ServerReport
	// Round counts the rounds of this plan's way that have ended.
	Round uint64
}
