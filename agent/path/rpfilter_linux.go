package path

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of RTM_NEWNETCONF (linux/netconf.h).
const (
	netconfIfindex  = 1
	netconfRPFilter = 3
	// netconfAll stands for conf/all, whose value holds for every link that has a
	// smaller one (networking/ip-sysctl.rst).
	netconfAll = -1
	rpStrict   = 1
)

// filtered reads IPReversePathFilter of the network namespace.
func filtered() (uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		return 0, fmt.Errorf("cannot read what the reverse-path filter dropped: %w", err)
	}
	return netstatValue(string(text), "IPReversePathFilter")
}

// netstatValue finds a counter in the format of /proc/net/netstat: pairs of lines,
// names and then values.
func netstatValue(text, name string) (uint64, error) {
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if at := slices.Index(names, name); at > 0 && at < len(values) {
			return strconv.ParseUint(values[at], 10, 64)
		}
	}
	return 0, fmt.Errorf("cannot find %s in /proc/net/netstat", name)
}

// strictLinks names the links that may drop the targets' answers: the NIC, where the
// kernel would reach a target by another link, so that answers at the NIC come from
// the wrong side; else the other links, where answers may arrive.
func strictLinks(nic string, targets []netip.Addr) ([]string, error) {
	modes, err := rpFilters()
	if err != nil {
		return nil, err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("cannot list the links: %w", err)
	}
	var own, others []string
	for _, link := range links {
		attrs := link.Attrs()
		if max(modes[netconfAll], modes[int32(attrs.Index)]) != rpStrict || attrs.Flags&net.FlagLoopback != 0 || attrs.Flags&net.FlagUp == 0 {
			continue
		}
		if attrs.Name == nic {
			own = append(own, attrs.Name)
		} else {
			others = append(others, attrs.Name)
		}
	}
	if len(own) > 0 && (len(others) == 0 || slices.ContainsFunc(targets, func(t netip.Addr) bool { return leavesElsewhere(links, nic, t) })) {
		return own, nil
	}
	return others, nil
}

// leavesElsewhere says whether the kernel would reach the target by another link.
func leavesElsewhere(links []netlink.Link, nic string, target netip.Addr) bool {
	routes, err := netlink.RouteGet(target.AsSlice())
	if err != nil || len(routes) == 0 {
		return false
	}
	return !slices.ContainsFunc(links, func(l netlink.Link) bool {
		return l.Attrs().Name == nic && l.Attrs().Index == routes[0].LinkIndex
	})
}

// rpFilters dumps rp_filter of every link, and of conf/all, by link index.
func rpFilters() (map[int32]int32, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETNETCONF, unix.NLM_F_DUMP)
	// A dump wants the family, struct netconfmsg, and nothing more.
	request.AddRawData([]byte{unix.AF_INET, 0, 0, 0})
	messages, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNETCONF)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("cannot read rp_filter of the links: %w", err)
	}
	modes := map[int32]int32{}
	for _, message := range messages {
		if index, mode, ok := parseNetconf(message); ok {
			modes[index] = mode
		}
	}
	return modes, nil
}

// parseNetconf reads link and rp_filter from one RTM_NEWNETCONF.
func parseNetconf(message []byte) (index, mode int32, ok bool) {
	if len(message) < unix.SizeofNlAttr {
		return 0, 0, false
	}
	attrs, err := nl.ParseRouteAttr(message[4:]) // struct netconfmsg, padded
	if err != nil {
		return 0, 0, false
	}
	found := 0
	for _, a := range attrs {
		if len(a.Value) < 4 {
			continue
		}
		switch value := int32(binary.NativeEndian.Uint32(a.Value)); a.Attr.Type {
		case netconfIfindex:
			index, found = value, found|1
		case netconfRPFilter:
			mode, found = value, found|2
		}
	}
	return index, mode, found == 3
}
