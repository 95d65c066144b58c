package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hybridagent/agent/operation/applied"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestLabelsOfAnotherNodeAreForgotten: where the host becomes another Node the keys
// of labels that were set on the former one are somebody else's.
func TestLabelsOfAnotherNodeAreForgotten(t *testing.T) {
	t.Parallel()
	node := func(cluster string) *agentv1.NodeSpec { return &agentv1.NodeSpec{ClusterName: cluster} }
	for _, c := range []struct {
		what   string
		former applied.State
		want   bool
	}{
		{"the same", applied.State{NodeName: "n", Node: node("lab")}, false},
		{"cluster not recorded", applied.State{NodeName: "n"}, false},
		{"another name", applied.State{NodeName: "old", Node: node("lab")}, true},
		{"another cluster", applied.State{NodeName: "n", Node: node("shop")}, true},
	} {
		p := &job{known: true, former: c.former, spec: node("lab")}
		if got := p.otherNode("n"); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
	// A repave of the same Node keeps them.
	h := newNode(t, "", "")
	h.put("state/node-labels")
	wantState(t, h.provision(order(2, repaveKind, newer)), succeeded)
	if _, err := os.Stat(filepath.Join(h.options.Dir, "node-labels")); err != nil {
		t.Errorf("after a repave: %v", err)
	}
	h.put("state/node-labels")
	wantState(t, h.provision(order(3, repaveKind, func(spec *agentv1.NodeSpec) { newer(spec); spec.ClusterName = "other" })), succeeded)
	if _, err := os.Stat(filepath.Join(h.options.Dir, "node-labels")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in another cluster: %v", err)
	}
}
