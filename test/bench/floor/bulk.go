package floor

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// batchSize is how many messages go into one send: the answers to them fit into
// the default receive buffer.
const batchSize = 100

// WriteBatches sends requests that ask for an answer (NLM_F_ACK), many a send, and
// reads the answers. buf takes the messages of one send.
func (s Socket) WriteBatches(messages [][]byte, buf []byte) error {
	answers := make([]byte, 32<<10)
	for len(messages) > 0 {
		n := min(batchSize, len(messages))
		buf = buf[:0]
		for _, m := range messages[:n] {
			buf = append(buf, m...)
		}
		messages = messages[n:]
		if err := s.Send(buf); err != nil {
			return err
		}
		for pending := n; pending > 0; {
			got, err := s.Receive(answers)
			if err != nil {
				return err
			}
			done, err := acknowledged(answers[:got])
			if err != nil {
				return err
			}
			pending -= done
		}
	}
	return nil
}

// acknowledged counts answers; one that says no is an error.
func acknowledged(b []byte) (n int, err error) {
	for len(b) >= unix.SizeofNlMsghdr+4 {
		if code := int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); code != 0 {
			return n, unix.Errno(-code)
		}
		n++
		size := (int(binary.NativeEndian.Uint32(b)) + 3) &^ 3
		b = b[min(max(size, unix.SizeofNlMsghdr), len(b)):]
	}
	return n, nil
}

// ListStrict counts the main table's routes of a protocol, which the kernel
// filters itself.
func ListStrict(protocol uint8, buf []byte) (n int, err error) {
	s, err := Open(0)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := unix.SetsockoptInt(int(s), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		return 0, fmt.Errorf("cannot have the kernel filter: %w", err)
	}
	request := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtMsg)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request[unix.SizeofNlMsghdr] = unix.AF_INET
	request[unix.SizeofNlMsghdr+4] = unix.RT_TABLE_MAIN
	request[unix.SizeofNlMsghdr+5] = protocol
	if err := s.Send(request); err != nil {
		return 0, err
	}
	for {
		got, err := s.Receive(buf)
		if err != nil {
			return n, err
		}
		for b := buf[:got]; len(b) >= unix.SizeofNlMsghdr; {
			switch binary.NativeEndian.Uint16(b[4:]) {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return n, nil
			}
			n++
			b = b[min((int(binary.NativeEndian.Uint32(b))+3)&^3, len(b)):]
		}
	}
}
