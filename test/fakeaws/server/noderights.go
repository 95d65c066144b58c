package server

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sort"
	"strings"
)

// refusal is an answer of the API server other than success.
type refusal struct {
	code            int
	reason, message string
}

func (r refusal) Error() string { return r.message }

// refuse answers with the refusal that err holds; any other error is an internal one.
func refuse(w http.ResponseWriter, kind, name string, err error) {
	var r refusal
	switch {
	case errors.Is(err, errNotFound):
		notFound(w, kind, name)
	case errors.As(err, &r):
		kubeStatus(w, r.code, r.reason, r.message)
	default:
		kubeStatus(w, 500, "InternalError", err.Error())
	}
}

// nodeChange is what the API server and its NodeRestriction admission check of a changed Node: the object must be the one meant,
// and a node may change neither taints nor labels that are not kubelet's own below kubernetes.io and k8s.io.
func nodeChange(who identity, before, after object) error {
	name := fmt.Sprint(field(before, "metadata.name"))
	for _, what := range []string{"uid", "resourceVersion"} {
		if field(before, "metadata."+what) != field(after, "metadata."+what) {
			return refusal{409, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on nodes %q: the object has been modified; "+
				"please apply your changes to the latest version and try again", name)}
		}
	}
	if who.node == "" {
		return nil
	}
	if !reflect.DeepEqual(field(before, "spec.taints"), field(after, "spec.taints")) {
		return refusal{403, "Forbidden", fmt.Sprintf("nodes %q is forbidden: node %q is not allowed to modify taints", name, who.node)}
	}
	if labels := restrictedChanges(before, after); len(labels) > 0 {
		return refusal{403, "Forbidden", fmt.Sprintf("nodes %q is forbidden: is not allowed to modify labels: %s", name, strings.Join(labels, ", "))}
	}
	return nil
}

func restrictedChanges(before, after object) []string {
	old, _ := field(before, "metadata.labels").(map[string]any)
	now, _ := field(after, "metadata.labels").(map[string]any)
	changed := map[string]bool{}
	for key, value := range old {
		changed[key] = now[key] != value
	}
	for key, value := range now {
		changed[key] = old[key] != value
	}
	var names []string
	for key, is := range changed {
		if is && restricted(key) {
			names = append(names, key)
		}
	}
	sort.Strings(names)
	return names
}

// restricted follows plugin/pkg/admission/noderestriction and the list of kubelet's labels in
// staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go.
func restricted(label string) bool {
	namespace, _, ok := strings.Cut(label, "/")
	if !ok || !below(namespace, "kubernetes.io") && !below(namespace, "k8s.io") {
		return false
	}
	switch label {
	case "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
		"topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
		"failure-domain.beta.kubernetes.io/region", "beta.kubernetes.io/instance-type":
		return false
	}
	return !below(namespace, "kubelet.kubernetes.io") && !below(namespace, "node.kubernetes.io")
}

func below(namespace, domain string) bool {
	return namespace == domain || strings.HasSuffix(namespace, "."+domain)
}
