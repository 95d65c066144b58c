package netcfg

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// kernelError is an errno with the kernel's own words (extended ACK).
type kernelError struct {
	errno syscall.Errno
	text  string
}

// Error gives the errno's text and the kernel's message.
func (e *kernelError) Error() string {
	if e.text == "" {
		return e.errno.Error()
	}
	return fmt.Sprintf("%s (kernel: %s)", e.errno.Error(), e.text)
}

// Unwrap gives the errno to errors.Is.
func (e *kernelError) Unwrap() error { return e.errno }

// parseAck decodes an NLMSG_ERROR: nil where the kernel said yes.
func parseAck(m message) error {
	if len(m.body) < 4+headerLen {
		return errTruncated
	}
	code := int32(binary.NativeEndian.Uint32(m.body))
	if code == 0 {
		return nil
	}
	ke := &kernelError{errno: syscall.Errno(uint32(-code))}
	if m.flags&flagExtAck == 0 {
		return ke
	}
	tlvs := m.body[4+headerLen:]
	if m.flags&flagCapped == 0 {
		echoed := int(binary.NativeEndian.Uint32(m.body[4:])) - headerLen
		if echoed < 0 || align4(echoed) > len(tlvs) {
			return ke
		}
		tlvs = tlvs[align4(echoed):]
	}
	_ = eachAttr(tlvs, func(kind uint16, v []byte) {
		if kind == extAckMsg && len(v) > 0 {
			ke.text = string(v[:len(v)-1])
		}
	})
	return ke
}
