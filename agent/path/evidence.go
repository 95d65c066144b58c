package path

import (
	"net/netip"
	"slices"
	"time"
)

// evidence is what was found out, as plain facts; judge makes a verdict of it.
type evidence struct {
	plan    Plan
	now     time.Time
	results []Result
	name    nameFacts
	proxy   Presence
	suspects
	handshake handshake
	mtu       MTU
}

// nameFacts is how the API endpoint's name resolved; the zero value: it is an
// address, or the name resolved and nothing more is to say.
type nameFacts struct {
	// addrs are all addresses of the answer.
	addrs []netip.Addr
	// failed says that there was none; unknown then that a server answered that the
	// name does not exist, else no server answered.
	failed, unknown bool
	// server is the DNS server that was asked, why what the resolver says; empty:
	// not known.
	server, why string
}

// suspects is what diagnosis finds out once something fails.
type suspects struct {
	gateway, server, internet Presence
	// filtered counts the packets that the reverse-path filter dropped during the
	// round; strict names the links that may have done so.
	filtered uint64
	strict   []string
}

// handshake is how TLS with the API endpoint went when it was last tried.
type handshake struct {
	Certificate
	// target was tried; empty: none was.
	target string
	// hangs says that TCP connects and no certificate comes; small that one comes
	// once the server sends small segments only.
	hangs, small bool
}

// asked are the results that say something about the path.
func (e evidence) asked() []Result {
	return slices.DeleteFunc(slices.Clone(e.results), func(r Result) bool { return r.Unavailable || !r.addr().IsValid() })
}

// inside are those of the VPC's addresses.
func (e evidence) inside() []Result {
	return slices.DeleteFunc(e.asked(), func(r Result) bool { return !e.plan.inVPC(r.addr()) })
}

// api are those of the API endpoint.
func (e evidence) api() []Result {
	return slices.DeleteFunc(e.asked(), func(r Result) bool { return !r.API })
}

// silent are the results without any answer: a refusal shows that the way works.
func silent(results []Result) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.OK || r.Refused })
}

// failing are the results that are not as they should be.
func failing(results []Result) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.OK })
}

// addrsOf lists the addresses that were probed.
func addrsOf(results []Result) []netip.Addr {
	addrs := make([]netip.Addr, 0, len(results))
	for _, r := range results {
		addrs = append(addrs, r.addr())
	}
	return addrs
}
