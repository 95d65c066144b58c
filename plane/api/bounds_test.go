package api_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"hybridagent/plane/kind"
	"hybridagent/plane/planetest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// TestTooLargeFieldsAreRefused: each field is one byte or one entry beyond the
// bound that resource.proto states.
func TestTooLargeFieldsAreRefused(t *testing.T) {
	p := planetest.Start(t)
	op := p.Operator()
	const arn = "arn:aws:rolesanywhere:us-west-2:123456789012:profile/"
	long := func(n int) string { return strings.Repeat("a", n) }
	for path, change := range map[string]func(cluster, profile, pool){
		"resources[0].spec.region":                                          func(c cluster, _ profile, _ pool) { c.Region = "us-" + long(28) + "-1" },
		"resources[0].spec.apiEndpoint":                                     func(c cluster, _ profile, _ pool) { c.ApiEndpoint = "10.100.0.10:" + strings.Repeat("0", 260) + "443" },
		"resources[0].spec.probeTargets":                                    func(c cluster, _ profile, _ pool) { c.ProbeTargets = make([]string, 17) },
		"resources[0].spec.accessManagement.iamRolesAnywhere.profileArn":    func(c cluster, _ profile, _ pool) { anywhere(c).ProfileArn = arn + long(1012-len(arn)) },
		"resources[0].spec.accessManagement.iamRolesAnywhere.caCertificate": func(c cluster, _ profile, _ pool) { anywhere(c).CaCertificate += long(16 << 10) },
		"resources[0].spec.accessManagement.iamRolesAnywhere.caPrivateKey":  func(c cluster, _ profile, _ pool) { anywhere(c).CaPrivateKey += long(16 << 10) },
		"resources[1].spec.os.manifest": func(_ cluster, p profile, _ pool) {
			p.Os.Mode, p.Os.Manifest = planev1.OSMode_OS_MODE_APPLIANCE, "a: "+long(64<<10)
		},
		"resources[1].spec.kubernetes.kubeletFlags":     func(_ cluster, p profile, _ pool) { p.Kubernetes.KubeletFlags = make([]string, 65) },
		"resources[1].spec.kubernetes.kubeletFlags[0]":  func(_ cluster, p profile, _ pool) { p.Kubernetes.KubeletFlags = []string{"--v=" + long(1021)} },
		"resources[1].spec.kubernetes.containerdConfig": func(_ cluster, p profile, _ pool) { p.Kubernetes.ContainerdConfig = long(64<<10 + 1) },
		"resources[1].spec.kubernetes.kubeletConfig":    func(_ cluster, p profile, _ pool) { p.Kubernetes.KubeletConfig = config(t, long(64<<10)) },
		"resources[2].spec.cluster":                     func(_ cluster, _ profile, n pool) { n.Cluster = long(64) },
		"resources[2].spec.profile":                     func(_ cluster, _ profile, n pool) { n.Profile = long(64) },
		"resources[2].spec.labels":                      func(_ cluster, _ profile, n pool) { n.Labels = labels(65) },
		"resources[2].spec.labels." + long(254) + "/a":  func(_ cluster, _ profile, n pool) { n.Labels = map[string]string{long(254) + "/a": ""} },
		"resources[2].spec.labels.a":                    func(_ cluster, _ profile, n pool) { n.Labels = map[string]string{"a": long(64)} },
		"resources[2].spec.ntpServers":                  func(_ cluster, _ profile, n pool) { n.NtpServers = make([]string, 17) },
		"resources[2].spec.ntpServers[0]":               func(_ cluster, _ profile, n pool) { n.NtpServers[0] = long(260) },
		"resources[2].spec.hosts":                       func(_ cluster, _ profile, n pool) { n.Hosts = make([]*planev1.PoolHost, 1001) },
		"resources[2].spec.hosts[0].hostId":             func(_ cluster, _ profile, n pool) { n.Hosts[0].HostId = long(129) },
		"resources[2].spec.hosts[0].hostName":           func(_ cluster, _ profile, n pool) { n.Hosts[0].HostName = long(254) },
		"resources[2].spec.hosts[0].nic":                func(_ cluster, _ profile, n pool) { n.Hosts[0].Nic = long(128) },
		"resources[2].spec.hosts[0].vpnServers":         func(_ cluster, _ profile, n pool) { n.Hosts[0].VpnServers = make([]string, 9) },
	} {
		t.Run(path[:min(len(path), 80)], func(t *testing.T) {
			s := planetest.NewSite(t, "edge-1")
			change(s.Cluster.GetHybridCluster(), s.Profile.GetHybridProfile(), s.Pool.GetNodePool())
			_, err := op.ApplyBatch(t.Context(), &planev1.ApplyBatchRequest{Resources: s.All()})
			st, _ := status.FromError(err)
			if st.Code() != codes.InvalidArgument || !violates(st, path, "") {
				t.Fatalf("got %.300v", err)
			}
		})
	}
	resp, err := op.List(t.Context(), &planev1.ListRequest{Kind: kind.Cluster})
	if err != nil || len(resp.GetResources()) != 0 {
		t.Fatalf("%d clusters are left of what was refused, %v", len(resp.GetResources()), err)
	}
}

func config(t *testing.T, text string) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{"a": text})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func labels(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprintf("label-%d", i)] = "x"
	}
	return out
}
