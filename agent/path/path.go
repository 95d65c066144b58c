package path

import (
	"net/netip"
	"slices"
	"time"
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
