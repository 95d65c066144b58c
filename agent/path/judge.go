package path

import (
	"cmp"
	"slices"
	"time"
)

const (
	// nearMTU is how exactly the path MTU is measured, in bytes.
	nearMTU = 8
	// staleCertificate is how long past its end a certificate says that the clock is
	// wrong rather than that somebody forgot to renew it.
	staleCertificate = 30 * 24 * time.Hour
)

// finding is what evidence comes to.
type finding struct {
	verdict Verdict
	segment Segment
	message string
}

// judge names what is broken, from the host outwards: a fault nearer to the host
// explains those behind it. It is pure.
func judge(e evidence) finding {
	for _, rule := range []func(evidence) (finding, bool){
		judgeLink, judgeAnswer, judgeName, judgeProbed, judgeWay, judgeAPI, judgeClock, judgeMTU, judgeHandshake, judgeProxy,
	} {
		if f, applies := rule(e); applies {
			return f
		}
	}
	return finding{verdict: Healthy}
}

// judgeLink: what the nic stage knows needs no probe.
func judgeLink(e evidence) (finding, bool) {
	link := e.plan.Link
	switch {
	case link == (Link{}):
		return finding{}, false
	case link.Name == "", !link.Up, !link.Carrier:
		return finding{Unreachable, SegmentLink, sayLink(link)}, true
	case !link.Addressed:
		return finding{Unreachable, SegmentAddress, sayAddress(link)}, true
	}
	return finding{}, false
}

// judgeAnswer: an address of the wrong kind is wrong whether it answers or not.
func judgeAnswer(e evidence) (finding, bool) {
	if len(e.plan.VPCCIDRs) == 0 || len(e.name.addrs) == 0 || e.plan.Access == AccessAny {
		return finding{}, false
	}
	wrong := 0
	for _, addr := range e.name.addrs {
		if e.plan.inVPC(addr) != (e.plan.Access == AccessPrivate) {
			wrong++
		}
	}
	if wrong == 0 {
		return finding{}, false
	}
	return finding{WrongAnswer, SegmentDNS, sayWrongAnswer(e, wrong < len(e.name.addrs))}, true
}

// judgeName: a name that does not exist is DNS's own fault; that no server answers
// may be due to the way there.
func judgeName(e evidence) (finding, bool) {
	switch {
	case !e.name.failed:
		return finding{}, false
	case e.name.unknown:
		return finding{NameUnresolved, SegmentDNS, sayNoSuchName(e)}, true
	}
	inside := e.inside()
	if len(inside) > 0 && len(silent(inside)) == len(inside) {
		return finding{}, false // judgeWay names what is broken; DNS may lie behind it
	}
	if len(inside) == 0 {
		if segment := brokenWay(e); segment != SegmentNone {
			return finding{Unreachable, segment, sayWay(e, segment)}, true
		}
	}
	return finding{NameUnresolved, SegmentDNS, sayNoResolver(e)}, true
}

// judgeProbed: without a probe that could be sent nothing is known.
func judgeProbed(e evidence) (finding, bool) {
	return finding{verdict: Unknown}, len(e.asked()) == 0
}

// judgeWay: nothing in the VPC answers.
func judgeWay(e evidence) (finding, bool) {
	inside := e.inside()
	if len(inside) == 0 || len(silent(inside)) < len(inside) {
		return finding{}, false
	}
	if filteredAway(e, inside) {
		return finding{Unreachable, SegmentRPFilter, sayFiltered(e, inside)}, true
	}
	segment := cmp.Or(brokenWay(e), SegmentTunnel)
	return finding{Unreachable, segment, sayWay(e, segment)}, true
}

// filteredAway: the kernel dropped at least one packet for each probe that got no
// answer, and a link is set to do so.
func filteredAway(e evidence, unanswered []Result) bool {
	return len(e.strict) > 0 && len(unanswered) > 0 && e.filtered >= uint64(len(unanswered))
}

// brokenWay finds the broken segment between the host and the tunnel. The VPN
// server can be dead alone; a dead gateway or internet takes the tunnel with it.
func brokenWay(e evidence) Segment {
	switch {
	case e.gateway == Absent && e.internet != Present && e.plan.Gateway != e.plan.Active:
		return SegmentGateway
	case e.server == Absent:
		return SegmentServer
	case e.internet == Absent:
		return SegmentInternet
	}
	return SegmentNone
}

// judgeAPI: the way works, but the API endpoint is not as it should be. Where no
// API endpoint is given, one target that answers is enough.
func judgeAPI(e evidence) (finding, bool) {
	dead := failing(e.api())
	switch {
	case len(dead) == 0 && (len(e.api()) > 0 || slices.ContainsFunc(e.asked(), func(r Result) bool { return r.OK })):
		return finding{}, false
	case len(dead) == 0:
		return finding{APIUnreachable, SegmentAPI, sayTargets(e)}, true
	case filteredAway(e, silent(dead)):
		return finding{APIUnreachable, SegmentRPFilter, sayFiltered(e, silent(dead))}, true
	}
	verdict := APIUnreachable
	if len(silent(e.asked())) == len(e.asked()) {
		verdict = Unreachable
	}
	public := !slices.ContainsFunc(dead, func(r Result) bool { return r.Refused || e.plan.inVPC(r.addr()) })
	if segment := brokenWay(e); public && (segment == SegmentGateway || segment == SegmentInternet) {
		return finding{verdict, segment, "the API endpoint " + naming(dead) + " does not answer: " + sayBroken(e, segment)}, true
	}
	return finding{verdict, SegmentAPI, sayAPI(e, dead)}, true
}

// judgeClock: the certificate's dates are true, so the clock is not.
func judgeClock(e evidence) (finding, bool) {
	h := e.handshake
	if h.NotBefore.IsZero() || !e.now.Before(h.NotBefore) && e.now.Before(h.NotAfter.Add(staleCertificate)) {
		return finding{}, false
	}
	return finding{ClockWrong, SegmentClock, sayClock(e)}, true
}

// judgeMTU: packets that the routes allow vanish without a word.
func judgeMTU(e evidence) (finding, bool) {
	if !e.mtu.BlackHole || fits(e.plan.RouteMTU, e.mtu.Path) {
		return finding{}, false
	}
	return finding{MTUBlackHole, SegmentMTU, sayMTU(e)}, true
}

// fits says whether routes with that MTU keep packets small enough for the path.
func fits(routeMTU, pathMTU int) bool { return routeMTU > 0 && routeMTU < pathMTU+nearMTU }

// judgeHandshake: TCP connects and TLS hangs. With small segments it works: large
// ones vanish on the way back.
func judgeHandshake(e evidence) (finding, bool) {
	switch h := e.handshake; {
	case !h.hangs:
		return finding{}, false
	case h.small, e.mtu.Path == 0:
		return finding{MTUBlackHole, SegmentMTU, sayHangingMTU(e)}, true
	}
	return finding{APIUnreachable, SegmentAPI, sayHanging(e)}, true
}

func judgeProxy(e evidence) (finding, bool) {
	return finding{ProxyUnreachable, SegmentProxy, sayProxy(e)}, e.proxy == Absent
}
