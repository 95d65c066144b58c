package api

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// maxEndpointBytes bounds a DNS name, a colon and a port.
const maxEndpointBytes = 253 + 1 + 5

// rules are the regular expressions of validation; made once for a Server, so
// that the package keeps no variables.
type rules struct {
	label, labelName, labelValue, subdomain, region, version, profileVersion, uuid, clusterName, flag *regexp.Regexp
}

func newRules() *rules {
	re := regexp.MustCompile
	return &rules{
		label:      re(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`),                              // RFC 1123
		labelName:  re(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`),                   // Kubernetes, name part of a label key
		labelValue: re(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`),                // Kubernetes
		subdomain:  re(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`), // RFC 1123
		region:     re(`^[a-z]{2,3}(-[a-z]+)+-[0-9]{1,2}$`),
		// nodeadm and EKS name whole versions; the leading v is not theirs.
		version:        re(`^1\.[0-9]{1,3}\.[0-9]{1,4}$`),
		profileVersion: re(`^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$`),
		uuid:           re(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`),
		clusterName:    re(`^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$`), // EKS CreateCluster
		flag:           re(`^--[a-z0-9][-a-z0-9]*(=\S*)?$`),
	}
}

// cidr reads an IPv4 CIDR as AWS takes it: canonical, unicast.
func cidr(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is no CIDR such as 10.100.0.0/16", s)
	case !p.Addr().Is4():
		return netip.Prefix{}, fmt.Errorf("%q is not IPv4; EKS hybrid nodes have IPv4 only", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has host bits set; write %s", s, p.Masked())
	case p.Bits() < 8:
		return netip.Prefix{}, fmt.Errorf("%q is too large; at most a /8 is possible", s)
	case !unicast(p.Addr()):
		return netip.Prefix{}, fmt.Errorf("%q is no unicast network", s)
	}
	return p, nil
}

// ipv4 reads a unicast IPv4 address.
func ipv4(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is no IPv4 address such as 10.200.0.2", s)
	}
	if !unicast(a) {
		return netip.Addr{}, fmt.Errorf("%q is no unicast address", s)
	}
	return a, nil
}

// unicast: what a host or network may have; not 0/8, loopback, link-local,
// multicast, 240/4.
func unicast(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first < 224 && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}

// endpoint reads host:port or, where the port may be missing, a host.
func (r *rules) endpoint(s string, portNeeded bool) error {
	if len(s) > maxEndpointBytes {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), maxEndpointBytes)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if portNeeded {
			return fmt.Errorf("%q is no host:port", s)
		}
		host, port = s, ""
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q has no port from 1 to 65535", s)
		}
	} else if portNeeded {
		return fmt.Errorf("%q is no host:port", s)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if len(host) > 253 || !r.subdomain.MatchString(strings.ToLower(strings.TrimSuffix(host, "."))) {
		return fmt.Errorf("%q has no valid host name or address", s)
	}
	// A name of digits and dots only is a mistyped address.
	if strings.Trim(host, "0123456789.") == "" {
		return fmt.Errorf("%q has no valid address", s)
	}
	return nil
}

// labelKey checks a Kubernetes label or taint key: [prefix/]name.
func (r *rules) labelKey(key string) error {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		prefix, name = "", key
	}
	if found && (len(prefix) > 253 || !r.subdomain.MatchString(prefix)) {
		return fmt.Errorf("key %q has a prefix that is no DNS name", key)
	}
	if !r.labelName.MatchString(name) {
		return fmt.Errorf("key %q is no Kubernetes label key: letters, digits, -, _ and ., at most 63", key)
	}
	return nil
}

func (r *rules) labelText(value string) error {
	if !r.labelValue.MatchString(value) {
		return fmt.Errorf("value %q is no Kubernetes label value: letters, digits, -, _ and ., at most 63", value)
	}
	return nil
}

// nic checks the name of a network interface as dev_valid_name of the kernel
// does, with the length of an altname (ALTIFNAMSIZ); a MAC address has that form
// of its own.
func nic(name string) error {
	if _, err := net.ParseMAC(name); err == nil {
		return nil
	}
	if len(name) > 127 {
		return fmt.Errorf("NIC name %q has more than 127 characters", name)
	}
	if name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r") {
		return fmt.Errorf("NIC %q is neither an interface name nor a MAC address; write auto to leave the choice to the host", name)
	}
	return nil
}

// overlaps tells whether two prefixes share addresses.
func overlaps(a, b netip.Prefix) bool { return a.Overlaps(b) }

// count bounds a list.
func (v *violations) count(path string, n, least, most int) {
	switch {
	case n < least:
		v.add(path, "%d given, at least %d needed", n, least)
	case n > most:
		v.add(path, "%d given, at most %d allowed", n, most)
	}
}
