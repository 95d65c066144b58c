// Package agentv1 holds what travels between a host and its plane, and between
// the daemon and root on the host: generated messages, and the few constants
// and the signing input that both ends must share. It holds no behaviour.
package agentv1

import "encoding/binary"

// OperationContext is the only value of SignedOperation.context that is
// accepted: it keeps a signature made for another purpose from being taken for
// an operation (RFC 8032, section 8.3, on contexts).
const OperationContext = "hybrid-agent operation v1"

// SigningCertificateURI is the URI SAN of a certificate whose key may sign
// operations. The CA puts it into no other certificate.
const SigningCertificateURI = "hybrid://signing/operation"

// HostCertificateURIPrefix precedes the host ID in the URI SAN of a host's
// certificate.
const HostCertificateURIPrefix = "hybrid://host/"

// MaxOperationBytes bounds SignedOperation.operation.
const MaxOperationBytes = 256 << 10

// MaxAssignmentBytes bounds AssignmentUpdate.assignment.
const MaxAssignmentBytes = 256 << 10

// MaxDoorFrameBytes bounds one frame on the socket of hybrid-agent-op, without
// its four length bytes.
const MaxDoorFrameBytes = 512 << 10

// SigningInput returns the bytes that an operation's signature covers: the
// context's length as eight bytes, big endian, the context, the operation. The
// length keeps a byte from moving between the two.
func SigningInput(context string, operation []byte) []byte {
	input := binary.BigEndian.AppendUint64(nil, uint64(len(context)))
	input = append(input, context...)
	return append(input, operation...)
}
