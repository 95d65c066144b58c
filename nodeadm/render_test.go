package nodeadm_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func rolesAnywhere() *agentv1.NodeSpec {
	return &agentv1.NodeSpec{
		ClusterName: "lab", Region: "us-west-2", KubernetesVersion: "1.31.5",
		KubeletConfigJson: []byte(`{"maxPods": 42, "imageMinimumGCAge": "2m0s", "evictionHard": {"memory.available": "100Mi"}, "maxOpenFiles": 10485760, "cpuCFSQuota": true}`),
		KubeletFlags:      []string{"--v=2"},
		ContainerdConfig:  "[plugins.\"io.containerd.grpc.v1.cri\"]\n  enable_cdi = true\n",
		PrivateMode:       true,
		Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_IamRolesAnywhere{IamRolesAnywhere: &agentv1.RolesAnywhereAccess{
			ProfileArn:     "arn:aws:rolesanywhere:us-west-2:111122223333:profile/p",
			RoleArn:        "arn:aws:iam::111122223333:role/hybrid",
			TrustAnchorArn: "arn:aws:rolesanywhere:us-west-2:111122223333:trust-anchor/t",
			NodeName:       "edge-store-17",
		}}},
		RegistrationLabels: map[string]string{"site": "store-17", "app.example.com/role": "till"},
		RegistrationTaints: []*agentv1.Taint{{Key: "edge", Value: "yes", Effect: "NoSchedule"}, {Key: "a", Effect: "NoExecute"}},
	}
}

func ssm() *agentv1.NodeSpec {
	return &agentv1.NodeSpec{
		ClusterName: "lab", Region: "eu-central-1", KubernetesVersion: "1.30.4", ContainerdSource: "distro",
		Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{
			ActivationId: "01234567-89ab-cdef-0123-456789abcdef", ActivationCode: "invented-code-of-a-test",
		}}},
	}
}

func TestRenderGolden(t *testing.T) {
	for name, spec := range map[string]*agentv1.NodeSpec{"roles-anywhere": rolesAnywhere(), "ssm": ssm()} {
		t.Run(name, func(t *testing.T) {
			config, err := nodeadm.Render(spec, netip.MustParseAddr("10.200.0.11"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := config.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("NodeConfig:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	access := func(change func(*agentv1.RolesAnywhereAccess)) func(*agentv1.NodeSpec) {
		return func(s *agentv1.NodeSpec) { change(s.GetAccess().GetIamRolesAnywhere()) }
	}
	for _, c := range []struct {
		name     string
		change   func(*agentv1.NodeSpec)
		fragment string
	}{
		{"cluster name", func(s *agentv1.NodeSpec) { s.ClusterName = "-lab" }, "cluster name"},
		{"Region", func(s *agentv1.NodeSpec) { s.Region = "here" }, "Region"},
		{"version", func(s *agentv1.NodeSpec) { s.KubernetesVersion = "latest" }, "Kubernetes version"},
		{"version as an option", func(s *agentv1.NodeSpec) { s.KubernetesVersion = "--help" }, "Kubernetes version"},
		{"containerd source", func(s *agentv1.NodeSpec) { s.ContainerdSource = "snap" }, "containerd source"},
		{"kubelet config", func(s *agentv1.NodeSpec) { s.KubeletConfigJson = []byte("[]") }, "kubelet configuration"},
		{"two words", func(s *agentv1.NodeSpec) { s.KubeletFlags = []string{"--node-ip 10.0.0.1"} }, "not one word"},
		{"own flag", func(s *agentv1.NodeSpec) { s.KubeletFlags = []string{"--node-ip=10.0.0.1"} }, "selected NIC"},
		{"hostname-override", func(s *agentv1.NodeSpec) { s.KubeletFlags = []string{"--hostname-override=x"} }, "host ID"},
		{"label", func(s *agentv1.NodeSpec) { s.RegistrationLabels = map[string]string{"a b": "c"} }, "label"},
		{"label with a comma", func(s *agentv1.NodeSpec) { s.RegistrationLabels = map[string]string{"a": "b,c=d"} }, "label"},
		{"taint", func(s *agentv1.NodeSpec) { s.RegistrationTaints[0].Effect = "Never" }, "taint"},
		{"node name with capitals", access(func(a *agentv1.RolesAnywhereAccess) { a.NodeName = "Edge" }), "RFC 1123"},
		{"node name too long", access(func(a *agentv1.RolesAnywhereAccess) { a.NodeName = strings.Repeat("a", 64) }), "RFC 1123"},
		{"node name with dots", access(func(a *agentv1.RolesAnywhereAccess) { a.NodeName = "a.b" }), "RFC 1123"},
		{"ARN", access(func(a *agentv1.RolesAnywhereAccess) { a.RoleArn = "role" }), "role ARN"},
		{"no access", func(s *agentv1.NodeSpec) { s.Access = nil }, "accessManagement"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := rolesAnywhere()
			c.change(spec)
			_, err := nodeadm.Render(spec, netip.MustParseAddr("10.200.0.11"))
			if err == nil || !strings.Contains(err.Error(), c.fragment) {
				t.Errorf("Render = %v, want %q", err, c.fragment)
			}
		})
	}
	if _, err := nodeadm.Render(rolesAnywhere(), netip.MustParseAddr("::1")); err == nil {
		t.Error("an IPv6 node IP is accepted")
	}
	short := proto.CloneOf(ssm())
	short.GetAccess().GetSsm().ActivationCode = "short-code"
	if _, err := nodeadm.Render(short, netip.MustParseAddr("10.0.0.1")); err == nil || strings.Contains(err.Error(), "short-code") {
		t.Errorf("a short activation code: %v", err)
	}
}

func TestCommandLines(t *testing.T) {
	install, err := nodeadm.InstallArgs(ssm(), "file:///etc/manifest.yaml", 600e9)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		got  []string
		want string
	}{
		{install, "install 1.30.4 -p ssm -s distro -r eu-central-1 -t 10m0s -m file:///etc/manifest.yaml"},
		{nodeadm.ConfigCheckArgs("/x/n.yaml"), "config check -c file:///x/n.yaml"},
		{nodeadm.InitArgs(rolesAnywhere(), "/x/n.yaml", ""), "init -c file:///x/n.yaml --skip none --private-mode"},
	} {
		if got := strings.Join(c.got, " "); got != c.want {
			t.Errorf("arguments %q, want %q", got, c.want)
		}
	}
	if _, err := nodeadm.InstallArgs(&agentv1.NodeSpec{}, "", 0); err == nil {
		t.Error("install without access management is accepted")
	}
}

func TestKubeletMaySet(t *testing.T) {
	for key, want := range map[string]bool{
		"site": true, "example.com/role": true, "node.kubernetes.io/role": true, "x.node.kubernetes.io/role": true,
		"topology.kubernetes.io/zone": true, "eks.amazonaws.com/compute": true,
		"node-role.kubernetes.io/edge": false, "kubernetes.io/role": false, "x.k8s.io/y": false,
	} {
		if got := nodeadm.KubeletMaySet(key); got != want {
			t.Errorf("KubeletMaySet(%q) = %v", key, got)
		}
	}
	spec := rolesAnywhere()
	spec.RegistrationLabels = map[string]string{"node-role.kubernetes.io/edge": "x"}
	config, err := nodeadm.Render(spec, netip.MustParseAddr("10.0.0.1"))
	if err != nil || strings.Contains(strings.Join(config.Spec.Kubelet.Flags, " "), "node-labels") {
		t.Errorf("flags = %v, %v", config.Spec.Kubelet.Flags, err)
	}
}
