// Package rollout decides which host may run which operation now: it signs
// operations, sends them until the host has reported an end, and remembers both
// in the store before a byte leaves. It does not compile what an operation
// brings about, nor run it.
package rollout
