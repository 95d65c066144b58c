package operation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// Pin is the SHA-256 of a CA certificate's SubjectPublicKeyInfo: what root on
// the host trusts, whatever certificates it is handed.
type Pin [sha256.Size]byte

// ParsePin reads a pin written as sha256: and 64 hexadecimal digits.
func ParsePin(text string) (Pin, error) {
	digits, ok := strings.CutPrefix(text, "sha256:")
	if !ok {
		return Pin{}, fmt.Errorf("cannot read CA pin %q: sha256: must stand at its beginning", text)
	}
	decoded, err := hex.DecodeString(digits)
	if err != nil || len(decoded) != sha256.Size {
		return Pin{}, fmt.Errorf("cannot read CA pin %q: sha256: must be followed by 64 hexadecimal digits", text)
	}
	return Pin(decoded), nil
}

// PinOf returns the pin of a certificate.
func PinOf(cert *x509.Certificate) Pin {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// String writes the pin as ParsePin reads it.
func (p Pin) String() string { return "sha256:" + hex.EncodeToString(p[:]) }
