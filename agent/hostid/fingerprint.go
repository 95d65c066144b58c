package hostid

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxMACs bounds Fingerprint.MACs.
const maxMACs = 32

// Fingerprint tells one machine from another with the same host ID. Each field
// may be empty where the host has no such thing or the reader may not see it.
type Fingerprint struct {
	// ProductUUID is the SMBIOS product UUID, lower case.
	ProductUUID string `json:"productUUID,omitempty"`
	// MachineIDHash is the SHA-256 of /etc/machine-id's text, hexadecimal.
	MachineIDHash string `json:"machineIDHash,omitempty"`
	// MACs are the addresses of hardware NICs in colon form, sorted.
	MACs []string `json:"macs,omitempty"`
}

// ReadFingerprint reads what it can below root ("" is "/").
func ReadFingerprint(root string) Fingerprint {
	fp := Fingerprint{MACs: hardwareMACs(root)}
	if uuid := strings.ToLower(readFile(root, SMBIOSPath)); useful(uuid) {
		fp.ProductUUID = uuid
	}
	if _, ok := machineID(root); ok {
		sum := sha256.Sum256([]byte(readFile(root, "/etc/machine-id")))
		fp.MachineIDHash = hex.EncodeToString(sum[:])
	}
	return fp
}

// hardwareMACs lists links that sit on a device and whose address came with it
// (addr_assign_type 0, Documentation/ABI/testing/sysfs-class-net).
func hardwareMACs(root string) []string {
	const base = "/sys/class/net"
	entries, err := os.ReadDir(filepath.Join("/", root, base))
	if err != nil {
		return nil
	}
	var macs []string
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if _, err := os.Stat(filepath.Join("/", root, dir, "device")); err != nil {
			continue
		}
		mac := readFile(root, filepath.Join(dir, "address"))
		if readFile(root, filepath.Join(dir, "addr_assign_type")) == "0" && useful(strings.ReplaceAll(mac, ":", "")) {
			macs = append(macs, strings.ToLower(mac))
		}
	}
	slices.Sort(macs)
	macs = slices.Compact(macs)
	return macs[:min(len(macs), maxMACs)]
}
