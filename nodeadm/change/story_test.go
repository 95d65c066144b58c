package change_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// situation is all that Choose gets.
type situation struct {
	applied change.Applied
	wanted  change.Wanted
	facts   change.Facts
}

func anywhere(name string) *agentv1.AccessManagement {
	return &agentv1.AccessManagement{Method: &agentv1.AccessManagement_IamRolesAnywhere{IamRolesAnywhere: &agentv1.RolesAnywhereAccess{
		ProfileArn: "arn:p", RoleArn: "arn:r", TrustAnchorArn: "arn:t", NodeName: name,
	}}}
}

func ssm(id string) *agentv1.AccessManagement {
	return &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{ActivationId: id}}}
}

// healthy is a Ready node of Kubernetes 1.30.4 in a cluster of 1.31 that is asked
// for what it has.
func healthy() *situation {
	spec := &agentv1.NodeSpec{
		ClusterName: "lab", Region: "us-west-2", KubernetesVersion: "1.30.4",
		KubeletConfigJson: []byte(`{"maxPods":42,"cpuCFSQuota":true}`), KubeletFlags: []string{"--v=2"},
		ContainerdConfig: "version = 2\n", Access: anywhere("edge-1"),
		VpcCidrs: []string{"10.100.0.0/16"}, VpnServers: []string{"10.200.0.2"},
	}
	return &situation{
		applied: change.Applied{Recorded: true, Node: spec, NodeDigest: "d1", KubernetesVersion: "1.30.4", NodeIP: "10.200.0.11"},
		wanted: change.Wanted{
			Kind: agentv1.OperationKind_OPERATION_KIND_REPAVE, Node: proto.CloneOf(spec), NodeDigest: "d1", NodeIP: "10.200.0.11",
		},
		facts: change.Facts{
			Host: nodeadm.Host{
				Tracker: nodeadm.TrackerOK, Provider: nodeadm.ProviderRolesAnywhere, ContainerdSource: "none",
				Kubelet: true, Kubeconfig: true, Cluster: "lab", Region: "us-west-2",
			},
			KubeletVersion: "Kubernetes v1.30.4-eks-1234567", KubeletUnit: "active", APIVersion: "v1.31.5-eks-1234567", Node: change.Exists,
		},
	}
}

// words change a situation; a row of the table is made of them.
var words = map[string]func(s *situation, value string){
	"kind": func(s *situation, v string) {
		s.wanted.Kind = agentv1.OperationKind(agentv1.OperationKind_value["OPERATION_KIND_"+strings.ToUpper(v)])
	},
	"version":    func(s *situation, v string) { s.wanted.Node.KubernetesVersion, s.wanted.NodeDigest = v, "d2" },
	"kubelet":    func(s *situation, v string) { s.wanted.Node.KubeletConfigJson, s.wanted.NodeDigest = []byte(v), "d2" },
	"flags":      func(s *situation, v string) { s.wanted.Node.KubeletFlags = strings.Fields(v) },
	"containerd": func(s *situation, v string) { s.wanted.Node.ContainerdConfig = v },
	"role": func(s *situation, v string) {
		s.wanted.Node.GetAccess().GetIamRolesAnywhere().RoleArn = v
	},
	"node-name": func(s *situation, v string) { s.wanted.Node.Access = anywhere(v) },
	"ssm":       func(s *situation, v string) { s.wanted.Node.Access = ssm(v) },
	"was-ssm":   func(s *situation, v string) { s.applied.Node.Access = ssm(v) },
	"access":    func(s *situation, _ string) { s.wanted.Node.Access = nil },
	"cluster":   func(s *situation, v string) { s.wanted.Node.ClusterName, s.wanted.NodeDigest = v, "d2" },
	"region":    func(s *situation, v string) { s.wanted.Node.Region = v },
	"source":    func(s *situation, v string) { s.wanted.Node.ContainerdSource = v },
	"ip":        func(s *situation, v string) { s.wanted.NodeIP = v },
	"vpn":       func(s *situation, v string) { s.wanted.Node.VpnServers = []string{v} },
	"vpc":       func(s *situation, v string) { s.wanted.Node.VpcCidrs = []string{v} },
	"nic":       func(s *situation, v string) { s.wanted.Node.Nic = &agentv1.NICSelector{Name: v} },
	"nodeadm":   func(s *situation, v string) { s.wanted.Node.Nodeadm = &agentv1.NodeadmSource{Url: v} },
	"label":     func(s *situation, v string) { s.wanted.Node.RegistrationLabels = map[string]string{"site": v} },
	"image":     func(s *situation, v string) { s.wanted.Node.OsImage = &agentv1.OSImage{Uri: v} },
	"was-image": func(s *situation, v string) { s.applied.Node.OsImage = &agentv1.OSImage{Uri: v} },
	"booted":    func(s *situation, v string) { s.facts.BootedOSImage = v },
	"force":     func(s *situation, _ string) { s.wanted.Force = true },
	"repeat":    func(s *situation, _ string) { s.wanted.Repeat = true },
	"cordon":    func(s *situation, v string) { s.wanted.NoCordon = v == "false" },
	"tracker": func(s *situation, v string) {
		s.facts.Host.Tracker, s.facts.Host.Provider, s.facts.Host.ContainerdSource = nodeadm.TrackerState(v), "", ""
	},
	"no-kubelet":    func(s *situation, _ string) { s.facts.Host.Kubelet, s.facts.KubeletVersion = false, "" },
	"empty-config":  func(s *situation, _ string) { s.facts.Host.KubeletConfigEmpty = true },
	"no-kubeconfig": func(s *situation, _ string) { s.facts.Host.Kubeconfig, s.facts.APIVersion = false, "" },
	"pods":          func(s *situation, _ string) { s.facts.Pods = true },
	"unit":          func(s *situation, v string) { s.facts.KubeletUnit = v },
	"api":           func(s *situation, v string) { s.facts.APIVersion = v },
	"on-disk":       func(s *situation, v string) { s.facts.KubeletVersion = v },
	"node": func(s *situation, v string) {
		s.facts.Node = map[string]change.Existence{"missing": change.Missing, "unknown": change.Unknown}[v]
	},
	"old-record": func(s *situation, _ string) { s.applied.Node = nil },
	"no-record":  func(s *situation, _ string) { s.applied = change.Applied{} },
	"unfinished": func(s *situation, _ string) { s.applied = change.Applied{Unfinished: true} },
	"bare": func(s *situation, _ string) {
		s.applied = change.Applied{}
		s.facts = change.Facts{Host: nodeadm.Host{Tracker: nodeadm.TrackerNone}}
	},
}

func (s *situation) apply(t *testing.T, story []string) *situation {
	t.Helper()
	for _, text := range story {
		name, value, _ := strings.Cut(text, "=")
		word, ok := words[name]
		if !ok {
			t.Fatalf("the story has no word %q", name)
		}
		word(s, value)
	}
	return s
}

// outcome is a choice in one line: the path, then what is done around it.
func outcome(choice change.Choice, err error) string {
	if err != nil {
		var refusal *change.Refusal
		if !errors.As(err, &refusal) {
			return "failed: " + err.Error()
		}
		return "refused " + string(refusal.Reason)
	}
	line := string(choice.Path)
	for _, extra := range []struct {
		is   bool
		text string
	}{
		{choice.Drain, "drain"},
		{choice.Tracker != "", "tracker-" + string(choice.Tracker)},
		{choice.StopKubelet, "stop-kubelet"},
		{choice.RemoveContainerdConfig, "remove-containerd-config"},
	} {
		if extra.is {
			line += " " + extra.text
		}
	}
	return line
}

// TestStories is the table of what leads where. Each story changes a healthy node
// of 1.30.4, in a cluster of 1.31.5, that is asked for what it has. Fragments must
// stand in the reasons, or in the refusal.
func TestStories(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		story      []string
		fragments  []string
	}{
		{"nothing differs", "none", nil, []string{"nothing that nodeadm sets up differs"}},
		{"nothing differs, for a reconfigure", "none", []string{"kind=reconfigure"}, nil},
		{"nothing differs, forced", "upgrade drain", []string{"force"}, []string{"done once more"}},
		{"nothing differs, forced, API silent", "init", []string{"force", "api="}, []string{"done once more"}},
		{"nothing differs, API silent", "none", []string{"api="}, nil},
		{"nothing differs, repaired", "upgrade drain", []string{"repeat"}, []string{"done once more"}},
		{"repaired, API silent", "refused api", []string{"repeat", "api="}, []string{"did not answer"}},
		{"reconfigure forced", "init", []string{"kind=reconfigure", "force"}, []string{"done once more"}},
		{"same fields in other words", "none", []string{`kubelet={"cpuCFSQuota":true, "maxPods":42}`}, nil},

		{"VPN server", "none", []string{"vpn=10.200.0.3"}, []string{"VPN servers changed"}},
		{"VPC CIDR", "none", []string{"vpc=10.101.0.0/16"}, []string{"VPC CIDRs changed"}},
		{"NIC with the same address", "none", []string{"nic=lan1"}, []string{"NIC changed"}},
		{"NIC with another address", "init", []string{"nic=lan1", "ip=10.200.0.12"}, []string{"node IP 10.200.0.11 → 10.200.0.12 (kubelet's --node-ip)"}},
		{"label", "none", []string{"label=x"}, []string{"labels changed"}},
		{"nodeadm itself", "none", []string{"nodeadm=https://x"}, []string{"nodeadm changed"}},

		{"kubelet configuration", "init", []string{`kubelet={"maxPods":77,"podPidsLimit":9,"cpuCFSQuota":true}`}, []string{"kubelet configuration: maxPods, podPidsLimit changed"}},
		{"kubelet configuration gone", "init", []string{"kubelet="}, []string{"cpuCFSQuota, maxPods"}},
		{"flags", "init", []string{"flags=--v=4 --a=b"}, []string{"kubelet flags: --a, --v changed"}},
		{"containerd configuration", "init", []string{"containerd=version = 3"}, []string{"containerd configuration changed"}},
		{"containerd configuration gone", "init remove-containerd-config", []string{"containerd="}, []string{"containerd configuration changed"}},
		{"role", "init", []string{"role=arn:other"}, []string{"IAM Roles Anywhere: role ARN changed"}},
		{"SSM activation", "init", []string{"was-ssm=a", "ssm=b"}, []string{"SSM activation a → b", "keeps its instance ID"}},
		{"reconfigure is enough", "init", []string{"kind=reconfigure", `kubelet={"maxPods":77}`}, nil},
		{"reconfigure is not enough", "refused needs-more", []string{"kind=reconfigure", "version=1.31.5"}, []string{"Kubernetes 1.30.4 → 1.31.5", "hybridctl repave"}},
		{"reconfigure on damage", "refused needs-more", []string{"kind=reconfigure", "no-kubelet"}, []string{"kubelet binary"}},

		{"upgrade", "upgrade drain", []string{"version=1.31.5"}, []string{"Kubernetes 1.30.4 → 1.31.5"}},
		{"upgrade and configuration", "upgrade drain", []string{"version=1.31.5", `kubelet={"maxPods":77}`}, []string{"Kubernetes 1.30.4 → 1.31.5", "maxPods"}},
		{"downgrade", "upgrade drain", []string{"version=1.29.9"}, []string{"Kubernetes 1.30.4 → 1.29.9"}},
		{"three older", "upgrade drain", []string{"version=1.28.1"}, nil},
		{"four older", "refused skew", []string{"version=1.27.1"}, []string{"at most 3 minor versions older", "at least 1.28"}},
		{"newer than the API", "refused skew", []string{"version=1.32.0"}, []string{"must not be newer", "upgrade the EKS cluster first", "at most 1.31"}},
		{"another major", "refused skew", []string{"version=2.31.0"}, []string{"must not be newer"}},
		{"API version unreadable", "refused skew", []string{"version=1.31.5", "api=future"}, []string{`"future"`}},
		{"API silent", "refused api", []string{"version=1.31.5", "api="}, []string{"did not answer", "force it", "no pod is moved away", "must answer in the end"}},
		{"API silent, forced, another minor", "refused skew", []string{"version=1.31.5", "api=", "force"}, []string{"skew cannot be checked"}},
		{"API silent, forced, another patch", "upgrade", []string{"version=1.30.9", "api=", "force"}, nil},
		{"configuration, API silent", "refused api", []string{`kubelet={"maxPods":77}`, "api="}, []string{"path init"}},
		{"cordon false with an upgrade", "refused cordon", []string{"version=1.31.5", "cordon=false"}, []string{"cordon: false", "set cordon: true"}},
		{"cordon false with an init", "init", []string{`kubelet={"maxPods":77}`, "cordon=false"}, nil},
		{"interrupted upgrade", "upgrade drain", []string{"on-disk=Kubernetes v1.31.5"}, []string{"kubelet on disk is 1.31.5, not 1.30.4"}},

		{"provider", "reinstall drain", []string{"ssm=a"}, []string{"credential provider IAM Roles Anywhere → SSM"}},
		{"containerd source", "reinstall drain", []string{"source=docker"}, []string{"containerd source none → docker"}},
		{"cluster", "reinstall drain", []string{"cluster=prod"}, []string{"cluster lab → prod"}},
		{"Region", "reinstall drain", []string{"region=eu-west-1"}, []string{"Region us-west-2 → eu-west-1"}},
		{"Node name", "reinstall drain", []string{"node-name=edge-2"}, []string{"Node name edge-1 → edge-2"}},
		{"provider, tracker lost", "reinstall drain tracker-restore", []string{"ssm=a", "tracker=none"}, nil},
		{"provider, tracker damaged", "reinstall drain tracker-restore", []string{"ssm=a", "tracker=broken"}, nil},
		{"provider, empty configuration", "reinstall drain stop-kubelet", []string{"ssm=a", "empty-config"}, nil},
		{"provider, Node deleted", "reinstall stop-kubelet", []string{"ssm=a", "node=missing"}, nil},
		{"cluster, tracker lost, old record", "refused unknown", []string{"cluster=prod", "tracker=none", "old-record"}, []string{"nodeadm install VERSION"}},
		{"cordon false with a reinstallation", "refused cordon", []string{"ssm=a", "cordon=false"}, nil},

		{"tracker lost", "install drain", []string{"tracker=none"}, []string{"/opt/nodeadm/tracker is missing"}},
		{"tracker damaged", "install drain tracker-remove", []string{"tracker=broken"}, []string{"nodeadm crashes on it"}},
		{"kubelet missing", "install drain", []string{"no-kubelet"}, []string{"/usr/bin/kubelet is missing"}},
		{"kubelet missing and upgrade", "install drain", []string{"no-kubelet", "version=1.31.5"}, []string{"Kubernetes 1.30.4 → 1.31.5"}},
		{"empty kubelet configuration", "init", []string{"empty-config"}, []string{"empty file"}},
		{"empty kubelet configuration and upgrade", "install drain", []string{"empty-config", "version=1.31.5"}, nil},
		{"Node deleted", "init", []string{"node=missing"}, []string{"no Node of this host"}},
		{"Node deleted and upgrade", "install", []string{"node=missing", "version=1.31.5"}, nil},
		{"kubeconfig lost", "init", []string{"no-kubeconfig"}, []string{"kubeconfig"}},
		{"kubelet failed", "init", []string{"unit=failed"}, []string{"kubelet.service is failed"}},
		{"kubelet failed and upgrade", "upgrade drain", []string{"unit=activating", "version=1.31.5"}, nil},
		{"no systemd", "none", []string{"unit="}, nil},

		{"old record, same digest", "none", []string{"old-record"}, nil},
		{"old record", "upgrade drain", []string{"version=1.31.5", "old-record"}, []string{"not recorded"}},
		{"old record, other configuration", "init", []string{`kubelet={"maxPods":77}`, "old-record"}, []string{"not recorded", "written anew"}},
		{"old record, provider of the tracker", "reinstall drain", []string{"old-record", "ssm=a"}, []string{"credential provider"}},
		{"old record, cluster of the kubeconfig", "reinstall drain", []string{"old-record", "cluster=prod"}, []string{"cluster lab → prod"}},
		{"old record, damaged tracker", "install drain tracker-remove remove-containerd-config", []string{"old-record", "containerd=", "tracker=broken"}, nil},
		{"record lost", "init", []string{"no-record"}, []string{"not recorded"}},

		{"not a node", "install", []string{"bare", "kind=provision"}, []string{"no node yet"}},
		{"not a node, repave", "install", []string{"bare"}, []string{"no node yet"}},
		{"not a node, reconfigure", "refused not-node", []string{"bare", "kind=reconfigure"}, []string{"hybridctl provision"}},
		{"not a node, damaged tracker", "install tracker-remove", []string{"bare", "tracker=broken", "kind=provision"}, nil},
		{"provisioned once more", "none", []string{"kind=provision"}, nil},
		{"provisioned damaged", "install drain", []string{"kind=provision", "no-kubelet"}, nil},
		{"provisioned as another", "refused already-node", []string{"kind=provision", "version=1.31.5"}, []string{"hybridctl repave"}},
		{"record lost, provisioned", "install drain", []string{"kind=provision", "no-record"}, nil},
		{"record lost, provisioned with another version", "install drain", []string{"kind=provision", "no-record", "version=1.31.5"}, []string{"kubelet on disk is 1.30.4, not 1.31.5"}},
		{"record and tracker lost, provisioned", "install drain", []string{"kind=provision", "no-record", "tracker=none"}, []string{"tracker"}},
		{"record lost, provisioned, API silent", "refused api", []string{"kind=provision", "no-record", "pods", "api=", "node=unknown"}, []string{"cannot be moved away", "leave --force"}},
		{"record and tracker lost, API silent", "refused api", []string{"kind=provision", "no-record", "pods", "tracker=none", "api=", "node=unknown"}, []string{"cannot be moved away"}},
		{"provisioned half, and not taken back", "install", []string{"kind=provision", "unfinished", "pods"}, []string{"no node yet"}},
		{"provisioned half, API silent", "install", []string{"kind=provision", "no-record", "api=", "node=unknown"}, nil},
		{"record lost, provisioned for another cluster", "refused already-node", []string{"kind=provision", "no-record", "cluster=prod"}, []string{"cluster lab → prod", "operation leave"}},

		{"image", "os-image drain", []string{"was-image=a", "image=b", "version=1.31.5"}, []string{"operating system image a → b", "Kubernetes 1.30.4 → 1.31.5"}},
		{"image and provider", "os-image drain", []string{"was-image=a", "image=b", "ssm=a"}, nil},
		{"image too new", "refused skew", []string{"was-image=a", "image=b", "version=1.32.1"}, nil},
		{"configuration of an appliance", "init", []string{"was-image=a", "image=a", `kubelet={"maxPods":77}`}, nil},
		{"version of an appliance without its image", "refused image", []string{"was-image=a", "image=a", "version=1.31.5"}, []string{"choose an image with Kubernetes 1.31.5"}},
		{"provider of an appliance without its image", "refused image", []string{"was-image=a", "image=a", "ssm=a"}, []string{"credential provider"}},
		{"damaged appliance", "os-image drain", []string{"was-image=a", "image=a", "no-kubelet"}, nil},
		{"appliance forced", "os-image drain", []string{"was-image=a", "image=a", "force"}, nil},
		{"appliance to agent mode", "refused image", []string{"was-image=a"}, []string{"cannot take the operating system image away"}},
		{"bare appliance with another image", "os-image", []string{"bare", "image=b", "booted=a", "kind=provision"}, []string{"it has booted a, not b"}},
		{"bare appliance with an unknown image", "os-image", []string{"bare", "image=b", "kind=provision"}, []string{"which image it has booted is not known"}},
		{"the booted image goes before the record", "os-image drain", []string{"was-image=b", "image=b", "booted=a"}, []string{"operating system image a → b"}},
		{"booted already, recorded otherwise", "init", []string{"was-image=a", "image=b", "booted=b", "version=1.31.5"}, []string{"Kubernetes 1.30.4 → 1.31.5"}},
		{"booted from an image that no profile names", "none", []string{"booted=a"}, nil},
		{"booted from an image, record lost", "init", []string{"booted=a", "no-record"}, []string{"not recorded"}},
		{"record of an appliance lost, provisioned", "init", []string{"kind=provision", "no-record", "image=a", "booted=a"}, []string{"not recorded"}},
		{"version of a booted appliance without its image", "refused image", []string{"was-image=a", "image=a", "booted=a", "version=1.31.5"}, []string{"choose an image with Kubernetes 1.31.5"}},
		{"bare appliance", "install", []string{"bare", "image=a", "booted=a", "kind=provision"}, nil},

		{"leave", "uninstall drain", []string{"kind=leave"}, []string{"leaves its cluster"}},
		{"leave, cordon false", "uninstall drain", []string{"kind=leave", "cordon=false"}, []string{"although the profile says cordon: false"}},
		{"leave, nothing there", "none", []string{"bare", "kind=leave"}, []string{"nothing of nodeadm's"}},
		{"leave, API silent", "refused api", []string{"kind=leave", "api="}, []string{"force it"}},
		{"leave, API silent, forced", "uninstall stop-kubelet", []string{"kind=leave", "api=", "force"}, nil},
		{"leave, Node deleted", "uninstall stop-kubelet", []string{"kind=leave", "node=missing"}, nil},
		{"leave, tracker lost", "uninstall drain tracker-restore", []string{"kind=leave", "tracker=none"}, []string{"tracker"}},
		{"leave, empty configuration", "uninstall drain stop-kubelet", []string{"kind=leave", "empty-config"}, nil},
		{"leave, tracker lost, old record", "refused unknown", []string{"kind=leave", "tracker=none", "old-record"}, nil},

		{"no access", "refused invalid", []string{"access="}, []string{"accessManagement"}},
		{"no version", "refused invalid", []string{"version="}, []string{"1.31.5"}},
		{"unknown kind", "refused invalid", []string{"kind=abort"}, []string{"ABORT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := healthy().apply(t, c.story)
			choice, err := change.Choose(s.applied, s.wanted, s.facts)
			if got := outcome(choice, err); got != c.want {
				t.Fatalf("Choose = %s (%v, %v), want %s", got, choice.Reasons, err, c.want)
			}
			text := strings.Join(choice.Reasons, "\n")
			if err != nil {
				text = err.Error()
			}
			for _, fragment := range c.fragments {
				if !strings.Contains(text, fragment) {
					t.Errorf("it says %q, not %q", text, fragment)
				}
			}
		})
	}
}
