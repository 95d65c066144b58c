package agent

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// answered accepts the answer to one generation.
func answered(generation uint64) func(*agentv1.AgentMessage) bool {
	return func(m *agentv1.AgentMessage) bool { return m.GetAssignmentResult().GetGeneration() == generation }
}

// misfit is an assignment that is well formed and does not fit this host.
type misfit struct {
	change    func(*agentv1.Assignment)
	field     string
	condition string
	reason    string
	want      []string
}

func misfits() map[string]misfit {
	return map[string]misfit{
		"unknown NIC": {func(a *agentv1.Assignment) { a.Network.Nic = &agentv1.NICSelector{Name: "eth7"} },
			"network.nic", ConditionNICSelected, "NICUnknown", []string{"eth7", "lan0", "office0", "set the host's NIC"}},
		"node IP outside": {func(a *agentv1.Assignment) { a.Network.RemoteNodeCidrs = []string{"10.201.0.0/16"} },
			"network.nic", ConditionNICSelected, "OutsideRemoteNodeCIDRs", []string{"10.201.0.0/16", "10.200.0.11", "remote node CIDRs"}},
		"VPN server not on-link": {func(a *agentv1.Assignment) { a.Network.VpnServers = []string{"10.9.9.9"} },
			"network.vpn_servers[0]", ConditionRoutesInstalled, "VPNServerNotOnLink", []string{"10.9.9.9", "not on-link", "correct the host's VPN server IP"}},
		"VPC CIDR over own subnet": {func(a *agentv1.Assignment) { a.Network.VpcCidrs = []string{"10.77.0.0/16"} },
			"network.vpc_cidrs[0]", ConditionRoutesInstalled, "VPCCIDRCoversOwnSubnet", []string{"10.77.0.0/16", "10.77.1.0/24", "till0", "correct the HybridCluster"}},
		"VPC CIDR over the gateway": {func(a *agentv1.Assignment) { a.Network.VpcCidrs = []string{"192.168.0.0/16"} },
			"network.vpc_cidrs[0]", ConditionRoutesInstalled, "VPCCIDRCoversGateway", []string{"192.168.77.1"}},
	}
}

// TestAssignmentThatDoesNotFitIsRefused: the former one stays in force, in the
// kernel and over a restart without the plane.
func TestAssignmentThatDoesNotFitIsRefused(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	addNIC(t, "till0", "10.77.1.5/24")
	former := plane.Assign(1, shop())
	plane.Await("ACK", answered(1))
	generation := uint64(1)
	for name, tc := range misfits() {
		t.Run(name, func(t *testing.T) {
			generation++
			plane.Assign(generation, shop(tc.change))
			result := plane.Await("NACK", answered(generation)).GetAssignmentResult()
			if result.GetAccepted() || len(result.GetRefusals()) != 1 || result.GetRefusals()[0].GetField() != tc.field {
				t.Fatalf("result %v, want a refusal of %s", result, tc.field)
			}
			contains(t, result.GetRefusals()[0].GetReason(), tc.want...)
			s := m.await("refusal", func(s *localv1.Status) bool { return s.GetAssignment().GetRefusedGeneration() == generation })
			if s.GetAssignment().GetGeneration() != 1 || s.GetAssignment().GetDigest() != former.GetDigest() {
				t.Errorf("in force: %v", s.GetAssignment())
			}
			c := conditionOf(s, tc.condition)
			if c.GetStatus() != agentv1.ConditionStatus_CONDITION_STATUS_TRUE {
				t.Errorf("the former network works: %v", c)
			}
			contains(t, c.GetMessage(), append(tc.want, "is refused, so that this stays")...)
			if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
				t.Errorf("routes: %v", got)
			}
		})
	}
	m.stop()
	plane.Stop()
	deleteRoute(t, "10.100.0.0/16")
	m.start()
	m.awaitCondition(ConditionRoutesInstalled, "true", "Installed")
	if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
		t.Errorf("routes after a restart without the plane: %v", got)
	}
}

// TestFirstAssignmentThatDoesNotFit: there is nothing to keep, so that it is in
// force and conditions say what is wrong.
func TestFirstAssignmentThatDoesNotFit(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	addNIC(t, "till0", "10.77.1.5/24")
	generation := uint64(0)
	for name, tc := range misfits() {
		t.Run(name, func(t *testing.T) {
			generation += 2
			plane.Assign(generation-1, &agentv1.Assignment{HostId: testHost}) // in no pool
			plane.Await("ACK", answered(generation-1))
			plane.Assign(generation, shop(tc.change))
			if result := plane.Await("ACK", answered(generation)).GetAssignmentResult(); !result.GetAccepted() {
				t.Fatalf("result %v", result)
			}
			contains(t, m.awaitCondition(tc.condition, "false", tc.reason), tc.want...)
			if got := routes(t); len(got) != 0 {
				t.Errorf("routes: %v", got)
			}
		})
	}
	plane.Assign(generation+1, shop(func(a *agentv1.Assignment) { a.Network.VpnServers = nil }))
	plane.Await("ACK", answered(generation+1))
	contains(t, m.awaitCondition(ConditionRoutesInstalled, "true", "NotRequired"), "default gateway")
}

// TestRefusedAssignmentIsTakenOnceItFits: the network of the host changes, and the
// plane hears of it without sending anything again.
func TestRefusedAssignmentIsTakenOnceItFits(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	plane.Assign(1, shop())
	plane.Await("ACK", answered(1))
	update := plane.Assign(2, shop(func(a *agentv1.Assignment) { a.Network.VpnServers = []string{"10.200.9.2"} }))
	if plane.Await("NACK", answered(2)).GetAssignmentResult().GetAccepted() {
		t.Fatal("accepted")
	}
	link := must(netlink.LinkByName("lan0"))(t)
	ok(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 200, 9, 11), Mask: net.CIDRMask(24, 32)}}))
	result := plane.Await("ACK", answered(2)).GetAssignmentResult()
	if !result.GetAccepted() || result.GetDigest() != update.GetDigest() {
		t.Errorf("result %v", result)
	}
	if got := routes(t); len(got) != 1 || !strings.Contains(got[0], "via 10.200.9.2 dev lan0") {
		t.Errorf("routes: %v", got)
	}
	s := m.await("generation 2", func(s *localv1.Status) bool { return s.GetAssignment().GetGeneration() == 2 })
	if s.GetAssignment().GetRefusedGeneration() != 0 {
		t.Errorf("still shown as refused: %v", s.GetAssignment())
	}
}

// TestFullDisk: nothing is in force that a restart would lose, the daemon keeps
// running, and goes on by itself once there is room.
func TestFullDisk(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	plane := planetest.New(t)
	plane.Start()
	m := newMachine(t, plane)
	state := m.cfg.Paths.State
	ok(t, os.Mkdir(state, 0o700))
	ok(t, unix.Mount("tmpfs", state, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { _ = unix.Unmount(state, unix.MNT_DETACH) })
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Assign(1, shop())
	plane.Await("ACK", answered(1))
	before := must(os.ReadFile(filepath.Join(state, AssignmentFile)))(t)

	filler := must(os.Create(filepath.Join(state, "filler")))(t)
	for {
		if _, err := filler.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	ok(t, filler.Close())
	plane.Assign(2, shop(func(a *agentv1.Assignment) { a.Network.VpnServers = []string{"10.200.0.3"} }))
	result := plane.Await("NACK", answered(2)).GetAssignmentResult()
	if result.GetAccepted() || result.GetRefusals()[0].GetField() != "assignment" {
		t.Fatalf("result %v", result)
	}
	contains(t, result.GetRefusals()[0].GetReason(), "no space left", "make room")
	deleteRoute(t, "10.100.0.0/16") // repairs go on
	m.await("repair", func(s *localv1.Status) bool { return s.GetNetwork().GetRepairs() == 1 })
	if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
		t.Errorf("routes while the disk is full: %v", got)
	}
	if after := must(os.ReadFile(filepath.Join(state, AssignmentFile)))(t); !slices.Equal(before, after) {
		t.Error("the cached assignment suffered")
	}
	ok(t, os.Remove(filler.Name()))
	if result := plane.Await("ACK", answered(2)).GetAssignmentResult(); !result.GetAccepted() {
		t.Errorf("result %v", result)
	}
	if got := routes(t); len(got) != 1 || !strings.Contains(got[0], "via 10.200.0.3") {
		t.Errorf("routes after there was room: %v", got)
	}
}
