package api_test

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// TestRefusedFields applies a site with one thing wrong and checks that just
// that is named, by its path and in words.
func TestRefusedFields(t *testing.T) {
	p := planetest.Start(t)
	op := p.Operator()
	for want, change := range map[string]func(*planetest.Site, *planev1.HybridClusterSpec, *planev1.HybridProfileSpec, *planev1.NodePoolSpec){
		`resources[0].metadata.name: "Lab" is no lowercase DNS label`:                func(s *planetest.Site, _ cluster, _ profile, _ pool) { s.Cluster.Metadata.Name = "Lab" },
		`resources[0].apiVersion: "v1" is not hybrid.plane/v1`:                       func(s *planetest.Site, _ cluster, _ profile, _ pool) { s.Cluster.ApiVersion = "v1" },
		`resources[0].spec: is not that of a HybridCluster`:                          func(s *planetest.Site, _ cluster, _ profile, _ pool) { s.Cluster.Spec = s.Profile.Spec },
		`resources[0].spec.region: "us" is no AWS Region`:                            func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.Region = "us" },
		`resources[0].spec.clusterName: "a b" is no EKS cluster name`:                func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.ClusterName = "a b" },
		`resources[0].spec.vpcCidrs: 0 given, at least 1 needed`:                     func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.VpcCidrs = nil },
		`resources[0].spec.vpcCidrs[0]: "10.100.0.0" is no CIDR`:                     func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.VpcCidrs[0] = "10.100.0.0" },
		`resources[0].spec.vpcCidrs[0]: "fd00::/8" is not IPv4`:                      func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.VpcCidrs[0] = "fd00::/8" },
		`resources[0].spec.vpcCidrs[0]: "10.100.1.0/16" has host bits set`:           func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.VpcCidrs[0] = "10.100.1.0/16" },
		`resources[0].spec.vpcCidrs[0]: "224.0.0.0/8" is no unicast network`:         func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.VpcCidrs[0] = "224.0.0.0/8" },
		`resources[0].spec.vpcCidrs[0]: "0.0.0.0/0" is too large`:                    func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.VpcCidrs[0] = "0.0.0.0/0" },
		`resources[0].spec.remoteNodeCidrs[0]: 10.100.8.0/24 overlaps 10.100.0.0/16`: func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.RemoteNodeCidrs[0] = "10.100.8.0/24" },
		`resources[0].spec.serviceCidr: 10.200.0.0/16 overlaps`:                      func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.ServiceCidr = "10.200.0.0/16" },
		`resources[0].spec.apiEndpoint: "10.100.0.10" is no host:port`:               func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.ApiEndpoint = "10.100.0.10" },
		`resources[0].spec.probeTargets[0]: "10.100.0.300" has no valid address`:     func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.ProbeTargets[0] = "10.100.0.300" },
		`resources[0].spec.endpointAccess: needs spec.apiEndpoint`: func(_ *planetest.Site, c cluster, _ profile, _ pool) {
			c.ApiEndpoint, c.EndpointAccess = "", agentv1.EndpointAccess_ENDPOINT_ACCESS_PRIVATE
		},
		`resources[0].spec.endpointAccess: is private, but 198.51.100.7 of spec.apiEndpoint lies outside`: func(_ *planetest.Site, c cluster, _ profile, _ pool) {
			c.ApiEndpoint, c.EndpointAccess = "198.51.100.7:443", agentv1.EndpointAccess_ENDPOINT_ACCESS_PRIVATE
		},
		`resources[0].spec.endpointAccess: is public, but 10.100.0.10 of spec.apiEndpoint lies inside`: func(_ *planetest.Site, c cluster, _ profile, _ pool) {
			c.EndpointAccess = agentv1.EndpointAccess_ENDPOINT_ACCESS_PUBLIC
		},
		`resources[0].spec.endpointAccess: 7 is neither public nor private`:            func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.EndpointAccess = 7 },
		`resources[0].spec.accessManagement: is missing`:                               func(_ *planetest.Site, c cluster, _ profile, _ pool) { c.AccessManagement = nil },
		`resources[0].spec.accessManagement.iamRolesAnywhere.roleArn: "x" is no ARN`:   func(_ *planetest.Site, c cluster, _ profile, _ pool) { anywhere(c).RoleArn = "x" },
		`resources[0].spec.accessManagement.iamRolesAnywhere.caPrivateKey: caCertific`: func(_ *planetest.Site, c cluster, _ profile, _ pool) { anywhere(c).CaPrivateKey = "x" },
		`resources[1].spec.version: "1.0" is no version such as 1.0.0`:                 func(_ *planetest.Site, _ cluster, p profile, n pool) { p.Version = "1.0" },
		`resources[1].spec.os.mode: is missing`:                                        func(_ *planetest.Site, _ cluster, p profile, _ pool) { p.Os = nil },
		`resources[1].spec.os.manifest: is empty; mode appliance needs`:                func(_ *planetest.Site, _ cluster, p profile, _ pool) { p.Os.Mode = planev1.OSMode_OS_MODE_APPLIANCE },
		`resources[1].spec.os.manifest: is for mode appliance only`:                    func(_ *planetest.Site, _ cluster, p profile, _ pool) { p.Os.Manifest = "a: b" },
		`resources[1].spec.kubernetes.version: "v1.31.5" is no Kubernetes version`:     func(_ *planetest.Site, _ cluster, p profile, _ pool) { p.Kubernetes.Version = "v1.31.5" },
		`resources[1].spec.kubernetes.kubeletFlags[0]: "--v 2" is no flag in one word`: func(_ *planetest.Site, _ cluster, p profile, _ pool) { p.Kubernetes.KubeletFlags = []string{"--v 2"} },
		`resources[1].spec.kubernetes.kubeletFlags[0]: --node-ip is set by the agent`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Kubernetes.KubeletFlags = []string{"--node-ip=1"}
		},
		`resources[1].spec.kubernetes.containerdSource: "snap" is none of`: func(_ *planetest.Site, _ cluster, p profile, _ pool) { p.Kubernetes.ContainerdSource = "snap" },
		`resources[1].spec.os.drain.timeout: 90000 is more than 86400 seconds`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Os.Drain = &planev1.DrainSpec{Timeout: proto.Uint32(90000)}
		},
		`resources[1].spec.os.drain.gracePeriod: 90000 is more than 86400 seconds`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Os.Drain = &planev1.DrainSpec{GracePeriod: proto.Int32(90000)}
		},
		`resources[1].spec.os.drain.skipWaitForDeleteTimeout: 0 is not 1 to 86400 seconds`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Os.Drain = &planev1.DrainSpec{SkipWaitForDeleteTimeout: proto.Uint32(0)}
		},
		`resources[1].spec.os.manifest: line 4, pack.drain.timout: is unknown`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Os.Mode, p.Os.Manifest = planev1.OSMode_OS_MODE_APPLIANCE, "pack:\n  content: {images: [{image: 'r/u:nodeadm-1.31.5'}]}\n  drain:\n    timout: 60\n"
		},
		`resources[1].spec.kubernetes.nodeadm.url: is missing`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Kubernetes.Nodeadm = &planev1.NodeadmSpec{}
		},
		`resources[1].spec.kubernetes.nodeadm.url: "ftp://x/y" is no https:// or http:// URL`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Kubernetes.Nodeadm = &planev1.NodeadmSpec{Url: "ftp://x/y"}
		},
		`resources[1].spec.kubernetes.nodeadm.url: holds a user name or password`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Kubernetes.Nodeadm = &planev1.NodeadmSpec{Url: "https://a:b@x/y"}
		},
		`resources[1].spec.kubernetes.nodeadm.sha256: "ABC" is no lowercase hexadecimal SHA-256`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Kubernetes.Nodeadm = &planev1.NodeadmSpec{Url: "https://x/y", Sha256: "ABC"}
		},
		`resources[1].spec.kubernetes.kubeletConfig.maxpods: is no field of kubelet's configuration; did you mean maxPods?`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Kubernetes.KubeletConfig = &structpb.Struct{Fields: map[string]*structpb.Value{"maxpods": structpb.NewNumberValue(9), "maxPods": structpb.NewNumberValue(9)}}
		},
		`resources[1].spec.kubernetes.kubeletConfig.evictonHard: is no field of kubelet's configuration; did you mean evictionHard?`: func(_ *planetest.Site, _ cluster, p profile, _ pool) {
			p.Kubernetes.KubeletConfig = &structpb.Struct{Fields: map[string]*structpb.Value{"evictonHard": structpb.NewNullValue(), "fieldOfTomorrow": structpb.NewNullValue()}}
		},
		`resources[1].spec.network.customCni: "cilium" is neither`:                      func(_ *planetest.Site, _ cluster, p profile, _ pool) { p.Network.CustomCni = "cilium" },
		`resources[2].spec.cluster: HybridCluster "other" does not exist`:               func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Cluster = "other" },
		`resources[2].spec.profileVersion: HybridProfile "shop" has no version "1.0.1"`: func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.ProfileVersion = "1.0.1" },
		`resources[2].spec.profileVersion: HybridProfile "other" does not exist`:        func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Profile = "other" },
		`resources[2].spec.architecture: "amd64" is neither AMD64 nor ARM64`:            func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Architecture = "amd64" },
		`resources[2].spec.labels.a b: key "a b" is no Kubernetes label key`:            func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Labels = map[string]string{"a b": ""} },
		`resources[2].spec.labels.A.b/c: key "A.b/c" has a prefix that is no DNS name`:  func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Labels = map[string]string{"A.b/c": ""} },
		`resources[2].spec.labels.a: value "-" is no Kubernetes label value`:            func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Labels = map[string]string{"a": "-"} },
		`resources[2].spec.taints[0].effect: "Never" is none of`:                        func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Taints[0].Effect = "Never" },
		`resources[2].spec.taints[1]: has key and effect of spec.taints[0]`:             func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Taints = append(n.Taints, n.Taints[0]) },
		`resources[2].spec.ntpServers[0]: "a_b" has no valid host name`:                 func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.NtpServers[0] = "a_b" },
		`resources[2].spec.hosts[1].hostId: "edge-1" is the host of spec.hosts[0]`:      func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Hosts[1].HostId = "edge-1" },
		`resources[2].spec.hosts[0].hostId: host ID "Edge_1" cannot be a node name`:     func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Hosts[0].HostId = "Edge_1" },
		`resources[2].spec.hosts[0].hostId: host ID a.b contains one of`:                func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Hosts[0].HostId = "a.b" },
		`resources[2].spec.hosts[0].nic: NIC "eth 0" is neither an interface name`:      func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Hosts[0].Nic = "eth 0" },
		`resources[2].spec.hosts[0].vpnServers[0]: "vpn" is no IPv4 address`:            func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Hosts[0].VpnServers[0] = "vpn" },
		`resources[2].spec.hosts[0].vpnServers[0]: "127.0.0.1" is no unicast address`:   func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Hosts[0].VpnServers[0] = "127.0.0.1" },
		`resources[2].spec.hosts[0].vpnServers[1]: 10.200.0.2 is given twice`: func(_ *planetest.Site, _ cluster, _ profile, n pool) {
			n.Hosts[0].VpnServers = []string{"10.200.0.2", "10.200.0.2"}
		},
		`resources[2].spec.hosts[0].vpnServers[0]: 10.100.0.2 lies inside VPC CIDR`: func(_ *planetest.Site, _ cluster, _ profile, n pool) { n.Hosts[0].VpnServers[0] = "10.100.0.2" },
	} {
		t.Run(want, func(t *testing.T) {
			s := planetest.NewSite(t, "edge-1", "edge-2")
			change(s, s.Cluster.GetHybridCluster(), s.Profile.GetHybridProfile(), s.Pool.GetNodePool())
			_, err := op.ApplyBatch(t.Context(), &planev1.ApplyBatchRequest{Resources: s.All()})
			path, words, _ := strings.Cut(want, ": ")
			if st, _ := status.FromError(err); st.Code() != codes.InvalidArgument || !violates(st, path, words) {
				t.Fatalf("got %v", err)
			}
		})
	}
	for _, k := range kind.All() {
		resp, err := op.List(t.Context(), &planev1.ListRequest{Kind: k})
		if err != nil || len(resp.GetResources()) != 0 {
			t.Errorf("%s: %d are left of batches that were refused, %v", k, len(resp.GetResources()), err)
		}
	}
}

type (
	cluster = *planev1.HybridClusterSpec
	profile = *planev1.HybridProfileSpec
	pool    = *planev1.NodePoolSpec
)

func anywhere(c cluster) *planev1.IAMRolesAnywhereSpec {
	return c.GetAccessManagement().GetIamRolesAnywhere()
}

func violates(st *status.Status, path, words string) bool {
	for _, d := range st.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			if v.GetField() == path && strings.HasPrefix(v.GetDescription(), words) {
				return true
			}
		}
	}
	return false
}

func wantCode(t *testing.T, err error, code codes.Code, words string) {
	t.Helper()
	if st, _ := status.FromError(err); st.Code() != code || !strings.Contains(st.Message(), words) {
		t.Fatalf("got %v, want %v with %q", err, code, words)
	}
}

func TestHostInTwoPools(t *testing.T) {
	p := planetest.Start(t)
	s := planetest.NewSite(t, "edge-1")
	p.Apply(s.All()...)
	s.Pool.Metadata.Name = "shop-2"
	_, err := p.Operator().Apply(t.Context(), &planev1.ApplyRequest{Resource: s.Pool})
	wantCode(t, err, codes.InvalidArgument, "host edge-1 is in NodePool shop-1 already")
}

func TestApplyIsOptimisticWhereARevisionIsGiven(t *testing.T) {
	p := planetest.Start(t)
	op := p.Operator()
	s := planetest.NewSite(t)
	p.Apply(s.All()...)
	resp, err := op.Get(t.Context(), &planev1.GetRequest{Kind: kind.Pool, Name: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	mine := resp.GetResource()
	mine.Status = nil
	s.Pool.GetNodePool().NtpServers = nil
	p.Apply(s.Pool)
	mine.GetNodePool().Labels = nil
	_, err = op.Apply(t.Context(), &planev1.ApplyRequest{Resource: mine})
	wantCode(t, err, codes.Aborted, "was changed since revision")
}

func TestSecretsAreNeverAnswered(t *testing.T) {
	p := planetest.Start(t)
	op := p.Operator()
	s := planetest.NewSite(t)
	secret := anywhere(s.Cluster.GetHybridCluster()).GetCaPrivateKey()
	applied, err := op.Apply(t.Context(), &planev1.ApplyRequest{Resource: s.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	got, err := op.Get(t.Context(), &planev1.GetRequest{Kind: kind.Cluster, Name: "lab"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := op.List(t.Context(), &planev1.ListRequest{Kind: kind.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"apply": applied.String(), "get": got.String(), "list": list.String()} {
		if strings.Contains(text, "PRIVATE") || strings.Contains(text, secret) {
			t.Errorf("%s answers the secret", what)
		}
	}
	// Applied without its secret it keeps it; with another certificate it must
	// bring one.
	back := got.GetResource()
	back.Metadata.Revision = 0
	back.GetHybridCluster().ProbeTargets = nil
	if _, err := op.Apply(t.Context(), &planev1.ApplyRequest{Resource: back}); err != nil {
		t.Fatal(err)
	}
	anywhere(back.GetHybridCluster()).CaCertificate, _ = planetest.NodeCA(t)
	_, err = op.Apply(t.Context(), &planev1.ApplyRequest{Resource: back})
	wantCode(t, err, codes.InvalidArgument, "no PEM block")
}

func TestProfileVersionsNeverChange(t *testing.T) {
	p := planetest.Start(t)
	s := planetest.NewSite(t)
	p.Apply(s.Profile)
	config, err := structpb.NewStruct(map[string]any{"maxPods": 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Profile.GetHybridProfile().GetKubernetes().KubeletConfig = config
	_, err = p.Operator().Apply(t.Context(), &planev1.ApplyRequest{Resource: s.Profile})
	wantCode(t, err, codes.FailedPrecondition, "a version never changes")
	for _, v := range []string{"1.9.0", "1.10.0"} {
		s.Profile.GetHybridProfile().Version = v
		p.Apply(s.Profile)
	}
	resp, err := p.Operator().Get(t.Context(), &planev1.GetRequest{Kind: kind.Profile, Name: "shop"})
	if err != nil || resp.GetResource().GetHybridProfile().GetVersion() != "1.10.0" {
		t.Fatalf("got %v, %v, want the highest version", resp, err)
	}
}

func TestHostsAndTokensCannotBeApplied(t *testing.T) {
	p := planetest.Start(t)
	for _, k := range []string{kind.Host, kind.Token} {
		_, err := p.Operator().Apply(t.Context(), &planev1.ApplyRequest{Resource: &planev1.Resource{ApiVersion: kind.APIVersion, Kind: k, Metadata: &planev1.Metadata{Name: "x"}}})
		wantCode(t, err, codes.InvalidArgument, "hybridctl token create")
	}
	_, err := p.Operator().Apply(t.Context(), &planev1.ApplyRequest{})
	wantCode(t, err, codes.InvalidArgument, `kind "" is unknown`)
}
