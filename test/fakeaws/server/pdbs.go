package server

import (
	"fmt"
	"net/http"
)

// pdbRoutes show budgets to administrators; a node may not read them.
func (s *Server) pdbRoutes(add func(string, handler)) {
	list := func(w http.ResponseWriter, r *http.Request, who identity) {
		if who.node != "" {
			kubeStatus(w, 403, "Forbidden", fmt.Sprintf("poddisruptionbudgets.policy is forbidden: User %q cannot list resource "+
				"\"poddisruptionbudgets\" in API group \"policy\"", who.user))
			return
		}
		selector := ""
		if ns := r.PathValue("ns"); ns != "" {
			selector = "metadata.namespace=" + ns
		}
		s.writeList(w, "policy/v1", "PodDisruptionBudgetList", s.list("pdbs", selector))
	}
	add("GET /apis/policy/v1/poddisruptionbudgets", list)
	add("GET /apis/policy/v1/namespaces/{ns}/poddisruptionbudgets", list)
}

// SetPDBs replaces the budgets by this JSON list of PodDisruptionBudget objects: spec.selector.matchLabels with spec.minAvailable or
// spec.maxUnavailable as numbers, or status.disruptionsAllowed, which then counts down.
func (s *Server) SetPDBs(list []byte) error {
	return s.replace("pdbs", list, podKey)
}

// budgets answers for the budgets that cover the pod: nil where it may go. Unless dry, an allowed disruption is used up.
func (s *Server) budgets(pod object, dry bool) object {
	if !running(pod) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var covering []object
	for _, pdb := range s.objects["pdbs"] {
		if covers(pdb, pod) {
			covering = append(covering, pdb)
		}
	}
	switch len(covering) {
	case 0:
		return nil
	case 1:
	default:
		return failure(500, "InternalError", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
	}
	pdb := covering[0]
	healthy, total := s.healthyLocked(pdb)
	allowed, counted := number(field(pdb, "status.disruptionsAllowed"))
	needed := healthy
	if !counted {
		needed = budget(pdb, total)
		allowed = healthy - needed
	}
	if allowed <= 0 {
		status := failure(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
		status["details"] = object{"causes": []any{object{"reason": "DisruptionBudget", "message": fmt.Sprintf(
			"The disruption budget %v needs %d healthy pods and has %d currently", field(pdb, "metadata.name"), needed, healthy)}}}
		return status
	}
	if counted && !dry {
		child(pdb, "status")["disruptionsAllowed"] = float64(allowed - 1)
	}
	return nil
}

func failure(code int, reason, message string) object {
	return object{"kind": "Status", "apiVersion": "v1", "metadata": object{}, "status": "Failure", "reason": reason, "message": message, "code": code}
}

func covers(pdb, pod object) bool {
	if field(pdb, "metadata.namespace") != field(pod, "metadata.namespace") {
		return false
	}
	labels, _ := field(pod, "metadata.labels").(map[string]any)
	want, _ := field(pdb, "spec.selector.matchLabels").(map[string]any)
	for key, value := range want {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// healthyLocked counts the budget's pods: running and not terminating, and all of them.
func (s *Server) healthyLocked(pdb object) (healthy, total int) {
	for _, pod := range s.objects["pods"] {
		if !covers(pdb, pod) {
			continue
		}
		total++
		if running(pod) {
			healthy++
		}
	}
	return healthy, total
}

// running: neither pending, finished nor terminating; a pod of the lab without a phase counts as running.
func running(pod object) bool {
	switch field(pod, "status.phase") {
	case "Pending", "Succeeded", "Failed":
		return false
	}
	return field(pod, "metadata.deletionTimestamp") == nil
}

// budget is how many healthy pods the budget wants of this many.
func budget(pdb object, total int) int {
	if least, ok := number(field(pdb, "spec.minAvailable")); ok {
		return least
	}
	if most, ok := number(field(pdb, "spec.maxUnavailable")); ok {
		return total - most
	}
	return 0
}

func number(v any) (int, bool) {
	n, ok := v.(float64)
	return int(n), ok
}
