package server

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Annotations by which the lab says what becomes of a pod.
const (
	// GoneAfter is how many milliseconds an evicted or deleted pod stays, terminating; absent or 0: gone at once, negative: it
	// stays until it is deleted with a grace period of 0.
	GoneAfter = "lab.hybrid/gone-after-ms"
	// Replacement makes a controller's new pod appear once this one is gone: on the node named, on the first other node by name
	// that takes pods where that is AnyNode, or without one (Pending) where it is empty or there is none.
	Replacement = "lab.hybrid/replacement"
)

func (s *Server) podRoutes(add func(string, handler)) {
	const pod = "/api/v1/namespaces/{ns}/pods/{name}"
	add("GET /api/v1/pods", s.listPods)
	add("GET /api/v1/namespaces/{ns}/pods", s.listPods)
	add("GET "+pod, func(w http.ResponseWriter, r *http.Request, who identity) {
		if obj, err := s.podFor(r, who); err != nil {
			refuse(w, "pods", r.PathValue("name"), err)
		} else {
			writeJSON(w, 200, obj)
		}
	})
	add("DELETE "+pod, s.deletePod)
	add("POST "+pod+"/eviction", s.evictPod)
}

func (s *Server) listPods(w http.ResponseWriter, r *http.Request, who identity) {
	selector := r.URL.Query().Get("fieldSelector")
	if who.node != "" && !strings.Contains(","+selector+",", ",spec.nodeName="+who.node+",") {
		kubeStatus(w, 403, "Forbidden", "pods is forbidden: node "+who.node+" can only list pods with spec.nodeName field selector")
		return
	}
	if ns := r.PathValue("ns"); ns != "" {
		selector += ",metadata.namespace=" + ns
	}
	s.writeList(w, "v1", "PodList", s.list("pods", selector))
}

// podFor returns the pod of the request. A node sees its own pods only; since Kubernetes 1.32 a pod that is gone is forbidden to it
// as well, not missing.
func (s *Server) podFor(r *http.Request, who identity) (object, error) {
	pod := s.get("pods", key(r))
	if pod == nil && who.node != "" && s.minor() >= 32 || pod != nil && who.node != "" && field(pod, "spec.nodeName") != who.node {
		return nil, refusal{403, "Forbidden", fmt.Sprintf("pods %q is forbidden: User %q cannot access resource \"pods\" in API group \"\" "+
			"in the namespace %q: no relationship found between node %q and this object", r.PathValue("name"), who.user, r.PathValue("ns"), who.node)}
	}
	if pod == nil {
		return nil, errNotFound
	}
	return pod, nil
}

func (s *Server) minor() int {
	_, minor, _ := strings.Cut(s.ClusterVersion(), ".")
	n, _ := strconv.Atoi(minor)
	return n
}

// deleteOptions are those of meta/v1, from the body or the query.
type deleteOptions struct {
	GracePeriodSeconds *int64   `json:"gracePeriodSeconds"`
	DryRun             []string `json:"dryRun"`
	Preconditions      struct {
		UID string `json:"uid"`
	} `json:"preconditions"`
}

func (o *deleteOptions) query(r *http.Request) {
	q := r.URL.Query()
	o.DryRun = append(o.DryRun, q["dryRun"]...)
	if n, err := strconv.ParseInt(q.Get("gracePeriodSeconds"), 10, 64); err == nil {
		o.GracePeriodSeconds = &n
	}
}

func (o *deleteOptions) dry() bool { return contains(o.DryRun, "All") }

func readOptions(r *http.Request, into any) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return refusal{400, "BadRequest", "cannot read the options: " + err.Error()}
	}
	return nil
}

func (o *deleteOptions) meant(pod object) error {
	if uid := o.Preconditions.UID; uid != "" && uid != field(pod, "metadata.uid") {
		return refusal{409, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on Pod %q: the UID in the precondition (%s) does not match "+
			"the UID in record (%v). The object might have been deleted and then recreated", field(pod, "metadata.name"), uid, field(pod, "metadata.uid"))}
	}
	return nil
}

func (s *Server) deletePod(w http.ResponseWriter, r *http.Request, who identity) {
	var opts deleteOptions
	err := readOptions(r, &opts)
	var pod object
	if err == nil {
		opts.query(r)
		pod, err = s.podFor(r, who)
	}
	if err == nil {
		err = opts.meant(pod)
	}
	if err != nil {
		refuse(w, "pods", r.PathValue("name"), err)
		return
	}
	if !opts.dry() {
		pod = s.terminate(pod, opts.GracePeriodSeconds)
	}
	writeJSON(w, 200, pod)
}

// evictPod is policy/v1: what would violate a budget is answered with 429 and no Retry-After; finished, pending and terminating
// pods are taken without asking.
func (s *Server) evictPod(w http.ResponseWriter, r *http.Request, who identity) {
	var eviction struct {
		DeleteOptions deleteOptions `json:"deleteOptions"`
	}
	err := readOptions(r, &eviction)
	opts := &eviction.DeleteOptions
	var pod object
	if err == nil {
		opts.query(r)
		pod, err = s.podFor(r, who)
	}
	if err == nil {
		err = opts.meant(pod)
	}
	if err != nil {
		refuse(w, "pods", r.PathValue("name"), err)
		return
	}
	if status := s.budgets(pod, opts.dry()); status != nil {
		writeJSON(w, status["code"].(int), status)
		return
	}
	if !opts.dry() {
		s.terminate(pod, opts.GracePeriodSeconds)
	}
	writeJSON(w, 201, object{"kind": "Status", "apiVersion": "v1", "metadata": object{}, "status": "Success"})
}

// terminate marks the pod as terminating and takes it away after its delay; a grace period of 0 takes it away at once.
func (s *Server) terminate(pod object, grace *int64) object {
	seconds := int64(30)
	if grace != nil {
		seconds = *grace
	}
	delay, _ := strconv.Atoi(annotation(pod, GoneAfter))
	if seconds == 0 || delay == 0 {
		s.vanish(pod)
		return pod
	}
	meta := child(pod, "metadata")
	if meta["deletionTimestamp"] != nil {
		return pod
	}
	meta["deletionTimestamp"] = time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339)
	meta["deletionGracePeriodSeconds"] = seconds
	pod = s.put("pods", podKey(pod), pod)
	if delay > 0 {
		time.AfterFunc(time.Duration(delay)*time.Millisecond, func() { s.vanish(pod) })
	}
	return pod
}

// vanish removes the pod, if it still is this one, and lets its controller make another.
func (s *Server) vanish(pod object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := podKey(pod)
	kept := s.objects["pods"][key]
	if kept == nil || field(kept, "metadata.uid") != field(pod, "metadata.uid") {
		return
	}
	delete(s.objects["pods"], key)
	annotations, _ := field(kept, "metadata.annotations").(map[string]any)
	node, replaced := annotations[Replacement]
	if !replaced {
		return
	}
	next := clone(kept)
	meta := child(next, "metadata")
	for _, name := range []string{"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"} {
		delete(meta, name)
	}
	meta["name"] = fmt.Sprintf("%v-r%d", meta["name"], s.version)
	if node == AnyNode {
		node = s.schedule(field(kept, "spec.nodeName"))
	}
	child(next, "spec")["nodeName"] = node
	child(next, "status")["phase"] = "Running"
	if node == "" {
		child(next, "status")["phase"] = "Pending"
	}
	s.putLocked("pods", podKey(next), next)
}

// AnyNode as a Replacement leaves the choice of the node to the stand-in.
const AnyNode = "*"

// schedule is the first node by name that is not the former one and takes pods; empty: none. s.mu is held.
func (s *Server) schedule(former any) string {
	for _, name := range slices.Sorted(maps.Keys(s.objects["nodes"])) {
		if name != former && field(s.objects["nodes"][name], "spec.unschedulable") != true {
			return name
		}
	}
	return ""
}

func podKey(pod object) string {
	return fmt.Sprintf("%v/%v", field(pod, "metadata.namespace"), field(pod, "metadata.name"))
}

func annotation(obj object, name string) string {
	annotations, _ := field(obj, "metadata.annotations").(map[string]any)
	return fmt.Sprint(orEmpty(annotations[name]))
}

// SetPods replaces the pods by this JSON list of Pod objects: namespace, name, spec.nodeName, and whatever else the test is about
// (owners, phase, annotations, volumes, deletionTimestamp).
func (s *Server) SetPods(list []byte) error {
	return s.replace("pods", list, podKey)
}

// Pods returns the pods as the API shows them.
func (s *Server) Pods() []map[string]any {
	var pods []map[string]any
	for _, item := range s.list("pods", "") {
		pods = append(pods, item.(object))
	}
	return pods
}

func (s *Server) replace(kind string, list []byte, key func(object) string) error {
	var objs []object
	if err := json.Unmarshal(list, &objs); err != nil {
		return fmt.Errorf("cannot read the list of %s: %w", kind, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[kind] = map[string]object{}
	for _, obj := range objs {
		s.putLocked(kind, key(obj), obj)
	}
	return nil
}
