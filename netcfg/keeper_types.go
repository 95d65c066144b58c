package netcfg

import "time"

// KeeperOptions tune a Keeper; the zero value is usable.
type KeeperOptions struct {
	// ResyncInterval is how often the kernel's tables are compared without any
	// event; 0 means never.
	ResyncInterval time.Duration
	// OnRepair, if set, is called after each repair, off the repairing path and
	// never twice at once. In a fight it is called ever more rarely.
	OnRepair func(Repair)
	// OnForeign, if set, is called with all foreign routes for wanted prefixes
	// whenever that set, the unrecorded routes or the foreign rules changed; as
	// OnRepair.
	OnForeign func([]Route)
	// Rival names who holds a netlink port, for people: a unit, or a program. It is
	// asked off the repairing path, soon after that port removed a route or rule of
	// ours at the given time. "" means that it cannot tell. Unset: /proc is asked,
	// which shows other users' processes only where it is mounted so.
	Rival func(port uint32, when time.Time) string

	// eventBuffer is the size of the event socket's buffer in bytes; 0: plenty.
	eventBuffer int
}

// Repair is one route or rule that was missing or changed and was written again.
type Repair struct {
	// When the damage was noticed.
	When time.Time
	// Route as written; the zero value where it was a rule.
	Route Route
	// Rule as written; the zero value where it was a route.
	Rule Rule
	// Took is the time from noticing to the kernel's consent, a fight's delay
	// included.
	Took time.Duration
	// Cause is a Cause… constant.
	Cause string
	// Port is the netlink port of who removed it, usually its process ID; 0 where
	// unknown.
	Port uint32
	// Rival names who removed it, for people; "" where nobody did or nobody knows.
	Rival string
}

// Causes of a Repair; what was deleted or replaced is a route or a rule.
const (
	CauseDeleted  = "route deleted"
	CauseReplaced = "route replaced"
	CauseRule     = "rule deleted"
	CauseFlushed  = "flushed with a link or address"
	CauseOverrun  = "found after lost events"
	CauseResync   = "found by resync"
)

// RouteFailure is a wanted route that is not in the kernel as wanted, and why.
type RouteFailure struct {
	Route Route
	Err   error
	// Rival names who holds its place, by the protocol of a foreign route; "" where
	// none does.
	Rival string
}

// RuleFailure is a wanted rule that is not in the kernel, and why.
type RuleFailure struct {
	Rule Rule
	Err  error
}

// Rules is what the kernel has of policy rules that matter to the Keeper.
type Rules struct {
	// Installed are ours, sorted, wanted or not yet deleted.
	Installed []Rule
	// Missing are the wanted ones that are not there.
	Missing []RuleFailure
	// Foreign are others' rules that have one of our priorities, lead into one of
	// our tables or carry our protocol elsewhere; they are never touched.
	Foreign []Rule
}

// Achieved is what a Set left in the kernel.
type Achieved struct {
	// Routes of ours that are there, sorted, wanted or not yet deleted.
	Routes []Route
	// Missing are the wanted ones that are not.
	Missing []RouteFailure
	// Foreign routes hold a wanted prefix; they are never touched.
	Foreign []Route
	// Unrecorded routes carry our protocol, but neither this Keeper nor the record
	// of a former run knows them; they are never touched.
	Unrecorded []Route
	// Rules are the policy rules.
	Rules Rules
	// Added, Replaced and Deleted count this Set's writes, of routes and rules.
	Added, Replaced, Deleted int
}

// Fight is about a route or rule that somebody removes again and again.
type Fight struct {
	// Route or Rule is what it is about; the other is the zero value.
	Route Route
	Rule  Rule
	// Rival names who removed it last, for people; "" where nobody knows.
	Rival string
	// Losses counts how often it did not outlast a second, in a row.
	Losses int
	// Until is when the next repair is due, where it is delayed.
	Until time.Time
}

// KeeperStatus is a snapshot for people and metrics.
type KeeperStatus struct {
	// Installed, Missing, Foreign and Unrecorded are as in Achieved.
	Installed  []Route
	Missing    []RouteFailure
	Foreign    []Route
	Unrecorded []Route
	// Rules are the policy rules.
	Rules Rules
	// Repairs counts repaired routes and rules since start; LastRepair is the
	// newest.
	Repairs    uint64
	LastRepair *Repair
	// Damped are the routes that Fights are about.
	Damped []Route
	// Fights go on now; Rival names who removed last in the first of them that
	// knows.
	Fights []Fight
	Rival  string
	// Overruns counts how often the kernel dropped events.
	Overruns uint64
}
