package agent

import (
	"fmt"
	"slices"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of HostStatus.remarks.
const (
	maxRemarks = 16
	maxRemark  = 512
)

// remarks is what has to be done by hand, each with the exact command: what a node
// may not give itself.
func (f *facts) remarks() []string {
	name := f.node.state.GetNodeName()
	if f.node.state.GetAppliedNodeDigest() == "" || name == "" || !f.assignment.inPool() {
		return nil
	}
	var out []string
	add := func(what, command string) {
		if len(out) < maxRemarks {
			out = append(out, brief(fmt.Sprintf("%s: %s", what, command), maxRemark))
		}
	}
	labels := f.assignment.msg.GetLabels()
	for _, key := range f.node.restricted {
		if value, ok := labels[key]; ok {
			add("a node may not give itself this label", fmt.Sprintf("kubectl label node %s %s=%s --overwrite", name, key, value))
		}
	}
	for _, taint := range f.missingTaints() {
		add("a node may not give itself this taint", fmt.Sprintf("kubectl taint node %s %s", name, taintText(taint)))
	}
	for _, taint := range f.surplusTaints() {
		add("a node may not take this taint away", fmt.Sprintf("kubectl taint node %s %s:%s-", name, taint.GetKey(), taint.GetEffect()))
	}
	return out
}

func taintText(t *agentv1.Taint) string {
	if t.GetValue() == "" {
		return t.GetKey() + ":" + t.GetEffect()
	}
	return t.GetKey() + "=" + t.GetValue() + ":" + t.GetEffect()
}

// missingTaints are those of the pool that the Node lacks.
func (f *facts) missingTaints() []*agentv1.Taint {
	return without(f.assignment.msg.GetTaints(), f.node.state.GetTaints())
}

// surplusTaints are those that the Node was registered with and has on, although the
// pool does not want them any more. Taints of others are their own affair.
func (f *facts) surplusTaints() []*agentv1.Taint {
	gone := without(f.node.state.GetAppliedNode().GetRegistrationTaints(), f.assignment.msg.GetTaints())
	return without(gone, without(gone, f.node.state.GetTaints()))
}

// without is what of all is not among others.
func without(all, others []*agentv1.Taint) []*agentv1.Taint {
	var rest []*agentv1.Taint
	for _, t := range all {
		if !slices.ContainsFunc(others, func(o *agentv1.Taint) bool { return taintText(o) == taintText(t) }) {
			rest = append(rest, t)
		}
	}
	return rest
}
