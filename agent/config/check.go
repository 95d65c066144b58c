package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hybridagent/agent/hostid"
)

// fieldError is what is wrong with one key.
type fieldError struct{ key, reason string }

func or(value *string, fallback string) string {
	if value == nil {
		return fallback
	}
	return *value
}

// complete fills in defaults; what cannot be read as its type is left to check.
func complete(in raw) Config {
	return Config{
		Plane:      Plane{Address: in.Plane.Address, CAPin: strings.ToLower(in.Plane.CAPin)},
		Enrollment: Enrollment{TokenFile: or(in.Enrollment.TokenFile, "/etc/hybrid-agent/enrollment-token")},
		Host:       Host{Name: in.Host.Name, Prefix: or(in.Host.Prefix, "edge"), DeviceUIDPaths: in.Host.DeviceUIDPaths},
		Metrics:    Metrics{Listen: or(in.Metrics.Listen, "127.0.0.1:9475")},
		Log:        Log{Level: or(in.Log.Level, "info")},
		Network:    completeNetwork(in.Network),
		Nodeadm: Nodeadm{
			Path: or(in.Nodeadm.Path, "/usr/local/bin/nodeadm"), Manifest: in.Nodeadm.Manifest, Environment: in.Nodeadm.Environment,
		},
		Paths: Paths{
			State:    or(in.Paths.State, "/var/lib/hybrid-agent"),
			OpState:  or(in.Paths.OpState, "/var/lib/hybrid-agent-op"),
			Socket:   or(in.Paths.Socket, "/run/hybrid-agent/agent.sock"),
			OpSocket: or(in.Paths.OpSocket, "/run/hybrid-agent-op/op.sock"),
			Root:     or(in.Paths.Root, "/"),
		},
	}
}

// check returns what is wrong, by key.
func check(c Config, in raw) []fieldError {
	var errs []fieldError
	refuse := func(key, format string, args ...any) {
		errs = append(errs, fieldError{key, fmt.Sprintf(format, args...)})
	}
	if reason := checkAddress(c.Plane.Address); reason != "" {
		refuse("plane.address", "%s; set the plane's host:port", reason)
	}
	if _, err := ParsePin(c.Plane.CAPin); err != nil {
		refuse("plane.caPin", "%v", err)
	}
	if c.Metrics.Listen != "" {
		if reason := checkAddress(c.Metrics.Listen); reason != "" && !strings.HasPrefix(c.Metrics.Listen, ":") {
			refuse("metrics.listen", `%s; set host:port, or "" for none`, reason)
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		refuse("log.level", "%q is not one of debug, info, warn, error", c.Log.Level)
	}
	checkNetwork(c.Network, in.Network, refuse)
	checkHost(c.Host, refuse)
	checkNodeadm(c.Nodeadm, refuse)
	checkPaths(c, refuse)
	return errs
}

func checkAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return fmt.Sprintf("%q is not host:port", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Sprintf("%q has no port from 1 to 65535", address)
	}
	return ""
}

func checkHost(h Host, refuse func(key, format string, args ...any)) {
	if h.Name != "" && h.Name != "$random" {
		if err := hostid.Check(h.Name); err != nil {
			refuse("host.name", "%v", err)
		}
	}
	if h.Prefix != "" {
		if err := hostid.Check(h.Prefix); err != nil {
			refuse("host.prefix", "%v", err)
		}
	}
	for i, p := range h.DeviceUIDPaths {
		if !filepath.IsAbs(p.Name) {
			refuse(fmt.Sprintf("host.deviceUIDPaths[%d].name", i), "%q is no absolute path", p.Name)
		}
		if _, err := regexp.Compile(p.Regex); err != nil {
			refuse(fmt.Sprintf("host.deviceUIDPaths[%d].regex", i), "%v", err)
		}
	}
}

func checkNodeadm(n Nodeadm, refuse func(key, format string, args ...any)) {
	if n.Manifest != "" {
		u, err := url.Parse(n.Manifest)
		if err != nil || (u.Scheme != "file" && u.Scheme != "https") {
			refuse("nodeadm.manifest", "%q is no file:// or https:// URI, the only ones nodeadm takes", n.Manifest)
		}
	}
	for name := range n.Environment {
		if name == "" || strings.ContainsAny(name, "= \t\n\x00") {
			refuse("nodeadm.environment", "%q is no name of a variable", name)
		}
	}
}

func checkPaths(c Config, refuse func(key, format string, args ...any)) {
	for _, p := range []struct{ key, value string }{
		{"enrollment.tokenFile", c.Enrollment.TokenFile},
		{"nodeadm.path", c.Nodeadm.Path},
		{"paths.state", c.Paths.State},
		{"paths.opState", c.Paths.OpState},
		{"paths.socket", c.Paths.Socket},
		{"paths.opSocket", c.Paths.OpSocket},
		{"paths.root", c.Paths.Root},
	} {
		if !filepath.IsAbs(p.value) {
			refuse(p.key, "%q is no absolute path", p.value)
		}
	}
	// sockaddr_un holds 107 bytes and a final zero (unix(7)).
	for _, p := range []struct{ key, value string }{{"paths.socket", c.Paths.Socket}, {"paths.opSocket", c.Paths.OpSocket}} {
		if len(p.value) > 107 {
			refuse(p.key, "%d bytes are too long for a socket, at most 107", len(p.value))
		}
	}
}
