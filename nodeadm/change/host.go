package change

import (
	"fmt"
	"strings"

	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// damages lists what is broken on a host that is a node.
func damages(facts Facts) []finding {
	host := facts.Host
	var found []finding
	add := func(broken bool, need need, text string) {
		if broken {
			found = append(found, finding{need: need, text: text, blocks: true})
		}
	}
	add(host.Tracker == nodeadm.TrackerNone, needInstall,
		"nodeadm's tracker "+nodeadm.TrackerPath+" is missing: without it nodeadm does nothing and says that it is done")
	add(host.Tracker == nodeadm.TrackerBroken, needInstall,
		"nodeadm's tracker "+nodeadm.TrackerPath+" is damaged: nodeadm crashes on it")
	add(!host.Kubelet, needInstall, "the kubelet binary "+nodeadm.KubeletPath+" is missing")
	add(host.KubeletConfigEmpty, needInit, "kubelet's configuration is an empty file: nodeadm upgrade and uninstall crash on it")
	add(!host.Kubeconfig, needInit, "kubelet's kubeconfig "+nodeadm.KubeconfigPath+" is missing")
	add(facts.Node == Missing, needInit, "the Kubernetes API has no Node of this host: kubelet registers it when it is started anew")
	switch facts.KubeletUnit {
	case "", "active", "reloading":
	default:
		// nodeadm upgrade leaves its checks out then, and works.
		found = append(found, finding{need: needInit, text: fmt.Sprintf("kubelet.service is %s, not active", facts.KubeletUnit)})
	}
	return found
}

// isNode reports whether the host was brought into a cluster before. A record may be
// lost, and the tracker with it: pods tell as well.
func isNode(applied Applied, facts Facts) bool {
	return applied.Recorded || !applied.Unfinished && facts.Host.Kubeconfig && (facts.Host.Tracker == nodeadm.TrackerOK || facts.Node == Exists || facts.Pods)
}

// uninstallable says what happens to the tracker so that uninstall can work.
func uninstallable(applied Applied, facts Facts) (TrackerAction, error) {
	if facts.Host.Tracker == nodeadm.TrackerOK {
		return TrackerKeep, nil
	}
	if nodeadm.Provider(applied.Node) != "" {
		return TrackerRestore, nil
	}
	return TrackerKeep, refuse(NotKnown,
		"cannot uninstall: nodeadm's tracker %s is missing or damaged, and it is not recorded what was installed; remove a damaged tracker and run 'nodeadm install VERSION -p PROVIDER -s SOURCE -r REGION' on the host as it was installed, which writes a new one, then try again",
		nodeadm.TrackerPath)
}

// mustStopKubelet reports whether nodeadm uninstall would refuse or crash while
// kubelet runs: its checks, made only then, need kubelet's configuration, the
// API and the Node (uninstall.go:99-118).
func mustStopKubelet(facts Facts) bool {
	return facts.Host.KubeletConfigEmpty || !facts.Host.Kubeconfig || facts.Node == Missing || facts.APIVersion == ""
}

// canDrain reports whether there is a Node whose pods can be moved.
func canDrain(facts Facts) bool { return facts.APIVersion != "" && facts.Node != Missing }

func providerOf(applied Applied, facts Facts) string {
	if name := nodeadm.Provider(applied.Node); name != "" {
		return name
	}
	return facts.Host.Provider
}

func sourceOf(applied Applied, facts Facts) string {
	if applied.Node != nil {
		return nodeadm.ContainerdSource(applied.Node)
	}
	return facts.Host.ContainerdSource
}

func imageOf(spec *agentv1.NodeSpec) string { return spec.GetOsImage().GetUri() }

func nodeNameOf(spec *agentv1.NodeSpec) string {
	return spec.GetAccess().GetIamRolesAnywhere().GetNodeName()
}

func providerName(provider string) string {
	switch provider {
	case nodeadm.ProviderSSM:
		return "SSM"
	case nodeadm.ProviderRolesAnywhere:
		return "IAM Roles Anywhere"
	}
	return "none"
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// few names at most eight.
func few(names []string) string {
	if len(names) > 8 {
		return strings.Join(names[:8], ", ") + fmt.Sprintf(" and %d more", len(names)-8)
	}
	return strings.Join(names, ", ")
}
