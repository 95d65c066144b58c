package door

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of the door.
const (
	// readLimit is how long a peer may take to send its frame.
	readLimit = 5 * time.Second
	// writeLimit is how long a peer may take to take an answer.
	writeLimit = 5 * time.Second
	// forecastLimit is how long a forecast may take; the client waits longer.
	forecastLimit = 100 * time.Second
	// maxConnections is how many are served at once; more are told to come back.
	maxConnections = 16
	// maxRootConnections are served beside those, for local root alone: whoever
	// has taken over the daemon cannot keep root from ending an operation.
	maxRootConnections = 4
	// requestsPerSecond and requestBurst bound the work that a peer can cause.
	requestsPerSecond = 20
	requestBurst      = 60
)

// class is a kind of peer: the daemon's user, or root. Neither takes the other's
// places.
type class struct {
	slots chan struct{}
	limit *rate.Limiter
}

func newClass(connections int) *class {
	return &class{slots: make(chan struct{}, connections), limit: rate.NewLimiter(requestsPerSecond, requestBurst)}
}

// enter takes a place; leave gives it back.
func (c *class) enter() *operation.Refusal {
	select {
	case c.slots <- struct{}{}:
	default:
		return operation.Refuse(busy, "hybrid-agent-op serves %d connections already; try again", cap(c.slots))
	}
	if !c.limit.Allow() {
		c.leave()
		return operation.Refuse(busy, "too many requests at once; try again in a moment")
	}
	return nil
}

func (c *class) leave() { <-c.slots }

// costs bounds the requests that reach beyond this host, or start something anew.
type costs struct {
	forecast, labels, nudge *rate.Limiter
	// forecasting is held by the one forecast that is made.
	forecasting chan struct{}
}

func newCosts() costs {
	return costs{
		forecast:    rate.NewLimiter(rate.Every(2*time.Second), 10),
		labels:      rate.NewLimiter(rate.Every(time.Second), 10),
		nudge:       rate.NewLimiter(rate.Every(10*time.Second), 3),
		forecasting: make(chan struct{}, 1),
	}
}

// spend takes one request's share of a limit.
func spend(limit *rate.Limiter) error {
	if !limit.Allow() {
		return operation.Refuse(busy, "this was asked for too often; try again in a moment")
	}
	return nil
}

// noise bounds how much of the log refusals can fill. What is wrong with a
// signature has a share of its own: it is not to be hidden behind junk.
type noise struct {
	junk, alarms *rate.Limiter
	muted        atomic.Int64
}

func newNoise() *noise {
	return &noise{junk: rate.NewLimiter(5, 20), alarms: rate.NewLimiter(5, 20)}
}

// passes reports whether a refusal is logged, and how many before it were not.
func (n *noise) passes(reason agentv1.DoorRefusalReason) (muted int64, ok bool) {
	limit := n.junk
	switch reason {
	case agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNSIGNED,
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FOREIGN,
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE,
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FORBIDDEN:
		limit = n.alarms
	}
	if !limit.Allow() {
		n.muted.Add(1)
		return 0, false
	}
	return n.muted.Swap(0), true
}
