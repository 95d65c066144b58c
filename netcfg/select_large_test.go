package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// largeHost is a node with 110 pods behind a bridge, and ten thousand routes.
func largeHost(t testing.TB) (Inventory, SelectionInput) {
	t.Helper()
	inv := Inventory{Links: []Link{
		{Index: 1, Name: "lo", Kind: "device", Up: true, Carrier: true, Loopback: true},
		{Index: 2, Name: "eth0", Kind: "device", Up: true, Carrier: true, Addrs: prefixes("10.200.0.11/24")},
		{Index: 3, Name: "cni0", Kind: "bridge", Up: true, Carrier: true, Addrs: prefixes("10.244.0.1/24")},
	}}
	for i := range 110 {
		inv.Links = append(inv.Links, Link{Index: i + 4, Name: fmt.Sprintf("veth%d", i), Kind: "veth", Up: true, Carrier: true, MasterIndex: 3})
	}
	for i := range 10000 {
		dst := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24)
		inv.Routes = append(inv.Routes, Route{Dst: dst, Gateway: netip.MustParseAddr("10.200.0.1"), LinkIndex: 2, Protocol: 186, Type: TypeUnicast, Table: TableMain})
	}
	return inv, SelectionInput{
		VPNServers: addresses("10.200.9.2", "10.200.9.3"), RemoteNodeCIDRs: prefixes("10.200.0.0/16"),
		Toward: addresses("20.1.1.1", "20.2.2.2", "10.100.0.10"), Sticky: Remembered{Name: "eth0"},
	}
}

// TestRefusalOnALargeHost names the NIC and not every pod.
func TestRefusalOnALargeHost(t *testing.T) {
	t.Parallel()
	inv, in := largeHost(t)
	in.RemoteNodeCIDRs = prefixes("10.9.0.0/16")
	_, _, err := SelectNIC(inv, in)
	var se *SelectionError
	if !errors.As(err, &se) || se.Code() != OutsideRemoteNodeCIDRs || se.Meant.Link.Name != "eth0" || len(se.Candidates) != len(inv.Links) {
		t.Fatalf("refused with %v", err)
	}
	text := err.Error()
	for _, part := range []string{"eth0 (10.200.0.11/24) has 10.200.0.11/24, outside", "cni0 (10.244.0.1/24) is container-owned", "; and 97 ports or links of containers)"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
	if len(text) > 1500 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

func BenchmarkSelectNIC(b *testing.B) {
	inv, in := largeHost(b)
	for b.Loop() {
		if _, _, err := SelectNIC(inv, in); err != nil {
			b.Fatal(err)
		}
	}
}
