package drain_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
)

// pod is one of the double's.
type pod struct {
	name, uid, phase       string
	owner                  string // kind of the controller; "apps/v1/DaemonSet" by default of its API
	mirror, emptyDir       bool
	app                    string
	deleted                time.Time     // deletionTimestamp
	ends                   time.Duration // after it was asked to; negative: never
	returns                int           // how often it is made anew on this node
	goneAt                 time.Time
	ending                 time.Duration // it was asked to go before the drain, and ends after this
	answer                 int           // every removal gets this code; 0: none
	asked, dryRuns, denied int
}

// budget covers the pods of one app: that many of them may be ending at once,
// from some time on.
type budget struct {
	name, app string
	allowed   int
	opens     time.Duration // after the client was made
}

// cluster is an API server with the pods of one node, by the rules of
// pkg/registry/core/pod of k8s.io/kubernetes as far as a drain meets them.
type cluster struct {
	mutex   sync.Mutex
	pods    []*pod
	budgets []budget
	// modern answers 403 instead of 404 for pods that are gone (from 1.32).
	modern bool
	// page is how many pods a list has at most; 0: all.
	page int
	// down is how many lists fail from now on.
	down int
	// vanishing is removed by somebody else just after the first list.
	vanishing string
	// requests are all that would change something, as "evict shop/web-0 grace=60".
	requests []string
	lists    int
	serial   int
	begun    time.Time
}

// client asks the double without a network, so that time may be synctest's.
func (c *cluster) client() *nodeapi.Client {
	c.begun = time.Now()
	for _, p := range c.pods {
		if p.ending > 0 {
			p.deleted, p.goneAt = c.begun.Truncate(time.Second), c.begun.Add(p.ending)
		}
	}
	return nodeapi.New("http://cluster", &http.Client{Transport: direct{c}})
}

type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.settle()
	if r.Method == http.MethodGet {
		c.list(w, r)
		return
	}
	c.remove(w, r)
}

// settle ends pods whose time has come, and makes some of them anew.
func (c *cluster) settle() {
	now := time.Now()
	for i := 0; i < len(c.pods); i++ {
		p := c.pods[i]
		if p.goneAt.IsZero() || p.goneAt.After(now) {
			continue
		}
		c.pods = slices.Delete(c.pods, i, i+1)
		i--
		if p.returns > 0 {
			c.serial++
			again := *p
			again.uid, again.returns, again.deleted, again.goneAt = fmt.Sprintf("%s-%d", p.uid, c.serial), p.returns-1, time.Time{}, time.Time{}
			c.pods = append(c.pods, &again)
		}
	}
}

func (c *cluster) list(w http.ResponseWriter, r *http.Request) {
	c.lists++
	if c.down > 0 {
		c.down--
		status(w, http.StatusServiceUnavailable, "etcd has no leader", "")
		return
	}
	if r.URL.Path != "/api/v1/pods" || r.URL.Query().Get("fieldSelector") != "spec.nodeName=edge-1" {
		status(w, http.StatusForbidden, "can only list pods with spec.nodeName field selector", "")
		return
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	to, next := len(c.pods), ""
	if c.page > 0 && from+c.page < to {
		to = from + c.page
		next = strconv.Itoa(to)
	}
	items := []any{}
	for _, p := range c.pods[min(from, to):to] {
		items = append(items, p.object())
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"continue": next}, "items": items})
	c.pods = slices.DeleteFunc(c.pods, func(p *pod) bool { return p.name == c.vanishing })
}

func (p *pod) object() map[string]any {
	meta := map[string]any{"namespace": "shop", "name": p.name, "uid": p.uid}
	if p.mirror {
		meta["annotations"] = map[string]any{"kubernetes.io/config.mirror": "hash"}
	}
	if p.owner != "" {
		meta["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": p.owner, "controller": true}}
	}
	if !p.deleted.IsZero() {
		meta["deletionTimestamp"] = p.deleted.UTC().Format(time.RFC3339)
	}
	spec := map[string]any{}
	if p.emptyDir {
		spec["volumes"] = []any{map[string]any{"emptyDir": map[string]any{}}}
	}
	return map[string]any{"metadata": meta, "spec": spec, "status": map[string]any{"phase": p.phase}}
}

// remove is an eviction (POST) or a deletion.
func (c *cluster) remove(w http.ResponseWriter, r *http.Request) {
	var options, body struct {
		DeleteOptions      json.RawMessage `json:"deleteOptions"`
		DryRun             []string        `json:"dryRun"`
		GracePeriodSeconds *int            `json:"gracePeriodSeconds"`
		Preconditions      struct {
			UID string `json:"uid"`
		} `json:"preconditions"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	options = body
	evict := strings.HasSuffix(r.URL.Path, "/eviction")
	verb := "delete"
	if evict {
		verb = "evict"
		_ = json.Unmarshal(body.DeleteOptions, &options)
	}
	dry := slices.Equal(options.DryRun, []string{"All"})
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/shop/pods/"), "/")
	grace := "own"
	if options.GracePeriodSeconds != nil {
		grace = strconv.Itoa(*options.GracePeriodSeconds)
	}
	if !dry {
		c.requests = append(c.requests, fmt.Sprintf("%s %s grace=%s uid=%s", verb, parts[0], grace, options.Preconditions.UID))
	}
	i := slices.IndexFunc(c.pods, func(p *pod) bool { return p.name == parts[0] })
	switch {
	case i < 0 && c.modern:
		status(w, http.StatusForbidden, "no relationship found between node 'edge-1' and this object", "")
	case i < 0:
		status(w, http.StatusNotFound, "pods not found", "")
	case options.Preconditions.UID != c.pods[i].uid:
		status(w, http.StatusConflict, "the UID in the precondition does not match", "")
	default:
		c.removePod(w, c.pods[i], evict, dry)
	}
}

func (c *cluster) removePod(w http.ResponseWriter, p *pod, evict, dry bool) {
	if p.answer != 0 {
		status(w, p.answer, "no", "")
		return
	}
	var covering []budget
	for _, b := range c.budgets {
		if b.app == p.app && p.app != "" {
			covering = append(covering, b)
		}
	}
	running := p.phase == "Running" && p.deleted.IsZero()
	switch {
	case evict && running && len(covering) > 1:
		status(w, http.StatusInternalServerError, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.", "")
		return
	case evict && running && len(covering) == 1 && !c.allows(covering[0]):
		p.denied++
		status(w, http.StatusTooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget.",
			"The disruption budget "+covering[0].name+" needs 2 healthy pods and has 2 currently")
		return
	}
	if dry {
		p.dryRuns++
	} else {
		p.asked++
		if p.deleted.IsZero() {
			p.deleted = time.Now().Truncate(time.Second) // as the API has it
			if p.ends >= 0 {
				p.goneAt = time.Now().Add(p.ends)
			}
		}
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprint(w, `{"kind":"Status","status":"Success"}`)
}

// allows tells whether another pod of the budget may end now.
func (c *cluster) allows(b budget) bool {
	ending := 0
	for _, p := range c.pods {
		if p.app == b.app && !p.deleted.IsZero() {
			ending++
		}
	}
	return time.Since(c.begun) >= b.opens && ending < b.allowed
}

func status(w http.ResponseWriter, code int, message, cause string) {
	w.WriteHeader(code)
	details := map[string]any{}
	if cause != "" {
		details["causes"] = []any{map[string]any{"reason": "DisruptionBudget", "message": cause}}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "message": message, "details": details})
}

// left lists the names of the pods that are there, after their ends.
func (c *cluster) left() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.settle()
	names := []string{}
	for _, p := range c.pods {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return names
}

// options are the defaults.
func options() drain.Options { return drain.FromProto(nil) }
