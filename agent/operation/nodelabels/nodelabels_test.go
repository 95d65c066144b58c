package nodelabels_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/nodelabels"
	"hybridagent/nodeadm/nodeapi"
)

// api is a Node with labels.
type api struct {
	labels map[string]string
	err    error
}

func (a *api) Close() {}

func (a *api) Node(context.Context, string) (nodeapi.Node, error) {
	return nodeapi.Node{Labels: a.labels}, a.err
}

func (a *api) SetLabels(_ context.Context, _ string, set map[string]string, remove []string) (bool, []string, error) {
	if a.err != nil {
		return false, nil, a.err
	}
	before := maps.Clone(a.labels)
	var restricted []string
	for key, value := range set {
		if key == "node-role.kubernetes.io/edge" {
			restricted = append(restricted, key)
			continue
		}
		a.labels[key] = value
	}
	for _, key := range remove {
		delete(a.labels, key)
	}
	return !maps.Equal(before, a.labels), restricted, nil
}

type bench struct {
	*testing.T
	dir string
	api *api
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t, t.TempDir(), &api{labels: map[string]string{"theirs": "1"}}}
	b.ok(applied.WriteState(b.dir, applied.State{NodeDigest: "d", NodeName: "n"}))
	return b
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// set is a setter of its own each time: what it knows is on disk.
func (b *bench) set(labels map[string]string) (changed bool, restricted []string, err error) {
	s := nodelabels.New(nodelabels.Options{Dir: b.dir, Root: b.dir, Open: func(string) (nodelabels.API, error) { return b.api, nil }})
	reply, err := s.Set(b.Context(), labels)
	return reply.GetChanged(), reply.GetRestricted(), err
}

func (b *bench) want(labels map[string]string) {
	b.Helper()
	if !maps.Equal(b.api.labels, labels) {
		b.Errorf("labels %v, want %v", b.api.labels, labels)
	}
}

func TestLabelsFollowThePool(t *testing.T) {
	b := newBench(t)
	changed, restricted, err := b.set(map[string]string{"site": "12", "row": "a", "node-role.kubernetes.io/edge": ""})
	b.ok(err)
	if !changed || !slices.Equal(restricted, []string{"node-role.kubernetes.io/edge"}) {
		t.Errorf("changed %v, restricted %v", changed, restricted)
	}
	b.want(map[string]string{"theirs": "1", "site": "12", "row": "a"})
	b.api.labels["node-role.kubernetes.io/edge"] = "" // an administrator has set it
	if _, restricted, err = b.set(map[string]string{"site": "12", "row": "a", "node-role.kubernetes.io/edge": ""}); len(restricted) != 0 || err != nil {
		t.Errorf("restricted %v although it is there, %v", restricted, err)
	}
	delete(b.api.labels, "node-role.kubernetes.io/edge")
	changed, _, err = b.set(map[string]string{"site": "13"})
	b.ok(err)
	b.want(map[string]string{"theirs": "1", "site": "13"})
	if !changed {
		t.Error("nothing changed")
	}
	if changed, _, err = b.set(map[string]string{"site": "13"}); changed || err != nil {
		t.Errorf("the same again: changed %v, %v", changed, err)
	}
	_, _, err = b.set(nil)
	b.ok(err)
	b.want(map[string]string{"theirs": "1"})
}

// TestLabelThatWasNotConfirmedIsRemembered: the API may have set it before its answer
// was lost.
func TestLabelThatWasNotConfirmedIsRemembered(t *testing.T) {
	b := newBench(t)
	b.api.err = errors.New("the connection was cut")
	if _, _, err := b.set(map[string]string{"site": "12"}); err == nil {
		t.Fatal("no error")
	}
	b.api.err, b.api.labels["site"] = nil, "12"
	_, _, err := b.set(map[string]string{"row": "a"})
	b.ok(err)
	b.want(map[string]string{"theirs": "1", "row": "a"})
}

func TestLabelsThatAreRefused(t *testing.T) {
	b := newBench(t)
	if _, _, err := b.set(map[string]string{"no good": "1"}); err == nil {
		t.Error("a key with a space is taken")
	}
	b.ok(os.WriteFile(filepath.Join(b.dir, "node-labels"), []byte("damaged"), 0o600))
	_, _, err := b.set(map[string]string{"site": "12"})
	b.ok(err)
	b.ok(os.Remove(filepath.Join(b.dir, "applied")))
	if _, _, err := b.set(nil); !errors.Is(err, nodelabels.ErrNoNode) {
		t.Errorf("a host that is no node: %v", err)
	}
}

// TestForget: on the Node of another cluster the labels of the old pool's keys are of
// others.
func TestForget(t *testing.T) {
	b := newBench(t)
	_, _, err := b.set(map[string]string{"site": "12"})
	b.ok(err)
	for range 2 {
		b.ok(nodelabels.Forget(b.dir))
	}
	b.api.labels = map[string]string{"site": "somebody's"}
	_, _, err = b.set(map[string]string{"row": "a"})
	b.ok(err)
	b.want(map[string]string{"site": "somebody's", "row": "a"})
}
