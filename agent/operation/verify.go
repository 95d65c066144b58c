package operation

import (
	"crypto/ed25519"
	"crypto/x509"
	"time"

	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of an envelope's chain, as operation.proto says.
const (
	maxChainCertificates = 4
	maxChainBytes        = 16 << 10
)

// Short names for the reasons, which the generated code spells at length.
const (
	malformed    = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED
	unsigned     = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNSIGNED
	foreign      = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FOREIGN
	precondition = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
	unknownKind  = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNKNOWN_KIND
)

// Trust is what an operation is checked against.
type Trust struct {
	// Pins of the CAs that may certify the key that signs operations; of a
	// chain, only a certificate with one of these keys counts.
	Pins []Pin
	// HostID is this host's ID: an operation for another is refused.
	HostID string
	// Network says that live network switches are taken: by the daemon, which runs
	// them, and never by root.
	Network bool
}

// Verify checks an operation in this order: bounds, context, chain, signature,
// and only then parses its bytes and checks that they are meant for this host.
// Every error is a *Refusal. Sequence is the caller's to check: it needs the
// last one accepted.
func Verify(env *agentv1.SignedOperation, trust Trust, now time.Time) (*agentv1.Operation, error) {
	if err := checkBounds(env); err != nil {
		return nil, err
	}
	signer, err := signingCertificate(env.GetChain(), trust)
	if err != nil {
		return nil, err
	}
	key, ok := signer.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, Refuse(unsigned, "the operation's signing certificate holds a key of type %s, not Ed25519",
			signer.PublicKeyAlgorithm)
	}
	if !ed25519.Verify(key, agentv1.SigningInput(env.GetContext(), env.GetOperation()), env.GetSignature()) {
		return nil, Refuse(unsigned, "the operation's signature does not match its bytes: it was changed on its way, or forged")
	}
	// Judged after the signature, so that a host with a wrong clock hears of
	// its clock only for an operation that is otherwise in order.
	if now.Before(signer.NotBefore) || now.After(signer.NotAfter) {
		return nil, Refuse(precondition,
			"the operation's signing certificate is valid from %s to %s, but this host's clock says %s; correct the host's clock, or renew the plane's signing certificate",
			signer.NotBefore.UTC().Format(time.RFC3339), signer.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return parse(env.GetOperation(), trust)
}

// checkBounds looks at nothing but sizes and the context.
func checkBounds(env *agentv1.SignedOperation) error {
	if env == nil || len(env.GetOperation()) == 0 {
		return Refuse(malformed, "the request holds no operation")
	}
	if size := len(env.GetOperation()); size > agentv1.MaxOperationBytes {
		return Refuse(malformed, "the operation has %d bytes, more than %d", size, agentv1.MaxOperationBytes)
	}
	if env.GetContext() != agentv1.OperationContext {
		return Refuse(unsigned, "the signature was made for %q, not for %q", clipped(env.GetContext(), 64), agentv1.OperationContext)
	}
	if size := len(env.GetSignature()); size != ed25519.SignatureSize {
		return Refuse(unsigned, "the operation is not signed: its signature has %d bytes, not %d", size, ed25519.SignatureSize)
	}
	if count := len(env.GetChain()); count < 2 || count > maxChainCertificates {
		return Refuse(unsigned, "the operation comes with %d certificates, not 2 to %d", count, maxChainCertificates)
	}
	size := 0
	for _, der := range env.GetChain() {
		size += len(der)
	}
	if size > maxChainBytes {
		return Refuse(malformed, "the operation's certificates have %d bytes, more than %d", size, maxChainBytes)
	}
	return nil
}

// signingCertificate returns the first certificate of the chain if a pinned CA
// of the same chain certified it for signing operations.
func signingCertificate(chain [][]byte, trust Trust) (*x509.Certificate, error) {
	signer, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, Refuse(unsigned, "cannot read the operation's signing certificate: %v", err)
	}
	authority, err := pinnedCA(chain[1:], trust.Pins)
	if err != nil {
		return nil, err
	}
	if err := signer.CheckSignatureFrom(authority); err != nil {
		return nil, Refuse(unsigned, "the operation's signing certificate was not issued by the pinned CA %q: %v",
			authority.Subject.CommonName, err)
	}
	if signer.IsCA {
		return nil, Refuse(unsigned, "the operation is signed with a CA certificate")
	}
	for _, uri := range signer.URIs {
		if uri.String() == agentv1.SigningCertificateURI {
			return signer, nil
		}
	}
	return nil, Refuse(unsigned, "the certificate that signed the operation is not for operations: it lacks the URI %s",
		agentv1.SigningCertificateURI)
}

// pinnedCA returns the CA certificate that matches a pin; the rest of the
// chain, whoever handed it over, is not looked at.
func pinnedCA(chain [][]byte, pins []Pin) (*x509.Certificate, error) {
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			continue
		}
		for _, pin := range pins {
			if PinOf(cert) == pin && cert.IsCA && cert.BasicConstraintsValid {
				return cert, nil
			}
		}
	}
	return nil, Refuse(unsigned,
		"none of the operation's CA certificates has the pinned key; check plane.caPin in config.yaml against the plane's CA")
}

// parse decodes bytes whose signature was checked.
func parse(encoded []byte, trust Trust) (*agentv1.Operation, error) {
	op := &agentv1.Operation{}
	if err := proto.Unmarshal(encoded, op); err != nil {
		return nil, Refuse(malformed, "the operation is signed but cannot be parsed: %v", err)
	}
	if op.GetHostId() != trust.HostID {
		return nil, Refuse(foreign, "the operation is for host %q; this is host %q", clipped(op.GetHostId(), 128), trust.HostID)
	}
	if err := validate(op, trust.Network); err != nil {
		return nil, err
	}
	return op, nil
}

// clipped bounds a foreign text that is quoted in a message.
func clipped(text string, bytes int) string {
	if len(text) > bytes {
		return text[:bytes] + "…"
	}
	return text
}
