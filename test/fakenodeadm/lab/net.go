package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// DefaultIP is the first IPv4 address of the interface of the best default route, in the caller's network namespace.
func DefaultIP() (net.IP, error) {
	raw, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, err
	}
	name, best := "", -1
	for _, line := range strings.Split(string(raw), "\n") {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		metric, err := strconv.Atoi(f[6])
		if err == nil && (best < 0 || metric < best) {
			name, best = f[0], metric
		}
	}
	if name == "" {
		return nil, errors.New("no default routes found in \"/proc/net/route\"")
	}
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return n.IP, nil
		}
	}
	return nil, fmt.Errorf("interface %s of the default route has no IPv4 address", name)
}
