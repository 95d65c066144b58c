package netcfg

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// node is a host whose selection is remembered from step to step, as by the
// daemon, read from a real kernel each time.
type node struct {
	t  *testing.T
	in SelectionInput
}

func newNode(t *testing.T) *node {
	return &node{t: t, in: SelectionInput{RemoteNodeCIDRs: prefixes("10.200.0.0/16"), VPNServers: addresses(server)}}
}

func (n *node) selectNIC() (Selection, error) {
	n.t.Helper()
	inv, err := ReadInventory(context.Background())
	must(n.t, err)
	sel, _, err := SelectNIC(inv, n.in)
	n.in.Sticky = rememberNext(n.in, sel, err)
	return sel, err
}

func (n *node) want(link, ip string) {
	n.t.Helper()
	sel, err := n.selectNIC()
	if err != nil || sel.Link.Name != link || sel.NodeIP.String() != ip {
		n.t.Fatalf("selected %s %s, %v; want %s %s", sel.Link.Name, sel.NodeIP, err, link, ip)
	}
}

func (n *node) wantRefused(code, meant string) {
	n.t.Helper()
	sel, err := n.selectNIC()
	var se *SelectionError
	if !errors.As(err, &se) || se.Code() != code || se.Meant.Link.Name != meant {
		n.t.Fatalf("selected %s, %v; want %s of %s", sel.Link.Name, err, code, meant)
	}
}

func linkNamed(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

func delAddr(t *testing.T, link netlink.Link, addr string) {
	t.Helper()
	a, err := netlink.ParseAddr(addr)
	must(t, err)
	must(t, netlink.AddrDel(link, a))
}

// waitCarrier waits until the kernel has told a link of its peer's state.
func waitCarrier(t *testing.T, name string, want bool) {
	t.Helper()
	eventually(t, "carrier of "+name, func() bool {
		inv, err := ReadInventory(context.Background())
		l, ok := inv.LinkByName(name)
		return err == nil && ok && l.Carrier == want
	})
}

// TestKernelRenamedNIC: another name, then an altname that a fresh host was given.
func TestKernelRenamedNIC(t *testing.T) {
	enterNetns(t)
	eth0 := addNIC(t, "eth0", nodeIP+"/24")
	addNIC(t, "eth1", "10.200.0.12/24")
	n := newNode(t)
	n.in.Hold = true
	n.want("eth0", nodeIP)
	must(t, netlink.LinkSetDown(eth0))
	must(t, netlink.LinkSetName(eth0, "enp2s0"))
	must(t, netlink.LinkSetName(linkNamed(t, "eth1"), "eth0")) // the kernel renames a link that is up as well
	must(t, netlink.LinkSetUp(eth0))
	waitCarrier(t, "enp2s0", true)
	n.want("enp2s0", nodeIP)

	named := newNode(t)
	must(t, netlink.LinkAddAltName(eth0, "rack-port-7"))
	named.in.Selector.Name = "rack-port-7"
	named.want("enp2s0", nodeIP)
	must(t, netlink.LinkDelAltName(eth0, "rack-port-7"))
	named.want("enp2s0", nodeIP)
	named.in.Sticky = Remembered{}
	named.wantRefused(NICUnknown, "rack-port-7")
}

// TestKernelCarrierAndAddress: a cable out and in, then the address.
func TestKernelCarrierAndAddress(t *testing.T) {
	enterNetns(t)
	eth0 := addNIC(t, "eth0", nodeIP+"/24")
	addNIC(t, "eth1", "10.200.0.12/24")
	peer := linkNamed(t, "p-eth0")
	n := newNode(t)
	n.in.Hold = true
	n.want("eth0", nodeIP)
	must(t, netlink.LinkSetDown(peer))
	waitCarrier(t, "eth0", false)
	n.want("eth0", nodeIP)
	delAddr(t, eth0, nodeIP+"/24")
	n.wantRefused(NICNoCarrier, "eth0")
	must(t, netlink.LinkSetUp(peer))
	waitCarrier(t, "eth0", true)
	n.wantRefused(NICNoAddress, "eth0")
	addAddr(t, eth0, "192.168.7.7/24")
	n.wantRefused(OutsideRemoteNodeCIDRs, "eth0")
	addAddr(t, eth0, nodeIP+"/24")
	n.want("eth0", nodeIP)
	must(t, netlink.LinkSetDown(eth0))
	n.wantRefused(NICDown, "eth0")
	must(t, netlink.LinkDel(eth0))
	n.wantRefused(NICGone, "eth0")

	back := addNIC(t, "enp9s0") // the same card in another slot
	must(t, netlink.LinkSetHardwareAddr(back, eth0.Attrs().HardwareAddr))
	n.wantRefused(NICNoAddress, "enp9s0")
	addAddr(t, back, nodeIP+"/24")
	n.want("enp9s0", nodeIP)

	must(t, netlink.LinkDel(back))
	n.in.Hold = false
	n.want("eth1", "10.200.0.12")
}

// TestKernelBridgeOverNIC: the address moves to a bridge and back.
func TestKernelBridgeOverNIC(t *testing.T) {
	enterNetns(t)
	eth0 := addNIC(t, "eth0", nodeIP+"/24")
	n := newNode(t)
	n.in.Selector.Name = "eth0"
	n.want("eth0", nodeIP)
	la := netlink.NewLinkAttrs()
	la.Name, la.HardwareAddr = "br0", eth0.Attrs().HardwareAddr
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}))
	br0 := linkNamed(t, "br0")
	must(t, netlink.LinkSetMaster(eth0, br0))
	must(t, netlink.LinkSetUp(br0))
	delAddr(t, eth0, nodeIP+"/24")
	addAddr(t, br0, nodeIP+"/24")
	must(t, netlink.RouteAdd(vishRoute(br0, "0.0.0.0/0", "10.200.0.1", 3)))
	waitCarrier(t, "br0", true)
	n.wantRefused(NICEnslaved, "eth0")
	n.in.Hold = true
	n.want("br0", nodeIP)

	byMAC := newNode(t)
	byMAC.in.Selector.MAC = eth0.Attrs().HardwareAddr.String()
	byMAC.want("br0", nodeIP)

	must(t, netlink.LinkDel(br0))
	addAddr(t, eth0, nodeIP+"/24")
	n.want("eth0", nodeIP)
}

// TestKernelMacvlan: one over the NIC, with a MAC of its own, and one that has its
// parent's.
func TestKernelMacvlan(t *testing.T) {
	enterNetns(t)
	eth0 := addNIC(t, "eth0")
	mac, err := net.ParseMAC("02:00:00:00:00:77")
	must(t, err)
	la := netlink.NewLinkAttrs()
	la.Name, la.ParentIndex, la.HardwareAddr = "mv0", eth0.Attrs().Index, mac
	must(t, netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: la, Mode: netlink.MACVLAN_MODE_BRIDGE}))
	mv0 := linkNamed(t, "mv0")
	must(t, netlink.LinkSetUp(mv0))
	addAddr(t, mv0, nodeIP+"/24")
	n := newNode(t)
	n.want("mv0", nodeIP)
	inv, err := ReadInventory(context.Background())
	must(t, err)
	if l, _ := inv.LinkByName("mv0"); l.Kind != "macvlan" || l.ParentIndex != eth0.Attrs().Index || l.MAC != mac.String() {
		t.Errorf("mv0 is %+v", l)
	}
	must(t, netlink.LinkDel(mv0))

	la = netlink.NewLinkAttrs()
	la.Name, la.ParentIndex = "mv1", eth0.Attrs().Index
	must(t, netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: la, Mode: netlink.MACVLAN_MODE_PASSTHRU}))
	mv1 := linkNamed(t, "mv1")
	must(t, netlink.LinkSetUp(mv1))
	addAddr(t, mv1, nodeIP+"/24")
	byMAC := newNode(t)
	byMAC.in.Selector.MAC = eth0.Attrs().HardwareAddr.String()
	byMAC.want("mv1", nodeIP)
}

// TestKernelAddressKinds reads what the kernel says of unusual addresses, and sees
// the node IP survive that the kernel lists them in another order.
func TestKernelAddressKinds(t *testing.T) {
	enterNetns(t)
	eth0 := addNIC(t, "eth0", "10.200.0.100/32", nodeIP+"/24", "10.200.0.12/24")
	old, err := netlink.ParseAddr("10.200.5.5/24")
	must(t, err)
	old.ValidLft, old.PreferedLft = 3600, 0
	must(t, netlink.AddrAdd(eth0, old))
	peer, err := netlink.ParseIPNet("10.200.255.1/32")
	must(t, err)
	must(t, netlink.AddrAdd(eth0, &netlink.Addr{IPNet: netlink.NewIPNet(net.ParseIP("10.200.6.6")), Peer: peer}))
	near, err := netlink.ParseAddr("10.200.7.7/24")
	must(t, err)
	near.Scope = int(netlink.SCOPE_LINK)
	must(t, netlink.AddrAdd(eth0, near))

	inv, err := ReadInventory(context.Background())
	must(t, err)
	l, _ := inv.LinkByName("eth0")
	for text, want := range map[string]AddrInfo{
		nodeIP:          {},
		"10.200.0.12":   {Secondary: true},
		"10.200.5.5":    {Deprecated: true},
		"10.200.6.6":    {Peer: netip.MustParsePrefix("10.200.255.1/32")},
		"10.200.7.7":    {Scope: ScopeLink},
		"10.200.0.100":  {},
		"192.168.44.44": {},
	} {
		got := l.Info(netip.MustParseAddr(text))
		if got.Addr = (netip.Addr{}); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}

	n := newNode(t)
	n.in.Hold = true
	n.want("eth0", nodeIP)
	delAddr(t, eth0, nodeIP+"/24") // takes its secondary along, or promotes it: a sysctl says which
	addAddr(t, eth0, "10.200.0.13/24")
	addAddr(t, eth0, nodeIP+"/24")
	n.want("eth0", nodeIP)
}
