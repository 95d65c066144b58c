package operation

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// ReadFrame reads one frame of the door: the payload's length in four bytes,
// big endian, then the payload. A length above agentv1.MaxDoorFrameBytes is
// refused before anything is allocated. io.EOF means that the peer closed the
// connection between two frames.
func ReadFrame(r io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if err == io.EOF {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("cannot read a frame's length: %w", err)
	}
	size := binary.BigEndian.Uint32(header[:])
	if size > agentv1.MaxDoorFrameBytes {
		return nil, Refuse(malformed, "the frame has %d bytes, more than %d", size, agentv1.MaxDoorFrameBytes)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, fmt.Errorf("cannot read a frame of %d bytes: %w", size, err)
	}
	return payload, nil
}

// WriteFrame encodes a message and writes it as one frame.
func WriteFrame(w io.Writer, message proto.Message) error {
	// Four bytes are reserved in front, so that the frame leaves in one write.
	frame, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 4), message)
	if err != nil {
		return fmt.Errorf("cannot encode a frame: %w", err)
	}
	size := len(frame) - 4
	if size > agentv1.MaxDoorFrameBytes {
		return fmt.Errorf("cannot send a frame of %d bytes: more than %d", size, agentv1.MaxDoorFrameBytes)
	}
	binary.BigEndian.PutUint32(frame, uint32(size))
	if _, err := w.Write(frame); err != nil {
		return fmt.Errorf("cannot write a frame of %d bytes: %w", size, err)
	}
	return nil
}
