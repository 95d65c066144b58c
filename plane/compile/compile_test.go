package compile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"hybridagent/plane/compile"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// input is a whole set of resources; fresh with each call, so that a test may
// change it.
func input(t *testing.T) compile.Input {
	t.Helper()
	kubelet, err := structpb.NewStruct(map[string]any{"maxPods": 50, "evictionHard": map[string]any{"memory.available": "5%"}, "zone": "last", "apple": "first"})
	if err != nil {
		t.Fatal(err)
	}
	host := &planev1.PoolHost{HostId: "edge-1", HostName: "till-1", Nic: "auto", VpnServers: []string{"10.200.0.2", "10.200.0.3"}}
	return compile.Input{
		HostID: "edge-1",
		Host:   host,
		Cluster: &planev1.Resource{Metadata: &planev1.Metadata{Name: "lab"}, Spec: &planev1.Resource_HybridCluster{HybridCluster: &planev1.HybridClusterSpec{
			Region: "us-west-2", VpcCidrs: []string{"10.100.0.0/16"}, RemoteNodeCidrs: []string{"10.200.0.0/16", "10.201.0.0/16"},
			RemotePodCidrs: []string{"192.168.0.0/16"}, ServiceCidr: "172.20.0.0/16", ApiEndpoint: "10.100.0.10:443", ProbeTargets: []string{"10.100.0.1"},
			AccessManagement: &planev1.AccessManagementSpec{Method: &planev1.AccessManagementSpec_IamRolesAnywhere{IamRolesAnywhere: &planev1.IAMRolesAnywhereSpec{
				ProfileArn: "profile", RoleArn: "role", TrustAnchorArn: "anchor", CaCertificate: "not for hosts", CaPrivateKey: "not for hosts",
			}}},
		}}},
		Profile: &planev1.Resource{Metadata: &planev1.Metadata{Name: "shop"}, Spec: &planev1.Resource_HybridProfile{HybridProfile: &planev1.HybridProfileSpec{
			Version: "1.0.0", Os: &planev1.OSLayer{Mode: planev1.OSMode_OS_MODE_AGENT},
			Kubernetes: &planev1.KubernetesLayer{Version: "1.31.5", KubeletConfig: kubelet, KubeletFlags: []string{"--v=2"}, ContainerdConfig: "[plugins]\n", ContainerdSource: "distro"},
		}}},
		Pool: &planev1.Resource{Metadata: &planev1.Metadata{Name: "shop-1"}, Spec: &planev1.Resource_NodePool{NodePool: &planev1.NodePoolSpec{
			Cluster: "lab", Profile: "shop", ProfileVersion: "1.0.0", Architecture: "ARM64",
			Labels:     map[string]string{"z": "1", "a": "2", "m": "3"},
			Taints:     []*planev1.TaintSpec{{Key: "site", Value: "shop-1", Effect: "NoSchedule"}},
			NtpServers: []string{"pool.ntp.org"}, Hosts: []*planev1.PoolHost{host},
		}}},
	}
}

func must(t *testing.T, in compile.Input) compile.Output {
	t.Helper()
	out, err := compile.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGolden pins what hosts of a released version are sent: a change of these
// files is a change of every host's assignment.
func TestGolden(t *testing.T) {
	ssm := input(t)
	ssm.Cluster.GetHybridCluster().ClusterName = "eks-prod"
	ssm.Cluster.GetHybridCluster().AccessManagement = &planev1.AccessManagementSpec{Method: &planev1.AccessManagementSpec_SystemsManager{
		SystemsManager: &planev1.SystemsManagerSpec{ActivationId: "id", ActivationCode: "code"},
	}}
	ssm.Host.Nic, ssm.Host.VpnServers = "02:00:00:00:00:0A", nil
	ssm.Profile.GetHybridProfile().Kubernetes = &planev1.KubernetesLayer{Version: "1.30.4"}
	private := input(t)
	private.Cluster.GetHybridCluster().EndpointAccess = agentv1.EndpointAccess_ENDPOINT_ACCESS_PRIVATE
	for name, in := range map[string]compile.Input{
		"roles-anywhere": input(t),
		"private":        private,
		"ssm":            ssm,
		"no-pool":        {HostID: "edge-1"},
	} {
		t.Run(name, func(t *testing.T) {
			out := must(t, in)
			raw, err := protojson.Marshal(out.Assignment)
			if err != nil {
				t.Fatal(err)
			}
			var v map[string]any
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			v["digest of the bytes"] = out.Digest
			got, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			path := filepath.Join("testdata", name+".json")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("%s differs; run with UPDATE_GOLDEN=1 if that is wanted:\n%s", path, got)
			}
		})
	}
}

// TestPrivateModeUnlessTheProfileSaysOtherwise: without it nodeadm may upgrade the
// whole OS.
func TestPrivateModeUnlessTheProfileSaysOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		given *bool
		want  bool
	}{"not given": {nil, true}, "true": {proto.Bool(true), true}, "false": {proto.Bool(false), false}} {
		in := input(t)
		in.Profile.GetHybridProfile().GetKubernetes().PrivateMode = c.given
		if got := must(t, in).Assignment.GetNode().GetPrivateMode(); got != c.want {
			t.Errorf("%s: private mode %v, want %v", name, got, c.want)
		}
	}
}

func TestSameResourcesGiveTheSameBytes(t *testing.T) {
	first := must(t, input(t))
	for range 50 {
		in := input(t)
		in.Pool = proto.CloneOf(in.Pool)
		if out := must(t, in); out.Digest != first.Digest {
			t.Fatal("the bytes differ from one run to the next")
		}
	}
}

// TestNodeDigest: what takes effect by a repave changes it, what is live does
// not.
func TestNodeDigest(t *testing.T) {
	before := must(t, input(t)).Assignment.GetNodeDigest()
	for name, c := range map[string]struct {
		change func(compile.Input)
		repave bool
	}{
		"VPC CIDR":        {func(in compile.Input) { in.Cluster.GetHybridCluster().VpcCidrs = []string{"10.101.0.0/16"} }, true},
		"remote pod CIDR": {func(in compile.Input) { in.Cluster.GetHybridCluster().RemotePodCidrs = nil }, true},
		"service CIDR":    {func(in compile.Input) { in.Cluster.GetHybridCluster().ServiceCidr = "" }, true},
		"Region":          {func(in compile.Input) { in.Cluster.GetHybridCluster().Region = "eu-west-1" }, true},
		"role": {func(in compile.Input) {
			in.Cluster.GetHybridCluster().GetAccessManagement().GetIamRolesAnywhere().RoleArn = "x"
		}, true},
		"CA": {func(in compile.Input) {
			in.Cluster.GetHybridCluster().GetAccessManagement().GetIamRolesAnywhere().CaCertificate = "x"
		}, true},
		"API endpoint": {func(in compile.Input) { in.Cluster.GetHybridCluster().ApiEndpoint = "" }, false},
		"endpoint access": {func(in compile.Input) {
			in.Cluster.GetHybridCluster().EndpointAccess = agentv1.EndpointAccess_ENDPOINT_ACCESS_PUBLIC
		}, false},
		"probe targets":      {func(in compile.Input) { in.Cluster.GetHybridCluster().ProbeTargets = nil }, false},
		"VPN server":         {func(in compile.Input) { in.Host.VpnServers = in.Host.VpnServers[:1] }, true},
		"NIC":                {func(in compile.Input) { in.Host.Nic = "lan0" }, true},
		"host name":          {func(in compile.Input) { in.Host.HostName = "x" }, false},
		"Kubernetes version": {func(in compile.Input) { in.Profile.GetHybridProfile().GetKubernetes().Version = "1.31.6" }, true},
		"kubelet config":     {func(in compile.Input) { in.Profile.GetHybridProfile().GetKubernetes().KubeletConfig = nil }, true},
		"nodeadm": {func(in compile.Input) {
			in.Profile.GetHybridProfile().GetKubernetes().Nodeadm = &planev1.NodeadmSpec{Url: "https://x/nodeadm", Sha256: "x"}
		}, true},
		"drain":               {func(in compile.Input) { in.Profile.GetHybridProfile().GetOs().Drain = &planev1.DrainSpec{} }, false},
		"version number only": {func(in compile.Input) { in.Profile.GetHybridProfile().Version = "2.0.0" }, false},
		"custom CNI": {func(in compile.Input) {
			in.Profile.GetHybridProfile().Network = &planev1.NetworkLayer{CustomCni: "calico"}
		}, false},
		"labels":      {func(in compile.Input) { in.Pool.GetNodePool().Labels = nil }, false},
		"taints":      {func(in compile.Input) { in.Pool.GetNodePool().Taints = nil }, false},
		"NTP servers": {func(in compile.Input) { in.Pool.GetNodePool().NtpServers = nil }, false},
	} {
		in := input(t)
		c.change(in)
		if got := must(t, in).Assignment.GetNodeDigest() != before; got != c.repave {
			t.Errorf("%s: a repave is needed: %v, want %v", name, got, c.repave)
		}
	}
}

func TestCompileRefusesWhatDoesNotFit(t *testing.T) {
	in := input(t)
	in.Profile = nil
	if _, err := compile.Compile(in); err == nil {
		t.Error("a pool without its profile was compiled")
	}
	in = input(t)
	in.Profile.GetHybridProfile().GetKubernetes().ContainerdConfig = string(make([]byte, 300<<10))
	if _, err := compile.Compile(in); err == nil {
		t.Error("an assignment larger than a message was compiled")
	}
}

// TestAppliance: the image comes from the manifest, and so do the drain options unless
// the profile has its own.
func TestAppliance(t *testing.T) {
	in := input(t)
	timeout := uint32(7)
	o := in.Profile.GetHybridProfile().GetOs()
	o.Mode = planev1.OSMode_OS_MODE_APPLIANCE
	o.Manifest = "pack:\n  content:\n    images:\n      - image: 'registry.example/ubuntu:nodeadm-{{ .spectro.system.kubernetes.version }}-shop'\n  drain:\n    timeout: 90\n    cordon: false\n"
	out := must(t, in)
	if uri := out.Assignment.GetNode().GetOsImage().GetUri(); uri != "registry.example/ubuntu:nodeadm-1.31.5-shop" {
		t.Errorf("image %q", uri)
	}
	if d := out.Drain; d.GetTimeout().GetSeconds() != 90 || d.GetCordon() || d.GetGracePeriodSeconds() != 60 || !d.GetForce() || d.GetDisableEviction() || d.GetSkipWaitForDeleteTimeout().GetSeconds() != 60 {
		t.Errorf("drain %v", d)
	}
	o.Drain = &planev1.DrainSpec{Timeout: &timeout}
	if d := must(t, in).Drain; d.GetTimeout().GetSeconds() != 7 || !d.GetCordon() {
		t.Errorf("drain %v", d)
	}
	o.Manifest = "pack: {}"
	if _, err := compile.Compile(in); err == nil {
		t.Error("a manifest without an image was compiled")
	}
}

func BenchmarkCompile(b *testing.B) {
	in := compile.Input{HostID: "edge-1"}
	for b.Loop() {
		if _, err := compile.Compile(in); err != nil {
			b.Fatal(err)
		}
	}
}
