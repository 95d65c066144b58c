package hostid

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxDeviceFile bounds what is read of a device file, in bytes.
const maxDeviceFile = 64 << 10

// appID is this program's application ID for machine-id(5): the machine ID
// itself must not leave the host.
const appID = "\x3e\x8f\x1c\x52\x77\x0b\x4d\x91\xa6\x24\xd9\x6b\x05\xe3\xc8\x1f"

func readFile(root, path string) string {
	f, err := os.Open(filepath.Join("/", root, path))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxDeviceFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// fromDevice returns the first useful value of the device files.
func fromDevice(opt Options) (uid, source string, err error) {
	paths := opt.DeviceUIDPaths
	if len(paths) == 0 {
		paths = []DeviceUIDPath{{Name: SMBIOSPath}}
	}
	for _, p := range paths {
		value, err := matchDevice(readFile(opt.Root, p.Name), p)
		if err != nil {
			return "", "", err
		}
		value = strings.ToLower(value)
		if !useful(value) || Check(value) != nil {
			continue
		}
		if p.Name == SMBIOSPath {
			return value, SourceSMBIOS, nil
		}
		return value, SourceDeviceUID, nil
	}
	return "", "", nil
}

func matchDevice(content string, p DeviceUIDPath) (string, error) {
	if p.Regex == "" {
		return content, nil
	}
	re, err := regexp.Compile(p.Regex)
	if err != nil {
		return "", fmt.Errorf("cannot use the regular expression %q for %s: %w; correct host.deviceUIDPaths", p.Regex, p.Name, err)
	}
	found := re.FindStringSubmatch(content)
	switch {
	case found == nil:
		return "", nil
	case len(found) > 1:
		return strings.TrimSpace(found[1]), nil
	}
	return strings.TrimSpace(found[0]), nil
}

// useful refuses values that vendors ship on many devices alike.
func useful(value string) bool {
	switch value {
	case "", "none", "n/a", "na", "unknown", "not settable", "not specified", "not present", "not available", "not applicable",
		"default string", "default", "system serial number", "to be filled by o.e.m.", "o.e.m.", "oem", "invalid", "empty", "null", "undefined",
		"0123456789", "1234567890", "123456789",
		"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
		"12345678-1234-5678-90ab-cddeefaabbcc", "12345678-1234-1234-1234-123456789012":
		return false
	}
	// Fewer than two different characters besides dashes: 0000…, ffff…, xxxx….
	plain := strings.ReplaceAll(value, "-", "")
	return len(plain) >= 4 && strings.Trim(plain, plain[:1]) != "" && !strings.HasPrefix(plain, "fefefefefefe")
}

// fromMachineID derives a UUID from /etc/machine-id as
// sd_id128_get_machine_app_specific(3) does; empty where there is none.
func fromMachineID(root string) string {
	key, ok := machineID(root)
	if !ok {
		return ""
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(appID))
	return formatUUID([16]byte(mac.Sum(nil)[:16]))
}

func machineID(root string) ([]byte, bool) {
	text := readFile(root, "/etc/machine-id")
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != 16 || !useful(text) {
		return nil, false
	}
	return key, true
}

// formatUUID renders bytes as a version 4 UUID (RFC 9562).
func formatUUID(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
