package hostid

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Values of ID.Source.
const (
	SourceName      = "name"       // the configured name
	SourceDeviceUID = "device-uid" // a configured device file
	SourceSMBIOS    = "smbios"     // the SMBIOS product UUID
	SourceMachineID = "machine-id" // derived from /etc/machine-id
	SourceRandom    = "random"
)

// SMBIOSPath is where Linux shows the SMBIOS product UUID, to root only.
const SMBIOSPath = "/sys/class/dmi/id/product_uuid"

// MaxLength is the greatest length of a host ID in bytes.
const MaxLength = 128

// forbidden are the characters that no host ID may hold; neither may it hold
// white space or control characters.
const forbidden = `/?#&+%,$~!@*(){}|=;:<>'.^"` + "`\\"

// ID is a host's identity as it lies on disk.
type ID struct {
	// Schema is the number of the file's format, SchemaVersion.
	Schema int `json:"schema"`
	// ID is the host ID, 1 to MaxLength bytes.
	ID string `json:"id"`
	// Source is one of the Source… constants.
	Source string `json:"source"`
	// Fingerprint is the hardware the ID was first seen on.
	Fingerprint Fingerprint `json:"fingerprint"`
}

// DeviceUIDPath is a file that holds a unique value of the device.
type DeviceUIDPath struct {
	// Name is the file's absolute path.
	Name string
	// Regex, if set, is a Go regular expression: the first capture group, or
	// else the first match, is the value.
	Regex string
}

// Options say where Derive looks.
type Options struct {
	// Name is the configured host ID; empty: none. "$random" asks for a random one.
	Name string
	// Prefix stands before every derived ID, with a dash; may be empty.
	Prefix string
	// DeviceUIDPaths are tried in order; empty: the SMBIOS product UUID.
	DeviceUIDPaths []DeviceUIDPath
	// Root prefixes every path that is read; empty: "/".
	Root string
	// Warn is told by Ensure of a damaged file that it set aside; may be nil.
	Warn func(error)
}

// Check refuses a host ID that is empty, too long or holds a forbidden character.
func Check(id string) error {
	switch {
	case id == "":
		return errors.New("cannot use an empty host ID")
	case len(id) > MaxLength:
		return fmt.Errorf("cannot use host ID %q: %d bytes, at most %d are allowed", id, len(id), MaxLength)
	}
	for _, r := range id {
		if strings.ContainsRune(forbidden, r) || unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar {
			return fmt.Errorf("cannot use host ID %q: the character %q is not allowed", id, r)
		}
	}
	return nil
}

// Derive finds the host ID: configured name, device files, machine ID, random.
// A configured name or regular expression that cannot be used is an error; a
// file that is missing or holds a useless value is passed over.
func Derive(opt Options) (ID, error) {
	id := ID{Schema: SchemaVersion, Fingerprint: ReadFingerprint(opt.Root)}
	var err error
	id.ID, id.Source, err = find(opt)
	if err != nil {
		return ID{}, err
	}
	if err := Check(id.ID); err != nil {
		return ID{}, err
	}
	return id, nil
}

func find(opt Options) (id, source string, err error) {
	if opt.Name != "" && opt.Name != "$random" {
		return opt.Name, SourceName, nil
	}
	if opt.Name == "" {
		uid, source, err := fromDevice(opt)
		if err != nil || uid != "" {
			return withPrefix(opt.Prefix, uid), source, err
		}
		if uid := fromMachineID(opt.Root); uid != "" {
			return withPrefix(opt.Prefix, uid), SourceMachineID, nil
		}
	}
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	return withPrefix(opt.Prefix, formatUUID(raw)), SourceRandom, nil
}

func withPrefix(prefix, uid string) string {
	if prefix == "" || uid == "" {
		return uid
	}
	return prefix + "-" + uid
}
