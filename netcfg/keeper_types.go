package netcfg

import "time"

// KeeperOptions tune a Keeper; the zero value is usable.
type KeeperOptions struct {
	// ResyncInterval is how often the kernel's table is compared without any
	// event; 0 means never.
	ResyncInterval time.Duration
	// OnRepair, if set, is called after each repair, off the repairing path and
	// never twice at once.
	OnRepair func(Repair)
	// OnForeign, if set, is called with all foreign routes for wanted prefixes
	// whenever that set changed; as OnRepair.
	OnForeign func([]Route)
}

// Repair is one route that was missing or changed and was written again.
type Repair struct {
	// When the damage was noticed.
	When time.Time
	// Route as written.
	Route Route
	// Took is the time from noticing to the kernel's consent.
	Took time.Duration
	// Cause is a Cause… constant.
	Cause string
	// Port is the netlink port of who removed the route, usually its process ID;
	// 0 where unknown.
	Port uint32
}

// Causes of a Repair.
const (
	CauseDeleted  = "route deleted"
	CauseReplaced = "route replaced"
	CauseFlushed  = "flushed with a link or address"
	CauseOverrun  = "found after lost events"
	CauseResync   = "found by resync"
)

// RouteFailure is a wanted route that is not in the kernel as wanted, and why.
type RouteFailure struct {
	Route Route
	Err   error
}

// Achieved is what a Set left in the kernel.
type Achieved struct {
	// Routes of ours that are there, sorted, wanted or not yet deleted.
	Routes []Route
	// Missing are the wanted ones that are not.
	Missing []RouteFailure
	// Foreign routes hold a wanted prefix; they are never touched.
	Foreign []Route
	// Added, Replaced and Deleted count this Set's writes.
	Added, Replaced, Deleted int
}

// KeeperStatus is a snapshot for people and metrics.
type KeeperStatus struct {
	// Installed, Missing and Foreign are as in Achieved.
	Installed []Route
	Missing   []RouteFailure
	Foreign   []Route
	// Repairs counts repaired routes since start; LastRepair is the newest.
	Repairs    uint64
	LastRepair *Repair
	// Damped are the routes whose repair is delayed, because somebody removes
	// them again and again.
	Damped []Route
	// Overruns counts how often the kernel dropped events.
	Overruns uint64
}
