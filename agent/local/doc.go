// Package local owns the API on the host's own socket: who may connect, who may
// call what, and how many may be served at once. What it answers comes from the
// pipeline; it keeps no state.
package local
