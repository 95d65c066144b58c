package agent

import (
	"bufio"
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/hostid"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxNICs bounds Inventory.nics.
const maxNICs = 64

// readHost reads what does not change while the daemon runs.
func readHost() *agentv1.Inventory {
	host := &agentv1.Inventory{
		Architecture: architectureOf(runtime.GOARCH), Cpus: uint32(runtime.NumCPU()),
		Os: osName(), MemoryBytes: memoryBytes(),
	}
	host.Hostname, _ = os.Hostname()
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		host.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return host
}

func osName() string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if name := findLine(path, "PRETTY_NAME="); name != "" {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}

func memoryBytes() uint64 {
	fields := strings.Fields(findLine("/proc/meminfo", "MemTotal:"))
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseUint(fields[0], 10, 64)
	return kib << 10
}

// findLine returns what follows a prefix in the first line that has it.
func findLine(path, prefix string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		if rest, ok := strings.CutPrefix(scanner.Text(), prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func bootID() string {
	content, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// hostInventory joins what is fixed with the NICs of this moment.
func hostInventory(host *agentv1.Inventory, candidates []netcfg.Candidate) *agentv1.Inventory {
	inv := proto.CloneOf(host)
	for _, nic := range nicProtos(candidates) {
		if nic.GetKind() != "loopback" && len(inv.Nics) < maxNICs {
			inv.Nics = append(inv.Nics, nic)
		}
	}
	return inv
}

func nicProtos(candidates []netcfg.Candidate) []*agentv1.NIC {
	nics := make([]*agentv1.NIC, 0, len(candidates))
	for _, c := range candidates {
		nic := &agentv1.NIC{
			Name: c.Link.Name, Altnames: c.Link.AltNames, Mac: c.Link.MAC, Kind: c.Link.Kind, Carrier: c.Link.Carrier,
			Mtu: uint32(max(c.Link.MTU, 0)), Candidate: c.Accepted, Selected: c.Selected, Reasons: c.Reasons,
		}
		if c.Link.Loopback {
			nic.Kind = "loopback"
		}
		for _, a := range c.Link.Addrs {
			nic.Addresses = append(nic.Addresses, a.String())
		}
		nics = append(nics, nic)
	}
	return nics
}

func fingerprintProto(fp hostid.Fingerprint) *agentv1.HardwareFingerprint {
	return &agentv1.HardwareFingerprint{ProductUuid: fp.ProductUUID, MachineIdHash: fp.MachineIDHash, Macs: fp.MACs}
}

// ReadNICs reads the network interfaces from the kernel and judges them as for
// NIC "auto" without an assignment: for a command that finds no daemon.
func ReadNICs(ctx context.Context) ([]*agentv1.NIC, error) {
	inv, err := netcfg.ReadInventory(ctx)
	if err != nil {
		return nil, err
	}
	// No selectable NIC is an answer here, not a failure.
	_, candidates, _ := netcfg.SelectNIC(inv, netcfg.SelectionInput{Selector: netcfg.Selector{Auto: true}})
	return nicProtos(candidates), nil
}
