package change

import (
	"strings"

	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// check refuses a path that cannot be gone now, or not with this operation.
func check(choice Choice, found []finding, applied Applied, wanted Wanted, facts Facts, target version) error {
	if wanted.Kind == agentv1.OperationKind_OPERATION_KIND_RECONFIGURE && choice.Path != Init {
		return refuse(NeedsMore, "cannot reconfigure: %s needs more than nodeadm init, namely the path %s; repave the host with 'hybridctl repave'",
			quoted(found, needInit), choice.Path)
	}
	if err := checkImage(choice, found, wanted, target); err != nil {
		return err
	}
	if wanted.NoCordon && facts.Node != Missing && (choice.Path == Upgrade || choice.Path == Reinstall) {
		return refuse(NotCordoned, "cannot go the path %s: the HybridProfile's drain options say cordon: false, but nodeadm upgrades and uninstalls only a node that is cordoned; set cordon: true",
			choice.Path)
	}
	if err := checkAPI(choice, applied, wanted, facts, target); err != nil {
		return err
	}
	return skewOf(facts, target)
}

// checkImage refuses on an appliance what only another image can change: its
// system is read-only to nodeadm.
func checkImage(choice Choice, found []finding, wanted Wanted, target version) error {
	image := imageOf(wanted.Node)
	switch {
	case choice.Path == OSImage && image == "":
		return refuse(NeedsImage, "cannot take the operating system image away: %s; choose a HybridProfile in appliance mode, or install the host anew in agent mode",
			quoted(found, needReinstall))
	case image != "" && choice.Path == Upgrade:
		return refuse(NeedsImage, "cannot change an appliance without another image: %s, but the image stays %s; choose an image with Kubernetes %s in the HybridProfile's OS layer",
			quoted(found, needInit), image, target)
	case image != "" && choice.Path == Reinstall:
		return refuse(NeedsImage, "cannot change an appliance without another image: %s, but the image stays %s; choose an image that is built for it, or have the host leave its pool and join the other one",
			quoted(found, needInstall), image)
	}
	return nil
}

// checkAPI refuses what needs an API server that does not answer. Forced, it may
// begin, but the minor version stays: the skew cannot be checked.
func checkAPI(choice Choice, applied Applied, wanted Wanted, facts Facts, target version) error {
	provision := wanted.Kind == agentv1.OperationKind_OPERATION_KIND_PROVISION
	if facts.APIVersion != "" || !facts.Host.Kubeconfig || provision && !facts.Pods {
		// A provision that came to no end has left a kubeconfig and no pods: nothing is
		// lost, and nodeadm init checks the skew.
		return nil
	}
	if provision {
		return refuse(APIUnknown, "cannot provision: pods of a former node lie on this host, and they cannot be moved away because the Kubernetes API did not answer; check the route to the VPC and the API endpoint ('hybridctl check'), or have the host leave (hybrid-agent operation leave --force)")
	}
	if !wanted.Force {
		return refuse(APIUnknown, "cannot begin: the Kubernetes API did not answer, and nodeadm needs it for the path %s; check the route to the VPC and the API endpoint ('hybridctl check'), or force it (--force): no pod is moved away then and nodeadm's own checks are left out, but the version stays, and the API must answer in the end for the node to be seen Ready, or what was in force is brought back",
			choice.Path)
	}
	before, ok := parseVersion(applied.KubernetesVersion)
	if !ok {
		before, ok = parseVersion(facts.KubeletVersion)
	}
	if !ok || before.major != target.major || before.minor != target.minor {
		return refuse(Skew, "cannot change Kubernetes %s to %s: the API server's version is not known because it did not answer, so the version skew cannot be checked, and force does not change that; try again when the API answers",
			orNone(applied.KubernetesVersion), target)
	}
	return nil
}

// skewOf checks the version against the API server's, where that is known;
// nodeadm init checks it once more.
func skewOf(facts Facts, target version) error {
	if facts.APIVersion == "" {
		return nil
	}
	api, ok := parseVersion(facts.APIVersion)
	if !ok {
		return refuse(Skew, "cannot check the version skew: the API server's version %q cannot be read; report it", facts.APIVersion)
	}
	return checkSkew(target, api)
}

// quoted names what needs more than that.
func quoted(found []finding, more need) string {
	var texts []string
	for _, one := range found {
		if one.need > more {
			texts = append(texts, one.text)
		}
	}
	return strings.Join(texts, "; ")
}

// leave is the path out of the cluster.
func leave(applied Applied, wanted Wanted, facts Facts) (Choice, error) {
	host := facts.Host
	if !applied.Recorded && host.Tracker == nodeadm.TrackerNone && !host.Kubelet && !host.Kubeconfig {
		return Choice{Path: None, Reasons: []string{"this host is no node, and nothing of nodeadm's is on it"}}, nil
	}
	if facts.APIVersion == "" && host.Kubeconfig && !wanted.Force {
		return Choice{}, refuse(APIUnknown, "cannot leave: the Kubernetes API did not answer, so the node's pods cannot be moved away; check the route to the VPC and the API endpoint ('hybridctl check'), or force it (--force): the pods are ended on this host then instead of moved away, and the Node object stays until it is deleted (kubectl delete node)")
	}
	choice := Choice{Path: Uninstall, Reasons: []string{"the host leaves its cluster"}, Drain: canDrain(facts), StopKubelet: mustStopKubelet(facts)}
	if wanted.NoCordon {
		choice.Reasons = append(choice.Reasons, "the node is cordoned although the profile says cordon: false, since it does not come back")
	}
	for _, damage := range damages(facts) {
		choice.Reasons = append(choice.Reasons, damage.text)
	}
	var err error
	if choice.Tracker, err = uninstallable(applied, facts); err != nil {
		return Choice{}, err
	}
	return choice, nil
}
