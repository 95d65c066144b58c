package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

// get returns a copy of the object kept as kind/key, or nil.
func (s *Server) get(kind, key string) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if obj := s.objects[kind][key]; obj != nil {
		return clone(obj)
	}
	return nil
}

// put keeps obj as kind/key and gives it name, UID, creation time and a new resource version.
func (s *Server) put(kind, key string, obj object) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putLocked(kind, key, obj)
}

func (s *Server) putLocked(kind, key string, obj object) object {
	s.version++
	meta := child(obj, "metadata")
	meta["resourceVersion"] = strconv.Itoa(s.version)
	if meta["uid"] == nil {
		meta["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.version)
	}
	if meta["creationTimestamp"] == nil {
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	if s.objects[kind] == nil {
		s.objects[kind] = map[string]object{}
	}
	s.objects[kind][key] = clone(obj)
	return obj
}

// create keeps obj unless the key is taken.
func (s *Server) create(kind, key string, obj object) (object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[kind][key] != nil {
		return nil, false
	}
	return s.putLocked(kind, key, obj), true
}

// errNotFound tells update's caller that there is no such object.
var errNotFound = errors.New("not found")

// update changes the object in place under the lock; an error of change leaves it as it was.
func (s *Server) update(kind, key string, change func(object) error) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj := s.objects[kind][key]
	if obj == nil {
		return nil, errNotFound
	}
	obj = clone(obj)
	if err := change(obj); err != nil {
		return nil, err
	}
	return s.putLocked(kind, key, obj), nil
}

func (s *Server) remove(kind, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[kind][key]
	delete(s.objects[kind], key)
	return ok
}

// list returns the objects of a kind that the field selector admits, by key.
func (s *Server) list(kind, selector string) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.objects[kind]))
	for key := range s.objects[kind] {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	items := []any{}
	for _, key := range keys {
		if selected(s.objects[kind][key], selector) {
			items = append(items, clone(s.objects[kind][key]))
		}
	}
	return items
}

// selected knows field selectors of the form path=value and path!=value, joined by commas.
func selected(obj object, selector string) bool {
	for _, term := range strings.Split(selector, ",") {
		if term == "" {
			continue
		}
		path, want, _ := strings.Cut(term, "=")
		path, negated := strings.CutSuffix(path, "!")
		want = strings.TrimPrefix(want, "=")
		if (fmt.Sprint(orEmpty(field(obj, path))) == want) == negated {
			return false
		}
	}
	return true
}

func field(obj object, path string) any {
	var at any = obj
	for _, step := range strings.Split(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[step]
	}
	return at
}

func (s *Server) writeList(w http.ResponseWriter, apiVersion, kind string, items []any) {
	s.mu.Lock()
	version := strconv.Itoa(s.version)
	s.mu.Unlock()
	writeJSON(w, 200, object{"kind": kind, "apiVersion": apiVersion, "metadata": object{"resourceVersion": version}, "items": items})
}

func clone(obj object) object {
	raw, err := json.Marshal(obj)
	if err != nil {
		panic(err) // objects come from JSON, so they go back into it
	}
	var out object
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(err)
	}
	return out
}

func child(obj object, key string) object {
	if m, ok := obj[key].(map[string]any); ok {
		return m
	}
	m := object{}
	obj[key] = m
	return m
}

// merge applies a JSON merge patch (RFC 7396). With strategic set, lists of objects that carry a type or a key are merged by
// it, as the API server does for conditions, addresses and taints.
func merge(dst, patch object, strategic bool) {
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(dst, k)
		case map[string]any:
			merge(child(dst, k), v, strategic)
		case []any:
			old, _ := dst[k].([]any)
			if strategic && strings.HasPrefix(k, "$") {
				continue // $setElementOrder and its like only order lists
			}
			if strategic {
				v = mergeList(old, v)
			}
			dst[k] = v
		default:
			dst[k] = v
		}
	}
}

func mergeList(old, patch []any) []any {
	for _, p := range patch {
		m, ok := p.(map[string]any)
		if !ok || m["type"] == nil {
			return patch
		}
	}
	out := append([]any{}, old...)
	for _, p := range patch {
		pm := p.(map[string]any)
		found := false
		for i, o := range out {
			if om, ok := o.(map[string]any); ok && om["type"] == pm["type"] {
				out[i], found = pm, true
			}
		}
		if !found {
			out = append(out, pm)
		}
	}
	return out
}
