package path

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Way says how a probe leaves the host.
type Way struct {
	// NIC that it is bound to; empty: the one that the routes choose.
	NIC string
	// Source address; invalid: the one that the kernel chooses.
	Source netip.Addr
	// Mark leads it into another table by a policy rule; 0: the main table.
	Mark uint32
}

// Presence is whether somebody is there.
type Presence int

// What can be said about somebody's presence.
const (
	// PresenceUnknown: not asked, or nothing could be found out.
	PresenceUnknown Presence = iota
	// Present: an answer came.
	Present
	// Absent: none came although one had to.
	Absent
)

// Certificate is what a TLS server showed.
type Certificate struct {
	// NotBefore and NotAfter are the validity of the server's certificate; zero:
	// it does not speak TLS, or ended the handshake.
	NotBefore, NotAfter time.Time
}

// ErrTooBig says that a packet is larger than the link, or than a router on the
// path that said so, lets pass.
var ErrTooBig = errors.New("the packet is too big for the path")

// errNoPing says that the kernel lets this process open no ICMP socket.
var errNoPing = errors.New("ICMP is not available: net.ipv4.ping_group_range does not include this process")

// Prober sends single probes and reads what the kernel knows; the seam for tests.
// Each call ends with its context.
type Prober struct {
	// TCP opens and closes a connection.
	TCP func(ctx context.Context, way Way, target netip.AddrPort) error
	// ICMP sends one small echo request and waits for the answer.
	ICMP func(ctx context.Context, way Way, target netip.Addr) error
	// Sized sends an echo request in an IP packet of size bytes that no router may
	// fragment; ErrTooBig: the host or a router refused it by its size.
	Sized func(ctx context.Context, way Way, target netip.Addr, size int) error
	// TLS reads the server's certificate, verifies nothing and sends nothing. mss
	// bounds the segments that the server may send, in bytes; 0: the route's.
	TLS func(ctx context.Context, way Way, target netip.AddrPort, name string, mss int) (Certificate, error)
	// Lookup resolves a name to IPv4 addresses.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Neighbour says whether an on-link address is there by the kernel's neighbour
	// table, which needs no answer to ICMP.
	Neighbour func(ctx context.Context, addr netip.Addr) Presence
	// Filtered counts packets that the reverse-path filter has dropped since boot.
	Filtered func() (uint64, error)
	// Strict names the links whose strict reverse-path filter drops what comes from
	// the targets.
	Strict func(nic string, targets []netip.Addr) ([]string, error)
}

// System returns the prober that uses the kernel and the host's resolver.
func System() Prober {
	return Prober{
		TCP: connectTCP, ICMP: echo, Sized: sizedEcho, TLS: readCertificate,
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
		},
		Neighbour: neighbour, Filtered: filtered, Strict: strictLinks,
	}
}
