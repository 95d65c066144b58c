package identity

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxToken bounds the enrolment token, in bytes.
const maxToken = 256

// credentialName is the token's name among systemd's credentials.
const credentialName = "enrollment-token"

// ReadToken returns the enrolment token: systemd's credential of that name where
// there is one, else the file. Errors have ReasonTokenMissing.
func ReadToken(file string) (string, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return readToken(file)
	}
	if token, err := readToken(filepath.Join(dir, credentialName)); err == nil {
		return token, nil
	}
	token, err := readToken(file)
	if err != nil {
		// systemd hands credentials over at the start only, and the file itself
		// may be root's.
		return "", failure(ReasonTokenMissing, "cannot enrol: systemd handed over no enrolment token; "+
			`put the text that "hybridctl token create" prints into %s, mode 0600, and restart hybrid-agent.service`, file)
	}
	return token, nil
}

func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", failure(ReasonTokenMissing, "cannot read the enrolment token: %w; "+
			`put the text that "hybridctl token create" prints there, mode 0600`, err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxToken+2))
	token := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		return "", failure(ReasonTokenMissing, "cannot read the enrolment token: %w", err)
	case token == "":
		return "", failure(ReasonTokenMissing, "cannot enrol: %s is empty; put a fresh enrolment token there", file)
	case len(token) > maxToken:
		return "", failure(ReasonTokenMissing, "cannot enrol: %s holds more than the %d bytes of a token", file, maxToken)
	}
	return token, nil
}

// EnrollRequest is what the host says of itself.
type EnrollRequest struct {
	// Address of the plane, for messages.
	Address string
	// Token is secret.
	Token string
	// HostID becomes the CN of the certificate.
	HostID string
	// Fingerprint tells this machine from a clone.
	Fingerprint *agentv1.HardwareFingerprint
}

// Enroll exchanges the token for a certificate and returns the identity with it;
// saving it is the caller's. Errors are *Error. h is the handshake memory of conn.
func (id *Identity) Enroll(ctx context.Context, conn *grpc.ClientConn, h *Handshake, trust Trust, req EnrollRequest) (*Identity, error) {
	csr, err := id.CSR(req.HostID)
	if err != nil {
		return nil, err
	}
	answer, err := agentv1.NewEnrollmentServiceClient(conn).Enroll(ctx, &agentv1.EnrollRequest{
		Token: req.Token, Csr: csr, HostId: req.HostID, Fingerprint: req.Fingerprint,
	})
	if err != nil {
		return nil, Explain(err, h, req.Address)
	}
	return id.adopt(trust, answer.GetCertificate(), answer.GetCaCertificates())
}

// Renew exchanges a certificate that is still valid for the next one, over a
// connection made with it.
func (id *Identity) Renew(ctx context.Context, conn *grpc.ClientConn, trust Trust, hostID string) (*Identity, error) {
	csr, err := id.CSR(hostID)
	if err != nil {
		return nil, err
	}
	answer, err := agentv1.NewAgentServiceClient(conn).RenewCertificate(ctx, &agentv1.RenewCertificateRequest{Csr: csr})
	if err != nil {
		return nil, failure(ReasonRequestRefused, "cannot renew the host's certificate: %w", err)
	}
	// A CA that was trusted before may vouch for its successor.
	return id.adopt(trust, answer.GetCertificate(), answer.GetCaCertificates())
}

// Explain turns a failed call into an *Error that an operator can act on.
func Explain(err error, h *Handshake, address string) error {
	if refused := h.Err(); refused != nil {
		return refused
	}
	said := status.Convert(err).Message()
	switch status.Code(err) {
	case codes.Unauthenticated:
		return failure(ReasonTokenUnknown, "cannot enrol: the plane does not know this enrolment token (%s); "+
			`create one with "hybridctl token create", put it into the token file and restart hybrid-agent.service`, said)
	case codes.PermissionDenied:
		return failure(ReasonTokenRefused, "cannot enrol: %s; "+
			`create a fresh token with "hybridctl token create", put it into the token file and restart hybrid-agent.service`, said)
	case codes.AlreadyExists:
		return failure(ReasonHostIDTaken, "cannot enrol: %s; give this host another host.name, "+
			"or delete the EdgeHost of the machine that it replaces", said)
	case codes.InvalidArgument, codes.FailedPrecondition:
		return failure(ReasonRequestRefused, "cannot enrol: the plane refused the request: %s", said)
	case codes.Unavailable, codes.DeadlineExceeded:
		return failure(ReasonPlaneUnreachable, "cannot reach the plane at %s: %s; "+
			"check the host's way to it and plane.address; the agent keeps trying", address, said)
	}
	return failure(ReasonPlaneUnreachable, "cannot enrol at %s: %w", address, err)
}
