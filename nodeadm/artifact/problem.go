package artifact

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"hybridagent/nodeadm"
)

// refuse is a failure that another try would meet again.
func refuse(format string, args ...any) error {
	return &nodeadm.Failure{Message: fmt.Sprintf(format, args...), Permanent: true}
}

// passing is a failure that may be gone at the next try.
func passing(format string, args ...any) error {
	return &nodeadm.Failure{Message: fmt.Sprintf(format, args...)}
}

// SpaceError says that the disk is too small for what is to be staged.
type SpaceError struct {
	// Dir is where it was to be written.
	Dir string
	// Need and Free are bytes.
	Need, Free uint64
}

// Error states both figures and the next action.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("cannot stage the artifacts: this needs %s on %s, %s are free; free that space (old logs and images first), then try again",
		size(e.Need), e.Dir, size(e.Free))
}

// Unwrap makes it a failure that another try would meet again.
func (e *SpaceError) Unwrap() error { return &nodeadm.Failure{Message: e.Error(), Permanent: true} }

// size writes bytes for people.
func size(bytes uint64) string {
	switch {
	case bytes >= 10e9:
		return fmt.Sprintf("%d GB", bytes/1e9)
	case bytes >= 1e6:
		return fmt.Sprintf("%d MB", bytes/1e6)
	case bytes >= 1e3:
		return fmt.Sprintf("%d kB", bytes/1e3)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// errStalled is the cause of a download that was ended because nothing came.
var errStalled = errors.New("nothing came any more")

// explain turns what an HTTP request or a copy failed with into words with a next
// action. The URI's query and user are left out: they may be secret.
func explain(ctx context.Context, what, uri string, err error, stall time.Duration) error {
	var (
		failure  *nodeadm.Failure
		dns      *net.DNSError
		unknown  x509.UnknownAuthorityError
		wrongTLS *tls.CertificateVerificationError
	)
	host := hostOf(uri)
	switch {
	case errors.As(err, &failure):
		return err
	case errors.Is(context.Cause(ctx), errStalled):
		return passing("cannot fetch %s from %s: the server sent nothing for %s; what has come is kept and the next try goes on from there, so check the line to %s and try again", what, host, stall, host)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &dns):
		return passing("cannot fetch %s: the name %s cannot be resolved (%v); check the host's DNS servers, or its proxy", what, host, dns)
	case errors.As(err, &unknown), errors.As(err, &wrongTLS):
		return refuse("cannot fetch %s: %s shows a certificate that this host does not trust (%v); check the clock, and add the CA of a proxy on the way to the host's trust store", what, host, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return passing("cannot fetch %s from %s: the connection ended before the file did; what has come is kept and the next try goes on from there", what, host)
	}
	var op *url.Error
	if errors.As(err, &op) {
		err = op.Err
	}
	return passing("cannot fetch %s: %s cannot be reached (%v); check the route, the firewall and the proxy towards it, then try again", what, host, err)
}

func hostOf(uri string) string {
	if u, err := url.Parse(uri); err == nil && u.Host != "" {
		return u.Host
	}
	return "its server"
}
