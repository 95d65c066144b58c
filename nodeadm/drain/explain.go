package drain

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"hybridagent/nodeadm/nodeapi"
)

// budgetCause and namespaceCause are reasons in answers of the API server
// (k8s.io/api/policy/v1, DisruptionBudgetCause; k8s.io/api/core/v1,
// NamespaceTerminatingCause).
const (
	budgetCause    = "DisruptionBudget"
	namespaceCause = "NamespaceTerminating"
)

// explain reads off a failed removal what keeps the pod.
func explain(pod nodeapi.Pod, err error) Stuck {
	stuck := Stuck{Pod: pod, Why: Failing, Message: err.Error()}
	var status *nodeapi.StatusError
	if !errors.As(err, &status) {
		return stuck
	}
	stuck.Message = status.Message
	for _, cause := range status.Causes {
		if cause.Reason != budgetCause {
			continue
		}
		stuck.Why, stuck.Message = Budget, cause.Message
		// pkg/registry/core/pod/storage/eviction.go of k8s.io/kubernetes.
		if rest, ok := strings.CutPrefix(cause.Message, "The disruption budget "); ok {
			name, _, _ := strings.Cut(rest, " ")
			stuck.Budgets = append(stuck.Budgets, name)
		}
	}
	switch {
	// A pod with several budgets is refused with 500 and this sentence alone.
	case status.Code == http.StatusInternalServerError && strings.Contains(status.Message, "more than one PodDisruptionBudget"):
		stuck.Why = Budget
	case status.Code == http.StatusForbidden && !inEndingNamespace(status):
		stuck.Why = Forbidden
	}
	return stuck
}

// inEndingNamespace tells a refusal that passes once the namespace's own removal
// reaches the pod.
func inEndingNamespace(status *nodeapi.StatusError) bool {
	return slices.ContainsFunc(status.Causes, func(cause nodeapi.StatusCause) bool { return cause.Reason == namespaceCause })
}
