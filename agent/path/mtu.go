package path

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

const (
	// minMTU is what every IPv4 host accepts (RFC 791, 3.2); usualMTU is taken for
	// a link whose own is not known.
	minMTU   = 576
	usualMTU = 1500
	// sizeTries is how often a size is tried before it counts as lost; a try lasts
	// four round trips within the bounds.
	sizeTries  = 3
	minSizeTry = 250 * time.Millisecond
	maxSizeTry = time.Second
	// mtuTargets bounds how many addresses are asked for one that answers ICMP.
	mtuTargets = 4
)

// passage is what becomes of a packet of some size.
type passage int

const (
	passes   passage = iota
	refused          // a router, or this host, said that it is too big
	vanishes         // nothing was heard of it
	unclear          // something else is in the way
)

// searchMTU finds the largest size up to most bytes that passes, to within nearMTU
// bytes below; ok is false where the path itself does not hold still. hole says that
// the next larger packets vanish without a word: the hosts' kernels cannot find out.
// patient asks to wait longer: routers send few errors a second (RFC 1812, 4.3.2.8).
func searchMTU(most int, try func(size int, patient bool) passage) (size int, hole, ok bool) {
	low, high := minMTU, most
	switch try(high, false) {
	case passes:
		return high, false, true
	case unclear:
		return 0, false, false
	}
	for high-low > nearMTU {
		middle := (low + high + 1) / 2
		switch try(middle, false) {
		case passes:
			low = middle
		case refused, vanishes:
			high = middle
		case unclear:
			return 0, false, false
		}
	}
	above := try(high, true)
	if above == passes || try(low, false) != passes {
		return 0, false, false // the path changed meanwhile
	}
	return low, above == vanishes, true
}

// measureMTU measures by the first target that answers ICMP; ok is false where none
// does, or the path changed meanwhile.
func (p Prober) measureMTU(ctx context.Context, plan Plan, targets []netip.Addr) (MTU, bool) {
	most := plan.Link.MTU
	if most < minMTU {
		most = usualMTU
	}
	for _, target := range targets[:min(len(targets), mtuTargets)] {
		rtt, answers := p.answersSized(ctx, plan.way(), target)
		if !answers {
			continue
		}
		try := func(size int, patient bool) passage {
			wait := min(max(4*rtt, minSizeTry), maxSizeTry)
			if patient {
				wait = maxSizeTry
			}
			return p.pass(ctx, plan.way(), target, size, wait)
		}
		size, hole, ok := searchMTU(most, try)
		return MTU{Path: size, BlackHole: hole, Target: target, At: time.Now()}, ok
	}
	return MTU{}, false
}

// answersSized says whether the target answers packets of the smallest size, and how
// fast.
func (p Prober) answersSized(ctx context.Context, way Way, target netip.Addr) (time.Duration, bool) {
	for range sizeTries {
		began := time.Now()
		err := within(ctx, maxSizeTry, func(ctx context.Context) error { return p.Sized(ctx, way, target, minMTU) })
		if err == nil {
			return time.Since(began), true
		}
	}
	return 0, false
}

// pass sends packets of a size until one is answered or refused.
func (p Prober) pass(ctx context.Context, way Way, target netip.Addr, size int, wait time.Duration) passage {
	for range sizeTries {
		err := within(ctx, wait, func(ctx context.Context) error { return p.Sized(ctx, way, target, size) })
		switch {
		case err == nil:
			return passes
		case errors.Is(err, ErrTooBig):
			return refused
		case ctx.Err() != nil, !errors.Is(err, context.DeadlineExceeded):
			return unclear
		}
	}
	return vanishes
}

// within bounds one call.
func within(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}

// mtuCandidates are the VPC's addresses that answered, those by ICMP first.
func mtuCandidates(plan Plan, results []Result) []netip.Addr {
	var addrs []netip.Addr
	for _, method := range []string{MethodICMP, MethodTCP} {
		for _, r := range results {
			if addr := r.addr(); r.OK && r.Method == method && plan.inVPC(addr) && !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}
