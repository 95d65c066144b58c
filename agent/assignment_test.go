package agent

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestCheckAssignment(t *testing.T) {
	t.Parallel()
	foreign := agentv1.Architecture_ARCHITECTURE_ARM64
	if runtime.GOARCH == "arm64" {
		foreign = agentv1.Architecture_ARCHITECTURE_AMD64
	}
	many := func(n int, text string) []string { return strings.Split(strings.Repeat(text+" ", n)+text, " ")[:n] }
	long := func(n int) string { return strings.Repeat("x", n) }
	labels := func(n int) map[string]string {
		all := map[string]string{}
		for i := range n {
			all["key"+strconv.Itoa(i)] = "value"
		}
		return all
	}
	taint := func() *agentv1.Taint { return &agentv1.Taint{Key: "k", Effect: "NoExecute"} }
	taints := func(n int, one *agentv1.Taint) []*agentv1.Taint { return slices.Repeat([]*agentv1.Taint{one}, n) }
	for name, tc := range map[string]struct {
		change func(*agentv1.Assignment)
		want   map[string]string // field → words of the reason; empty: accepted
	}{
		"good":             {func(*agentv1.Assignment) {}, nil},
		"in no pool":       {func(a *agentv1.Assignment) { a.Reset(); a.HostId = testHost }, nil},
		"another host":     {func(a *agentv1.Assignment) { a.HostId = "edge-2" }, map[string]string{"host_id": "edge-2"}},
		"architecture":     {func(a *agentv1.Assignment) { a.Architecture = foreign }, map[string]string{"architecture": "this host is " + runtime.GOARCH}},
		"own architecture": {func(a *agentv1.Assignment) { a.Architecture = architectureOf(runtime.GOARCH) }, nil},
		"no VPC":           {func(a *agentv1.Assignment) { a.Network.VpcCidrs = nil }, map[string]string{"network.vpc_cidrs": "at least one"}},
		"IPv6":             {func(a *agentv1.Assignment) { a.Network.VpcCidrs = []string{"fd00::/16"} }, map[string]string{"network.vpc_cidrs[0]": "no IPv4 CIDR"}},
		"host bits":        {func(a *agentv1.Assignment) { a.Network.VpcCidrs = []string{"10.100.0.1/16"} }, map[string]string{"network.vpc_cidrs[0]": "10.100.0.0/16"}},
		"too wide":         {func(a *agentv1.Assignment) { a.Network.VpcCidrs = []string{"0.0.0.0/0"} }, map[string]string{"network.vpc_cidrs[0]": "wider than /8"}},
		"overlap":          {func(a *agentv1.Assignment) { a.Network.VpcCidrs = []string{"10.200.8.0/24"} }, map[string]string{"network.vpc_cidrs[0]": "10.200.0.0/16"}},
		"service overlap":  {func(a *agentv1.Assignment) { a.Network.ServiceCidr = "10.100.4.0/24" }, map[string]string{"network.vpc_cidrs[0]": "10.100.4.0/24"}},
		"VPN server":       {func(a *agentv1.Assignment) { a.Network.VpnServers = []string{"224.0.0.1"} }, map[string]string{"network.vpn_servers[0]": "no IPv4 unicast"}},
		"nine VPN servers": {func(a *agentv1.Assignment) { a.Network.VpnServers = many(9, "10.200.0.2") }, map[string]string{"network.vpn_servers": "at most 8"}},
		"NIC name":         {func(a *agentv1.Assignment) { a.Network.Nic = &agentv1.NICSelector{Name: strings.Repeat("x", 128)} }, map[string]string{"network.nic.name": "127"}},
		"NIC MAC":          {func(a *agentv1.Assignment) { a.Network.Nic = &agentv1.NICSelector{Mac: "xx"} }, map[string]string{"network.nic.mac": "no MAC"}},
		"API endpoint":     {func(a *agentv1.Assignment) { a.Probes.ApiEndpoint = "10.100.0.10" }, map[string]string{"probes.api_endpoint": "host:port"}},
		"probe target":     {func(a *agentv1.Assignment) { a.Probes.Targets = []string{"vpc gateway"} }, map[string]string{"probes.targets[0]": "vpc gateway"}},
		"probe interval":   {func(a *agentv1.Assignment) { a.Probes.Interval = durationpb.New(time.Second) }, map[string]string{"probes.interval": "1s"}},
		"NTP server":       {func(a *agentv1.Assignment) { a.Time.NtpServers = []string{"ntp;rm"} }, map[string]string{"time.ntp_servers[0]": "ntp;rm"}},
		"17 NTP servers":   {func(a *agentv1.Assignment) { a.Time.NtpServers = many(17, "ntp") }, map[string]string{"time.ntp_servers": "at most 16"}},
		"no node part":     {func(a *agentv1.Assignment) { a.Node = nil }, map[string]string{"node": "missing"}},
		"node digest":      {func(a *agentv1.Assignment) { a.NodeDigest = "abc" }, map[string]string{"node_digest": "64"}},
		"version":          {func(a *agentv1.Assignment) { a.Node.KubernetesVersion = "1.31" }, map[string]string{"node.kubernetes_version": "major.minor.patch"}},
		"taint":            {func(a *agentv1.Assignment) { a.Taints = []*agentv1.Taint{{Key: "x", Effect: "Never"}} }, map[string]string{"taints[0].effect": "Never"}},
		"node name":        {func(a *agentv1.Assignment) { a.Node.Access.GetIamRolesAnywhere().NodeName = "Edge_1" }, map[string]string{"node.access.iam_roles_anywhere.node_name": "host.name"}},
		"no access":        {func(a *agentv1.Assignment) { a.Node.Access = nil }, map[string]string{"node.access": "neither"}},
		"17 VPC CIDRs":     {func(a *agentv1.Assignment) { a.Network.VpcCidrs = many(17, "10.100.0.0/16") }, map[string]string{"network.vpc_cidrs": "at most 16"}},
		"17 node CIDRs":    {func(a *agentv1.Assignment) { a.Network.RemoteNodeCidrs = many(17, "10.200.0.0/16") }, map[string]string{"network.remote_node_cidrs": "at most 16"}},
		"17 pod CIDRs":     {func(a *agentv1.Assignment) { a.Network.RemotePodCidrs = many(17, "192.168.0.0/16") }, map[string]string{"network.remote_pod_cidrs": "at most 16"}},
		"17 targets":       {func(a *agentv1.Assignment) { a.Probes.Targets = many(17, "10.100.0.1") }, map[string]string{"probes.targets": "at most 16"}},
		"long CIDR":        {func(a *agentv1.Assignment) { a.Network.VpcCidrs = []string{long(19)} }, map[string]string{"network.vpc_cidrs[0]": "at most 18"}},
		"long VPN server":  {func(a *agentv1.Assignment) { a.Network.VpnServers = []string{long(16)} }, map[string]string{"network.vpn_servers[0]": "at most 15"}},
		"long MAC":         {func(a *agentv1.Assignment) { a.Network.Nic = &agentv1.NICSelector{Mac: long(65)} }, map[string]string{"network.nic.mac": "at most 64"}},
		"long pool":        {func(a *agentv1.Assignment) { a.Pool = long(64) }, map[string]string{"pool": "at most 63"}},
		"long endpoint":    {func(a *agentv1.Assignment) { a.Probes.ApiEndpoint = long(260) }, map[string]string{"probes.api_endpoint": "at most 259"}},
		"long target":      {func(a *agentv1.Assignment) { a.Probes.Targets = []string{long(260)} }, map[string]string{"probes.targets[0]": "at most 259"}},
		"long NTP server":  {func(a *agentv1.Assignment) { a.Time.NtpServers = []string{long(260)} }, map[string]string{"time.ntp_servers[0]": "at most 259"}},
		"65 labels":        {func(a *agentv1.Assignment) { a.Labels = labels(65) }, map[string]string{"labels": "at most 64"}},
		"64 labels":        {func(a *agentv1.Assignment) { a.Labels = labels(64) }, nil},
		"long label key":   {func(a *agentv1.Assignment) { a.Labels = map[string]string{long(318): ""} }, map[string]string{"labels": "at most 317"}},
		"long label":       {func(a *agentv1.Assignment) { a.Labels = map[string]string{"site": long(64)} }, map[string]string{"labels[site]": "at most 63"}},
		"65 taints":        {func(a *agentv1.Assignment) { a.Taints = taints(65, taint()) }, map[string]string{"taints": "at most 64"}},
		"long taint key": {func(a *agentv1.Assignment) {
			a.Taints = taints(1, &agentv1.Taint{Key: long(318), Effect: "NoSchedule"})
		}, map[string]string{"taints[0].key": "at most 317"}},
		"long taint value": {func(a *agentv1.Assignment) {
			a.Taints = taints(1, &agentv1.Taint{Key: "k", Value: long(64), Effect: "NoSchedule"})
		}, map[string]string{"taints[0].value": "at most 63"}},
		"registration": {func(a *agentv1.Assignment) {
			a.Node.RegistrationLabels, a.Node.RegistrationTaints = labels(65), taints(65, taint())
		}, map[string]string{"node.registration_labels": "at most 64", "node.registration_taints": "at most 64"}},
		"65 kubelet flags": {func(a *agentv1.Assignment) { a.Node.KubeletFlags = many(65, "--v=2") }, map[string]string{"node.kubelet_flags": "at most 64"}},
		"two words":        {func(a *agentv1.Assignment) { a.Node.KubeletFlags = []string{"--v=2", "--v=2 --node-ip=1"} }, map[string]string{"node.kubelet_flags[1]": "one word"}},
		"no flag":          {func(a *agentv1.Assignment) { a.Node.KubeletFlags = []string{"v=2"} }, map[string]string{"node.kubelet_flags[0]": "one word"}},
		"own flag":         {func(a *agentv1.Assignment) { a.Node.KubeletFlags = []string{"--node-ip=10.0.0.1"} }, map[string]string{"node.kubelet_flags[0]": "set by the agent"}},
		"long flag":        {func(a *agentv1.Assignment) { a.Node.KubeletFlags = []string{"--a=" + long(1024)} }, map[string]string{"node.kubelet_flags[0]": "at most 1024"}},
		"kubelet config":   {func(a *agentv1.Assignment) { a.Node.KubeletConfigJson = []byte(long(64<<10 + 1)) }, map[string]string{"node.kubelet_config_json": "at most 65536"}},
		"runtime config":   {func(a *agentv1.Assignment) { a.Node.ContainerdConfig = long(64<<10 + 1) }, map[string]string{"node.containerd_config": "at most 65536"}},
		"greatest configs": {func(a *agentv1.Assignment) {
			a.Node.ContainerdConfig, a.Node.KubeletConfigJson = long(64<<10), []byte(long(64<<10))
		}, nil},
		"long cluster": {func(a *agentv1.Assignment) { a.Node.ClusterName = long(101) }, map[string]string{"node.cluster_name": "at most 100"}},
		"no cluster":   {func(a *agentv1.Assignment) { a.Node.ClusterName = "" }, map[string]string{"node.cluster_name": "missing"}},
		"long region":  {func(a *agentv1.Assignment) { a.Node.Region = long(33) }, map[string]string{"node.region": "at most 32"}},
		"node's CIDRs": {func(a *agentv1.Assignment) { a.Node.VpcCidrs, a.Node.RemoteNodeCidrs = nil, many(17, "10.200.0.0/16") }, map[string]string{"node.vpc_cidrs": "at least one", "node.remote_node_cidrs": "at most 16"}},
		"long ARN":     {func(a *agentv1.Assignment) { a.Node.Access.GetIamRolesAnywhere().RoleArn = long(1012) }, map[string]string{"node.access.iam_roles_anywhere.role_arn": "at most 1011"}},
		"two at once":  {func(a *agentv1.Assignment) { a.NodeDigest, a.HostId = "x", "y" }, map[string]string{"node_digest": "64", "host_id": "another host"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, refusals := checkAssignment(planetest.Update(1, shop(tc.change)), testHost)
			if (a == nil) != (len(tc.want) > 0) || len(refusals) != len(tc.want) {
				t.Fatalf("got %v, %v; want refusals of %v", a, refusals, tc.want)
			}
			for _, r := range refusals {
				if want, ok := tc.want[r.GetField()]; !ok || !strings.Contains(r.GetReason(), want) {
					t.Errorf("%s: %s; want %v", r.GetField(), r.GetReason(), tc.want)
				}
			}
		})
	}
}

func TestDamagedUpdateIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*agentv1.AssignmentUpdate){
		"digest":        func(u *agentv1.AssignmentUpdate) { u.Digest = strings.Repeat("0", 64) },
		"bytes":         func(u *agentv1.AssignmentUpdate) { u.Assignment[3] ^= 1 },
		"generation":    func(u *agentv1.AssignmentUpdate) { u.Generation = 0 },
		"size":          func(u *agentv1.AssignmentUpdate) { u.Assignment = make([]byte, agentv1.MaxAssignmentBytes+1) },
		"nothing in it": func(u *agentv1.AssignmentUpdate) { u.Assignment = nil },
	} {
		update := planetest.Update(1, shop())
		change(update)
		if a, refusals := checkAssignment(update, testHost); a != nil || len(refusals) == 0 {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRepaveFieldsNameWhatDiffers(t *testing.T) {
	t.Parallel()
	f := healthyFacts(t)
	wanted, _ := checkAssignment(planetest.Update(5, shop(func(a *agentv1.Assignment) {
		a.NodeDigest = strings.Repeat("b", 64)
		a.Node.KubernetesVersion, a.Node.VpnServers, a.Network.VpnServers = "1.32.0", nil, nil
		a.Node.RegistrationLabels = map[string]string{"live": "label"} // no reason to repave
	})), testHost)
	f.assignment = wanted
	if got := strings.Join(f.repaveFields(), " "); got != "node.kubernetes_version node.vpn_servers" {
		t.Errorf("repave fields %q", got)
	}
	if !f.frozen() {
		t.Error("the provisioned network must stay in force")
	}
	f.provisioned = nil // its file was lost
	if got := strings.Join(f.repaveFields(), " "); got != "node" {
		t.Errorf("repave fields without the record: %q", got)
	}
}

func FuzzCheckAssignment(f *testing.F) {
	f.Add([]byte(nil), uint64(1))
	f.Add(planetest.Update(1, shop()).GetAssignment(), uint64(1))
	f.Fuzz(func(t *testing.T, encoded []byte, generation uint64) {
		update := planetest.Wrap(generation, encoded)
		a, refusals := checkAssignment(update, testHost)
		switch {
		case (a == nil) == (len(refusals) == 0):
			t.Fatalf("%v with %v", a, refusals)
		case a.inPool() && (len(a.network.vpcCIDRs) == 0 || a.msg.GetHostId() != testHost):
			t.Fatalf("accepted %v", a.msg)
		}
	})
}
