package netcfg

import "net/netip"

// Numbers of what the Keeper owns besides routes of the main table. Probes of one
// VPN server each carry a mark that leads them into a table of their own.
const (
	// ProbeTable is the table of the first VPN server; the next ones follow.
	ProbeTable = 0x6800
	// ProbeMark is the mark of the first VPN server's probes within ProbeMask; the
	// next ones follow. Container networks keep their marks in the bits above
	// (kube-proxy 0xc000, Cilium 0xffff0f00, Calico 0xffff0000).
	ProbeMark = 0x60
	// ProbeMask covers the marks of all servers.
	ProbeMask = 0xff
	// ProbePriority is the priority of the first server's rule; the next ones
	// follow. It lies before the main table's 32766.
	ProbePriority = 26800
	// MaxVPNServers is how many servers a host can have.
	MaxVPNServers = 8
)

// Rule is one IPv4 policy rule, "fwmark Mark/Mask lookup Table" (ip-rule(8)). It is
// comparable.
type Rule struct {
	// Priority orders rules: the lowest is looked at first.
	Priority uint32
	// Mark and Mask select packets: those whose mark has the bits of Mark in Mask.
	Mark, Mask uint32
	// Table is where they are looked up.
	Table int
	// Protocol is FRA_PROTOCOL: who made it. Ours carry OwnProtocol.
	Protocol uint8
	// odd says that the kernel's rule selects or does more than these fields tell.
	odd bool
}

// Desired is all that the Keeper is to hold in the kernel; plain data.
type Desired struct {
	// Routes of ours, in the main table or in probe tables.
	Routes []Route
	// Rules of ours.
	Rules []Rule
	// Former names the routes that an earlier run of the daemon wrote, by its
	// record on disk. A route with our protocol that is neither of them nor was
	// ever wanted from this Keeper belongs to somebody else who uses the same
	// number: it is reported and stays.
	Former []RouteID
}

// ServerPath is the way by which one VPN server is probed, whether its routes are
// in the main table or not.
type ServerPath struct {
	Server netip.Addr
	// Mark for SO_MARK of the probes; 0: the main table's routes are its way.
	Mark uint32
}
