package path

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
)

var (
	// errSeen ends a handshake once the certificate was read.
	errSeen = errors.New("the certificate was seen")
	// errHangs says that TCP connected and nothing came of TLS.
	errHangs = errors.New("the TLS handshake hangs")
)

// readCertificate does a TLS handshake up to the server's certificate and ends it
// there: nothing is verified, since nothing is sent or believed but the dates. A
// server that ends the handshake, or does not speak TLS, is no error: it answered.
// One that connects and then says nothing is errHangs.
func readCertificate(ctx context.Context, way Way, target netip.AddrPort, name string, mss int) (Certificate, error) {
	conn, err := dial(ctx, way, target, mss)
	if err != nil {
		return Certificate{}, err
	}
	defer func() { _ = conn.Close() }()
	var seen Certificate
	handshake := tls.Client(conn, &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: true, //nolint:gosec // only the dates are read
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			seen = Certificate{NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
			return errSeen
		},
	})
	err = handshake.HandshakeContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
		return Certificate{}, errHangs
	}
	return seen, nil
}
