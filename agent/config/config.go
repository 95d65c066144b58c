package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// DefaultPath is where the configuration lies.
const DefaultPath = "/etc/hybrid-agent/config.yaml"

// MaxBytes bounds the configuration file.
const MaxBytes = 256 << 10

// Config is the whole configuration, checked and with defaults filled in.
type Config struct {
	// Plane is the management plane.
	Plane Plane
	// Enrollment is how the host gets its identity.
	Enrollment Enrollment
	// Host is how the host ID is found.
	Host Host
	// Metrics is the Prometheus endpoint.
	Metrics Metrics
	// Log is what the daemon logs.
	Log Log
	// Network is how routes are kept.
	Network Network
	// Nodeadm is how root runs nodeadm.
	Nodeadm Nodeadm
	// Paths are where the processes meet.
	Paths Paths
}

// Plane is where the management plane is, and how it is known.
type Plane struct {
	// Address is host:port.
	Address string
	// CAPin is "sha256:" and 64 hexadecimal digits, lower case: the SHA-256 of the
	// SubjectPublicKeyInfo of the plane's CA.
	CAPin string
}

// PinSum returns the 32 bytes of CAPin; it is valid once Load has returned nil.
func (p Plane) PinSum() [32]byte {
	sum, _ := ParsePin(p.CAPin)
	return sum
}

// Enrollment is where the token is.
type Enrollment struct {
	// TokenFile holds the token, mode 0600; $CREDENTIALS_DIRECTORY/enrollment-token
	// wins over it. Default /etc/hybrid-agent/enrollment-token.
	TokenFile string
}

// Host is how the host ID is found.
type Host struct {
	// Name is the configured host ID; empty: derived; "$random": a random one.
	Name string
	// Prefix stands before a derived ID, with a dash. Default "edge".
	Prefix string
	// DeviceUIDPaths are files with a unique value of the device, tried in order.
	// Default: the SMBIOS product UUID.
	DeviceUIDPaths []DeviceUIDPath
}

// DeviceUIDPath is a file with a unique value of the device.
type DeviceUIDPath struct {
	// Name is the file's absolute path.
	Name string `yaml:"name"`
	// Regex finds the value in the file: its first group or first match.
	Regex string `yaml:"regex"`
}

// Metrics is the Prometheus endpoint.
type Metrics struct {
	// Listen is host:port; empty: off. Default 127.0.0.1:9475.
	Listen string
}

// Log is what the daemon logs.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string
}

// Network is how routes are kept.
type Network struct {
	// ResyncInterval is how often the kernel's routes are read without an event; 0:
	// never. Default 10 min.
	ResyncInterval time.Duration
	// RouteMetric is the metric of our routes; 0, the default, is the strongest.
	RouteMetric uint32
	// OnLink takes VPN servers for neighbours that no subnet of the NIC holds, as on
	// hosts with a /32 address. Default false.
	OnLink bool
	// PathMTU is what becomes of a path that swallows large packets without a word:
	// PathMTUSet or PathMTUReport. Default PathMTUSet.
	PathMTU string
	// TrialTimeout is how long a change of the network may go without the plane's
	// answer and a path as good as before, until the former network returns; 5 s to
	// 10 min. Default 45 s.
	TrialTimeout time.Duration
}

// What is done about a path MTU that the kernel cannot find out.
const (
	// PathMTUSet puts it on our routes.
	PathMTUSet = "set"
	// PathMTUReport shows it in PathHealthy only.
	PathMTUReport = "report"
)

// Nodeadm is how root runs nodeadm.
type Nodeadm struct {
	// Path is the binary. Default /usr/local/bin/nodeadm.
	Path string
	// Manifest is the file:// or https:// URI given to nodeadm -m; empty: nodeadm's
	// own.
	Manifest string
	// Environment is given to nodeadm only, for example AWS_ENDPOINT_URL.
	Environment map[string]string
}

// Paths are where the processes meet. The defaults are what the packages use.
type Paths struct {
	// State is the daemon's folder. Default /var/lib/hybrid-agent.
	State string
	// OpState is root's folder. Default /var/lib/hybrid-agent-op.
	OpState string
	// Socket is the local API. Default /run/hybrid-agent/agent.sock.
	Socket string
	// OpSocket is the door to root. Default /run/hybrid-agent-op/op.sock.
	OpSocket string
	// Root prefixes the files that nodeadm writes, for tests. Default "/".
	Root string
}

// ParsePin reads "sha256:" and 64 hexadecimal digits.
func ParsePin(pin string) ([32]byte, error) {
	digits, ok := strings.CutPrefix(pin, "sha256:")
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != 32 {
		return [32]byte{}, errors.New(`want "sha256:" and 64 hexadecimal digits, as "hybridctl token create" prints it`)
	}
	return [32]byte(sum), nil
}

// Load reads, checks and completes a configuration file. Errors name file, line
// and key; several are joined.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("cannot read the configuration: %w; write it, or name another file with --config", err)
	}
	defer func() { _ = f.Close() }()
	return Parse(path, f)
}
