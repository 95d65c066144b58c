// Package systemd is the only user of go-systemd: readiness and watchdog
// messages, socket activation, unit states, transient units and journal
// entries. It holds no logic of the agent, and every part of it says so plainly
// when the host is not run by systemd instead of failing later.
package systemd
