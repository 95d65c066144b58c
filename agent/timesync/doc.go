// Package timesync owns measuring the clock against NTP servers: each server's
// offset, which of them disagree with the rest, and the offset that the others
// agree on. It does not set the clock.
package timesync
