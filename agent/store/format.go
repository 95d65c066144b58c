package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// MaxPayload bounds the payload of one file, in bytes.
const MaxPayload = 4 << 20

// A file is: magic, schema (uint32, big endian), payload length (uint32, big
// endian), SHA-256 over those three and the payload, payload.
const (
	magic      = "hybstate"
	prefixSize = len(magic) + 4 + 4
	headerSize = prefixSize + sha256.Size
)

// CorruptError says that bytes are not a whole file of this package: truncated,
// empty, altered or of another origin.
type CorruptError struct {
	// Reason says what is wrong, without a final stop.
	Reason string
}

// Error describes the damage.
func (e *CorruptError) Error() string { return "damaged: " + e.Reason }

// SchemaError says that a file is whole but of another schema than the reader's.
type SchemaError struct {
	// Have is the file's schema, Want the reader's.
	Have, Want int
}

// Error says which of the two is newer and what to do.
func (e *SchemaError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("schema %d is newer than %d, the newest this version reads; "+
			"install the version that wrote it, or move the file away to start from what the plane sends", e.Have, e.Want)
	}
	return fmt.Sprintf("schema %d is older than %d and cannot be converted by this version; "+
		"move the file away to start from what the plane sends", e.Have, e.Want)
}

// Encode returns the file for a payload. It refuses a schema below 1 and a
// payload above MaxPayload.
func Encode(schema int, payload []byte) ([]byte, error) {
	if schema < 1 || int64(schema) > int64(^uint32(0)) {
		return nil, fmt.Errorf("cannot encode state: schema %d is out of range", schema)
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("cannot encode state: %d bytes, at most %d fit", len(payload), MaxPayload)
	}
	file := make([]byte, 0, headerSize+len(payload))
	file = append(file, magic...)
	file = binary.BigEndian.AppendUint32(file, uint32(schema))
	file = binary.BigEndian.AppendUint32(file, uint32(len(payload)))
	sum := checksum(file, payload)
	file = append(file, sum[:]...)
	return append(file, payload...), nil
}

// Decode returns the payload of a file and its schema. Errors are *CorruptError.
// The payload shares memory with the file.
func Decode(file []byte) (payload []byte, schema int, err error) {
	switch {
	case len(file) == 0:
		return nil, 0, &CorruptError{Reason: "the file is empty"}
	case len(file) < headerSize:
		return nil, 0, &CorruptError{Reason: fmt.Sprintf("%d bytes are less than the header", len(file))}
	case string(file[:len(magic)]) != magic:
		return nil, 0, &CorruptError{Reason: "it does not begin like a state file"}
	}
	rawSchema := binary.BigEndian.Uint32(file[len(magic):])
	length := binary.BigEndian.Uint32(file[len(magic)+4:])
	payload = file[headerSize:]
	if uint64(length) != uint64(len(payload)) || length > MaxPayload {
		return nil, 0, &CorruptError{Reason: fmt.Sprintf("the header promises %d bytes, %d follow", length, len(payload))}
	}
	sum := checksum(file[:prefixSize], payload)
	if !bytes.Equal(sum[:], file[prefixSize:headerSize]) {
		return nil, 0, &CorruptError{Reason: "the checksum does not match"}
	}
	if rawSchema == 0 {
		return nil, 0, &CorruptError{Reason: "schema 0 does not exist"}
	}
	return payload, int(rawSchema), nil
}

func checksum(prefix, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(prefix)
	h.Write(payload)
	return [sha256.Size]byte(h.Sum(nil))
}
