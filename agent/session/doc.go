// Package session owns the one stream to the plane: dialling, the backoff between
// attempts, keepalive, sending the host's latest state and handing on what the
// plane says. It keeps no desired state and decides nothing about it; identity
// and trust come from package identity.
package session
