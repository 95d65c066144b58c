// Package identity owns who this host is to the plane: its key, its certificate
// and the CA certificates it trusts, in one file; enrolling with a token and the
// CA pin; renewing. The host ID itself is package hostid's, the stream that uses
// the certificate is package session's.
package identity
