package osimage

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Layout of the superblock that ext2, 3 and 4 share (Linux
// Documentation/filesystems/ext4/super.rst).
const (
	superOffset = 1024
	magicOffset = 0x38
	extMagic    = 0xEF53
	uuidOffset  = 0x68
	uuidBytes   = 16
)

// extUUID reads the UUID of the ext file system in a file or device; empty where
// there is none. mkfs gives each image one of its own, which neither a rename nor
// another label changes.
func extUUID(path string) string {
	if path == "" {
		return ""
	}
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	var super [uuidOffset + uuidBytes]byte
	if _, err := io.ReadFull(io.NewSectionReader(file, superOffset, int64(len(super))), super[:]); err != nil {
		return ""
	}
	if binary.LittleEndian.Uint16(super[magicOffset:]) != extMagic {
		return ""
	}
	return hex.EncodeToString(super[uuidOffset:])
}

// rootDevice is what is mounted as the root: on Kairos a loop device over an image.
func rootDevice(root string) string {
	mounts, err := readMounts(root)
	if err != nil {
		return ""
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if m := mounts[i]; m.point == "/" && strings.HasPrefix(m.source, "/dev/") {
			return filepath.Join(root, m.source)
		}
	}
	return ""
}

// prettyName is what the running image calls itself, for people.
func prettyName(root string) string {
	content, err := os.ReadFile(filepath.Join(root, "etc/os-release"))
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(content), "\n") {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(name, `"' `)
		}
	}
	return ""
}
