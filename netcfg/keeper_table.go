package netcfg

import "iter"

// routeSet holds routes by the kernel's key, so that an event costs the same among
// ten routes and ten thousand. Several with one key (`ip route append`) are rare.
type routeSet struct {
	first map[routeKey]Route
	more  map[routeKey][]Route
}

func newRouteSet(size int) routeSet {
	return routeSet{first: make(map[routeKey]Route, size), more: map[routeKey][]Route{}}
}

func (s routeSet) has(r Route) bool {
	key := r.key()
	if f, ok := s.first[key]; !ok || f == r {
		return ok
	}
	for _, m := range s.more[key] {
		if m == r {
			return true
		}
	}
	return false
}

func (s routeSet) add(r Route) {
	key := r.key()
	switch _, taken := s.first[key]; {
	case !taken:
		s.first[key] = r
	case !s.has(r):
		s.more[key] = append(s.more[key], r)
	}
}

// set makes r the only route with its key.
func (s routeSet) set(r Route) {
	key := r.key()
	s.first[key] = r
	delete(s.more, key)
}

func (s routeSet) remove(r Route) {
	key := r.key()
	if s.first[key] != r {
		s.shrink(key, r)
		return
	}
	delete(s.first, key)
	if more := s.more[key]; len(more) > 0 {
		s.first[key] = more[0]
		s.shrink(key, more[0])
	}
}

// shrink takes r out of the further routes with that key.
func (s routeSet) shrink(key routeKey, r Route) {
	more := s.more[key]
	if len(more) == 0 {
		return
	}
	var rest []Route
	for _, m := range more {
		if m != r {
			rest = append(rest, m)
		}
	}
	if len(rest) == 0 {
		delete(s.more, key)
		return
	}
	s.more[key] = rest
}

// dropKey forgets all routes with that key.
func (s routeSet) dropKey(key routeKey) {
	delete(s.first, key)
	delete(s.more, key)
}

// all gives the routes in no order.
func (s routeSet) all() iter.Seq[Route] {
	return func(yield func(Route) bool) {
		for _, r := range s.first {
			if !yield(r) {
				return
			}
		}
		for _, more := range s.more {
			for _, r := range more {
				if !yield(r) {
					return
				}
			}
		}
	}
}
