package timesync

import (
	"slices"
	"time"
)

// Server is one server's last answer.
type Server struct {
	// Address as it was asked for: host or host:port.
	Address string
	// OK says whether the answer was usable.
	OK bool
	// Offset is what to add to this host's clock to get the server's.
	Offset time.Duration
	// RTT is the round-trip time, RootDistance the greatest error that the
	// server's own way to its reference adds to half of it.
	RTT, RootDistance time.Duration
	// Stratum is 1 to 15.
	Stratum uint8
	// Error says why the answer was not usable.
	Error string
	// Falseticker says that the server disagrees with the majority.
	Falseticker bool
}

// margin widens a server's interval by what its clock may wander unseen.
const margin = 5 * time.Millisecond

func (s Server) interval() (low, high time.Duration) {
	reach := s.RTT/2 + s.RootDistance + margin
	return s.Offset - reach, s.Offset + reach
}

// Agree marks falsetickers and returns the median offset of the others; ok is
// false where no server answered. As in RFC 5905, 11.2.1, a server is true when
// its interval holds a point that most servers' intervals share; with no majority
// all count, since nobody can be named wrong.
func Agree(servers []Server) (offset time.Duration, ok bool) {
	var usable []int
	for i := range servers {
		servers[i].Falseticker = false
		if servers[i].OK {
			usable = append(usable, i)
		}
	}
	if len(usable) == 0 {
		return 0, false
	}
	point, votes := mostShared(servers, usable)
	var offsets []time.Duration
	for _, i := range usable {
		low, high := servers[i].interval()
		if votes*2 > len(usable) && (point < low || point > high) {
			servers[i].Falseticker = true
			continue
		}
		offsets = append(offsets, servers[i].Offset)
	}
	return median(offsets), true
}

// mostShared returns a point that lies in as many intervals as any, and how many;
// the lower end of some interval always is one.
func mostShared(servers []Server, usable []int) (point time.Duration, votes int) {
	for _, i := range usable {
		candidate, _ := servers[i].interval()
		n := 0
		for _, j := range usable {
			if low, high := servers[j].interval(); low <= candidate && candidate <= high {
				n++
			}
		}
		if n > votes {
			point, votes = candidate, n
		}
	}
	return point, votes
}

func median(offsets []time.Duration) time.Duration {
	slices.Sort(offsets)
	mid := len(offsets) / 2
	if len(offsets)%2 == 1 {
		return offsets[mid]
	}
	return offsets[mid-1] + (offsets[mid]-offsets[mid-1])/2
}
