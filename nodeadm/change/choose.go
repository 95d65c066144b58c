package change

import (
	"slices"
	"strings"

	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of Forecast.reasons, in sentences and in bytes each.
const (
	maxReasons = 16
	maxReason  = 512
)

// Choose picks the path and explains it. The error is a *Refusal, which names the
// field and the next action. Every input gives one or the other.
func Choose(applied Applied, wanted Wanted, facts Facts) (Choice, error) {
	switch wanted.Kind {
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return leave(applied, wanted, facts)
	case agentv1.OperationKind_OPERATION_KIND_PROVISION,
		agentv1.OperationKind_OPERATION_KIND_REPAVE,
		agentv1.OperationKind_OPERATION_KIND_RECONFIGURE:
	default:
		return Choice{}, refuse(Invalid, "cannot plan an operation of kind %s; update hybrid-agent on this host", wanted.Kind)
	}
	target, ok := parseVersion(wanted.Node.GetKubernetesVersion())
	if !ok {
		return Choice{}, refuse(Invalid, "cannot plan towards Kubernetes version %q: not of the form 1.31.5; correct it in the HybridProfile", wanted.Node.GetKubernetesVersion())
	}
	if nodeadm.Provider(wanted.Node) == "" {
		return Choice{}, refuse(Invalid, "cannot plan: no access management is set; set accessManagement in the HybridCluster")
	}
	if !isNode(applied, facts) {
		return join(wanted, facts, target)
	}
	return alter(applied, wanted, facts, target)
}

// join is the path of a host that is no node.
func join(wanted Wanted, facts Facts, target version) (Choice, error) {
	if wanted.Kind == agentv1.OperationKind_OPERATION_KIND_RECONFIGURE {
		return Choice{}, refuse(NotNode, "cannot reconfigure: this host is no node yet; provision it with 'hybridctl provision'")
	}
	choice := Choice{Path: Install, Reasons: []string{"this host is no node yet"}}
	switch image := imageOf(wanted.Node); {
	case image == "" || image == facts.BootedOSImage:
	case facts.BootedOSImage == "":
		// Where it turns out to be booted, neither staging nor reboot has anything to do.
		choice.Path = OSImage
		choice.Reasons = append(choice.Reasons, "it is to boot "+image+", and which image it has booted is not known")
	default:
		choice.Path = OSImage
		choice.Reasons = append(choice.Reasons, "it has booted "+facts.BootedOSImage+", not "+image)
	}
	if facts.Host.Tracker == nodeadm.TrackerBroken {
		choice.Tracker = TrackerRemove
	}
	return choice, skewOf(facts, target)
}

// alter is the path of a node.
func alter(applied Applied, wanted Wanted, facts Facts, target version) (Choice, error) {
	found := append(differences(applied, wanted, facts), damages(facts)...)
	if wanted.Kind == agentv1.OperationKind_OPERATION_KIND_PROVISION {
		if err := checkProvision(applied, wanted, found); err != nil {
			return Choice{}, err
		}
	}
	path := pathOf(found, wanted, facts)
	choice := Choice{Path: path, Reasons: reasons(found, path, wanted.Force || wanted.Repeat)}
	if path == None {
		return choice, nil
	}
	if err := check(choice, found, applied, wanted, facts, target); err != nil {
		return Choice{}, err
	}
	return prepared(choice, applied, wanted, facts)
}

// checkProvision refuses to install over a node that is to become another.
func checkProvision(applied Applied, wanted Wanted, found []finding) error {
	differs := slices.ContainsFunc(found, func(f finding) bool { return f.need >= needReinstall })
	if applied.Recorded && (differs || applied.NodeDigest != wanted.NodeDigest) {
		return refuse(AlreadyNode, "cannot provision: this host already is a node with Kubernetes %s; changing it takes a repave ('hybridctl repave')", orNone(applied.KubernetesVersion))
	}
	if differs {
		return refuse(AlreadyNode, "cannot provision: nodeadm's files say that this host is a node already, and another one: %s; have it leave first (hybrid-agent operation leave), or repave it ('hybridctl repave')", quoted(found, needInstall))
	}
	return nil
}

// pathOf is the mildest path that mends and changes all that was found.
func pathOf(found []finding, wanted Wanted, facts Facts) Path {
	most, blocked := needNothing, false
	for _, one := range found {
		most, blocked = max(most, one.need), blocked || one.blocks
	}
	appliance := imageOf(wanted.Node) != ""
	switch {
	case most == needNothing && (wanted.Force || wanted.Repeat):
		return repeated(wanted, facts)
	case most == needNothing:
		return None
	case wanted.Kind == agentv1.OperationKind_OPERATION_KIND_PROVISION && !appliance:
		return Install
	case most == needImage, most == needInstall && appliance:
		return OSImage
	case most == needReinstall:
		return Reinstall
	case most == needInit:
		return Init
	case most == needInstall, blocked:
		return Install
	}
	return Upgrade
}

// repeated is the path where nothing differs and it is to be done once more.
func repeated(wanted Wanted, facts Facts) Path {
	switch {
	case wanted.Kind == agentv1.OperationKind_OPERATION_KIND_PROVISION:
		return Install
	case wanted.Kind == agentv1.OperationKind_OPERATION_KIND_RECONFIGURE, facts.APIVersion == "":
		return Init
	case imageOf(wanted.Node) != "":
		return OSImage
	}
	return Upgrade
}

// reasons puts what decided first.
func reasons(found []finding, path Path, force bool) []string {
	slices.SortStableFunc(found, func(a, b finding) int { return int(b.need) - int(a.need) })
	var texts []string
	for _, one := range found {
		texts = append(texts, strings.ToValidUTF8(one.text[:min(len(one.text), maxReason)], ""))
	}
	switch {
	case path == None && len(texts) == 0:
		texts = []string{"nothing that nodeadm sets up differs, and nothing is broken"}
	case force && quoted(found, needNothing) == "":
		texts = append([]string{"nothing differs; it is done once more because that was asked for"}, texts...)
	}
	return texts[:min(len(texts), maxReasons)]
}

// prepared adds what must be done around the path.
func prepared(choice Choice, applied Applied, wanted Wanted, facts Facts) (Choice, error) {
	choice.RemoveContainerdConfig = wanted.Node.GetContainerdConfig() == "" && (applied.Node == nil || applied.Node.GetContainerdConfig() != "")
	switch choice.Path {
	case Upgrade, OSImage, Install:
		choice.Drain = canDrain(facts)
	case Reinstall:
		choice.Drain = canDrain(facts)
		choice.StopKubelet = mustStopKubelet(facts)
		var err error
		if choice.Tracker, err = uninstallable(applied, facts); err != nil {
			return Choice{}, err
		}
		return choice, nil
	case None, Init, Uninstall:
	}
	if facts.Host.Tracker == nodeadm.TrackerBroken {
		choice.Tracker = TrackerRemove
	}
	return choice, nil
}
