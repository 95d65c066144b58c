package agent

import (
	"fmt"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/systemd"
)

// The units that a node needs, as nodeadm names them.
const (
	containerdUnit = "containerd.service"
	kubeletUnit    = "kubelet.service"
	ssmAgentUnit   = "amazon-ssm-agent.service"
	ssmSnapUnit    = "snap.amazon-ssm-agent.amazon-ssm-agent.service" // Ubuntu's
)

// unitTrouble says which of the units that a node needs does not run; empty where
// all do, where systemd cannot be asked, and while an operation stops and starts
// them.
func (f *facts) unitTrouble() (reason, message string) {
	if f.operation.running {
		return "", ""
	}
	for _, unit := range f.node.units {
		if unit.Active == "active" {
			continue
		}
		switch unit.Name {
		case containerdUnit:
			if unit.Load == "not-found" {
				return "ContainerdMissing", "containerd.service does not exist on this host any more; install containerd again, in the host's image or with its package manager"
			}
			return "ContainerdStopped", fmt.Sprintf("containerd.service is %s (%s), so no pod can run; look at \"journalctl -u containerd\", then \"systemctl restart containerd kubelet\"", unit.Active, unit.Sub)
		case kubeletUnit:
			if unit.Load == "not-found" {
				return "KubeletMissing", "kubelet.service does not exist on this host any more; run \"sudo hybrid-agent operation repair\""
			}
			return "KubeletStopped", fmt.Sprintf("kubelet.service is %s (%s); look at \"journalctl -u kubelet\", then \"systemctl restart kubelet\"", unit.Active, unit.Sub)
		case ssmAgentUnit, ssmSnapUnit:
			if f.usesSSM() && unit.Load != "not-found" {
				return "SSMAgentStopped", fmt.Sprintf("%s is %s (%s): the node's credentials end within the hour; run \"systemctl restart %s\"", unit.Name, unit.Active, unit.Sub, strings.TrimSuffix(unit.Name, ".service"))
			}
		}
	}
	return "", ""
}

// usesSSM says whether the node in force authenticates by Systems Manager.
func (f *facts) usesSSM() bool { return usesSSM(f.node.state.GetAppliedNode()) }

func usesSSM(spec *agentv1.NodeSpec) bool { return spec.GetAccess().GetSsm() != nil }

// unitTexts are the units for the status, in the words of systemctl.
func unitTexts(units []systemd.UnitState) []string {
	var texts []string
	for _, unit := range units {
		if unit.Load == "not-found" && (unit.Name == ssmAgentUnit || unit.Name == ssmSnapUnit) {
			continue
		}
		state := fmt.Sprintf("%s %s (%s)", unit.Name, unit.Active, unit.Sub)
		if unit.Load != "loaded" {
			state = unit.Name + " " + unit.Load
		}
		texts = append(texts, state)
	}
	return texts
}
