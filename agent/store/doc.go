// Package store owns files of state on disk: each is written whole and
// atomically, carries a schema number and a checksum, and a damaged one is set
// aside instead of trusted. It also owns the lock that keeps two processes off
// one state directory. It does not know what the payloads mean.
package store
