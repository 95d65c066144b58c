package drain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hybridagent/nodeadm/nodeapi"
)

// Why says what keeps a pod on its node.
type Why string

// The reasons.
const (
	// DaemonSet: it belongs to one, and ignoreDaemonSets is false.
	DaemonSet Why = "daemon-set"
	// LocalData: it uses emptyDir, and deleteLocalData is false.
	LocalData Why = "local-data"
	// Unmanaged: it has no controller, and force is false.
	Unmanaged Why = "unmanaged"
	// Budget: a PodDisruptionBudget does not allow its eviction now.
	Budget Why = "budget"
	// Forbidden: the API server does not let the node remove it.
	Forbidden Why = "forbidden"
	// Ending: it was asked to go and has not ended.
	Ending Why = "ending"
	// Failing: the request for its removal failed otherwise.
	Failing Why = "failing"
	// Arrived: it was put here while the node was drained.
	Arrived Why = "arrived"
)

// action is what an operator does about it.
func (w Why) action() string {
	switch w {
	case DaemonSet:
		return "set ignoreDaemonSets to true in the HybridProfile's drain options"
	case LocalData:
		return "save what these pods keep in emptyDir volumes and delete them, or set deleteLocalData to true"
	case Unmanaged:
		return "delete these pods yourself, or set force to true"
	case Budget:
		return "give the workload more ready replicas or relax its PodDisruptionBudget (kubectl get pdb -A), or set a longer timeout or disableEviction"
	case Forbidden:
		return "check that no admission policy keeps nodes from removing their pods, and delete the pods with kubectl"
	case Ending:
		return "look why the pods do not end (kubectl describe pod: finalizers, volumes; kubelet's log), or set a longer timeout or a shorter gracePeriod"
	case Arrived:
		return "cordon the node, and look what puts pods on it in spite of that"
	default:
		return "try again when the API server takes the requests"
	}
}

// Stuck is a pod that cannot be removed.
type Stuck struct {
	// Pod that stays.
	Pod nodeapi.Pod
	// Why it stays.
	Why Why
	// Message is what the API server said; may be empty.
	Message string
	// Budgets are the names of the PodDisruptionBudgets, in the pod's namespace, as
	// far as the API server tells them.
	Budgets []string
}

// String names the pod and the reason.
func (s Stuck) String() string {
	reason := map[Why]string{
		DaemonSet: "belongs to a DaemonSet", LocalData: "uses emptyDir volumes, whose content would be lost",
		Unmanaged: "has no controller that makes it anew", Ending: "was asked to go and has not ended",
		Arrived: "was put here during the drain",
	}[s.Why]
	switch {
	case reason != "":
	case len(s.Budgets) > 0:
		reason = "PodDisruptionBudget " + strings.Join(s.Budgets, ", ") + ": " + s.Message
	default:
		reason = s.Message
	}
	return fmt.Sprintf("%s (%s)", s.Pod, reason)
}

// Blocked is the error of a drain that did not empty the node, found with
// errors.As.
type Blocked struct {
	// Node that was drained.
	Node string
	// Begun says that pods were asked to go; false: nothing was changed.
	Begun bool
	// After is how long it was tried.
	After time.Duration
	// Total is how many pods were to go, and Pods are those that stay.
	Total int
	Pods  []Stuck
	// Err is why it was given up, if not because of the pods.
	Err error
}

// maxNamed bounds how many pods a message names.
const maxNamed = 10

// Error names the pods, what keeps them, and the next actions.
func (b *Blocked) Error() string {
	var text strings.Builder
	if b.Begun {
		fmt.Fprintf(&text, "cannot drain Node %s within %v: %d of %d pods are left: ", b.Node, b.After.Round(time.Second), len(b.Pods), b.Total)
	} else {
		fmt.Fprintf(&text, "cannot drain Node %s: %d of %d pods may not be removed, and nothing was: ", b.Node, len(b.Pods), b.Total)
	}
	var named, actions []string
	for i, stuck := range b.Pods {
		if i < maxNamed {
			named = append(named, stuck.String())
		}
		if action := stuck.Why.action(); !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	if more := len(b.Pods) - maxNamed; more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	text.WriteString(strings.Join(named, ", "))
	if b.Err != nil {
		fmt.Fprintf(&text, "; %v", b.Err)
	}
	text.WriteString("; " + strings.Join(actions, "; "))
	return text.String()
}

// Unwrap returns why it was given up.
func (b *Blocked) Unwrap() error { return b.Err }

// Budgets lists the PodDisruptionBudgets that stand in the way, namespace/name.
func (b *Blocked) Budgets() []string {
	var names []string
	for _, stuck := range b.Pods {
		for _, budget := range stuck.Budgets {
			names = append(names, stuck.Pod.Namespace+"/"+budget)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
