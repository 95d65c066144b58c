// Package operation is what the daemon and hybrid-agent-op share of a signed
// operation: the check of its signature, the frames of the door, and the
// door's client. It runs nothing and keeps nothing; the packages below it
// (door, engine, journal and the rest) are linked by hybrid-agent-op alone.
package operation
