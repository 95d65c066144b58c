package netcfg

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// parseHost reads a host's state from the text of `ip -d address` and `ip route`,
// so that what an operator sends in can become a test as it is. Routes may be
// missing.
func parseHost(t *testing.T, links, routes string) Inventory {
	t.Helper()
	inv := Inventory{Links: parseIPAddr(t, links)}
	inv.Routes = parseRoutes(t, compactRoutes(t, inv, routes))
	inv.setDefaultMetrics()
	return inv
}

// linkHead is the first line of a link: "3: eth0.5@eth0: <UP,LOWER_UP> mtu 1500
// qdisc noqueue master br0 state UP".
var linkHead = regexp.MustCompile(`^(\d+): ([^:@ ]+)(?:@(\S+?))?: <([^>]*)> mtu (\d+)`)

func parseIPAddr(t *testing.T, text string) []Link {
	t.Helper()
	var links []Link
	masters, parents := make(map[int]string), make(map[int]string)
	for line := range strings.Lines(text) {
		head := linkHead.FindStringSubmatch(line)
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case head != nil:
			index, _ := strconv.Atoi(head[1])
			mtu, _ := strconv.Atoi(head[5])
			links = append(links, Link{Index: index, Name: head[2], Kind: "device", MTU: mtu})
			l := &links[len(links)-1]
			for flag := range strings.SplitSeq(head[4], ",") {
				l.Up, l.Carrier, l.Loopback = l.Up || flag == "UP", l.Carrier || flag == "LOWER_UP", l.Loopback || flag == "LOOPBACK"
			}
			masters[index], parents[index] = after(words, "master"), head[3]
		case len(links) == 0:
			t.Fatalf("%q before any link", line)
		default:
			addLinkLine(t, &links[len(links)-1], words)
		}
	}
	return joinLinks(t, links, masters, parents)
}

// addLinkLine takes what stands below the head of a link.
func addLinkLine(t *testing.T, l *Link, words []string) {
	t.Helper()
	switch first := words[0]; {
	case strings.HasPrefix(first, "link/"):
		if first != "link/none" && len(words) > 1 && !l.Loopback {
			l.MAC = words[1]
		}
		l.PermMAC = after(words, "permaddr")
	case first == "altname":
		l.AltNames = append(l.AltNames, words[1])
	case first == "inet":
		addInet(t, l, words[1:])
	case first == "inet6" || first == "valid_lft" || strings.HasSuffix(first, "_slave"):
	default: // the line of the kind: "vlan protocol 802.1Q id 5"
		l.Kind = first
	}
}

func addInet(t *testing.T, l *Link, words []string) {
	t.Helper()
	text := words[0]
	if !strings.Contains(text, "/") {
		text += "/32"
	}
	p := netip.MustParsePrefix(text)
	info := AddrInfo{Addr: p.Addr()}
	if peer := after(words, "peer"); peer != "" {
		info.Peer = netip.MustParsePrefix(peer)
	}
	info.Scope = map[string]uint8{"": ScopeUniverse, "global": ScopeUniverse, "link": ScopeLink, "host": 254}[after(words, "scope")]
	for _, w := range words {
		info.Secondary, info.Deprecated = info.Secondary || w == "secondary", info.Deprecated || w == "deprecated"
	}
	l.Addrs = append(l.Addrs, p)
	if info != (AddrInfo{Addr: p.Addr()}) {
		l.Infos = append(l.Infos, info)
	}
}

// joinLinks gives masters and parents their indexes. A parent like "if7" is in
// another namespace.
func joinLinks(t *testing.T, links []Link, masters, parents map[int]string) []Link {
	t.Helper()
	inv := Inventory{Links: links}
	for i, l := range links {
		if name := masters[l.Index]; name != "" {
			master, ok := inv.LinkByName(name)
			if !ok {
				t.Fatalf("%s has the unknown master %s", l.Name, name)
			}
			links[i].MasterIndex = master.Index
		}
		if index, ok := strings.CutPrefix(parents[l.Index], "if"); ok {
			links[i].ParentIndex, _ = strconv.Atoi(index)
		} else if parent, ok := inv.LinkByName(parents[l.Index]); ok {
			links[i].ParentIndex = parent.Index
		}
	}
	return links
}

// compactRoutes turns the lines of `ip route` into those of parseRoutes.
func compactRoutes(t *testing.T, inv Inventory, text string) string {
	t.Helper()
	numbers := map[string]string{"kernel": "2", "boot": "3", "static": "4", "dhcp": "16", "link": "253", "host": "254"}
	var out strings.Builder
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] != "default" && !strings.Contains(words[0], "/") {
			words[0] += "/32"
		}
		out.WriteString(words[0])
		for i := 1; i < len(words); i++ {
			key := words[i]
			if key == "onlink" || key == "linkdown" {
				continue
			}
			i++
			value := words[i]
			if key == "dev" {
				l, ok := inv.LinkByName(value)
				if !ok {
					t.Fatalf("route %q by an unknown link", line)
				}
				value = strconv.Itoa(l.Index)
			}
			if n, ok := numbers[value]; ok && (key == "proto" || key == "scope") {
				value = n
			}
			out.WriteString(" " + key + " " + value)
		}
		if after(words, "proto") == "" {
			out.WriteString(" proto 3")
		}
		out.WriteString("\n")
	}
	return out.String()
}

// after returns the word behind a word, or "".
func after(words []string, word string) string {
	for i, w := range words {
		if w == word && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}
