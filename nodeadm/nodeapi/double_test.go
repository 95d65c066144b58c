package nodeapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"hybridagent/nodeadm/nodeapi"
)

// double keeps one Node as the API server does: merge patches, and a conflict
// where the patch was made for another version.
type double struct {
	mutex   sync.Mutex
	node    map[string]any
	version int
	patches int
	// rivals is how many changes by others come in between.
	rivals int
	// lists holds the pages of each list.
	lists map[string][]string
	// gone is how often a page to go on from is forgotten.
	gone int
}

func newDouble(t *testing.T, node map[string]any) (*double, *nodeapi.Client) {
	t.Helper()
	d := &double{node: node, lists: map[string][]string{}}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	return d, nodeapi.New(server.URL, server.Client())
}

func edge1(spec, annotations, labels map[string]any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": "edge-1", "annotations": annotations, "labels": labels},
		"spec":     spec,
	}
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/version":
		_, _ = fmt.Fprint(w, `{"gitVersion":"v1.31.5-eks-1"}`)
	case d.lists[r.URL.Path] != nil:
		d.list(w, r)
	case r.URL.Path != "/api/v1/nodes/edge-1":
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"kind":"Status","reason":"NotFound","message":"not found"}`)
	case r.Method == http.MethodPatch:
		d.patch(w, r)
	default:
		d.stamp()
		_ = json.NewEncoder(w).Encode(d.node)
	}
}

func (d *double) stamp() {
	d.node["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(d.version)
}

func (d *double) patch(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/merge-patch+json" {
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return
	}
	if d.rivals > 0 {
		d.rivals--
		d.version++
	}
	body, _ := io.ReadAll(r.Body)
	var patch map[string]any
	_ = json.Unmarshal(body, &patch)
	if v := patch["metadata"].(map[string]any)["resourceVersion"]; v != strconv.Itoa(d.version) {
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprint(w, `{"kind":"Status","reason":"Conflict","message":"the object has been modified"}`)
		return
	}
	merge(d.node, patch)
	d.version++
	d.patches++
	d.stamp()
	_ = json.NewEncoder(w).Encode(d.node)
}

// merge is RFC 7396.
func merge(into, patch map[string]any) {
	for key, value := range patch {
		if value == nil {
			delete(into, key)
			continue
		}
		if nested, ok := value.(map[string]any); ok {
			target, _ := into[key].(map[string]any)
			if target == nil {
				target = map[string]any{}
			}
			target = maps.Clone(target)
			merge(target, nested)
			into[key] = target
			continue
		}
		into[key] = value
	}
}

// list answers one page; the token is the number of the next.
func (d *double) list(w http.ResponseWriter, r *http.Request) {
	number, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	if number > 0 && d.gone > 0 {
		d.gone--
		w.WriteHeader(http.StatusGone)
		_, _ = fmt.Fprint(w, `{"kind":"Status","reason":"Expired","message":"The provided continue parameter is too old"}`)
		return
	}
	pages := d.lists[r.URL.Path]
	next := ""
	if number+1 < len(pages) {
		next = strconv.Itoa(number + 1)
	}
	_, _ = fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[%s]}`, next, pages[number])
}
